//! Metadata from peers (BEP 9): the info dictionary in pieces of 16 KiB, for those who have only its hash.

use bencode::OwnedValue;
use bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::{Error, InfoHash, Limits};

/// Name of the extension.
pub const UT_METADATA: &str = "ut_metadata";

/// Bytes of every piece of the metadata but the last.
pub const METADATA_PIECE_BYTES: u32 = 16 * 1024;

const REQUEST: u64 = 0;
const DATA: u64 = 1;
const REJECT: u64 = 2;

/// The dictionary of a message has three keys; some programs add one.
const TOKENS_MAX: usize = 100;

/// A message of the extension [`UT_METADATA`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataMessage {
    /// 0: asks for a piece.
    Request {
        /// Index of the piece.
        piece: u32,
    },
    /// 1: a piece. It lies within the metadata and has the length that it must have there.
    Data {
        /// Index of the piece.
        piece: u32,
        /// Bytes of the whole metadata. A claim.
        total_size: u32,
        /// The piece.
        data: Bytes,
    },
    /// 2: the sender does not have the piece.
    Reject {
        /// Index of the piece.
        piece: u32,
    },
    /// Any other type. Not an error: to be ignored.
    Unknown {
        /// The type.
        msg_type: u64,
        /// The whole message.
        payload: Bytes,
    },
}

impl MetadataMessage {
    /// Reads the payload of a message of the extension. What is not canonical is accepted.
    ///
    /// # Errors
    /// It is not bencode, has no type or piece, or data of another length than its sizes say or the limits allow.
    pub fn decode(payload: Bytes, limits: &Limits) -> Result<Self, Error> {
        let mut bencode_limits = bencode::Limits::default();
        bencode_limits.tokens_max = TOKENS_MAX;
        let decoder = bencode::Decoder::lenient().limits(bencode_limits);
        let (document, rest) =
            decoder.decode_prefix(&payload).map_err(|source| Error::Extension { name: UT_METADATA, source })?;
        let data = payload.slice_ref(rest);
        let number = |key: &'static str| {
            let value = document.root().get(key.as_bytes()).and_then(|value| value.as_u64());
            value.ok_or(Error::ExtensionField { name: UT_METADATA, key })
        };
        let piece = || u32::try_from(number("piece")?).map_err(|_| Error::Metadata { what: "a piece beyond the last" });
        match number("msg_type")? {
            REQUEST => Ok(Self::Request { piece: piece()? }),
            REJECT => Ok(Self::Reject { piece: piece()? }),
            DATA => {
                let (piece, total_size) = (piece()?, metadata_size(number("total_size")?, limits)?);
                let expected = piece_bytes(piece, total_size)?;
                if data.len() != expected as usize {
                    return Err(Error::Metadata { what: "a piece that has not the length of its place" });
                }
                Ok(Self::Data { piece, total_size, data })
            }
            msg_type => Ok(Self::Unknown { msg_type, payload }),
        }
    }

    /// The payload to send.
    pub fn encode(&self) -> Bytes {
        let dict = |msg_type: u64, piece: u32, total_size: Option<u32>| {
            let mut pairs = vec![("msg_type", OwnedValue::from(msg_type)), ("piece", piece.into())];
            pairs.extend(total_size.map(|size| ("total_size", size.into())));
            bencode::encode(&OwnedValue::dict(pairs)).unwrap_or_default()
        };
        match self {
            Self::Request { piece } => dict(REQUEST, *piece, None).into(),
            Self::Reject { piece } => dict(REJECT, *piece, None).into(),
            Self::Data { piece, total_size, data } => {
                let mut payload = dict(DATA, *piece, Some(*total_size));
                payload.extend_from_slice(data);
                payload.into()
            }
            Self::Unknown { payload, .. } => payload.clone(),
        }
    }

    /// The answer to a request, of one who has the metadata.
    pub fn answer(metadata: &Bytes, piece: u32) -> Self {
        let bytes = u32::try_from(metadata.len()).ok().and_then(|size| Some((size, piece_bytes(piece, size).ok()?)));
        let Some((total_size, bytes)) = bytes else { return Self::Reject { piece } };
        let begin = piece as usize * METADATA_PIECE_BYTES as usize;
        Self::Data { piece, total_size, data: metadata.slice(begin..begin + bytes as usize) }
    }
}

/// A size that a peer claims, if it is one that we take.
fn metadata_size(claimed: u64, limits: &Limits) -> Result<u32, Error> {
    let size = u32::try_from(claimed).ok().filter(|size| (1..=limits.metadata_bytes_max).contains(size));
    size.ok_or(Error::MetadataSize { bytes: claimed, max: limits.metadata_bytes_max })
}

/// Bytes of a piece of metadata of a size.
fn piece_bytes(piece: u32, total_size: u32) -> Result<u32, Error> {
    let begin = piece.checked_mul(METADATA_PIECE_BYTES).filter(|begin| *begin < total_size);
    let begin = begin.ok_or(Error::Metadata { what: "a piece beyond the last" })?;
    Ok(METADATA_PIECE_BYTES.min(total_size - begin))
}

/// Metadata that is put together from what peers send. Its memory follows what has come, not what was claimed.
#[derive(Debug, Clone)]
pub struct MetadataCollector {
    total_size: u32,
    pieces: Vec<Option<Bytes>>,
    missing: usize,
}

impl MetadataCollector {
    /// Of the size that a peer claims in its extension handshake.
    ///
    /// # Errors
    /// [`Error::MetadataSize`] if it is 0 or larger than the limits allow.
    pub fn new(claimed_size: u64, limits: &Limits) -> Result<Self, Error> {
        let total_size = metadata_size(claimed_size, limits)?;
        let missing = total_size.div_ceil(METADATA_PIECE_BYTES) as usize;
        Ok(Self { total_size, pieces: vec![None; missing], missing })
    }

    /// The pieces that have not come, ascending.
    pub fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.pieces).filter(|(_, piece)| piece.is_none()).map(|(index, _)| index)
    }

    /// Takes a piece, copying it, and says whether that was the last one. One that is there already is kept.
    ///
    /// # Errors
    /// The sizes are not those of this metadata: this peer, or the one that claimed the size, lies.
    pub fn handle_data(&mut self, piece: u32, total_size: u32, data: &[u8]) -> Result<bool, Error> {
        if total_size != self.total_size {
            return Err(Error::Metadata { what: "another size than before" });
        }
        if data.len() != piece_bytes(piece, total_size)? as usize {
            return Err(Error::Metadata { what: "a piece that has not the length of its place" });
        }
        if let Some(slot @ None) = self.pieces.get_mut(piece as usize) {
            *slot = Some(Bytes::copy_from_slice(data));
            self.missing -= 1;
        }
        Ok(self.missing == 0)
    }

    /// The metadata, if all has come and it has this hash (SHA-1, that of BEP 3). If it has not, begin anew: it
    /// is not known which piece is wrong.
    ///
    /// # Errors
    /// [`Error::Metadata`].
    pub fn finish(self, info_hash: &InfoHash) -> Result<Vec<u8>, Error> {
        let pieces: Option<Vec<Bytes>> = self.pieces.into_iter().collect();
        let metadata = pieces.ok_or(Error::MetadataIncomplete)?.concat();
        if Sha1::digest(&metadata)[..] != info_hash.as_bytes()[..] {
            return Err(Error::Metadata { what: "metadata of another hash" });
        }
        Ok(metadata)
    }
}
