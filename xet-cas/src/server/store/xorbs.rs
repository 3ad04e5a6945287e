//! Xorbs: records, and behind them the footer that says where each chunk lies.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{ReadableTable as _, WriteTransaction};
use tempfile::NamedTempFile;

use super::blobs::{Blob, Kind};
use super::folder::in_path;
use super::metadata::{Done, STORED_BYTES, XORBS, add};
use super::{Store, StoreError};
use crate::XorbHash;
use crate::server::app::unix_now;
use crate::xorb::{Footer, Serialized};

/// Largest footer in a file, bytes, its length included.
pub(in super::super) const FOOTER_BYTES_MAX: u64 = Footer::BYTES_MAX as u64;
/// Read from the end of a xorb to get its footer, bytes: that of a xorb of 1,600 chunks, which is 100 MB.
const TAIL_BYTES: u64 = 64 * 1024;
/// A use of a xorb is noted if the last one that was noted is longer ago, seconds: short beside any time after which
/// something is collected.
const USE_NOTED_SECONDS: u64 = 60 * 60;

impl Store {
    /// Whether a xorb is here. Whoever is told so may rely on it for as long as new xorbs are spared.
    pub(in super::super) fn has_xorb(&self, xorb: XorbHash) -> Result<bool, StoreError> {
        let used = self
            .metadata
            .read(|transaction| Ok(transaction.open_table(XORBS)?.get(xorb.as_bytes())?.map(|row| row.value().1)))?;
        match used {
            None => Ok(false),
            Some(used) if used + USE_NOTED_SECONDS > unix_now() => Ok(true),
            // It may have been collected meanwhile.
            Some(_) => self.metadata.write(|transaction| note_use(transaction, xorb)),
        }
    }

    /// Keeps an uploaded xorb. False: it was there already.
    pub(in super::super) fn put_xorb(&self, xorb: SealedXorb) -> Result<bool, StoreError> {
        if self.has_xorb(xorb.hash)? {
            return Ok(false);
        }
        // It is on the disk already.
        self.check_quota(xorb.records_bytes)?;
        self.keep_xorb(xorb)
    }

    /// Keeps a xorb that was built here. False: it was there already.
    pub(in super::super) fn put_built_xorb(&self, built: &Serialized) -> Result<bool, StoreError> {
        if self.has_xorb(built.hash())? {
            return Ok(false);
        }
        self.make_room(built.records.len() as u64)?;
        self.keep_xorb(SealedXorb::new(&built.footer, self.filled(&built.records)?)?)
    }

    fn keep_xorb(&self, xorb: SealedXorb) -> Result<bool, StoreError> {
        let SealedXorb { hash, records_bytes: _, bytes, file } = xorb;
        let _nothing_is_removed = self.spare();
        self.blobs.put(Kind::Xorb, vec![(hash.to_string(), file)])?;
        self.metadata.write(|transaction| {
            let mut xorbs = transaction.open_table(XORBS)?;
            let is_new = xorbs.insert(hash.as_bytes(), (bytes, unix_now()))?.is_none();
            if is_new {
                add(transaction, STORED_BYTES, bytes as i64)?;
            }
            Ok(is_new)
        })
    }

    /// The footer of a xorb that a client names.
    pub(in super::super) fn footer(&self, xorb: XorbHash) -> Result<Arc<Footer>, StoreError> {
        if let Some(footer) = self.footers.get(xorb) {
            return Ok(footer);
        }
        let footer = Arc::new(read_footer(&self.open_xorb(xorb)?, xorb)?);
        self.footers.put(&footer);
        Ok(footer)
    }

    /// The bytes of a xorb, its records first.
    pub(in super::super) fn open_xorb(&self, xorb: XorbHash) -> Result<Blob, StoreError> {
        self.blobs.open(Kind::Xorb, &xorb.to_string())?.ok_or(StoreError::MissingXorb { xorb })
    }
}

/// A xorb that has been checked, in a file as it is stored.
#[derive(Debug)]
pub(in super::super) struct SealedXorb {
    hash: XorbHash,
    records_bytes: u64,
    /// With the footer.
    bytes: u64,
    file: NamedTempFile,
}

impl SealedXorb {
    /// Writes the footer behind the records that the file begins with, and which have been checked.
    pub(in super::super) fn new(footer: &Footer, mut file: NamedTempFile) -> Result<Self, StoreError> {
        let (hash, end, tail) = (footer.hash(), footer.serialized_bytes(), footer.encode());
        let name = hash.to_string();
        let in_upload = || in_path("write a xorb", Path::new(&name));
        let written = file.as_file_mut();
        written.set_len(end).map_err(in_upload())?;
        written.seek(SeekFrom::Start(end)).map_err(in_upload())?;
        written.write_all(&tail).map_err(in_upload())?;
        Ok(Self { hash, records_bytes: end, bytes: end + tail.len() as u64, file })
    }
}

/// Notes that somebody has a use for a xorb. False: it is not here.
pub(super) fn note_use(transaction: &WriteTransaction, xorb: XorbHash) -> Done<bool> {
    let mut xorbs = transaction.open_table(XORBS)?;
    let Some((bytes, used)) = xorbs.get(xorb.as_bytes())?.map(|row| row.value()) else { return Ok(false) };
    let now = unix_now();
    if used + USE_NOTED_SECONDS <= now {
        xorbs.insert(xorb.as_bytes(), (bytes, now))?;
    }
    Ok(true)
}

/// Reads the footer behind the records of a xorb.
pub(super) fn read_footer(blob: &Blob, xorb: XorbHash) -> Result<Footer, StoreError> {
    let path = || PathBuf::from(format!("xorbs/{xorb}"));
    let corrupt = |reason: String| StoreError::Corrupt { path: path(), reason };
    let read_end = |count: u64| {
        let mut end = vec![0; count as usize];
        let read = blob.read_exact_at(&mut end, blob.bytes() - count);
        read.map(|()| end).map_err(in_path("read the footer of a xorb", &path()))
    };
    let mut tail = read_end(TAIL_BYTES.min(blob.bytes()))?;
    let Some(length) = tail.last_chunk() else { return Err(corrupt("it has no footer".into())) };
    let tail_bytes = Footer::tail_bytes(*length);
    let Some(start) = blob.bytes().checked_sub(tail_bytes).filter(|_| tail_bytes <= FOOTER_BYTES_MAX) else {
        return Err(corrupt(format!("its footer claims {tail_bytes} bytes")));
    };
    match tail.len().checked_sub(tail_bytes as usize) {
        Some(before) => drop(tail.drain(..before)),
        None => tail = read_end(tail_bytes)?,
    }
    let footer = Footer::decode_from_end(&tail).map_err(|error| corrupt(error.to_string()))?;
    if footer.hash() != xorb || footer.serialized_bytes() != start {
        return Err(corrupt("its footer belongs to another xorb".into()));
    }
    Ok(footer)
}
