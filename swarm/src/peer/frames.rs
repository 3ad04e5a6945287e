//! What travels on a connection: messages, and in the legacy dialects payloads in pieces, as one may have 64 MiB.

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
}

impl FrameDecoder {
    pub(super) fn new(codec: PeerCodec, is_piecewise: bool) -> Self {
        Self { codec, is_piecewise, left: 0 }
    }
}

impl Decoder for FrameDecoder {
    type Item = Frame;
    type Error = bt_wire::Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Frame>, bt_wire::Error> {
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

/// A frame that ends before an extension id would stand.
fn is_short(src: &[u8]) -> bool {
    src.first_chunk().is_some_and(|prefix| u32::from_be_bytes(*prefix) < IDS_BYTES)
}

#[cfg(test)]
mod tests {
    use bt_wire::{Message, PeerCodec};
    use bytes::{Bytes, BytesMut};
    use tokio_util::codec::Decoder as _;

    use super::{Frame, FrameDecoder};

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
    fn given_a_payload_of_four_gibibytes_when_it_begins_then_nothing_is_reserved_for_it() {
        let mut decoder = FrameDecoder::new(PeerCodec::default(), true);
        let mut src = BytesMut::from(&b"\xff\xff\xff\xff\x14\x01"[..]);

        let frame = decoder.decode(&mut src).unwrap();

        assert_eq!(Some(Frame::Payload { id: 1, bytes: u64::from(u32::MAX) - 2 }), frame);
        assert!(src.capacity() < 100, "{}", src.capacity());
    }
}
