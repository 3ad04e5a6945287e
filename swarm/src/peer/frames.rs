//! What travels on a connection: messages, and in the legacy dialects payloads in pieces, as one may have 64 MiB.

use std::collections::VecDeque;

use bt_wire::{Message, PeerCodec};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::session::OUR_UT_XET;

/// A message, or a part of one that is never held as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    Message(Message),
    /// A payload in two parts: data is not copied to follow its head.
    Split {
        id: u8,
        head: Bytes,
        data: Bytes,
    },
    /// A payload of the extension with this number begins; its pieces follow, and nothing else before its end.
    Payload {
        id: u8,
        bytes: u64,
    },
    /// The next bytes of the payload.
    Piece(Bytes),
}

/// Room for what is read at once: some four chunks.
pub(super) const READ_BYTES: usize = 256 * 1024;
/// With less room than this, another buffer is taken before the next read: a frame is not read to its end in crumbs.
const READ_BYTES_MIN: usize = 16 * 1024;
/// Buffers that are kept to be used again, at most, which is 8 MiB: some more than hold what is gathered for eight
/// requests and what workers are busy with. Fewer, and the pages of new ones cost more than the reads that they save.
const KEPT_BUFFERS_MAX: usize = 32;
/// Length prefix, message id and extension id.
const PAYLOAD_HEAD_BYTES: usize = 6;
/// What the length prefix counts besides the payload.
const IDS_BYTES: u32 = 2;
const EXTENDED: u8 = 20;

impl Frame {
    /// What goes to the wire: the head, and what stands behind it.
    pub(super) fn encode(self) -> Result<[Bytes; 2], bt_wire::Error> {
        Ok(match self {
            Self::Message(message) => {
                [Bytes::copy_from_slice(message.head()?.as_ref()), message.payload().cloned().unwrap_or_default()]
            }
            Self::Split { id, head, data } => {
                let mut front = payload_head(id, (head.len() + data.len()) as u64);
                front.extend_from_slice(&head);
                [front.into(), data]
            }
            Self::Payload { id, bytes } => [payload_head(id, bytes).into(), Bytes::new()],
            Self::Piece(piece) => [piece, Bytes::new()],
        })
    }
}

fn payload_head(id: u8, bytes: u64) -> Vec<u8> {
    let length = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(IDS_BYTES);
    let mut head = length.to_be_bytes().to_vec();
    head.extend([EXTENDED, id]);
    head
}

/// Reads frames. How long a payload may be is for the session to say when it begins: nothing of it is held here.
#[derive(Debug)]
pub(super) struct FrameDecoder {
    codec: PeerCodec,
    /// Payloads of `ut_xet` are handed on as they come.
    is_piecewise: bool,
    /// Bytes of the payload that have yet to come.
    left: u64,
    buffers: Buffers,
}

/// Buffers that were read into, the oldest first. Frames are parts of them: each is free again when the last frame of
/// it is dropped.
#[derive(Debug, Default)]
struct Buffers {
    used: VecDeque<BytesMut>,
}

impl Buffers {
    /// Gives `src` a buffer with room for so many more. What it holds is kept.
    fn renew(&mut self, src: &mut BytesMut, more: usize) {
        let wanted = READ_BYTES.max(src.len() + more);
        let free = self.used.iter_mut().position(|used| used.try_reclaim(wanted));
        let free = free.and_then(|index| self.used.remove(index));
        if self.used.len() >= KEPT_BUFFERS_MAX {
            self.used.pop_front();
        }
        let mut fresh = free.unwrap_or_else(|| BytesMut::with_capacity(wanted));
        fresh.extend_from_slice(&src.split());
        self.used.push_back(std::mem::replace(src, fresh));
    }
}

impl FrameDecoder {
    pub(super) fn new(codec: PeerCodec, is_piecewise: bool) -> Self {
        Self { codec, is_piecewise, left: 0, buffers: Buffers::default() }
    }
}

impl Decoder for FrameDecoder {
    type Item = Frame;
    type Error = bt_wire::Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, bt_wire::Error> {
        let missing = if self.left > 0 { READ_BYTES_MIN.saturating_sub(src.len()) } else { missing_bytes(src) };
        if missing > src.capacity() - src.len() {
            self.buffers.renew(src, missing);
        }
        if self.left > 0 {
            let bytes = src.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= bytes as u64;
            return Ok((bytes > 0).then(|| Frame::Piece(src.split_to(bytes).freeze())));
        }
        if let [l0, l1, l2, l3, EXTENDED, OUR_UT_XET, ..] = src[..]
            && self.is_piecewise
        {
            let length = u32::from_be_bytes([l0, l1, l2, l3]);
            // A shorter one is no message of an extension, which the codec says.
            if length >= IDS_BYTES {
                self.left = (length - IDS_BYTES).into();
                src.advance(PAYLOAD_HEAD_BYTES);
                return Ok(Some(Frame::Payload { id: OUR_UT_XET, bytes: self.left }));
            }
        }
        // Its head may still tell that it comes in pieces.
        if self.is_piecewise && src.len() < PAYLOAD_HEAD_BYTES && !is_short(src) {
            return Ok(None);
        }
        Ok(self.codec.decode(src)?.map(Frame::Message))
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, bt_wire::Error> {
        if self.left > 0 || self.is_piecewise {
            if let Some(frame) = self.decode(src)? {
                return Ok(Some(frame));
            }
            if self.left > 0 {
                return Err(bt_wire::Error::Ended { what: "a payload", bytes: src.len() });
            }
        }
        Ok(self.codec.decode_eof(src)?.map(Frame::Message))
    }
}

/// What is to come of the first frame, as far as room is made for it at once.
fn missing_bytes(src: &[u8]) -> usize {
    let Some((prefix, rest)) = src.split_first_chunk() else { return READ_BYTES_MIN };
    (u32::from_be_bytes(*prefix) as usize).saturating_sub(rest.len()).min(READ_BYTES)
}

/// A frame that ends before an extension id would stand.
fn is_short(src: &[u8]) -> bool {
    src.first_chunk().is_some_and(|prefix| u32::from_be_bytes(*prefix) < IDS_BYTES)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bt_wire::{Message, PeerCodec};
    use bytes::{Bytes, BytesMut};
    use tokio_util::codec::{Decoder as _, Encoder as _};

    use super::{Frame, FrameDecoder, KEPT_BUFFERS_MAX, READ_BYTES};

    fn extended(id: u8, payload: &'static [u8]) -> Message {
        Message::Extended { id, payload: Bytes::from_static(payload) }
    }

    /// All frames, with pieces joined, when so many bytes come at once.
    fn decoded(wire: &[u8], at_once: usize, is_piecewise: bool) -> Vec<Frame> {
        let mut decoder = FrameDecoder::new(PeerCodec::default(), is_piecewise);
        let (mut src, mut frames) = (BytesMut::new(), Vec::new());
        for bytes in wire.chunks(at_once) {
            src.extend_from_slice(bytes);
            while let Some(frame) = decoder.decode(&mut src).unwrap() {
                match (frames.last_mut(), frame) {
                    (Some(Frame::Piece(joined)), Frame::Piece(piece)) => {
                        *joined = [&joined[..], &piece].concat().into()
                    }
                    (_, frame) => frames.push(frame),
                }
            }
        }
        assert!(src.is_empty());
        frames
    }

    #[test]
    fn given_a_stream_of_frames_when_read_then_buffers_whose_frames_are_dropped_are_used_again_and_no_others() {
        const FRAMES: usize = 200;
        let payload = |index: usize| vec![index as u8; 60_000 + index * 101];
        for (kept, buffers) in [(0, 2), (3, 4), (FRAMES, KEPT_BUFFERS_MAX)] {
            let mut decoder = FrameDecoder::new(PeerCodec::default(), false);
            let (mut src, mut frames) = (BytesMut::new(), VecDeque::new());
            for index in 0..FRAMES {
                let mut wire = BytesMut::new();
                let message = Message::Extended { id: 1, payload: payload(index).into() };
                PeerCodec::default().encode(message, &mut wire).unwrap();
                while !wire.is_empty() {
                    if let Some(frame) = decoder.decode(&mut src).unwrap() {
                        frames.push_back(frame);
                        frames.drain(..frames.len().saturating_sub(kept));
                    }
                    let room = (src.capacity() - src.len()).min(wire.len());
                    assert!(room > 0, "the decoder makes room");
                    src.extend_from_slice(&wire.split_to(room));
                }
            }

            assert!(decoder.buffers.used.len() <= buffers, "{} for {kept} frames", decoder.buffers.used.len());
            let first = FRAMES - 1 - frames.len();
            for (index, frame) in frames.into_iter().enumerate() {
                let Frame::Message(Message::Extended { payload: read, .. }) = frame else { panic!("{frame:?}") };
                assert!(read == payload(first + index), "frame {index} was written over");
            }
        }
    }

    #[test]
    fn given_frames_in_pieces_when_decoded_then_payloads_of_the_extension_come_as_they_are() {
        let messages = [
            Message::KeepAlive,
            Message::Unchoke,
            extended(1, b"hello"),
            extended(1, b""),
            extended(2, b"another extension"),
            Message::Have { piece: 7 },
            extended(1, b"more"),
        ];
        let encoded = messages.iter().cloned().flat_map(|message| Frame::Message(message).encode().unwrap());
        let wire: Vec<u8> = encoded.flatten().collect();
        let piecewise = messages.iter().cloned().flat_map(|message| match message {
            Message::Extended { id: 1, payload } => {
                let head = Frame::Payload { id: 1, bytes: payload.len() as u64 };
                if payload.is_empty() { vec![head] } else { vec![head, Frame::Piece(payload)] }
            }
            message => vec![Frame::Message(message)],
        });
        let piecewise: Vec<Frame> = piecewise.collect();

        for at_once in [1, 2, 5, 6, 7, wire.len()] {
            assert_eq!(piecewise, decoded(&wire, at_once, true), "{at_once} at once");
            let whole: Vec<Frame> = messages.iter().cloned().map(Frame::Message).collect();
            assert_eq!(whole, decoded(&wire, at_once, false), "{at_once} at once");
        }
        let again = piecewise.into_iter().flat_map(|frame| frame.encode().unwrap());
        assert_eq!(wire, again.flatten().collect::<Vec<u8>>());
    }

    #[test]
    fn given_a_payload_of_four_gibibytes_when_it_begins_then_no_more_is_reserved_than_for_any() {
        let mut decoder = FrameDecoder::new(PeerCodec::default(), true);
        let mut src = BytesMut::from(&b"\xff\xff\xff\xff\x14\x01"[..]);

        let frame = decoder.decode(&mut src).unwrap();

        assert_eq!(Some(Frame::Payload { id: 1, bytes: u64::from(u32::MAX) - 2 }), frame);
        assert!(src.capacity() <= READ_BYTES, "{}", src.capacity());
    }
}
