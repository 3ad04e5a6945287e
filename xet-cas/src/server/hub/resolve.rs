//! `GET|HEAD /{repo}/resolve/{revision}/{path}`: one file; `.../raw/...`: what git has of it.
//!
//! Regular files are answered with their bytes. For others, the answer says how to get them through Xet, and
//! leads to their plain bytes: the same path at the commit, signed. That URL answers with the same
//! metadata, because `huggingface_hub` follows a redirect on the same host before it reads them.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Deserialize;

use super::{Action, App, Head, Located, Refusal, RepoKey, admit, locate};
use crate::api::{REPO_COMMIT_HEADER, encode_path};
use crate::server::app::unix_now;
use crate::server::delivery::{self, Extent, Kind, Stretch};
use crate::server::follow;
use crate::server::ingest::Arrival;
use crate::server::keys::Resource;
use crate::server::mirror::{Place, Source, patiently};
use crate::server::plain::PlainReader;
use crate::server::store::{Content, Entry};
use crate::{ByteRange, FileHash};

/// What makes a URL good without a token.
#[derive(Deserialize)]
struct Signed {
    expires: u64,
    signature: String,
}

pub(super) async fn resolve(
    app: Arc<App>,
    head: Head,
    repo: RepoKey,
    revision: String,
    path: String,
) -> Result<Response, Refusal> {
    let signed = Query::<Signed>::try_from_uri(&head.uri).ok().map(|Query(signed)| signed);
    match &signed {
        None => drop(admit(&app, &head.headers, &repo, Action::Content).await?),
        // Before anything is looked up: whether it is there is nobody's business without a good URL.
        Some(Signed { expires, signature }) => {
            let file = Resource::File { repo: &repo, sha: &revision, path: &path };
            if !app.keys.is_signed(file, *expires, signature, unix_now()) {
                return Err(Refusal::forbidden("the signature is wrong or has expired; ask for the file again"));
            }
        }
    }
    let located = locate(&app, repo, revision).await?;
    let Some(entry) = located.commit.files.get(&path) else {
        return Err(Refusal::entry_not_found(&located.repo.id, &path));
    };
    let Some((sha256, hash)) = large(&entry.content) else {
        return match signed {
            None => regular(app, &head, &located, &path, entry).await,
            Some(_) => Err(Refusal::forbidden("the signature is for another file")),
        };
    };
    let mut headers = large_headers(&app, &head, &located, entry, sha256, hash)?;
    if let Some(unchanged) = delivery::unchanged(&head.headers, &headers) {
        return Ok(unchanged);
    }
    if signed.is_none() {
        headers.insert(header::LOCATION, plain_url(&app, &head, &located, &path)?);
        return Ok((StatusCode::FOUND, headers).into_response());
    }
    let (file, size) = (hash.unwrap_or_default(), entry.size);
    // Nothing is fetched for who asks how long it is.
    if head.method == Method::HEAD {
        return plain(app, &head, headers, file, size).await;
    }
    match app.mirror.source(place(&located, &path, entry)).await? {
        None => plain(app, &head, headers, file, size).await,
        Some(Source::Kept(file)) => plain(app, &head, headers, file, size).await,
        Some(Source::Arriving(arrival)) => following(app, &head, headers, arrival),
    }
}

/// SHA-256 of a large file, and its hash, if it is known how it is put together.
fn large(content: &Content) -> Option<(&str, Option<FileHash>)> {
    match content {
        Content::Regular => None,
        Content::Xet { sha256, hash } => Some((sha256, Some(*hash))),
        Content::Lfs { sha256 } => Some((sha256, None)),
    }
}

fn place(located: &Located, path: &str, entry: &Entry) -> Place {
    let Located { repo, sha, .. } = located;
    Place { repo: repo.clone(), sha: sha.clone(), path: path.to_owned(), entry: entry.clone() }
}

/// The bytes of a regular file, or the pointer that stands in git for another.
pub(super) async fn raw(
    app: Arc<App>,
    head: Head,
    repo: RepoKey,
    revision: String,
    path: String,
) -> Result<Response, Refusal> {
    let located = locate(&app, repo, revision).await?;
    let Some(entry) = located.commit.files.get(&path) else {
        return Err(Refusal::entry_not_found(&located.repo.id, &path));
    };
    let Some(pointer) = entry.pointer() else { return regular(app, &head, &located, &path, entry).await };
    let headers = git_headers(&located, entry)?;
    if let Some(unchanged) = delivery::unchanged(&head.headers, &headers) {
        return Ok(unchanged);
    }
    let extent = Extent::requested(&head.headers, pointer.len() as u64, etag(&headers))?;
    let body = || Body::from(pointer[extent.bytes.start as usize..extent.bytes.end as usize].to_owned());
    Ok(delivery::response(&head.method, extent, headers, body))
}

/// What is said of something that git has itself.
fn git_headers(located: &Located, entry: &Entry) -> Result<HeaderMap, Refusal> {
    Ok(HeaderMap::from_iter([
        (header::ETAG, quoted(&entry.oid)?),
        (HeaderName::from_static(REPO_COMMIT_HEADER), value(&located.sha)?),
    ]))
}

async fn regular(
    app: Arc<App>,
    head: &Head,
    located: &Located,
    path: &str,
    entry: &Entry,
) -> Result<Response, Refusal> {
    let headers = git_headers(located, entry)?;
    if let Some(unchanged) = delivery::unchanged(&head.headers, &headers) {
        return Ok(unchanged);
    }
    let extent = Extent::requested(&head.headers, entry.size, etag(&headers))?;
    if head.method == Method::HEAD {
        return Ok(delivery::response(&head.method, extent, headers, Body::empty));
    }
    if let Some(Source::Arriving(arrival)) = app.mirror.source(place(located, path, entry)).await? {
        patiently(arrival.ended()).await?;
    }
    let (store, oid) = (Arc::clone(&app.store), entry.oid.clone());
    let blob = app.workers.disk(move || store.open_object(&oid)).await?;
    let stretch = Stretch::new(&app, blob, extent.bytes);
    let body = || delivery::body(app, Kind::Metadata, stretch);
    Ok(delivery::response(&head.method, extent, headers, body))
}

/// The bytes of a file in xorbs.
pub(super) async fn plain(
    app: Arc<App>,
    head: &Head,
    headers: HeaderMap,
    file: FileHash,
    size: u64,
) -> Result<Response, Refusal> {
    if app.config.no_data && head.method != Method::HEAD {
        return Err(Refusal::no_data());
    }
    let extent = Extent::requested(&head.headers, size, etag(&headers))?;
    if head.method == Method::HEAD {
        return Ok(delivery::response(&head.method, extent, headers, Body::empty));
    }
    let store = Arc::clone(&app.store);
    let terms = app.workers.disk(move || store.file(file)).await?.unwrap_or_default();
    let reader = match extent.bytes {
        ByteRange { start: 0, end: 0 } => PlainReader::whole(Vec::new()),
        bytes => PlainReader::range(&terms, bytes).ok_or_else(|| Refusal::not_found("the file is not here"))?,
    };
    let plain = Plain { reader: reader.with_buffers(app.buffers.clone()), app: Arc::clone(&app) };
    Ok(delivery::response(&head.method, extent, headers, || delivery::body(app, Kind::Data, plain)))
}

struct Plain {
    reader: PlainReader,
    app: Arc<App>,
}

impl delivery::Source for Plain {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let piece = self.reader.next(&self.app.store, self.app.traffic.piece_bytes());
        piece.map_err(|error| io::Error::other(error.to_string()))
    }
}

/// The bytes of a file that is still arriving.
fn following(app: Arc<App>, head: &Head, headers: HeaderMap, arrival: Arc<Arrival>) -> Result<Response, Refusal> {
    if app.config.no_data {
        return Err(Refusal::no_data());
    }
    if let Some(unchanged) = delivery::unchanged(&head.headers, &headers) {
        return Ok(unchanged);
    }
    let extent = Extent::requested(&head.headers, arrival.size(), etag(&headers))?;
    Ok(delivery::response(&head.method, extent, headers, || follow::body(app, arrival, extent.bytes)))
}

fn etag(headers: &HeaderMap) -> &str {
    headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default()
}

/// What the Hub says of a large file, and of how to get it through Xet.
fn large_headers(
    app: &App,
    head: &Head,
    located: &Located,
    entry: &Entry,
    sha256: &str,
    file: Option<FileHash>,
) -> Result<HeaderMap, Refusal> {
    let Located { repo, sha, .. } = located;
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, quoted(sha256)?);
    headers.insert("x-linked-etag", quoted(sha256)?);
    headers.insert("x-linked-size", entry.size.into());
    if let Some(file) = file {
        let base = app.base_url(&head.headers)?;
        let token_url = format!("{base}/api/{}/{}/xet-read-token/{sha}", repo.kind.plural(), repo.id);
        headers.insert("x-xet-hash", value(&file.to_string())?);
        headers.insert(header::LINK, value(&format!("<{token_url}>; rel=\"xet-auth\""))?);
    }
    headers.insert(REPO_COMMIT_HEADER, value(sha)?);
    Ok(headers)
}

fn plain_url(app: &App, head: &Head, located: &Located, path: &str) -> Result<HeaderValue, Refusal> {
    let Located { repo, sha, .. } = located;
    let expires = unix_now() + app.config.url_lifetime.as_secs();
    let signature = app.keys.sign(Resource::File { repo, sha, path }, expires);
    let path = encode_path(path);
    value(&format!(
        "{}/{repo}/resolve/{sha}/{path}?expires={expires}&signature={signature}",
        app.base_url(&head.headers)?
    ))
}

fn quoted(text: &str) -> Result<HeaderValue, Refusal> {
    value(&format!("\"{text}\""))
}

fn value(text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(text).map_err(|_| Refusal::bad_request("a name cannot stand in a header"))
}
