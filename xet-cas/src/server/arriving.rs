//! Xorbs on their way in: written to a file, and checked while they arrive.

use std::io::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use crc64fast_nvme::Digest;
use futures::future;
use tempfile::NamedTempFile;

use super::app::App;
use super::bodies::{Limit, Pieces};
use super::refusal::Refusal;
use super::store::{SealedXorb, StoreError};
use crate::xorb::Validator;
use crate::{Error, XorbHash};

/// Written and checked at once, bytes. While that is done, as many more may arrive.
const BATCH_BYTES: usize = 512 * 1024;

/// A xorb as far as it has arrived.
pub(super) struct ArrivingXorb {
    file: NamedTempFile,
    bytes: u64,
    validator: Validator,
    /// Only if somebody wants to know it.
    checksum: Option<Digest>,
}

impl ArrivingXorb {
    /// Takes a body of it. What is wrong with the xorb is told by [`seal`](Self::seal).
    pub(super) async fn receive(
        app: &App,
        headers: &HeaderMap,
        body: Body,
        limit: Limit,
        checksum: Option<Digest>,
    ) -> Result<Self, Refusal> {
        let mut pieces = Pieces::new(app, headers, body, limit)?;
        let store = Arc::clone(&app.store);
        let bytes = pieces.announced().unwrap_or(limit.bytes_max);
        let file = app.workers.disk(move || store.check_disk(bytes).and_then(|()| store.incoming())).await?;
        let mut xorb = Self { file, bytes: 0, validator: Validator::new(), checksum };
        let mut batch = pieces.batch(BATCH_BYTES).await?;
        while !batch.is_empty() {
            let next;
            (xorb, next) = future::try_join(xorb.taken(app, batch), pieces.batch(BATCH_BYTES)).await?;
            batch = next;
        }
        Ok(xorb)
    }

    async fn taken(mut self, app: &App, batch: Vec<Bytes>) -> Result<Self, Refusal> {
        let taken = app.workers.check(move || self.take(&batch).map(|()| self)).await;
        taken.map_err(|source| StoreError::Io { what: "write an upload", path: "incoming".into(), source }.into())
    }

    fn take(&mut self, batch: &[Bytes]) -> std::io::Result<()> {
        for piece in batch {
            if let Some(checksum) = &mut self.checksum {
                checksum.write(piece);
            }
            // It remembers what it refuses.
            let _ = self.validator.push(piece);
            self.file.write_all(piece)?;
            self.bytes += piece.len() as u64;
        }
        Ok(())
    }

    /// Bytes that have arrived.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// CRC-64/NVME of them, if it was to be computed.
    pub(super) fn checksum(&self) -> Option<u64> {
        self.checksum.as_ref().map(Digest::sum64)
    }

    /// Says that it is complete, and makes of it what is stored. Behind the records may stand a footer that says the
    /// same and is not longer than so many bytes. Blocks.
    pub(super) fn seal(self, xorb: XorbHash, footer_bytes_max: u64) -> Result<SealedXorb, StoreError> {
        let footer = self.validator.finish(xorb)?;
        let behind = self.bytes - footer.serialized_bytes();
        Error::check_bounds("bytes behind the records", behind, 0, footer_bytes_max)?;
        SealedXorb::new(&footer, self.file)
    }
}
