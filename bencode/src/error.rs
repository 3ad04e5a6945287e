use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::Deviation;

/// Why bytes are not bencode, or a value cannot be written as such.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input is malformed, or beyond the limits.
    #[error("{fault} at byte {offset}{}", At(path))]
    #[non_exhaustive]
    Decode {
        /// What is wrong.
        fault: Fault,
        /// Where, counted from the beginning of the input.
        offset: usize,
        /// Keys and list positions that lead there, as `info.files[3].length`; empty at the top. Long keys
        /// and paths are shortened, bytes that are not graphic ASCII are escaped.
        path: Box<str>,
    },
    /// A value of ours is nested deeper than is ever written.
    #[error("a value nested deeper than {max} levels is not encoded")]
    EncodeTooDeep {
        /// Levels that are written.
        max: usize,
    },
}

impl Error {
    /// Whether the sender of the input is at fault, as opposed to the caller of this crate.
    pub fn is_peer_fault(&self) -> bool {
        matches!(self, Self::Decode { .. })
    }

    /// What is wrong with the input.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Decode { fault, .. } => Some(*fault),
            Self::EncodeTooDeep { .. } => None,
        }
    }

    /// Whether more input could make it valid: it ends inside a value and has no other fault.
    pub fn is_truncated(&self) -> bool {
        self.fault() == Some(Fault::Truncated)
    }

    pub(crate) fn decode(fault: Fault, offset: usize, path: String) -> Self {
        Self::Decode { fault, offset, path: path.into() }
    }
}

struct At<'a>(&'a str);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ", in {}", self.0) }
    }
}

/// What can be wrong with input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The input ends inside a value.
    #[error("the input ends inside a value")]
    Truncated,
    /// A byte that cannot be where it is.
    #[error("expected {expected}, found byte 0x{byte:02x}")]
    Unexpected {
        /// What could be there.
        expected: &'static str,
        /// What is there.
        byte: u8,
    },
    /// An integer below `i64::MIN` or above `u64::MAX`.
    #[error("the integer is out of range")]
    IntegerOverflow,
    /// The length of a string does not fit a length.
    #[error("the length of the string is out of range")]
    LengthOverflow,
    /// The key of a dictionary is not a string.
    #[error("a key is not a string")]
    KeyNotString,
    /// A dictionary ends behind a key.
    #[error("a key has no value")]
    MissingValue,
    /// The input goes on behind the value.
    #[error("bytes follow the value")]
    TrailingBytes,
    /// Strict decoding only: the value is not written in the canonical way.
    #[error("not canonical: {0}")]
    NotCanonical(Deviation),
    /// More levels than [`Limits::depth_max`](crate::Limits::depth_max), or than an owned value may have.
    #[error("nested deeper than {max} levels")]
    TooDeep {
        /// Levels allowed.
        max: usize,
    },
    /// More tokens than [`Limits::tokens_max`](crate::Limits::tokens_max).
    #[error("more than {max} tokens")]
    TooManyTokens {
        /// Tokens allowed.
        max: usize,
    },
    /// A longer string than [`Limits::string_bytes_max`](crate::Limits::string_bytes_max). Said before any of
    /// it is waited for.
    #[error("a string of {length} bytes, allowed are {max}")]
    StringTooLong {
        /// Its length, bytes.
        length: u64,
        /// Bytes allowed.
        max: usize,
    },
    /// The value goes on past 4 GiB.
    #[error("the value is larger than 4 GiB")]
    TooLarge,
}
