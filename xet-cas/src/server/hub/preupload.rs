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
/// Files in a request.
const FILES_MAX: usize = 5_000;
/// Bytes of paths that are matched, each line of `.gitattributes` counted: a few seconds with the worst of patterns.
const MATCHED_BYTES_MAX: u64 = 50_000_000;
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
    let answer = app.workers.reads(move || answer(&store, &located, request)).await?;
    Ok(json(&answer))
}

fn answer(store: &Store, located: &Located, request: PreuploadRequest) -> Result<PreuploadAnswer, Refusal> {
    // A `.gitattributes` that is uploaded along counts already.
    let attributes = match request.git_attributes {
        Some(mut uploaded) => {
            let end = (0..=uploaded.len().min(ATTRIBUTES_BYTES_MAX as usize))
                .rev()
                .find(|end| uploaded.is_char_boundary(*end));
            uploaded.truncate(end.unwrap_or_default());
            uploaded
        }
        None => repo_attributes(store, located)?,
    };
    let attributes = Attributes::parse(&attributes);
    let path_bytes: u64 = request.files.iter().map(|file| file.path.len() as u64).sum();
    if request.files.len() > FILES_MAX || attributes.lines() as u64 * path_bytes > MATCHED_BYTES_MAX {
        return Err(Refusal::bad_request(
            "these are too many files for one request, or too many lines of .gitattributes",
        ));
    }
    let files =
        request.files.into_iter().map(|file| mode(store, located, &attributes, file)).collect::<Result<_, _>>()?;
    Ok(PreuploadAnswer { files })
}

fn mode(
    store: &Store,
    located: &Located,
    attributes: &Attributes,
    file: PreuploadFile,
) -> Result<PreuploadMode, Refusal> {
    let PreuploadFile { path, sample, size } = file;
    check_path(&path).map_err(Refusal::bad_request)?;
    let sample =
        STANDARD.decode(sample).map_err(|error| Refusal::bad_request(format!("the sample of `{path}`: {error}")))?;
    // Nothing can be stored for an empty file, so it has no chunks to upload.
    let is_large = size > 0 && (size > REGULAR_BYTES_MAX || attributes.is_lfs(&path) || sample.contains(&0));
    // What has been lost since is to be sent again.
    let oid = match located.commit.files.get(&path) {
        None => None,
        Some(entry) => match &entry.content {
            Content::Regular => store.has_object(&entry.oid)?.then(|| entry.oid.clone()),
            Content::Xet { sha256, hash } => store.has_file(*hash)?.then(|| sha256.clone()),
            Content::Lfs { sha256 } => Some(sha256.clone()),
        },
    };
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
