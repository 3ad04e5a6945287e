//! What may come for a request, and what has come. The asking side checks the peer by it, the answering side itself.

use std::collections::BTreeSet;

use xet_cas::xorb::{RAW_BYTES_MAX, RecordHeader};
use xet_cas::{CHUNK_BYTES_MAX, Leaf};

use super::response::Response;
use crate::message::chunks_window_bytes;
use crate::{
    Chunk, Error, HaveEntry, Limits, Manifest, ManifestForm, Object, ObjectKind, Range, Schemes, Status, Unit,
};

/// What may still come for a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// Entries about these objects.
    Have(BTreeSet<Object>),
    /// A list of this form; `None` once it has come.
    Manifest(Option<ManifestForm>),
    /// Chunks.
    Range(RangeAnswer),
    /// One response of a legacy dialect to us.
    Response { response: Response, window_bytes: u64 },
    /// One response of a legacy dialect by us.
    Stream(Stream),
}

impl Answer {
    /// What the request takes of the window until its END, bytes.
    pub(super) fn window_bytes(&self) -> u64 {
        match self {
            Self::Have(_) | Self::Manifest(_) => 0,
            Self::Range(range) => range.window_bytes,
            Self::Response { window_bytes, .. } => *window_bytes,
            // What is served one at a time, as it is read, takes no memory however long the line is.
            Self::Stream(_) => 0,
        }
    }

    /// Objects about which something may come.
    pub(super) fn objects(&self) -> usize {
        match self {
            Self::Have(objects) => objects.len(),
            Self::Manifest(_) | Self::Range(_) | Self::Response { .. } | Self::Stream(_) => 0,
        }
    }

    /// What an honest peer may yet have on the way, bytes on the wire.
    pub(super) fn wire_bytes_max(&self, limits: &Limits) -> u64 {
        let message = limits.message_bytes_max as u64;
        match self {
            // Their end is the last that comes for them.
            Self::Response { .. } | Self::Stream(_) => 0,
            Self::Have(objects) if objects.is_empty() => 0,
            Self::Manifest(None) => 0,
            Self::Have(_) | Self::Manifest(Some(_)) => message,
            Self::Range(range) if range.window_bytes == 0 => 0,
            Self::Range(range) => {
                let manifest = if range.manifest.is_some() { message } else { 0 };
                // Stored chunks may have twice their raw length.
                manifest + range.raw_bytes_left.saturating_mul(2)
            }
        }
    }

    /// # Errors
    /// [`Error::NotAskedFor`] if the request asks for something else, or an entry is about something else.
    pub(super) fn have(&mut self, id: u32, entries: &[HaveEntry]) -> Result<(), Error> {
        let Self::Have(objects) = self else {
            return Err(Error::NotAskedFor { message: "HAVE", id });
        };
        let about: BTreeSet<Object> = entries.iter().map(|entry| entry.object).collect();
        if about.len() < entries.len() || !about.is_subset(objects) {
            return Err(Error::NotAskedFor { message: "HAVE about another object", id });
        }
        objects.retain(|object| !about.contains(object));
        Ok(())
    }

    /// # Errors
    /// [`Error::NotAskedFor`] unless a list of this form has yet to come.
    pub(super) fn manifest(&mut self, id: u32, manifest: &Manifest) -> Result<(), Error> {
        let expected = match self {
            Self::Have(_) | Self::Response { .. } | Self::Stream(_) => None,
            Self::Manifest(form) => form.take_if(|form| *form == manifest.form()),
            Self::Range(range) => range.manifest.take_if(|form| *form == manifest.form()),
        };
        if expected.is_none() {
            return Err(Error::NotAskedFor { message: "MANIFEST", id });
        }
        if let Self::Range(range) = self {
            range.narrow(manifest.first, &manifest.leaves);
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::NotAskedFor`] if the request does not ask for chunks.
    pub(super) fn range(&mut self, id: u32) -> Result<&mut RangeAnswer, Error> {
        match self {
            Self::Range(range) => Ok(range),
            _ => Err(Error::NotAskedFor { message: "CHUNK", id }),
        }
    }

    /// # Errors
    /// [`Error::NotAskedFor`] if the request was not made in a legacy dialect.
    pub(super) fn response(&mut self, id: u32) -> Result<&mut Response, Error> {
        match self {
            Self::Response { response, .. } => Ok(response),
            _ => Err(Error::NotAskedFor { message: "CHUNK_RESPONSE", id }),
        }
    }

    /// What we may send for a request in a legacy dialect.
    pub(super) fn stream(&mut self) -> Option<&mut Stream> {
        match self {
            Self::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// Nobody wants what comes: what is held of it is dropped.
    pub(super) fn give_up(&mut self) {
        if let Self::Response { response, .. } = self {
            response.give_up();
        }
    }
}

/// What we may send for a request in a legacy dialect: one response, of a length that is said first.
#[derive(Debug)]
pub(super) struct Stream {
    /// What was asked for.
    pub(super) hash: [u8; 32],
    /// Data that may be sent at most, bytes.
    pub(super) bytes_max: u64,
    /// Data that was promised and not sent, bytes; `None` before the response has begun.
    pub(super) left: Option<u64>,
}

/// The chunks that may still come for a range.
#[derive(Debug)]
pub(super) struct RangeAnswer {
    unit: Unit,
    accept: Schemes,
    /// Form of the list that has to come first.
    manifest: Option<ManifestForm>,
    /// Index that the next chunk has at least and at most.
    index_min: u64,
    index_max: u64,
    /// Uncompressed bytes that may yet come.
    raw_bytes_left: u64,
    window_bytes: u64,
}

impl RangeAnswer {
    pub(super) fn new(range: &Range) -> Self {
        let count = range.end.saturating_sub(range.start);
        let chunk = CHUNK_BYTES_MAX as u64;
        let (index_min, index_max, raw_bytes_left) = match range.unit {
            Unit::Chunks => (range.start, range.end.saturating_sub(1), count.saturating_mul(chunk).min(RAW_BYTES_MAX)),
            // The first and the last chunk have at least one byte inside of the range.
            Unit::FileBytes | Unit::Unknown(_) => (0, u32::MAX.into(), count.saturating_add(2 * (chunk - 1))),
        };
        Self {
            unit: range.unit,
            accept: range.accept,
            manifest: range.manifest(),
            index_min,
            index_max,
            raw_bytes_left,
            window_bytes: range.window_bytes(),
        }
    }

    /// A chunk has come that nobody wants any more: only its index is looked at.
    ///
    /// # Errors
    /// A chunk that may not come.
    pub(super) fn pass_over(&mut self, chunk: &Chunk) -> Result<(), Error> {
        self.check_index(chunk.id, chunk.index)?;
        self.index_min = u64::from(chunk.index) + 1;
        Ok(())
    }

    /// A chunk has come. Returns its header, and the bytes of the window that are free again.
    ///
    /// # Errors
    /// A chunk that may not come. Nothing has changed.
    pub(super) fn chunk(&mut self, chunk: &Chunk) -> Result<(RecordHeader, u64), Error> {
        let Chunk { id, index, .. } = *chunk;
        self.check_index(id, index)?;
        let header = chunk.header().map_err(|source| Error::Record { id, index, source })?;
        if !self.accept.contains(header.scheme) {
            return Err(Error::SchemeNotAccepted { id, index, scheme: header.scheme.id() });
        }
        let raw_bytes = u64::from(header.raw_length);
        self.raw_bytes_left = self.raw_bytes_left.checked_sub(raw_bytes).ok_or(Error::TooManyBytes { id })?;
        self.index_min = u64::from(index) + 1;
        let window_bytes = match self.unit {
            Unit::Chunks => chunks_window_bytes(self.index_max + 1 - self.index_min),
            Unit::FileBytes | Unit::Unknown(_) => self.window_bytes.saturating_sub(raw_bytes),
        };
        let freed = self.window_bytes - window_bytes;
        self.window_bytes = window_bytes;
        Ok((header, freed))
    }

    fn check_index(&self, id: u32, index: u32) -> Result<(), Error> {
        if self.manifest.is_some() {
            return Err(Error::NotAskedFor { message: "CHUNK before the list", id });
        }
        let (min, max) = (self.index_min, self.index_max);
        if u64::from(index) < min || u64::from(index) > max {
            return Err(Error::ChunkOutOfRange { id, index, min, max });
        }
        Ok(())
    }

    /// The list of a run says which chunks it has; those of a range in bytes are among them.
    fn narrow(&mut self, first: u32, leaves: &[Leaf]) {
        if self.unit != Unit::Chunks {
            self.index_min = first.into();
            self.index_max = u64::from(first) + leaves.len() as u64 - 1;
        }
    }
}

/// Whether a range is one that can be answered; else how it ends.
pub(super) fn check_range(range: &Range, limits: &Limits) -> Result<(), Status> {
    let count = range.end.saturating_sub(range.start);
    match range.unit {
        Unit::Unknown(_) => return Err(Status::Unsupported),
        Unit::FileBytes if range.object.kind != ObjectKind::File => return Err(Status::Unsupported),
        Unit::FileBytes | Unit::Chunks if count == 0 => return Err(Status::Error),
        Unit::Chunks if count > limits.leaves_max as u64 => return Err(Status::TooLarge),
        Unit::FileBytes | Unit::Chunks => {}
    }
    if range.window_bytes() > limits.range_bytes_max { Err(Status::TooLarge) } else { Ok(()) }
}
