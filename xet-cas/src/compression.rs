//! How a chunk's bytes are stored in a xorb: raw, as an LZ4 frame, or grouped by byte position first.
//!
//! Compressed bytes are part of no identity: two encoders may differ and still write the same xorb.

mod bg4;
mod lz4;

use std::borrow::Cow;

use crate::Error;

/// Compression scheme of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Scheme {
    /// Stored as it is.
    None = 0,
    /// One LZ4 frame.
    Lz4 = 1,
    /// Bytes regrouped by their position modulo 4, then one LZ4 frame: good for arrays of f32.
    Bg4Lz4 = 2,
}

impl Scheme {
    /// The id on the wire.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Reads an id.
    ///
    /// # Errors
    /// [`Error::UnknownScheme`]. Id 3 exists in one other implementation; no deployed client writes it.
    pub fn from_id(id: u8) -> Result<Self, Error> {
        match id {
            0 => Ok(Self::None),
            1 => Ok(Self::Lz4),
            2 => Ok(Self::Bg4Lz4),
            scheme => Err(Error::UnknownScheme { scheme }),
        }
    }

    /// Compresses a chunk. The result may be longer than the input; [`CompressionPolicy::compress`]
    /// falls back to [`Scheme::None`] then.
    pub fn compress(self, raw: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::None => Cow::Borrowed(raw),
            Self::Lz4 => Cow::Owned(lz4::compress(raw)),
            Self::Bg4Lz4 => Cow::Owned(lz4::compress(&bg4::group(raw))),
        }
    }

    /// Decompresses a stored payload into `out`, whose length is the chunk's announced raw length. Never
    /// writes beyond it and allocates at most that much again; under 1 MiB for a kind of LZ4 frame that Xet
    /// clients do not write.
    ///
    /// # Errors
    /// [`Error::Payload`] when the payload is malformed or decodes to fewer or more bytes.
    pub fn decompress_into(self, stored: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let raw_length = out.len() as u32;
        let error = |reason: String| Error::Payload { scheme: self.id(), raw_length, reason };
        match self {
            Self::None if stored.len() == out.len() => out.copy_from_slice(stored),
            Self::None => return Err(error(format!("it is stored in {} bytes", stored.len()))),
            Self::Lz4 => lz4::decompress_into(stored, out).map_err(error)?,
            Self::Bg4Lz4 => {
                let mut grouped = vec![0; out.len()];
                lz4::decompress_into(stored, &mut grouped).map_err(error)?;
                bg4::ungroup_into(&grouped, out);
            }
        }
        Ok(())
    }
}

/// How a writer chooses the scheme of a run of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompressionPolicy {
    /// Predicts from the first chunk of a run whether byte grouping pays, as the deployed client does.
    #[default]
    Auto,
    /// Always this one.
    Always(Scheme),
}

impl CompressionPolicy {
    /// The scheme for a run that begins with this chunk.
    pub fn choose(self, first_chunk: &[u8]) -> Scheme {
        match self {
            Self::Auto if bg4::pays(first_chunk) => Scheme::Bg4Lz4,
            Self::Auto => Scheme::Lz4,
            Self::Always(scheme) => scheme,
        }
    }

    /// Compresses with `scheme`, or stores the chunk as it is where that is not longer.
    pub fn compress(scheme: Scheme, raw: &[u8]) -> (Scheme, Cow<'_, [u8]>) {
        let stored = scheme.compress(raw);
        if stored.len() < raw.len() { (scheme, stored) } else { (Scheme::None, Cow::Borrowed(raw)) }
    }
}
