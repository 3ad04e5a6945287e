//! What can be wrong with bytes that claim to be Xet.

use crate::{FileHash, XorbHash};

/// Why bytes or text are not what they claim to be. Nothing in the formats does I/O, so every variant
/// but [`XorbFull`](Self::XorbFull) and [`Keyed`](Self::Keyed) is the fault of whoever sent the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that should be a hash is not 64 hexadecimal digits.
    #[error("a Xet hash is 64 hexadecimal digits, got {len} bytes of other text")]
    HashText {
        /// Length of the text, bytes.
        len: usize,
    },
    /// The input ends inside a structure.
    #[error("{what} is cut short: needs {needed} bytes, has {available}")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Bytes it needs.
        needed: u64,
        /// Bytes there are.
        available: u64,
    },
    /// A chunk record has a version that is not 0.
    #[error("chunk record version {version} is unknown (only 0 is)")]
    RecordVersion {
        /// The version found.
        version: u8,
    },
    /// A compression scheme that no Xet client writes.
    #[error("compression scheme {scheme} is unknown (0, 1 and 2 are known)")]
    UnknownScheme {
        /// The scheme id found.
        scheme: u8,
    },
    /// A length or count outside its bounds.
    #[error("{what} is {value}, allowed are {min} to {max}")]
    OutOfBounds {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
        /// Smallest allowed value.
        min: u64,
        /// Largest allowed value.
        max: u64,
    },
    /// A compressed payload that does not decode to exactly the announced bytes.
    #[error("chunk payload of scheme {scheme} does not decode to {raw_length} bytes: {reason}")]
    Payload {
        /// Compression scheme id.
        scheme: u8,
        /// Bytes it should decode to.
        raw_length: u32,
        /// What the decoder said.
        reason: String,
    },
    /// A fixed marker is not there.
    #[error("{what} does not begin with its marker")]
    Marker {
        /// The structure.
        what: &'static str,
    },
    /// Two statements about the same thing differ.
    #[error("{what} disagree: {left} and {right}")]
    Mismatch {
        /// What is compared.
        what: &'static str,
        /// First value.
        left: u64,
        /// Second value.
        right: u64,
    },
    /// The chunks of a xorb do not reduce to the hash that names it.
    #[error("xorb {claimed} has chunks that hash to {actual}")]
    XorbHash {
        /// The hash it was asked for by.
        claimed: XorbHash,
        /// The hash of what it holds.
        actual: XorbHash,
    },
    /// The chunks of a file do not reduce to the hash that names it.
    #[error("file {claimed} has chunks that hash to {actual}")]
    FileHash {
        /// The hash it was asked for by.
        claimed: FileHash,
        /// The hash of what it holds.
        actual: FileHash,
    },
    /// The bytes of a file do not hash to the digest that names them.
    #[error("its bytes hash to {actual}, not {claimed}")]
    Digest {
        /// The digest it was asked for by, in hexadecimal digits.
        claimed: String,
        /// The digest of what came.
        actual: String,
    },
    /// A proof that is not one, whatever it hashes to.
    #[error("the proof does not hold: {reason}")]
    Proof {
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// Runs of a list that do not fit together, or one that contradicts itself.
    #[error("the subtree is inconsistent: {reason}")]
    Subtree {
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// A reconstruction that does not describe the file it was asked for.
    #[error("reconstruction is inconsistent: {reason}")]
    Reconstruction {
        /// What does not fit.
        reason: String,
    },
    /// An answer of several byte ranges that is not the one that was asked for.
    #[error("the answer of several ranges is broken: {reason}")]
    Multipart {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The chunks of a shard are listed under a key, so no other can be applied to them.
    #[error("the shard is keyed already")]
    Keyed,
    /// Our own builder was given more than a xorb holds; start another one.
    #[error("the xorb is full: 64 MiB of raw bytes or 8,192 chunks")]
    XorbFull,
}

impl Error {
    /// Whether the sender of the input is at fault, as opposed to the caller of this crate.
    pub fn is_peer_fault(&self) -> bool {
        !matches!(self, Self::XorbFull | Self::Keyed)
    }

    pub(crate) fn truncated(what: &'static str, needed: usize, available: usize) -> Self {
        Self::Truncated { what, needed: needed as u64, available: available as u64 }
    }

    /// Checks that `value` lies in `min..=max`.
    pub(crate) fn check_bounds(what: &'static str, value: u64, min: u64, max: u64) -> Result<(), Self> {
        if value < min || value > max {
            return Err(Self::OutOfBounds { what, value, min, max });
        }
        Ok(())
    }

    /// Checks that two statements about the same thing agree.
    pub(crate) fn check_equal(what: &'static str, left: u64, right: u64) -> Result<(), Self> {
        if left != right {
            return Err(Self::Mismatch { what, left, right });
        }
        Ok(())
    }
}
