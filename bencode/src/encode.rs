//! Encoding is bendy's: it checks that what is written is canonical.

use alloc::vec::Vec;

pub use bendy::encoding::{Encoder, SingleItemEncoder, ToBencode};

use crate::{Error, OWNED_DEPTH_MAX, OwnedValue};

/// Writes a value in the canonical way.
///
/// # Errors
/// It has more than [`OWNED_DEPTH_MAX`] levels; nothing that was decoded has.
pub fn encode(value: &OwnedValue) -> Result<Vec<u8>, Error> {
    // The order of keys is the map's, so depth is all that bendy can object to.
    value.to_bencode().map_err(|_| Error::EncodeTooDeep { max: OWNED_DEPTH_MAX })
}

/// Recurses a level at a time, until the encoder refuses.
impl ToBencode for OwnedValue {
    const MAX_DEPTH: usize = OWNED_DEPTH_MAX;

    fn encode(&self, encoder: SingleItemEncoder<'_>) -> Result<(), bendy::encoding::Error> {
        match self {
            Self::Integer(integer) => encoder.emit_int(integer.to_i128()),
            Self::Bytes(bytes) => encoder.emit_bytes(bytes),
            Self::List(items) => encoder.emit_list(|encoder| items.iter().try_for_each(|item| encoder.emit(item))),
            Self::Dict(pairs) => {
                encoder.emit_dict(|mut encoder| pairs.iter().try_for_each(|(key, value)| encoder.emit_pair(key, value)))
            }
        }
    }
}
