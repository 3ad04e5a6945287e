//! Framing: what is refused is refused before it is waited for, and payloads are not copied.

use bytes::{Buf, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::head::HEAD_BYTES_MAX;
use crate::{Error, Handshake, Limits, Message};

/// Bytes of the length prefix.
const PREFIX_BYTES: usize = 4;
/// Room that is made for a frame of which nothing but the length has come; from there on as much again as
/// has come. So memory follows what a peer sends, not what it announces.
const RESERVED_AHEAD_BYTES_MAX: usize = 256 * 1024;

/// The first 68 bytes of a connection. Then switch to [`PeerCodec`] with `Framed::map_codec`, which keeps what
/// was read beyond them.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct HandshakeCodec;

impl HandshakeCodec {
    /// A codec for one handshake in each direction.
    pub fn new() -> Self {
        Self
    }
}

impl Decoder for HandshakeCodec {
    type Item = Handshake;
    type Error = Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Handshake>, Error> {
        let Some((handshake, _)) = Handshake::decode_prefix(src)? else { return Ok(None) };
        src.advance(Handshake::BYTES);
        Ok(Some(handshake))
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Handshake>, Error> {
        let decoded = self.decode(src)?;
        ended(decoded, src, "the handshake")
    }
}

impl Encoder<Handshake> for HandshakeCodec {
    type Error = Error;

    fn encode(&mut self, handshake: Handshake, dst: &mut BytesMut) -> Result<(), Error> {
        dst.extend_from_slice(&handshake.encode());
        Ok(())
    }
}

/// Messages, after the handshake.
#[derive(Debug, Clone, Copy, Default)]
pub struct PeerCodec {
    limits: Limits,
}

impl PeerCodec {
    /// Refuses what is beyond the limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// What is refused.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Changes what is refused, from the next frame on of which the length has not been looked at: one that is
    /// being waited for is checked again.
    pub fn limits_mut(&mut self) -> &mut Limits {
        &mut self.limits
    }
}

impl Decoder for PeerCodec {
    type Item = Message;
    type Error = Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Message>, Error> {
        let Some(prefix) = src.first_chunk() else { return Ok(None) };
        let bytes = u32::from_be_bytes(*prefix);
        // The byte behind an empty frame is of the next one.
        let id = src.get(PREFIX_BYTES).copied().filter(|_| bytes > 0);
        self.limits.check_frame(bytes, id)?;
        let end = PREFIX_BYTES + bytes as usize;
        let Some(frame) = src.get(PREFIX_BYTES..end) else {
            let missing = end - src.len();
            src.reserve(missing.min(src.len().max(RESERVED_AHEAD_BYTES_MAX)));
            return Ok(None);
        };
        let message = Message::decode_fixed(frame)?;
        if message.is_some() {
            src.advance(end);
            return Ok(message);
        }
        src.advance(PREFIX_BYTES);
        Message::decode(src.split_to(end - PREFIX_BYTES).freeze()).map(Some)
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Message>, Error> {
        let decoded = self.decode(src)?;
        ended(decoded, src, "a message")
    }
}

impl Encoder<Message> for PeerCodec {
    type Error = Error;

    fn encode(&mut self, message: Message, dst: &mut BytesMut) -> Result<(), Error> {
        self.encode(&message, dst)
    }
}

impl Encoder<&Message> for PeerCodec {
    type Error = Error;

    fn encode(&mut self, message: &Message, dst: &mut BytesMut) -> Result<(), Error> {
        let at = dst.len();
        dst.resize(at + HEAD_BYTES_MAX, 0);
        let head = dst[at..].first_chunk_mut().map_or(Ok(0), |out| message.write_head(out));
        dst.truncate(at + head.as_ref().copied().unwrap_or_default());
        head?;
        if let Some(payload) = message.payload() {
            dst.extend_from_slice(payload);
        }
        Ok(())
    }
}

/// What there is at the end of a stream, which is no place to be inside of something.
fn ended<T>(decoded: Option<T>, src: &BytesMut, what: &'static str) -> Result<Option<T>, Error> {
    match decoded {
        None if !src.is_empty() => Err(Error::Ended { what, bytes: src.len() }),
        decoded => Ok(decoded),
    }
}
