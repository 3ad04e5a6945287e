//! One connection of a faulty peer, from the handshake on.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use bep_xet::{
    Chunk, End, Have, HaveEntry, HaveState, Limits, Manifest, ManifestQuery, Message, Range, Status, Unit, XetHandshake,
};
use bt_wire::{EXTENSION_HANDSHAKE_ID, ExtensionHandshake, ExtensionIds, Handshake, InfoHash, PeerId};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use xet_cas::{ChunkRange, Scheme};

use super::files::{Files, Served, record};
use super::line::Line;
use super::{Counters, PeerFault, count};

pub(super) const UT_XET: &str = "ut_xet";
pub(super) const OUR_UT_XET: u8 = 1;
/// The number that a second handshake gives.
const OUR_LATER_UT_XET: u8 = 7;
const HUGE_HANDSHAKE_BYTES: usize = 512 * 1024;
const GARBAGE: &[u8] = b"SSH-2.0-OpenSSH_9.9\r\n\x00\xff\x13BitTorrent";

/// Whether to go on with the connection: some faults leave nothing to say.
type Next = io::Result<ControlFlow<()>>;
const ON: ControlFlow<()> = ControlFlow::Continue(());
const SILENCE: ControlFlow<()> = ControlFlow::Break(());

pub(super) struct Session {
    stream: TcpStream,
    files: Arc<Files>,
    fault: PeerFault,
    counters: Arc<Counters>,
}

impl Session {
    pub(super) fn new(stream: TcpStream, files: Arc<Files>, fault: PeerFault, counters: Arc<Counters>) -> Self {
        Self { stream, files, fault, counters }
    }

    /// Until the other side hangs up, or this one does as its fault says.
    pub(super) async fn run(self) -> io::Result<()> {
        let Self { mut stream, files, fault, counters } = self;
        stream.set_nodelay(true)?;
        let Some((theirs, read_ahead)) = shake(&mut stream, fault).await? else {
            return swallow(stream).await;
        };
        let (reader, mut writer) = stream.into_split();
        writer.write_all(&theirs.encode()).await?;
        let line = Line::new(reader, writer, read_ahead);
        let mut talk = Talk { line, files, fault, counters, has_shaken_again: false };
        if talk.shake_extensions().await?.is_break() {
            return talk.line.listen_for_ever().await;
        }
        loop {
            let message = talk.line.next().await?;
            let bt_wire::Message::Extended { id, payload } = message else { continue };
            if id == EXTENSION_HANDSHAKE_ID {
                continue;
            }
            let message = Message::decode(payload, &Limits::default()).map_err(io::Error::other)?;
            if talk.answer(message).await?.is_break() {
                return talk.line.listen_for_ever().await;
            }
        }
    }
}

/// Reads the handshake. Returns the answer to it and what was read beyond, or `None` if there is nothing more to say.
async fn shake(stream: &mut TcpStream, fault: PeerFault) -> io::Result<Option<(Handshake, BytesMut)>> {
    let mut received = BytesMut::new();
    let theirs = loop {
        if let Some((handshake, _)) = Handshake::decode_prefix(&received).map_err(io::Error::other)? {
            break handshake;
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    received.advance(Handshake::BYTES);
    let mut swarm = *theirs.info_hash.as_bytes();
    match fault {
        PeerFault::Garbage => {
            stream.write_all(GARBAGE).await?;
            return Ok(None);
        }
        PeerFault::WrongHandshake => {
            let mut bytes = theirs.encode();
            bytes[19] ^= 0x20;
            stream.write_all(&bytes).await?;
            return Ok(None);
        }
        PeerFault::OtherSwarm => swarm[19] ^= 1,
        _ => {}
    }
    let id = PeerId::new(PeerId::ZEST_PREFIX, *b"faulty peer.");
    Ok(Some((Handshake::new(InfoHash::from_bytes(swarm), id), received)))
}

async fn swallow(mut stream: TcpStream) -> io::Result<()> {
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
}

/// A connection after the first handshakes.
struct Talk {
    line: Line,
    files: Arc<Files>,
    fault: PeerFault,
    counters: Arc<Counters>,
    has_shaken_again: bool,
}

impl Talk {
    async fn shake_extensions(&mut self) -> Next {
        if let PeerFault::DisconnectsAfter { messages } = self.fault {
            self.line.messages_left = Some(messages);
        }
        let theirs = loop {
            if let bt_wire::Message::Extended { id: EXTENSION_HANDSHAKE_ID, payload } = self.line.next().await? {
                break ExtensionHandshake::decode(&payload, &bt_wire::Limits::default()).map_err(io::Error::other)?;
            }
        };
        self.line.their_ut_xet = theirs.m.id(UT_XET).ok_or(io::ErrorKind::InvalidData)?.get();
        let ours = handshake(OUR_UT_XET);
        match self.fault {
            PeerFault::NoExtensionHandshake => return Ok(SILENCE),
            PeerFault::LateExtensionHandshake { after } => tokio::time::sleep(after).await,
            PeerFault::HugeExtensionHandshake => {
                let mut huge = ours;
                huge.other.insert(b"huge".to_vec(), [b'x'; HUGE_HANDSHAKE_BYTES][..].into());
                self.line.shake(&huge).await?;
                return Ok(SILENCE);
            }
            PeerFault::EndlessExtensionHandshakes => loop {
                self.line.shake(&ours).await?;
            },
            _ => {}
        }
        self.line.shake(&ours).await?;
        count(&self.counters.handshakes);
        match self.fault {
            PeerFault::SilentAfterHandshake => return Ok(SILENCE),
            PeerFault::Slow { bytes_per_second } => self.line.pace = Some(bytes_per_second),
            _ => {}
        }
        Ok(ON)
    }

    async fn answer(&mut self, message: Message) -> Next {
        if matches!(message, Message::HaveQuery(_) | Message::ManifestRequest(_) | Message::RangeRequest(_))
            && self.fault == PeerFault::HugeFrame
        {
            self.line.write(&u32::MAX.to_be_bytes()).await?;
            self.line.write(&[20, 1, 0x15]).await?;
            return Ok(SILENCE);
        }
        match message {
            Message::HaveQuery(query) => {
                count(&self.counters.have_queries);
                let entry = |object: bep_xet::Object| {
                    let is_here = self.files.get(&object.hash).is_some();
                    HaveEntry { object, state: if is_here { HaveState::All } else { HaveState::None } }
                };
                let entries = query.objects.into_iter().map(entry).collect();
                self.line.send(&Message::Have(Have { id: query.id, entries })).await?;
                self.end(End::new(query.id, Status::Done)).await?;
                if self.fault == PeerFault::TwoExtensionHandshakes && !self.has_shaken_again {
                    self.has_shaken_again = true;
                    self.line.shake(&handshake(OUR_LATER_UT_XET)).await?;
                }
            }
            Message::ManifestRequest(request) => {
                count(&self.counters.lists);
                self.send_list(request.id, &request.query).await?;
            }
            Message::RangeRequest(request) => {
                count(&self.counters.ranges);
                return self.send_range(request.id, &request.range).await;
            }
            // What is cancelled has been answered: one request is read after the other.
            Message::Ping { nonce } => self.line.send(&Message::Pong { nonce }).await?,
            _ => {}
        }
        Ok(ON)
    }

    async fn end(&mut self, end: End) -> io::Result<()> {
        let times = match self.fault {
            PeerFault::NeverEnds => 0,
            PeerFault::EndsTwice => 2,
            _ => 1,
        };
        for _ in 0..times {
            self.line.send(&Message::End(end.clone())).await?;
        }
        Ok(())
    }

    async fn send_list(&mut self, id: u32, query: &ManifestQuery) -> io::Result<()> {
        let files = self.files.clone();
        let file = files.get(&query.object.hash).filter(|_| self.fault != PeerFault::HasNothing);
        let listed = file.and_then(|file| {
            let (first, leaves, proof) = file.list(file.chunks_in(query.start, query.end)?)?;
            Some(Manifest { id, total: file.chunk_count(), first, leaves, proof: Some(proof) })
        });
        let Some(manifest) = listed else { return self.end(End::new(id, Status::NotFound)).await };
        self.line.send(&Message::Manifest(manifest)).await?;
        self.end(End::new(id, Status::Done)).await
    }

    async fn send_range(&mut self, id: u32, range: &Range) -> Next {
        match self.fault {
            PeerFault::AbsurdRetry => {
                let end = End { retry_ms: u32::MAX, ..End::new(id, Status::Busy) };
                return self.end(end).await.map(|()| ON);
            }
            PeerFault::HasNothing | PeerFault::HasNoChunks => {
                return self.end(End::new(id, Status::NotFound)).await.map(|()| ON);
            }
            _ => {}
        }
        let files = self.files.clone();
        let named = files.get(&range.object.hash).and_then(|file| Some((file, named(file, range)?)));
        let Some((file, chunks)) = named else {
            return self.end(End::new(id, Status::NotFound)).await.map(|()| ON);
        };
        for chunk in self.distorted(id, file, chunks) {
            let message = Message::Chunk(chunk);
            if self.fault == PeerFault::SilentMidChunk {
                self.line.send_half(&message).await?;
                return Ok(SILENCE);
            }
            self.line.send(&message).await?;
            count(&self.counters.chunks_sent);
        }
        self.end(End::new(id, Status::Done).with_next(range.end)).await.map(|()| ON)
    }

    /// The chunks of an answer, as the fault has them.
    fn distorted(&self, id: u32, file: &Served, chunks: ChunkRange) -> Vec<Chunk> {
        let plain = |index: u32| Some((index, file.chunk(index)?));
        let mut content: Vec<(u32, Bytes)> = (chunks.start..chunks.end).filter_map(plain).collect();
        match self.fault {
            PeerFault::FlipsABit => {
                if let Some((_, first)) = content.first_mut() {
                    let mut bytes = BytesMut::from(&first[..]);
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                    *first = bytes.freeze();
                }
            }
            PeerFault::SwapsChunks => {
                let different = content.windows(2).position(|pair| pair[0].1 != pair[1].1);
                if let Some(at) = different {
                    let (front, back) = content.split_at_mut(at + 1);
                    std::mem::swap(&mut front[at].1, &mut back[0].1);
                }
            }
            PeerFault::RepeatsChunks => {
                content = content.into_iter().flat_map(|chunk| [chunk.clone(), chunk]).collect()
            }
            PeerFault::ReordersChunks => content.reverse(),
            PeerFault::LeavesOutTheLastChunk => drop(content.pop()),
            PeerFault::ChunksBeyondTheRange => {
                let last = content.last().cloned();
                content.extend(last.map(|(index, bytes)| (index + 1, bytes)));
            }
            _ => {}
        }
        let answered = if self.fault == PeerFault::UnaskedChunks { id ^ 1 << 30 } else { id };
        let mut chunks = content.into_iter().map(|(index, bytes)| {
            let record = record(Scheme::None, &bytes, bytes.len());
            (Chunk { id: answered, index, record }, bytes.len())
        });
        let mut distorted = Vec::new();
        if self.fault == PeerFault::Lz4Bomb
            && let Some((first, raw_length)) = chunks.next()
        {
            distorted.push(Chunk { record: record(Scheme::Lz4, &self.files.bomb, raw_length), ..first });
        }
        distorted.extend(chunks.map(|(chunk, _)| chunk));
        distorted
    }
}

fn named(file: &Served, range: &Range) -> Option<ChunkRange> {
    match range.unit {
        Unit::FileBytes => file.chunks_in(range.start, range.end),
        Unit::Chunks => {
            let end = range.end.min(file.chunk_count().into()) as u32;
            let start = u32::try_from(range.start).ok()?;
            (start < end).then_some(ChunkRange { start, end })
        }
        Unit::Unknown(_) => None,
    }
}

pub(super) fn handshake(ut_xet: u8) -> ExtensionHandshake {
    let mut handshake = ExtensionHandshake::default();
    handshake.m = ExtensionIds::new([(UT_XET, ut_xet)]);
    let xet = XetHandshake::new(&Limits::default(), None);
    handshake.other.insert(XetHandshake::KEY.into(), xet.to_value());
    handshake
}
