use alloc::string::String;

use crate::scan::Scan;
use crate::token::Failure;
use crate::{Document, Error, Fault, Limits};

/// Decodes a whole input in strict mode under default limits.
///
/// # Errors
/// Anything but exactly one canonical value within the limits.
pub fn decode(input: &[u8]) -> Result<Document<'_>, Error> {
    Decoder::strict().decode(input)
}

/// Decodes a value at the front of the input, in strict mode under default limits, and returns what follows it.
///
/// # Errors
/// Anything but a canonical value within the limits.
pub fn decode_prefix(input: &[u8]) -> Result<(Document<'_>, &[u8]), Error> {
    Decoder::strict().decode_prefix(input)
}

/// What to do about input that is not canonical: see [`Deviation`](crate::Deviation).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Refuse it.
    Strict,
    /// Decode it and [report](Document::deviations) it. Of equal keys the first counts.
    Lenient,
}

/// How to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoder {
    mode: Mode,
    limits: Limits,
}

impl Decoder {
    /// Refuses what is not canonical.
    pub fn strict() -> Self {
        Self { mode: Mode::Strict, limits: Limits::default() }
    }

    /// Accepts what is not canonical, as messages of other programs may be.
    pub fn lenient() -> Self {
        Self { mode: Mode::Lenient, limits: Limits::default() }
    }

    /// Sets what is refused.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Decodes a whole input.
    ///
    /// # Errors
    /// Anything but exactly one value within the limits.
    pub fn decode<'a>(&self, input: &'a [u8]) -> Result<Document<'a>, Error> {
        let (document, rest) = self.decode_prefix(input)?;
        if rest.is_empty() {
            Ok(document)
        } else {
            Err(Error::decode(Fault::TrailingBytes, document.input.len(), String::new()))
        }
    }

    /// Decodes a value at the front of the input and returns what follows it.
    ///
    /// # Errors
    /// Anything but a value within the limits.
    pub fn decode_prefix<'a>(&self, input: &'a [u8]) -> Result<(Document<'a>, &'a [u8]), Error> {
        let mut scan = Scan::default();
        match self.run(&mut scan, input) {
            Ok(()) => Ok(scan.finish(input)),
            Err(failure) => Err(Error::decode(failure.fault, failure.offset, scan.path(input))),
        }
    }

    pub(crate) fn run(&self, scan: &mut Scan, input: &[u8]) -> Result<(), Failure> {
        scan.run(input, self.mode, &self.limits)
    }
}

impl Default for Decoder {
    /// Strict, under default limits.
    fn default() -> Self {
        Self::strict()
    }
}
