use bytes::{Buf as _, Bytes};

use crate::head::{HEAD_BYTES_MAX, HeadWriter};
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
        match Self::decode_fixed(&frame)? {
            Some(message) => Ok(message),
            None => Self::decode_with_payload(frame),
        }
    }

    /// Reads a frame of a kind that has no payload. `None` if the kind has one.
    #[inline(always)]
    pub(crate) fn decode_fixed(frame: &[u8]) -> Result<Option<Self>, Error> {
        let Some((&id, body)) = frame.split_first() else { return Ok(Some(Self::KeepAlive)) };
        let message = match id {
            CHOKE if body.is_empty() => Some(Self::Choke),
            UNCHOKE if body.is_empty() => Some(Self::Unchoke),
            INTERESTED if body.is_empty() => Some(Self::Interested),
            NOT_INTERESTED if body.is_empty() => Some(Self::NotInterested),
            HAVE => number(body).map(|piece| Self::Have { piece }),
            REQUEST => block(body).map(Self::Request),
            CANCEL => block(body).map(Self::Cancel),
            PORT => body.try_into().ok().map(|port| Self::Port(u16::from_be_bytes(port))),
            SUGGEST_PIECE => number(body).map(|piece| Self::SuggestPiece { piece }),
            HAVE_ALL if body.is_empty() => Some(Self::HaveAll),
            HAVE_NONE if body.is_empty() => Some(Self::HaveNone),
            REJECT_REQUEST => block(body).map(Self::RejectRequest),
            ALLOWED_FAST => number(body).map(|piece| Self::AllowedFast { piece }),
            HASH_REQUEST => body.try_into().ok().map(|fields| Self::HashRequest(hash_range(fields))),
            HASH_REJECT => body.try_into().ok().map(|fields| Self::HashReject(hash_range(fields))),
            CHOKE | UNCHOKE | INTERESTED | NOT_INTERESTED | HAVE_ALL | HAVE_NONE => None,
            _ => return Ok(None),
        };
        if message.is_none() {
            return Err(length_error(frame));
        }
        Ok(message)
    }

    /// Reads a frame of a kind that has a payload, which becomes what is left of the frame.
    fn decode_with_payload(mut frame: Bytes) -> Result<Self, Error> {
        let Some((&id, body)) = frame.split_first() else { return Ok(Self::KeepAlive) };
        let (message, fields) = match id {
            BITFIELD => (Some(Self::Bitfield(Bytes::new())), 0),
            PIECE => {
                let fields = body.first_chunk::<8>().map(|fields| numbers(fields));
                (fields.map(|[piece, begin]| Self::Piece { piece, begin, data: Bytes::new() }), 8)
            }
            EXTENDED => (body.first().map(|id| Self::Extended { id: *id, payload: Bytes::new() }), 1),
            HASHES => {
                let whole = body.len() % HASH_BYTES as usize == HASH_FIELDS_BYTES % HASH_BYTES as usize;
                let fields = body.first_chunk::<HASH_FIELDS_BYTES>().filter(|_| whole);
                let range = fields.map(hash_range);
                (range.map(|range| Self::Hashes { range, hashes: Bytes::new() }), HASH_FIELDS_BYTES)
            }
            id => (Some(Self::Unknown { id, payload: Bytes::new() }), 0),
        };
        let mut message = message.ok_or_else(|| length_error(&frame))?;
        frame.advance(1 + fields);
        if let Some(payload) = message.payload_mut() {
            *payload = frame;
        }
        Ok(message)
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

    fn payload_mut(&mut self) -> Option<&mut Bytes> {
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
        let mut bytes = [0; HEAD_BYTES_MAX];
        let len = self.write_head(&mut bytes)?;
        Ok(Head::new(bytes, len))
    }

    /// Writes the head to the front of `out`, and says how long it is.
    #[inline]
    pub(crate) fn write_head(&self, out: &mut [u8; HEAD_BYTES_MAX]) -> Result<usize, Error> {
        let Some(id) = self.id() else { return Ok(HeadWriter::new(out, 0).len()) };
        let fields = match shape(id) {
            Some(Shape::Exactly(bytes) | Shape::AtLeast(bytes)) => bytes as usize,
            None => 1,
        };
        let bytes = fields + self.payload().map_or(0, Bytes::len);
        let mut head = HeadWriter::new(out, u32::try_from(bytes).map_err(|_| Error::Unframeable { bytes })?);
        head.put(&[id]);
        match self {
            Self::Have { piece } | Self::SuggestPiece { piece } | Self::AllowedFast { piece } => {
                head.put_u32s([*piece])
            }
            Self::Request(block) | Self::Cancel(block) | Self::RejectRequest(block) => {
                head.put_u32s([block.piece, block.begin, block.length])
            }
            Self::Piece { piece, begin, .. } => head.put_u32s([*piece, *begin]),
            Self::Port(port) => head.put(&port.to_be_bytes()),
            Self::Extended { id, .. } => head.put(&[*id]),
            Self::HashRequest(range) | Self::Hashes { range, .. } | Self::HashReject(range) => {
                head.put(&range.pieces_root);
                head.put_u32s([range.base_layer, range.index, range.length, range.proof_layers]);
            }
            _ => {}
        }
        Ok(head.len())
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

#[cold]
fn length_error(frame: &[u8]) -> Error {
    let id = frame.first().copied().unwrap_or_default();
    Error::MessageLength { name: name(id), id, bytes: frame.len().saturating_sub(1) }
}

/// `N` numbers of four bytes.
fn numbers<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut numbers = [0; N];
    for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
        *number = u32::from_be_bytes(*bytes);
    }
    numbers
}

fn number(body: &[u8]) -> Option<u32> {
    body.try_into().ok().map(u32::from_be_bytes)
}

/// `piece: u32, begin: u32, length: u32`
fn block(body: &[u8]) -> Option<Block> {
    let body: &[u8; 12] = body.try_into().ok()?;
    let [piece, begin, length] = numbers(body);
    Some(Block { piece, begin, length })
}

/// `pieces_root: 32 bytes, base_layer: u32, index: u32, length: u32, proof_layers: u32`
fn hash_range(fields: &[u8; HASH_FIELDS_BYTES]) -> HashRange {
    let (root, fields) = fields.split_at(32);
    let [base_layer, index, length, proof_layers] = numbers(fields);
    HashRange { pieces_root: root.try_into().expect("32 of 48 bytes"), base_layer, index, length, proof_layers }
}
