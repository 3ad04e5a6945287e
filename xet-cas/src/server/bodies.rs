//! Bodies of requests: small ones into memory, large ones into a file, none without a limit.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;
use tokio::time::Instant;

use super::app::App;
use super::refusal::Refusal;
use super::store::StoreError;

/// Written to disk in pieces of at least this many bytes.
const WRITE_BYTES: usize = 1024 * 1024;
/// Whoever sends or takes less than so many bytes in [`Config::stall`](super::Config::stall) makes no progress: a
/// kilobyte a second by default, with which nobody uploads or downloads a model.
pub(super) const PROGRESS_BYTES_MIN: u64 = 64 * 1024;

/// A limit with the name of what it limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// For messages: "the xorb".
    pub(super) what: &'static str,
    pub(super) bytes_max: u64,
}

impl Limit {
    fn refusal(&self) -> Refusal {
        Refusal::too_large(self.what, self.bytes_max)
    }
}

/// A body in a temporary file of the store, which is gone once this is dropped.
pub(super) struct Spooled {
    pub(super) file: NamedTempFile,
    pub(super) length: u64,
}

/// Takes a body into a file.
pub(super) async fn spool(app: &App, headers: &HeaderMap, body: Body, limit: Limit) -> Result<Spooled, Refusal> {
    let mut pieces = Pieces::new(app, headers, body, limit)?;
    let (store, announced) = (app.store.clone(), pieces.announced.unwrap_or(0));
    let mut file =
        app.workers.disk(move || store.check_disk_for_metadata(announced).and_then(|()| store.incoming())).await?;
    let mut buffer = BytesMut::new();
    while let Some(piece) = pieces.next().await? {
        buffer.extend_from_slice(&piece);
        if buffer.len() >= WRITE_BYTES {
            file = append(app, file, buffer.split().freeze()).await?;
        }
    }
    file = append(app, file, buffer.freeze()).await?;
    Ok(Spooled { file, length: pieces.taken })
}

async fn append(app: &App, mut file: NamedTempFile, data: Bytes) -> Result<NamedTempFile, Refusal> {
    let appended = app.workers.disk(move || file.write_all(&data).map(|()| file)).await;
    appended.map_err(|source| StoreError::Io { what: "write an upload", path: "incoming".into(), source }.into())
}

impl Spooled {
    /// The file, at its beginning.
    pub(super) fn rewound(&mut self) -> Result<&mut File, StoreError> {
        let file = self.file.as_file_mut();
        let rewound = file.seek(SeekFrom::Start(0));
        rewound.map_err(|source| StoreError::Io { what: "read an upload", path: "incoming".into(), source })?;
        Ok(file)
    }

    /// All of it, in memory.
    pub(super) fn content(&mut self) -> Result<Vec<u8>, StoreError> {
        let mut content = Vec::with_capacity(self.length as usize);
        let read = self.rewound()?.read_to_end(&mut content);
        read.map_err(|source| StoreError::Io { what: "read an upload", path: "incoming".into(), source })?;
        Ok(content)
    }
}

/// Takes a body into memory and reads it as JSON.
pub(super) async fn json<T: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    limit: Limit,
) -> Result<T, Refusal> {
    let content = content(app, headers, body, limit).await?;
    serde_json::from_slice(&content)
        .map_err(|error| Refusal::bad_request(format!("{} is not the expected JSON: {error}", limit.what)))
}

/// Takes a body into memory and reads it as text.
pub(super) async fn text(app: &App, headers: &HeaderMap, body: Body, limit: Limit) -> Result<String, Refusal> {
    let content = content(app, headers, body, limit).await?;
    let text = std::str::from_utf8(&content).map(str::to_owned);
    text.map_err(|_| Refusal::bad_request(format!("{} is not UTF-8", limit.what)))
}

async fn content(app: &App, headers: &HeaderMap, body: Body, limit: Limit) -> Result<BytesMut, Refusal> {
    let mut pieces = Pieces::new(app, headers, body, limit)?;
    let mut content = BytesMut::new();
    while let Some(piece) = pieces.next().await? {
        content.extend_from_slice(&piece);
    }
    Ok(content)
}

/// Takes a body and forgets it.
pub(super) async fn discard(app: &App, headers: &HeaderMap, body: Body, limit: Limit) -> Result<(), Refusal> {
    let mut pieces = Pieces::new(app, headers, body, limit)?;
    while pieces.next().await?.is_some() {}
    Ok(())
}

/// A body under its limit and the stall deadline.
pub(super) struct Pieces<'a> {
    app: &'a App,
    body: axum::body::BodyDataStream,
    limit: Limit,
    /// Bytes that it is to have, if the client says so.
    announced: Option<u64>,
    taken: u64,
    /// How long it has been waited for since the client last made progress, and what has come since then.
    waited: Duration,
    recent: u64,
}

impl<'a> Pieces<'a> {
    /// Refuses at once what announces to be too long.
    pub(super) fn new(app: &'a App, headers: &HeaderMap, body: Body, limit: Limit) -> Result<Self, Refusal> {
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limit.bytes_max) {
            return Err(limit.refusal());
        }
        Ok(Self { app, body: body.into_data_stream(), limit, announced, taken: 0, waited: Duration::ZERO, recent: 0 })
    }

    /// Bytes that it is to have, if the client says so.
    pub(super) fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// At least so many bytes, or all the rest, as they came; nothing at the end.
    pub(super) async fn batch(&mut self, bytes_min: usize) -> Result<Vec<Bytes>, Refusal> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_min
            && let Some(piece) = self.next().await?
        {
            bytes += piece.len();
            batch.push(piece);
        }
        Ok(batch)
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let asked = Instant::now();
        let left = self.app.config.stall.saturating_sub(self.waited);
        let next = tokio::time::timeout(left, self.body.next()).await;
        let Some(piece) = next.map_err(|_| Refusal::timeout(self.limit.what))? else { return Ok(None) };
        let piece = piece.map_err(|error| Refusal::bad_request(format!("{} broke off: {error}", self.limit.what)))?;
        // Time in which it was not waited for is not the client's.
        self.waited += asked.elapsed();
        self.recent += piece.len() as u64;
        if self.recent >= PROGRESS_BYTES_MIN {
            (self.recent, self.waited) = (0, Duration::ZERO);
        }
        self.taken += piece.len() as u64;
        if self.taken > self.limit.bytes_max {
            return Err(self.limit.refusal());
        }
        Ok(Some(piece))
    }
}
