//! Checks a xorb while it arrives.

use super::record::{FOOTER_MARKER, Record, RecordHeader, STORED_BYTES_MAX};
use super::{CHUNKS_MAX, Footer, RAW_BYTES_MAX, SERIALIZED_BYTES_MAX};
use crate::{Error, Leaf, XorbHash};

/// Takes a xorb piece by piece and checks of it what [`Footer::validate`] checks of one that is there as a whole. That is
/// one piece for a validator, so the same bytes get the same answer however they are cut.
///
/// Holds less than 2 MiB: a record that has not arrived completely, a decoded chunk, what is known of the chunks so far,
/// and what stands behind the records. Decodes and hashes in [`push`](Self::push), so that is what takes time.
///
/// ```
/// # use xet_cas::{CompressionPolicy, Leaf, xorb::{Builder, Validator}};
/// # let mut builder = Builder::new(CompressionPolicy::Auto);
/// # builder.push(Leaf::of(b"chunk"), b"chunk")?;
/// # let built = builder.finish();
/// let mut validator = Validator::new();
/// for piece in built.records.chunks(5) {
///     validator.push(piece)?;
/// }
/// assert_eq!(built.footer, validator.finish(built.hash())?);
/// # Ok::<(), xet_cas::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Validator {
    leaves: Vec<Leaf>,
    record_ends: Vec<u32>,
    raw_bytes: u64,
    /// The front of a record that has not arrived completely, or what stands behind the records.
    pending: Vec<u8>,
    scratch: Vec<u8>,
    refused: Option<Error>,
}

// What is pending may always be a record.
const _: () = assert!(RecordHeader::BYTES + (STORED_BYTES_MAX as usize) <= Footer::BYTES_MAX);

/// What stands where a record could.
enum Front {
    /// Too few bytes to tell.
    Short,
    Record(RecordHeader),
    Footer,
}

impl Front {
    fn of(data: &[u8]) -> Result<Self, Error> {
        if data.starts_with(FOOTER_MARKER) {
            return Ok(Self::Footer);
        }
        data.first_chunk().map_or(Ok(Self::Short), |header| RecordHeader::decode(header).map(Self::Record))
    }

    /// Bytes after which more can be told or done.
    fn wanted_bytes(&self) -> usize {
        match self {
            Self::Short => RecordHeader::BYTES,
            Self::Record(header) => header.record_bytes(),
            Self::Footer => usize::MAX,
        }
    }
}

impl Validator {
    /// Begins at the first byte of a xorb.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes, as many or few as there are.
    ///
    /// # Errors
    /// What does not decode or exceeds the limits of a xorb, as soon as it has arrived. Such a xorb stays refused.
    pub fn push(&mut self, data: &[u8]) -> Result<(), Error> {
        if let Some(error) = &self.refused {
            return Err(error.clone());
        }
        // Taken out, so that a record in it can be looked at while the rest changes.
        let mut pending = std::mem::take(&mut self.pending);
        let taken = self.take(&mut pending, data);
        self.pending = pending;
        taken.inspect_err(|error| self.refused = Some(error.clone()))
    }

    fn take(&mut self, pending: &mut Vec<u8>, mut data: &[u8]) -> Result<(), Error> {
        while !pending.is_empty() {
            let front = Front::of(pending)?;
            let missing = front.wanted_bytes() - pending.len();
            if let (Front::Record(header), 0) = (&front, missing) {
                self.record(&Record { header: *header, payload: &pending[RecordHeader::BYTES..] })?;
                pending.clear();
                break;
            }
            if data.is_empty() {
                break;
            }
            let (more, rest) = data.split_at(missing.min(data.len()));
            append(pending, more)?;
            data = rest;
        }
        // Most records need not be copied.
        while let Front::Record(header) = Front::of(data)?
            && let Some((record, rest)) = data.split_at_checked(header.record_bytes())
        {
            self.record(&Record { header, payload: &record[RecordHeader::BYTES..] })?;
            data = rest;
        }
        append(pending, data)
    }

    fn record(&mut self, record: &Record<'_>) -> Result<(), Error> {
        let raw_bytes = self.raw_bytes + u64::from(record.header.raw_length);
        let end = self.serialized_bytes() + record.header.record_bytes() as u64;
        Error::check_bounds("chunks of a xorb", self.leaves.len() as u64 + 1, 1, CHUNKS_MAX as u64)?;
        Error::check_bounds("raw bytes of a xorb", raw_bytes, 1, RAW_BYTES_MAX)?;
        Error::check_bounds("serialized bytes of a xorb", end, 1, SERIALIZED_BYTES_MAX)?;
        self.leaves.push(Leaf::of(record.decode(&mut self.scratch)?));
        self.record_ends.push(end as u32);
        self.raw_bytes = raw_bytes;
        Ok(())
    }

    /// Bytes of the records that have arrived completely.
    pub fn serialized_bytes(&self) -> u64 {
        self.record_ends.last().copied().unwrap_or(0).into()
    }

    /// Says that all has arrived, and checks it against the name under which the xorb was sent. A footer behind the
    /// records must say the same; anything else there is refused.
    ///
    /// # Errors
    /// What [`push`](Self::push) refused, an end inside a record, another name, or a footer of something else.
    pub fn finish(self, claimed: XorbHash) -> Result<Footer, Error> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        let behind = match Front::of(&self.pending)? {
            Front::Footer => self.pending.as_slice(),
            _ if self.pending.is_empty() => &[],
            Front::Short => {
                return Err(Error::truncated("chunk header", RecordHeader::BYTES, self.pending.len()));
            }
            Front::Record(header) => {
                let (needed, available) = (header.stored_length as usize, self.pending.len() - RecordHeader::BYTES);
                return Err(Error::truncated("chunk payload", needed, available));
            }
        };
        Error::check_bounds("chunks of a xorb", self.leaves.len() as u64, 1, CHUNKS_MAX as u64)?;
        let actual = Leaf::xorb_hash(&self.leaves);
        if actual != claimed {
            return Err(Error::XorbHash { claimed, actual });
        }
        let footer = Footer::from_parts(claimed, self.leaves, self.record_ends);
        footer.check_behind_records(behind)?;
        Ok(footer)
    }
}

/// Keeps what cannot be looked at yet. Of what stands behind the records that is at most as much as a footer has.
fn append(pending: &mut Vec<u8>, data: &[u8]) -> Result<(), Error> {
    // Of anything longer the answer tells only that it is.
    let room = Footer::BYTES_MAX + 1 - pending.len().min(Footer::BYTES_MAX + 1);
    pending.extend_from_slice(&data[..data.len().min(room)]);
    Error::check_bounds("bytes behind the records", pending.len() as u64, 0, Footer::BYTES_MAX as u64)
}
