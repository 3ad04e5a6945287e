//! The kinds of messages: their ids, names and lengths.

/// Bytes of a hash (BEP 52).
pub(crate) const HASH_BYTES: u32 = 32;
/// Bytes of what says which hashes.
pub(crate) const HASH_FIELDS_BYTES: usize = 48;

pub(crate) const CHOKE: u8 = 0;
pub(crate) const UNCHOKE: u8 = 1;
pub(crate) const INTERESTED: u8 = 2;
pub(crate) const NOT_INTERESTED: u8 = 3;
pub(crate) const HAVE: u8 = 4;
pub(crate) const BITFIELD: u8 = 5;
pub(crate) const REQUEST: u8 = 6;
pub(crate) const PIECE: u8 = 7;
pub(crate) const CANCEL: u8 = 8;
pub(crate) const PORT: u8 = 9;
pub(crate) const SUGGEST_PIECE: u8 = 13;
pub(crate) const HAVE_ALL: u8 = 14;
pub(crate) const HAVE_NONE: u8 = 15;
pub(crate) const REJECT_REQUEST: u8 = 16;
pub(crate) const ALLOWED_FAST: u8 = 17;
pub(crate) const EXTENDED: u8 = 20;
pub(crate) const HASH_REQUEST: u8 = 21;
pub(crate) const HASHES: u8 = 22;
pub(crate) const HASH_REJECT: u8 = 23;

/// Length of the frames of a kind, if all of them have the same, or of the fixed fields before the payload.
/// `None` if the id is not known.
pub(crate) fn shape(id: u8) -> Option<Shape> {
    use Shape::{AtLeast, Exactly};

    Some(match id {
        CHOKE | UNCHOKE | INTERESTED | NOT_INTERESTED | HAVE_ALL | HAVE_NONE => Exactly(1),
        HAVE | SUGGEST_PIECE | ALLOWED_FAST => Exactly(5),
        REQUEST | CANCEL | REJECT_REQUEST => Exactly(13),
        PORT => Exactly(3),
        HASH_REQUEST | HASH_REJECT => Exactly(49),
        BITFIELD => AtLeast(1),
        PIECE => AtLeast(9),
        EXTENDED => AtLeast(2),
        HASHES => AtLeast(49),
        _ => return None,
    })
}

/// How long frames of a kind are, bytes, their length prefix not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All the same.
    Exactly(u32),
    /// What stands before the payload.
    AtLeast(u32),
}

/// Bytes from the id to the payload, of the kinds that have one.
#[cfg(feature = "net")]
pub(crate) fn fields_before_payload(id: u8) -> Option<u32> {
    match shape(id) {
        Some(Shape::AtLeast(fields)) => Some(fields),
        Some(Shape::Exactly(_)) => None,
        None => Some(1),
    }
}

pub(crate) fn name(id: u8) -> &'static str {
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
        SUGGEST_PIECE => "suggest piece",
        HAVE_ALL => "have all",
        HAVE_NONE => "have none",
        REJECT_REQUEST => "reject request",
        ALLOWED_FAST => "allowed fast",
        EXTENDED => "extended",
        HASH_REQUEST => "hash request",
        HASHES => "hashes",
        HASH_REJECT => "hash reject",
        _ => "unknown",
    }
}
