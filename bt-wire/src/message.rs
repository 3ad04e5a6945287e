use bytes::Bytes;
use nom::combinator::{all_consuming, rest, success};
use nom::number::complete::{be_u8, be_u16, be_u32};
use nom::{IResult, Parser};

use crate::Error;

/// What travels after the handshake (BEP 3, BEP 5, BEP 10): a length of four bytes, an id, a body. Integers are
/// big-endian.
///
/// Payloads are slices of the buffer they were read into and keep all of it alive: copy what is small and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Nothing; says that the sender is alive. It has no id.
    KeepAlive,
    /// 0: requests will not be answered.
    Choke,
    /// 1: requests will be answered.
    Unchoke,
    /// 2: the sender would request if it were unchoked.
    Interested,
    /// 3: it would not.
    NotInterested,
    /// 4: the sender has got a piece.
    Have {
        /// Index of the piece.
        piece: u32,
    },
    /// 5: the pieces that the sender has, the first one the greatest bit of the first byte.
    Bitfield(Bytes),
    /// 6: asks for a block.
    Request(Block),
    /// 7: a block.
    Piece {
        /// Index of the piece.
        piece: u32,
        /// Where in the piece it begins, bytes.
        begin: u32,
        /// The block.
        data: Bytes,
    },
    /// 8: takes a request back.
    Cancel(Block),
    /// 9: the UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// 20: a message of an extension (BEP 10).
    Extended {
        /// The number under which the *receiver* announced the extension, or
        /// [`EXTENSION_HANDSHAKE_ID`](crate::EXTENSION_HANDSHAKE_ID).
        id: u8,
        /// The extension's.
        payload: Bytes,
    },
    /// Any other id. Not an error: it may be of an extension that is not known here.
    Unknown {
        /// The id.
        id: u8,
        /// What follows it.
        payload: Bytes,
    },
}

/// A part of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Block {
    /// Index of the piece.
    pub piece: u32,
    /// Where in the piece it begins, bytes.
    pub begin: u32,
    /// Bytes.
    pub length: u32,
}

const CHOKE: u8 = 0;
const UNCHOKE: u8 = 1;
const INTERESTED: u8 = 2;
const NOT_INTERESTED: u8 = 3;
const HAVE: u8 = 4;
const BITFIELD: u8 = 5;
const REQUEST: u8 = 6;
const PIECE: u8 = 7;
const CANCEL: u8 = 8;
const PORT: u8 = 9;
const EXTENDED: u8 = 20;

impl Message {
    /// Reads a frame, without its length prefix. An empty one is a keep-alive.
    ///
    /// # Errors
    /// [`Error::MessageLength`]; an id that is not known is none.
    pub fn decode(frame: Bytes) -> Result<Self, Error> {
        let (mut message, payload_bytes) = Self::parse(&frame)?;
        if let Some(payload) = message.payload_mut() {
            *payload = frame.slice(frame.len() - payload_bytes..);
        }
        Ok(message)
    }

    /// Reads a frame but leaves the payload out: says only how many bytes of it end the frame.
    pub(crate) fn parse(frame: &[u8]) -> Result<(Self, usize), Error> {
        let Some((&id, body)) = frame.split_first() else { return Ok((Self::KeepAlive, 0)) };
        let payload = Bytes::new();
        let parsed: IResult<&[u8], (Self, &[u8])> = match id {
            CHOKE => fixed(success(Self::Choke)).parse(body),
            UNCHOKE => fixed(success(Self::Unchoke)).parse(body),
            INTERESTED => fixed(success(Self::Interested)).parse(body),
            NOT_INTERESTED => fixed(success(Self::NotInterested)).parse(body),
            HAVE => fixed(be_u32.map(|piece| Self::Have { piece })).parse(body),
            BITFIELD => Ok((&[], (Self::Bitfield(payload), body))),
            REQUEST => fixed(block.map(Self::Request)).parse(body),
            PIECE => {
                let head = (be_u32, be_u32).map(|(piece, begin)| Self::Piece { piece, begin, data: Bytes::new() });
                (head, rest).parse(body)
            }
            CANCEL => fixed(block.map(Self::Cancel)).parse(body),
            PORT => fixed(be_u16.map(Self::Port)).parse(body),
            EXTENDED => (be_u8.map(|id| Self::Extended { id, payload: Bytes::new() }), rest).parse(body),
            id => Ok((&[], (Self::Unknown { id, payload }, body))),
        };
        match parsed {
            Ok((_, (message, payload))) => Ok((message, payload.len())),
            Err(_) => Err(Error::MessageLength { name: name(id), id, bytes: body.len() }),
        }
    }

    /// The payload, which is the end of the message. `None` if its kind has none.
    pub fn payload(&self) -> Option<&Bytes> {
        match self {
            Self::Bitfield(payload)
            | Self::Piece { data: payload, .. }
            | Self::Extended { payload, .. }
            | Self::Unknown { payload, .. } => Some(payload),
            _ => None,
        }
    }

    pub(crate) fn payload_mut(&mut self) -> Option<&mut Bytes> {
        match self {
            Self::Bitfield(payload)
            | Self::Piece { data: payload, .. }
            | Self::Extended { payload, .. }
            | Self::Unknown { payload, .. } => Some(payload),
            _ => None,
        }
    }

    /// All that is sent before the payload: the length prefix, the id and what the body begins with.
    ///
    /// # Errors
    /// [`Error::Unframeable`] if the payload is about 4 GiB or more.
    pub fn head(&self) -> Result<Head, Error> {
        let mut head = Head { bytes: [0; HEAD_BYTES_MAX], len: 4 };
        match self {
            Self::KeepAlive => {}
            Self::Choke => head.put(&[CHOKE]),
            Self::Unchoke => head.put(&[UNCHOKE]),
            Self::Interested => head.put(&[INTERESTED]),
            Self::NotInterested => head.put(&[NOT_INTERESTED]),
            Self::Have { piece } => {
                head.put(&[HAVE]);
                head.put(&piece.to_be_bytes());
            }
            Self::Bitfield(_) => head.put(&[BITFIELD]),
            Self::Request(block) => head.put_block(REQUEST, block),
            Self::Piece { piece, begin, .. } => {
                head.put(&[PIECE]);
                head.put(&piece.to_be_bytes());
                head.put(&begin.to_be_bytes());
            }
            Self::Cancel(block) => head.put_block(CANCEL, block),
            Self::Port(port) => {
                head.put(&[PORT]);
                head.put(&port.to_be_bytes());
            }
            Self::Extended { id, .. } => head.put(&[EXTENDED, *id]),
            Self::Unknown { id, .. } => head.put(&[*id]),
        }
        let bytes = usize::from(head.len) - 4 + self.payload().map_or(0, Bytes::len);
        let length = u32::try_from(bytes).map_err(|_| Error::Unframeable { bytes })?;
        head.bytes[..4].copy_from_slice(&length.to_be_bytes());
        Ok(head)
    }

    /// The whole frame, with its length prefix. Copies the payload; to send a large one, write
    /// [`head`](Self::head) and [`payload`](Self::payload).
    ///
    /// # Errors
    /// [`Error::Unframeable`] if the payload is about 4 GiB or more.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        Ok([self.head()?.as_ref(), self.payload().map_or(&[], |payload| &payload[..])].concat())
    }
}

fn name(id: u8) -> &'static str {
    match id {
        CHOKE => "choke",
        UNCHOKE => "unchoke",
        INTERESTED => "interested",
        NOT_INTERESTED => "not interested",
        HAVE => "have",
        BITFIELD => "bitfield",
        REQUEST => "request",
        PIECE => "piece",
        CANCEL => "cancel",
        PORT => "port",
        EXTENDED => "extended",
        _ => "unknown",
    }
}

/// A body that is nothing but this.
fn fixed<'a>(
    body: impl Parser<&'a [u8], Output = Message, Error = nom::error::Error<&'a [u8]>>,
) -> impl Parser<&'a [u8], Output = (Message, &'a [u8]), Error = nom::error::Error<&'a [u8]>> {
    all_consuming(body).map(|message| (message, &[][..]))
}

/// `piece: u32, begin: u32, length: u32`
fn block(input: &[u8]) -> IResult<&[u8], Block> {
    (be_u32, be_u32, be_u32).map(|(piece, begin, length)| Block { piece, begin, length }).parse(input)
}

/// Length, id and block.
const HEAD_BYTES_MAX: usize = 4 + 1 + 12;

/// The beginning of a frame, up to its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    len: u8,
}

impl Head {
    fn put(&mut self, bytes: &[u8]) {
        let len = usize::from(self.len);
        self.bytes[len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    fn put_block(&mut self, id: u8, block: &Block) {
        self.put(&[id]);
        self.put(&block.piece.to_be_bytes());
        self.put(&block.begin.to_be_bytes());
        self.put(&block.length.to_be_bytes());
    }
}

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}
