use alloc::vec::Vec;

use crate::integer::write_digits;
use crate::{Error, OWNED_DEPTH_MAX, OwnedValue};

/// Writes a value in the canonical way.
///
/// # Errors
/// It has more than [`OWNED_DEPTH_MAX`] levels; nothing that was decoded has.
pub fn encode(value: &OwnedValue) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Appends a value, written in the canonical way. So one buffer does for many messages.
///
/// # Errors
/// As of [`encode`]; then nothing is appended.
pub fn encode_into(value: &OwnedValue, out: &mut Vec<u8>) -> Result<(), Error> {
    let before = out.len();
    write(value, OWNED_DEPTH_MAX, out).inspect_err(|_| out.truncate(before))
}

/// Recurses a level at a time. The order of keys is the map's.
fn write(value: &OwnedValue, levels_left: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let inside = levels_left.checked_sub(1).ok_or(Error::EncodeTooDeep { max: OWNED_DEPTH_MAX });
    match value {
        OwnedValue::Integer(integer) => {
            out.push(b'i');
            integer.write(out);
        }
        OwnedValue::Bytes(bytes) => {
            write_string(bytes, out);
            return Ok(());
        }
        OwnedValue::List(items) => {
            let levels_left = inside?;
            out.push(b'l');
            items.iter().try_for_each(|item| write(item, levels_left, out))?;
        }
        OwnedValue::Dict(pairs) => {
            let levels_left = inside?;
            out.push(b'd');
            for (key, value) in pairs {
                write_string(key, out);
                write(value, levels_left, out)?;
            }
        }
    }
    out.push(b'e');
    Ok(())
}

/// Appends `string: length ':' bytes`.
#[inline]
pub(crate) fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    write_digits(bytes.len() as u64, out);
    out.push(b':');
    out.extend_from_slice(bytes);
}
