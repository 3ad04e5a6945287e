//! One connection: handshakes, then messages in both directions. Writing never holds up reading: what is
//! to be sent waits in a bounded buffer while the peer is read.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bep_xet::{Exchange, XetHandshake};
use bt_wire::{
    EXTENSION_HANDSHAKE_ID, ExtensionHandshake, ExtensionIds, Handshake, InfoHash, Limits, Message, PeerCodec, PeerId,
};
use bytes::{Buf as _, Bytes, BytesMut};
use futures::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::codec::{Decoder, Encoder as _, FramedRead};

use super::PeerError;
use super::frames::{FrameDecoder, READ_BYTES};
use super::packing::LinkSpeed;
use super::session::{OUR_UT_XET, Protocol, Session, UT_XET};

/// Bytes that wait to be written, above which no more messages are taken from the session.
const OUTGOING_BYTES_MAX: usize = 256 * 1024;
/// Buffers handed to the system at once: heads and payloads of eight messages.
const SLICES_MAX: usize = 16;

/// A connection whose handshakes are done.
#[derive(Debug)]
pub(crate) struct Link {
    reader: FramedRead<OwnedReadHalf, FrameDecoder>,
    writer: OwnedWriteHalf,
    /// Heads of frames and payloads, in turn. Never written together: a chunk is not copied to join its head.
    outgoing: VecDeque<Bytes>,
    outgoing_bytes: usize,
    /// When a byte was last written, or there was nothing to write.
    written_at: Instant,
    speed: LinkSpeed,
    pub(crate) swarm: InfoHash,
    stall: Duration,
}

impl Link {
    /// Connects and shakes hands.
    pub(crate) async fn dial(
        address: SocketAddr,
        swarm: InfoHash,
        config: bep_xet::Config,
        deadline: Duration,
    ) -> Result<(Self, Session), PeerError> {
        let connected = timeout(deadline, TcpStream::connect(address)).await;
        let stream = connected.map_err(|_| late("the connection", deadline))?.map_err(PeerError::Connect)?;
        let shaken = async {
            let mut stream = stream;
            stream.write_all(&Handshake::new(swarm, our_id()).encode()).await.map_err(PeerError::Io)?;
            let (reader, theirs) = read_handshake(&mut stream).await?;
            if theirs.info_hash != swarm {
                return Err(PeerError::OtherSwarm);
            }
            Self::shake_extensions(stream, reader, swarm, config, deadline).await
        };
        timeout(deadline, shaken).await.map_err(|_| late("the handshake", deadline))?
    }

    /// Shakes hands with a peer that has connected, whatever its swarm: which ones there is something for is
    /// told, content by content, only to those who may have it.
    pub(crate) async fn accept(
        mut stream: TcpStream,
        config: bep_xet::Config,
        deadline: Duration,
    ) -> Result<(Self, Session), PeerError> {
        let read = timeout(deadline, read_handshake(&mut stream)).await;
        let (reader, theirs) = read.map_err(|_| late("the handshake", deadline))??;
        let swarm = theirs.info_hash;
        let shaken = async {
            stream.write_all(&Handshake::new(swarm, our_id()).encode()).await.map_err(PeerError::Io)?;
            Self::shake_extensions(stream, reader, swarm, config, deadline).await
        };
        timeout(deadline, shaken).await.map_err(|_| late("the handshake", deadline))?
    }

    /// The extension handshakes: the first message in both directions.
    async fn shake_extensions(
        stream: TcpStream,
        read_ahead: BytesMut,
        swarm: InfoHash,
        config: bep_xet::Config,
        stall: Duration,
    ) -> Result<(Self, Session), PeerError> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch off Nagle's algorithm");
        }
        let limits = bep_xet::Limits::default();
        let mut codec = PeerCodec::new(Limits::default());
        let (reader, mut writer) = stream.into_split();
        let mut reader = FramedRead::with_capacity(reader, codec, READ_BYTES);
        reader.read_buffer_mut().unsplit(read_ahead);

        let mut ours = ExtensionHandshake::default();
        ours.m = ExtensionIds::new([(UT_XET, OUR_UT_XET)]);
        ours.v = Some(concat!("zest ", env!("CARGO_PKG_VERSION")).to_owned());
        let xet = XetHandshake::new(&limits, None).to_value();
        ours.other.insert(XetHandshake::KEY.into(), xet);
        let mut outgoing = BytesMut::new();
        codec.encode(ours.to_message()?, &mut outgoing)?;
        writer.write_all_buf(&mut outgoing).await.map_err(PeerError::Io)?;

        let Message::Extended { id: EXTENSION_HANDSHAKE_ID, payload } = next_frame(&mut reader).await? else {
            return Err(PeerError::NoXet);
        };
        let theirs = ExtensionHandshake::decode(&payload, codec.limits())?;
        let Some(id) = theirs.m.id(UT_XET) else { return Err(PeerError::NoXet) };
        let xet = theirs.other.get(XetHandshake::KEY.as_bytes());
        let exchange = Exchange::for_peer(config, limits, theirs.v.as_deref(), xet, now())?;
        let is_piecewise = exchange.dialect().is_legacy();
        let reader = reader.map_decoder(|codec| FrameDecoder::new(codec, is_piecewise));
        let session = Session::new(exchange, id.get(), now());
        let (outgoing, written_at) = (VecDeque::new(), now());
        let speed = LinkSpeed::new();
        Ok((Self { reader, writer, outgoing, outgoing_bytes: 0, written_at, speed, swarm, stall }, session))
    }

    /// How fast the other side takes what is sent, bytes a second, once that is known.
    pub(super) fn bytes_per_second(&self) -> Option<u64> {
        self.speed.bytes_per_second()
    }

    /// Waits for the next thing to happen on the connection, and does what is due: hands a message to the
    /// session, writes what it has to say, lets deadlines pass.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub(super) async fn turn(&mut self, session: &mut impl Protocol) -> Result<(), PeerError> {
        // The deadline of a write begins when there is something to write.
        if self.outgoing.is_empty() {
            self.written_at = now();
        }
        self.fill_outgoing(session)?;
        if !self.outgoing.is_empty() {
            self.speed.has_more(now());
        }
        let write_deadline = self.written_at + self.stall;
        let due = session.poll_timeout();
        tokio::select! {
            frame = next_frame(&mut self.reader) => session.handle_message(frame?, now())?,
            written = write_some(&mut self.writer, &self.outgoing), if !self.outgoing.is_empty() => {
                self.forget_written(written.map_err(PeerError::Io)?)?;
            }
            () = tokio::time::sleep_until(due.unwrap_or(write_deadline).into()), if due.is_some() => {
                session.handle_timeout(now())?;
            }
            () = tokio::time::sleep_until(write_deadline.into()), if !self.outgoing.is_empty() => {
                return Err(late("a write", self.stall));
            }
        }
        Ok(())
    }

    fn fill_outgoing(&mut self, session: &mut impl Protocol) -> Result<(), PeerError> {
        while self.outgoing_bytes < OUTGOING_BYTES_MAX {
            let Some(message) = session.poll_message(now()) else { break };
            for part in message.encode()?.into_iter().filter(|part| !part.is_empty()) {
                self.outgoing_bytes += part.len();
                self.outgoing.push_back(part);
            }
        }
        Ok(())
    }

    fn forget_written(&mut self, mut written: usize) -> Result<(), PeerError> {
        if written == 0 {
            return Err(PeerError::Closed);
        }
        self.written_at = now();
        self.outgoing_bytes -= written;
        self.speed.wrote(written, self.outgoing_bytes > 0, self.written_at);
        while let Some(first) = self.outgoing.front_mut() {
            if first.len() > written {
                first.advance(written);
                break;
            }
            written -= first.len();
            self.outgoing.pop_front();
        }
        Ok(())
    }
}

/// Writes what the connection takes at once.
async fn write_some(writer: &mut OwnedWriteHalf, outgoing: &VecDeque<Bytes>) -> std::io::Result<usize> {
    let slices: Vec<IoSlice<'_>> = outgoing.iter().take(SLICES_MAX).map(|bytes| IoSlice::new(bytes)).collect();
    writer.write_vectored(&slices).await
}

async fn next_frame<D>(reader: &mut FramedRead<OwnedReadHalf, D>) -> Result<D::Item, PeerError>
where
    D: Decoder<Error = bt_wire::Error>,
{
    match reader.next().await {
        Some(frame) => Ok(frame?),
        None => Err(PeerError::Closed),
    }
}

/// Reads the 68 bytes of a handshake; refuses as soon as they cannot be one.
async fn read_handshake(stream: &mut TcpStream) -> Result<(BytesMut, Handshake), PeerError> {
    let mut received = BytesMut::with_capacity(Handshake::BYTES);
    loop {
        if let Some((handshake, _)) = Handshake::decode_prefix(&received)? {
            received.advance(Handshake::BYTES);
            return Ok((received, handshake));
        }
        if tokio::io::AsyncReadExt::read_buf(stream, &mut received).await.map_err(PeerError::Io)? == 0 {
            return Err(PeerError::Closed);
        }
    }
}

fn our_id() -> PeerId {
    PeerId::new(PeerId::ZEST_PREFIX, rand::random())
}

fn late(what: &'static str, deadline: Duration) -> PeerError {
    PeerError::Deadline { what, deadline }
}

/// The clock of the exchange.
#[expect(clippy::disallowed_methods, reason = "a link is a shell: it tells its exchange what time it is")]
pub(super) fn now() -> Instant {
    Instant::now()
}
