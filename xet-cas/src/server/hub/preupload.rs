//! `POST .../preupload/{revision}`: which way each file is to be uploaded.

use std::io::Read as _;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::attributes::{ATTRIBUTES_BYTES_MAX, Attributes};
use super::{App, Head, Located, Refusal, RepoKey, json, locate};
use crate::api::{PreuploadAnswer, PreuploadFile, PreuploadMode, PreuploadRequest, UploadMode, check_path};
use crate::server::bodies::{self, Limit};
use crate::server::store::{Content, Store, StoreError};

/// Larger files go through Xet, bytes. The Hub's own limit.
pub(super) const REGULAR_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// The request, bytes: `huggingface_hub` asks for 256 files at a time, with 512 bytes of each.
const REQUEST: Limit = Limit { what: "the request", bytes_max: 4 * 1024 * 1024 };
const ATTRIBUTES_FILE: &str = ".gitattributes";

pub(super) async fn preupload(
    app: Arc<App>,
    head: Head,
    body: Body,
    repo: RepoKey,
    revision: String,
) -> Result<Response, Refusal> {
    let request: PreuploadRequest = bodies::json(&app, &head.headers, body, REQUEST).await?;
    let located = locate(&app, repo, revision).await?;
    let store = Arc::clone(&app.store);
    let answer = app.workers.disk(move || answer(&store, &located, request)).await?;
    Ok(json(&answer))
}

fn answer(store: &Store, located: &Located, request: PreuploadRequest) -> Result<PreuploadAnswer, Refusal> {
    // A `.gitattributes` that is uploaded along counts already.
    let attributes = match request.git_attributes {
        Some(uploaded) => uploaded,
        None => repo_attributes(store, located)?,
    };
    let attributes = Attributes::parse(&attributes);
    let files = request.files.into_iter().map(|file| mode(located, &attributes, file)).collect::<Result<_, _>>()?;
    Ok(PreuploadAnswer { files })
}

fn mode(located: &Located, attributes: &Attributes, file: PreuploadFile) -> Result<PreuploadMode, Refusal> {
    let PreuploadFile { path, sample, size } = file;
    check_path(&path).map_err(Refusal::bad_request)?;
    let sample =
        STANDARD.decode(sample).map_err(|error| Refusal::bad_request(format!("the sample of `{path}`: {error}")))?;
    // Nothing can be stored for an empty file, so it has no chunks to upload.
    let is_large = size > 0 && (size > REGULAR_BYTES_MAX || attributes.is_lfs(&path) || sample.contains(&0));
    let oid = located.commit.files.get(&path).map(|entry| match &entry.content {
        Content::Regular => entry.oid.clone(),
        Content::Xet { sha256, .. } | Content::Lfs { sha256 } => sha256.clone(),
    });
    let upload_mode = if is_large { UploadMode::Lfs } else { UploadMode::Regular };
    Ok(PreuploadMode { path, upload_mode, should_ignore: false, oid })
}

fn repo_attributes(store: &Store, located: &Located) -> Result<String, StoreError> {
    let Some(entry) = located.commit.files.get(ATTRIBUTES_FILE).filter(|entry| entry.content == Content::Regular)
    else {
        return Ok(String::new());
    };
    let mut text = Vec::new();
    let read = store.open_object(&entry.oid)?.reader(0).take(ATTRIBUTES_BYTES_MAX).read_to_end(&mut text);
    read.map_err(|source| StoreError::Io { what: "read a regular file", path: entry.oid.clone().into(), source })?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
