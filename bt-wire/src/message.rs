use bytes::Bytes;
use nom::bytes::complete::take;
use nom::combinator::{all_consuming, rest, success, verify};
use nom::number::complete::{be_u8, be_u16, be_u32};
use nom::{IResult, Parser};

use crate::kind::*;
use crate::{Error, Head};

/// What travels after the handshake (BEP 3, 5, 6, 10 and 52): a length of four bytes, an id, a body. Integers
/// are big-endian.
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
    /// 13: a piece that the sender would like to be asked for (BEP 6).
    SuggestPiece {
        /// Index of the piece.
        piece: u32,
    },
    /// 14: the sender has all pieces; in place of a bitfield (BEP 6).
    HaveAll,
    /// 15: the sender has no piece; in place of a bitfield (BEP 6).
    HaveNone,
    /// 16: a request that will not be answered (BEP 6).
    RejectRequest(Block),
    /// 17: a piece that may be asked for while choked (BEP 6).
    AllowedFast {
        /// Index of the piece.
        piece: u32,
    },
    /// 20: a message of an extension (BEP 10).
    Extended {
        /// The number under which the *receiver* announced the extension, or
        /// [`EXTENSION_HANDSHAKE_ID`](crate::EXTENSION_HANDSHAKE_ID).
        id: u8,
        /// The extension's.
        payload: Bytes,
    },
    /// 21: asks for hashes of a file's tree (BEP 52).
    HashRequest(HashRange),
    /// 22: hashes of a file's tree (BEP 52).
    Hashes {
        /// As in the request.
        range: HashRange,
        /// 32 bytes each: those of the base layer, then those that prove them, bottom up.
        hashes: Bytes,
    },
    /// 23: a request for hashes that will not be answered (BEP 52).
    HashReject(HashRange),
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

/// Hashes of a file's tree, side by side, and how far up to prove them (BEP 52).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashRange {
    /// The root of the tree: which file it is.
    pub pieces_root: [u8; 32],
    /// The layer that the hashes are in; that of the leaves is 0.
    pub base_layer: u32,
    /// Where in the layer they begin, hashes. A multiple of the length.
    pub index: u32,
    /// How many there are: a power of two, at least 2.
    pub length: u32,
    /// Layers above the base layer to prove them with.
    pub proof_layers: u32,
}

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
            SUGGEST_PIECE => fixed(be_u32.map(|piece| Self::SuggestPiece { piece })).parse(body),
            HAVE_ALL => fixed(success(Self::HaveAll)).parse(body),
            HAVE_NONE => fixed(success(Self::HaveNone)).parse(body),
            REJECT_REQUEST => fixed(block.map(Self::RejectRequest)).parse(body),
            ALLOWED_FAST => fixed(be_u32.map(|piece| Self::AllowedFast { piece })).parse(body),
            HASH_REQUEST => fixed(hash_range.map(Self::HashRequest)).parse(body),
            HASHES => (hash_range.map(|range| Self::Hashes { range, hashes: Bytes::new() }), whole_hashes).parse(body),
            HASH_REJECT => fixed(hash_range.map(Self::HashReject)).parse(body),
            EXTENDED => (be_u8.map(|id| Self::Extended { id, payload: Bytes::new() }), rest).parse(body),
            id => Ok((&[], (Self::Unknown { id, payload }, body))),
        };
        match parsed {
            Ok((_, (message, payload))) => Ok((message, payload.len())),
            Err(_) => Err(Error::MessageLength { name: name(id), id, bytes: body.len() }),
        }
    }

    /// The id; `None` for a keep-alive, which has none.
    pub fn id(&self) -> Option<u8> {
        Some(match self {
            Self::KeepAlive => return None,
            Self::Choke => CHOKE,
            Self::Unchoke => UNCHOKE,
            Self::Interested => INTERESTED,
            Self::NotInterested => NOT_INTERESTED,
            Self::Have { .. } => HAVE,
            Self::Bitfield(_) => BITFIELD,
            Self::Request(_) => REQUEST,
            Self::Piece { .. } => PIECE,
            Self::Cancel(_) => CANCEL,
            Self::Port(_) => PORT,
            Self::SuggestPiece { .. } => SUGGEST_PIECE,
            Self::HaveAll => HAVE_ALL,
            Self::HaveNone => HAVE_NONE,
            Self::RejectRequest(_) => REJECT_REQUEST,
            Self::AllowedFast { .. } => ALLOWED_FAST,
            Self::Extended { .. } => EXTENDED,
            Self::HashRequest(_) => HASH_REQUEST,
            Self::Hashes { .. } => HASHES,
            Self::HashReject(_) => HASH_REJECT,
            Self::Unknown { id, .. } => *id,
        })
    }

    /// What the kind is called in errors.
    pub(crate) fn name(&self) -> &'static str {
        self.id().map_or("keep-alive", name)
    }

    /// The payload, which is the end of the message. `None` if its kind has none.
    pub fn payload(&self) -> Option<&Bytes> {
        match self {
            Self::Bitfield(payload)
            | Self::Piece { data: payload, .. }
            | Self::Hashes { hashes: payload, .. }
            | Self::Extended { payload, .. }
            | Self::Unknown { payload, .. } => Some(payload),
            _ => None,
        }
    }

    /// The payload, without the rest.
    #[cfg(feature = "net")]
    pub(crate) fn into_payload(mut self) -> Option<Bytes> {
        self.payload_mut().map(std::mem::take)
    }

    pub(crate) fn payload_mut(&mut self) -> Option<&mut Bytes> {
        match self {
            Self::Bitfield(payload)
            | Self::Piece { data: payload, .. }
            | Self::Hashes { hashes: payload, .. }
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
        let mut head = Head::new();
        if let Some(id) = self.id() {
            head.put(&[id]);
        }
        match self {
            Self::Have { piece } | Self::SuggestPiece { piece } | Self::AllowedFast { piece } => {
                head.put_u32s(&[*piece])
            }
            Self::Request(block) | Self::Cancel(block) | Self::RejectRequest(block) => {
                head.put_u32s(&[block.piece, block.begin, block.length])
            }
            Self::Piece { piece, begin, .. } => head.put_u32s(&[*piece, *begin]),
            Self::Port(port) => head.put(&port.to_be_bytes()),
            Self::Extended { id, .. } => head.put(&[*id]),
            Self::HashRequest(range) | Self::Hashes { range, .. } | Self::HashReject(range) => {
                head.put(&range.pieces_root);
                head.put_u32s(&[range.base_layer, range.index, range.length, range.proof_layers]);
            }
            _ => {}
        }
        let bytes = head.as_ref().len() - 4 + self.payload().map_or(0, Bytes::len);
        let length = u32::try_from(bytes).map_err(|_| Error::Unframeable { bytes })?;
        Ok(head.with_length(length))
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

/// `pieces_root: 32 bytes, base_layer: u32, index: u32, length: u32, proof_layers: u32`
fn hash_range(input: &[u8]) -> IResult<&[u8], HashRange> {
    let fields = (take(32_usize), be_u32, be_u32, be_u32, be_u32);
    let range = |(root, base_layer, index, length, proof_layers): (&[u8], _, _, _, _)| HashRange {
        pieces_root: root.try_into().expect("just taken"),
        base_layer,
        index,
        length,
        proof_layers,
    };
    fields.map(range).parse(input)
}

/// All that is left, which is hashes of 32 bytes.
fn whole_hashes(input: &[u8]) -> IResult<&[u8], &[u8]> {
    verify(rest, |hashes: &[u8]| hashes.len().is_multiple_of(32)).parse(input)
}
