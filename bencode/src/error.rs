use alloc::boxed::Box;
use alloc::string::String;
#[cfg(feature = "serde")]
use alloc::string::ToString;
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
    /// What was decoded is not what the type takes that it was to become.
    #[cfg(feature = "serde")]
    #[error("{message}{}", Where(offset, path))]
    #[non_exhaustive]
    Mismatch {
        /// What was expected, and what there is.
        message: Box<str>,
        /// Where the value begins, counted from the beginning of the input; `None` if this did not come from input.
        offset: Option<usize>,
        /// As of [`Error::Decode`].
        path: Box<str>,
    },
    /// A value of ours has no form in bencode, or its type refused to be written.
    #[cfg(feature = "serde")]
    #[error("{message} is not encoded")]
    #[non_exhaustive]
    NotEncodable {
        /// What cannot be written, or what the type said.
        message: Box<str>,
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
        match self {
            Self::Decode { .. } => true,
            #[cfg(feature = "serde")]
            Self::Mismatch { .. } => true,
            #[cfg(feature = "serde")]
            Self::NotEncodable { .. } => false,
            Self::EncodeTooDeep { .. } => false,
        }
    }

    /// What is wrong with the input.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Decode { fault, .. } => Some(*fault),
            _ => None,
        }
    }

    /// Where the input is at fault, counted from its beginning.
    pub fn offset(&self) -> Option<usize> {
        match self {
            Self::Decode { offset, .. } => Some(*offset),
            #[cfg(feature = "serde")]
            Self::Mismatch { offset, .. } => *offset,
            _ => None,
        }
    }

    /// Keys and list positions that lead to where the input is at fault, as `info.files[3].length`; empty at the top.
    pub fn path(&self) -> &str {
        match self {
            Self::Decode { path, .. } => path,
            #[cfg(feature = "serde")]
            Self::Mismatch { path, .. } => path,
            _ => "",
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

#[cfg(feature = "serde")]
impl Error {
    /// Says where an error is that does not say so.
    pub(crate) fn locate(self, place: impl FnOnce() -> (usize, String)) -> Self {
        match self {
            Self::Mismatch { message, offset: None, .. } => {
                let (offset, path) = place();
                Self::Mismatch { message, offset: Some(offset), path: path.into() }
            }
            other => other,
        }
    }

    pub(crate) fn not_encodable(what: impl fmt::Display) -> Self {
        Self::NotEncodable { message: what.to_string().into() }
    }
}

#[cfg(feature = "serde")]
impl serde_core::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Mismatch { message: message.to_string().into(), offset: None, path: Box::default() }
    }
}

#[cfg(feature = "serde")]
impl serde_core::ser::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::not_encodable(message)
    }
}

#[cfg(feature = "serde")]
struct Where<'a>(&'a Option<usize>, &'a str);

#[cfg(feature = "serde")]
impl fmt::Display for Where<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(offset) => write!(f, " at byte {offset}{}", At(self.1)),
            None => Ok(()),
        }
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
    /// The value is larger than [`Limits::value_bytes_max`](crate::Limits::value_bytes_max). Said as soon as a length
    /// announces it.
    #[error("the value is larger than {max} bytes")]
    TooLarge {
        /// Bytes allowed.
        max: usize,
    },
}
