//! The asking side, by hand: one request at a time, whatever it asks for.

use std::io;
use std::net::SocketAddr;

use bep_xet::{
    HaveQuery, HaveState, Limits, ManifestQuery, ManifestRequest, Message, Object, ObjectKind, Range, RangeRequest,
    Status,
};
use bt_wire::{EXTENSION_HANDSHAKE_ID, ExtensionHandshake, Handshake, InfoHash, PeerId};
use bytes::{Buf as _, BytesMut};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use xet_cas::{ChunkRange, FileHash};

use super::line::Line;
use super::session::{OUR_UT_XET, UT_XET, handshake};

/// A client that asks a peer by hand, and says what came back. Nothing in it has a deadline.
#[derive(Debug)]
pub struct PeerClient {
    line: Line,
    next_id: u32,
}

/// What came back for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// How it ended.
    pub status: Status,
    /// Entries of the list, if one came.
    pub entries: usize,
    /// Index and bytes of each chunk that came, uncompressed.
    pub chunks: Vec<(u32, Vec<u8>)>,
}

impl Answer {
    /// Bytes of all chunks, one after the other.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|(_, chunk)| chunk.iter().copied()).collect()
    }
}

impl PeerClient {
    /// The swarm of a repository: `authority` is `host:port` of its Hub, `kind` is `model`, `dataset` or `space`.
    #[must_use]
    pub fn repo_swarm(authority: &str, kind: &str, repo: &str) -> [u8; 20] {
        Sha1::digest(format!("zest-xet-repo-v2:{authority}/{kind}/{repo}")).into()
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// If the peer is not there, hangs up, or is not a peer.
    pub async fn connect(address: SocketAddr, swarm: [u8; 20]) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let id = PeerId::new(PeerId::ZEST_PREFIX, *b"a handclient");
        stream.write_all(&Handshake::new(InfoHash::from_bytes(swarm), id).encode()).await?;
        let mut received = BytesMut::new();
        while Handshake::decode_prefix(&received).map_err(io::Error::other)?.is_none() {
            if stream.read_buf(&mut received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        received.advance(Handshake::BYTES);
        let (reader, writer) = stream.into_split();
        let mut line = Line::new(reader, writer, received);
        line.shake(&handshake(OUR_UT_XET)).await?;
        let bt_wire::Message::Extended { id: EXTENSION_HANDSHAKE_ID, payload } = line.next().await? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let theirs = ExtensionHandshake::decode(&payload, &bt_wire::Limits::default()).map_err(io::Error::other)?;
        line.their_ut_xet = theirs.m.id(UT_XET).ok_or(io::ErrorKind::InvalidData)?.get();
        Ok(Self { line, next_id: 1 })
    }

    /// Whether the peer says that it has all of a file.
    ///
    /// # Errors
    /// If it hangs up.
    pub async fn has(&mut self, file: [u8; 32]) -> io::Result<bool> {
        let (id, object) = (self.id(), object(file));
        self.line.send(&Message::HaveQuery(HaveQuery { id, subscribe: false, objects: vec![object] })).await?;
        let mut has = false;
        loop {
            match self.next().await? {
                Message::Have(have) if have.id == id => {
                    has |= have.entries.iter().any(|entry| entry.object == object && entry.state != HaveState::None);
                }
                Message::End(end) if end.id == id => return Ok(has),
                _ => {}
            }
        }
    }

    /// Asks for the list of chunks that hold these bytes of a file.
    ///
    /// # Errors
    /// If the peer hangs up.
    pub async fn list(&mut self, file: [u8; 32], start: u64, end: u64) -> io::Result<Answer> {
        let id = self.id();
        let query = ManifestQuery::run(object(file), start, end);
        self.line.send(&Message::ManifestRequest(ManifestRequest { id, query })).await?;
        self.answer(id).await
    }

    /// Asks for the chunks that hold these bytes of a file.
    ///
    /// # Errors
    /// If the peer hangs up.
    pub async fn file_bytes(&mut self, file: [u8; 32], start: u64, end: u64) -> io::Result<Answer> {
        let range = Range { start, end, ..Range::file_bytes(object(file), 0, 0) };
        let id = self.ask(range).await?;
        self.answer(id).await
    }

    /// Asks for chunks of a file by their index.
    ///
    /// # Errors
    /// If the peer hangs up.
    pub async fn chunks(&mut self, file: [u8; 32], start: u64, end: u64) -> io::Result<Answer> {
        let range = Range { start, end, ..Range::chunks(object(file), ChunkRange { start: 0, end: 0 }) };
        let id = self.ask(range).await?;
        self.answer(id).await
    }

    /// Asks for the whole list of a xorb, and for some of its chunks by their index.
    ///
    /// # Errors
    /// If the peer hangs up.
    pub async fn xorb(&mut self, xorb: [u8; 32], start: u64, end: u64) -> io::Result<(Answer, Answer)> {
        let object = Object { kind: ObjectKind::Xorb, hash: xorb };
        let id = self.id();
        let query = ManifestQuery::whole(object);
        self.line.send(&Message::ManifestRequest(ManifestRequest { id, query })).await?;
        let list = self.answer(id).await?;
        let range = Range { start, end, ..Range::chunks(object, ChunkRange { start: 0, end: 0 }) };
        let id = self.ask(range).await?;
        Ok((list, self.answer(id).await?))
    }

    /// Asks for these bytes of a file, and does not wait for them.
    ///
    /// # Errors
    /// If the peer has hung up.
    pub async fn ask_only(&mut self, file: [u8; 32], start: u64, end: u64) -> io::Result<()> {
        self.ask(Range::file_bytes(object(file), start, end)).await.map(drop)
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// If the peer has hung up.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.line.write(bytes).await
    }

    /// Writes a `ut_xet` message of these bytes.
    ///
    /// # Errors
    /// If the peer has hung up.
    pub async fn write_message(&mut self, payload: &[u8]) -> io::Result<()> {
        let id = self.line.their_ut_xet;
        let payload = bytes::Bytes::copy_from_slice(payload);
        let frame = bt_wire::Message::Extended { id, payload }.encode().map_err(io::Error::other)?;
        self.line.write(&frame).await
    }

    /// Reads until the peer hangs up.
    pub async fn wait_for_end(&mut self) {
        while self.line.next().await.is_ok() {}
    }

    fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    async fn ask(&mut self, range: Range) -> io::Result<u32> {
        let id = self.id();
        self.line.send(&Message::RangeRequest(RangeRequest { id, range })).await?;
        Ok(id)
    }

    async fn answer(&mut self, id: u32) -> io::Result<Answer> {
        let mut answer = Answer { status: Status::Done, entries: 0, chunks: Vec::new() };
        loop {
            match self.next().await? {
                Message::Manifest(manifest) if manifest.id == id => answer.entries += manifest.leaves.len(),
                Message::Chunk(chunk) if chunk.id == id => {
                    let record = xet_cas::xorb::Records::new(&chunk.record).next();
                    let record = record.ok_or(io::ErrorKind::InvalidData)?.map_err(io::Error::other)?;
                    let mut scratch = Vec::new();
                    let bytes = record.decode(&mut scratch).map_err(io::Error::other)?;
                    answer.chunks.push((chunk.index, bytes.to_vec()));
                }
                Message::End(end) if end.id == id => {
                    answer.status = end.status;
                    return Ok(answer);
                }
                _ => {}
            }
        }
    }

    async fn next(&mut self) -> io::Result<Message> {
        loop {
            let bt_wire::Message::Extended { id: OUR_UT_XET, payload } = self.line.next().await? else { continue };
            return Message::decode(payload, &Limits::default()).map_err(io::Error::other);
        }
    }
}

fn object(file: [u8; 32]) -> Object {
    Object::file(FileHash::from_bytes(file))
}
