//! The connection of a faulty peer: whole messages, halves of them, slow ones, and none after a time.

use std::io;
use std::time::Duration;

use bep_xet::Message;
use bt_wire::{ExtensionHandshake, PeerCodec};
use bytes::BytesMut;
use futures::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::codec::{Encoder as _, FramedRead};

/// Pieces a second that a slow peer writes.
const PIECES_PER_SECOND: u64 = 20;

#[derive(Debug)]
pub(super) struct Line {
    reader: FramedRead<OwnedReadHalf, PeerCodec>,
    writer: OwnedWriteHalf,
    codec: PeerCodec,
    /// The other side's number for `ut_xet`.
    pub(super) their_ut_xet: u8,
    /// Bytes a second, if it is slow.
    pub(super) pace: Option<u64>,
    /// Messages after which it hangs up.
    pub(super) messages_left: Option<u64>,
}

impl Line {
    pub(super) fn new(reader: OwnedReadHalf, writer: OwnedWriteHalf, read_ahead: BytesMut) -> Self {
        let codec = PeerCodec::default();
        let mut reader = FramedRead::new(reader, codec);
        reader.read_buffer_mut().unsplit(read_ahead);
        Self { reader, writer, codec, their_ut_xet: 0, pace: None, messages_left: None }
    }

    pub(super) async fn next(&mut self) -> io::Result<bt_wire::Message> {
        match self.reader.next().await {
            Some(message) => message.map_err(io::Error::other),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Reads until the other side hangs up, and says nothing.
    pub(super) async fn listen_for_ever(&mut self) -> io::Result<()> {
        loop {
            self.next().await?;
        }
    }

    pub(super) async fn shake(&mut self, handshake: &ExtensionHandshake) -> io::Result<()> {
        self.write_message(handshake.to_message().map_err(io::Error::other)?).await
    }

    pub(super) async fn send(&mut self, message: &Message) -> io::Result<()> {
        let frame = self.framed(message);
        self.write_message(frame).await
    }

    /// Half of a message.
    pub(super) async fn send_half(&mut self, message: &Message) -> io::Result<()> {
        let frame = self.encoded(self.framed(message))?;
        self.write(&frame[..frame.len() / 2]).await
    }

    fn framed(&self, message: &Message) -> bt_wire::Message {
        let mut payload = BytesMut::new();
        message.encode(&mut payload);
        bt_wire::Message::Extended { id: self.their_ut_xet, payload: payload.freeze() }
    }

    fn encoded(&self, message: bt_wire::Message) -> io::Result<BytesMut> {
        let (mut codec, mut frame) = (self.codec, BytesMut::new());
        codec.encode(message, &mut frame).map_err(io::Error::other)?;
        Ok(frame)
    }

    async fn write_message(&mut self, message: bt_wire::Message) -> io::Result<()> {
        if let Some(left) = &mut self.messages_left {
            *left = left.checked_sub(1).ok_or(io::ErrorKind::ConnectionAborted)?;
        }
        let frame = self.encoded(message)?;
        self.write(&frame).await
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(pace) = self.pace else { return self.writer.write_all(bytes).await };
        let piece_bytes = usize::try_from(pace / PIECES_PER_SECOND).unwrap_or(usize::MAX).max(1);
        for piece in bytes.chunks(piece_bytes) {
            self.writer.write_all(piece).await?;
            tokio::time::sleep(Duration::from_secs(1) / PIECES_PER_SECOND as u32).await;
        }
        Ok(())
    }
}
