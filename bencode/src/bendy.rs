//! Our owned values through the traits of [bendy](https://docs.rs/bendy), for programs whose types have them.

use alloc::borrow::ToOwned;

use ::bendy::decoding::{Error as DecodingError, FromBencode, Object};
use ::bendy::encoding::{Error as EncodingError, SingleItemEncoder, ToBencode};

use crate::{Integer, OWNED_DEPTH_MAX, OwnedValue, decode};

/// Recurses a level at a time, until the encoder refuses.
impl ToBencode for OwnedValue {
    const MAX_DEPTH: usize = OWNED_DEPTH_MAX;

    fn encode(&self, encoder: SingleItemEncoder<'_>) -> Result<(), EncodingError> {
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

/// Strict, under the default limits.
impl FromBencode for OwnedValue {
    const EXPECTED_RECURSION_DEPTH: usize = OWNED_DEPTH_MAX;

    fn decode_bencode_object(object: Object<'_, '_>) -> Result<Self, DecodingError> {
        let raw = match object {
            Object::Integer(digits) => return Ok(Self::Integer(integer(digits)?)),
            Object::Bytes(bytes) => return Ok(Self::Bytes(bytes.to_owned())),
            Object::List(list) => list.into_raw()?,
            Object::Dict(dict) => dict.into_raw()?,
        };
        decode(raw).and_then(|document| document.root().into_owned()).map_err(DecodingError::malformed_content)
    }
}

fn integer(digits: &str) -> Result<Integer, DecodingError> {
    let number: i128 = digits.parse()?;
    Integer::try_from(number).map_err(DecodingError::malformed_content)
}
