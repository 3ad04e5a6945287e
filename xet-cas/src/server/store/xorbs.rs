//! Xorbs: records, and behind them the footer that says where each chunk lies.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;

use super::folder::{in_path, open};
use super::{Store, StoreError};
use crate::xorb::{Footer, SERIALIZED_BYTES_MAX};
use crate::{Error, XorbHash};

/// Largest footer in a file, bytes, its length included.
pub(in super::super) const FOOTER_BYTES_MAX: u64 = Footer::BYTES_MAX as u64;

impl Store {
    fn xorb_path(&self, xorb: XorbHash) -> PathBuf {
        self.named("xorbs", &xorb.to_string())
    }

    pub(in super::super) fn has_xorb(&self, xorb: XorbHash) -> bool {
        self.xorb_path(xorb).exists()
    }

    /// Checks an uploaded xorb and keeps it. False: it was there already. The upload may end with a footer, as
    /// older clients send it.
    pub(in super::super) fn put_xorb(&self, xorb: XorbHash, upload: NamedTempFile) -> Result<bool, StoreError> {
        self.put_checked(xorb, upload, FOOTER_BYTES_MAX)
    }

    /// [`put_xorb`](Self::put_xorb) of an upload that is to hold records alone.
    pub(in super::super) fn put_xorb_records(&self, xorb: XorbHash, upload: NamedTempFile) -> Result<bool, StoreError> {
        self.put_checked(xorb, upload, 0)
    }

    fn put_checked(
        &self,
        xorb: XorbHash,
        mut upload: NamedTempFile,
        footer_bytes_max: u64,
    ) -> Result<bool, StoreError> {
        let target = self.xorb_path(xorb);
        if target.exists() {
            return Ok(false);
        }
        let in_upload = || in_path("check an upload", &target);
        let file = upload.as_file_mut();
        let mut body = Vec::new();
        file.seek(SeekFrom::Start(0)).map_err(in_upload())?;
        file.take(SERIALIZED_BYTES_MAX + FOOTER_BYTES_MAX).read_to_end(&mut body).map_err(in_upload())?;
        let footer = Footer::validate(xorb, &body)?;
        let end = footer.serialized_bytes();
        Error::check_bounds("bytes behind the records", body.len() as u64 - end, 0, footer_bytes_max)?;
        drop(body);

        file.set_len(end).map_err(in_upload())?;
        file.seek(SeekFrom::Start(end)).map_err(in_upload())?;
        file.write_all(&footer.encode()).map_err(in_upload())?;
        self.publish(upload, &target)
    }

    /// The footer of a xorb that a client names.
    pub(in super::super) fn footer(&self, xorb: XorbHash) -> Result<Arc<Footer>, StoreError> {
        let path = self.xorb_path(xorb);
        let Some(mut file) = open(&path)? else { return Err(StoreError::MissingXorb { xorb }) };
        read_footer(&mut file, xorb, &path).map(Arc::new)
    }

    /// The file of a xorb, its records first.
    pub(in super::super) fn open_xorb(&self, xorb: XorbHash) -> Result<File, StoreError> {
        open(&self.xorb_path(xorb))?.ok_or(StoreError::MissingXorb { xorb })
    }
}

fn read_footer(file: &mut File, xorb: XorbHash, path: &Path) -> Result<Footer, StoreError> {
    let corrupt = |reason: String| StoreError::Corrupt { path: path.to_owned(), reason };
    let in_xorb = || in_path("read the footer of a xorb", path);
    let length = file.metadata().map_err(in_xorb())?.len();
    let mut last = [0; 4];
    file.seek(SeekFrom::Start(length.saturating_sub(4))).map_err(in_xorb())?;
    file.read_exact(&mut last).map_err(in_xorb())?;
    let tail_bytes = Footer::tail_bytes(last);
    let Some(start) = length.checked_sub(tail_bytes).filter(|_| tail_bytes <= FOOTER_BYTES_MAX) else {
        return Err(corrupt(format!("its footer claims {tail_bytes} bytes")));
    };
    let mut tail = vec![0; tail_bytes as usize];
    file.seek(SeekFrom::Start(start)).map_err(in_xorb())?;
    file.read_exact(&mut tail).map_err(in_xorb())?;
    let footer = Footer::decode_from_end(&tail).map_err(|error| corrupt(error.to_string()))?;
    if footer.hash() != xorb || footer.serialized_bytes() != start {
        return Err(corrupt("its footer belongs to another xorb".into()));
    }
    Ok(footer)
}
