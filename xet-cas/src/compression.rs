//! How a chunk's bytes are stored in a xorb: raw, as an LZ4 frame, or grouped by byte position first.
//!
//! Compressed bytes are part of no identity: two encoders may differ and still write the same xorb.

mod bg4;
mod lz4;

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
}

/// The scheme is chosen anew after this many chunks, as in the deployed client: neighbours in a file
/// are alike, and the prediction costs a pass over the chunk.
const RUN_CHUNKS: usize = 32;

/// Chooses schemes for the chunks of a xorb in their order, run by run, as the deployed client does.
/// [`xorb::Builder::push`](crate::xorb::Builder::push) holds one; whoever compresses on several threads
/// asks one of their own before they hand a chunk to a thread.
#[derive(Debug, Clone)]
pub struct SchemeChooser {
    policy: CompressionPolicy,
    /// Scheme of the current run, and how many chunks of the run are left.
    run: Option<(Scheme, usize)>,
}

impl SchemeChooser {
    /// Starts at the beginning of a xorb.
    pub fn new(policy: CompressionPolicy) -> Self {
        Self { policy, run: None }
    }

    /// Says that the next chunk begins another file or another xorb, so that its scheme is chosen anew.
    pub fn begin_run(&mut self) {
        self.run = None;
    }

    /// The scheme for the next chunk.
    pub fn choose(&mut self, chunk: &[u8]) -> Scheme {
        let (scheme, left) = match self.run {
            Some((scheme, left)) if left > 0 => (scheme, left),
            _ => (self.policy.choose(chunk), RUN_CHUNKS),
        };
        self.run = Some((scheme, left - 1));
        scheme
    }
}

/// Compresses chunks, one after another, in buffers that are used again. They grow to what the largest chunk
/// needs, less than 300 KiB for one of [`CHUNK_BYTES_MAX`](crate::CHUNK_BYTES_MAX). One for each thread.
#[derive(Debug, Default)]
pub struct Compressor {
    frames: lz4::FrameWriter,
    grouped: Vec<u8>,
}

impl Compressor {
    /// With empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses a chunk, or stores it as it is where that is not longer. Returns the scheme that was used,
    /// and what is to be stored.
    pub fn compress<'a>(&'a mut self, scheme: Scheme, raw: &'a [u8]) -> (Scheme, &'a [u8]) {
        let frame = match scheme {
            Scheme::None => return (Scheme::None, raw),
            Scheme::Lz4 => self.frames.write(raw),
            Scheme::Bg4Lz4 => {
                bg4::group_into(raw, &mut self.grouped);
                self.frames.write(&self.grouped)
            }
        };
        if frame.len() < raw.len() { (scheme, frame) } else { (Scheme::None, raw) }
    }
}

/// Decompresses chunks, one after another, in a buffer that is used again. It grows to the largest chunk, so to
/// [`CHUNK_BYTES_MAX`](crate::CHUNK_BYTES_MAX). One for each thread.
#[derive(Debug, Default)]
pub struct Decompressor {
    grouped: Vec<u8>,
}

impl Decompressor {
    /// With an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decompresses a stored payload into `out`, whose length is the chunk's announced raw length. Never
    /// writes beyond it and allocates at most that much again; under 1 MiB for a kind of LZ4 frame that Xet
    /// clients do not write.
    ///
    /// # Errors
    /// [`Error::Payload`] when the payload is malformed or decodes to fewer or more bytes.
    pub fn decompress_into(&mut self, scheme: Scheme, stored: &[u8], out: &mut [u8]) -> Result<(), Error> {
        if scheme == Scheme::Bg4Lz4 && self.grouped.len() < out.len() {
            self.grouped.resize(out.len(), 0);
        }
        decompress_into(scheme, stored, out, &mut self.grouped)
    }
}

/// `grouped` is at least as long as `out` if bytes are grouped.
pub(crate) fn decompress_into(scheme: Scheme, stored: &[u8], out: &mut [u8], grouped: &mut [u8]) -> Result<(), Error> {
    let raw_length = out.len() as u32;
    let error = |reason: String| Error::Payload { scheme: scheme.id(), raw_length, reason };
    match scheme {
        Scheme::None if stored.len() == out.len() => out.copy_from_slice(stored),
        Scheme::None => return Err(error(format!("it is stored in {} bytes", stored.len()))),
        Scheme::Lz4 => lz4::decompress_into(stored, out).map_err(error)?,
        Scheme::Bg4Lz4 => {
            let grouped = &mut grouped[..out.len()];
            lz4::decompress_into(stored, grouped).map_err(error)?;
            bg4::ungroup_into(grouped, out);
        }
    }
    Ok(())
}
