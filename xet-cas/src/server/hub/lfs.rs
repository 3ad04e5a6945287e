//! Large files as git-lfs moves them, for clients without Xet: `POST /{repo}.git/info/lfs/objects/batch` says where
//! each object goes or comes from, a signed URL takes or gives its bytes, and `POST /{repo}.git/info/lfs/verify` says
//! whether it is there. What comes in becomes chunks and xorbs like everything else.
//!
//! Of the ways to transfer there is `basic`, one request for an object of any size: there is nothing here that a
//! request in parts would get around. Who also knows Xet is told to upload that way.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::{Action, App, Head, Refusal, RepoKey, admit, resolve};
use crate::FileHash;
use crate::reconstruction::describe::file_bytes;
use crate::server::app::unix_now;
use crate::server::bodies::{self, Limit, Pieces};
use crate::server::ingest::{Ingest, Piece};
use crate::server::keys::{Resource, Way};
use crate::server::store::StoreError;

/// The request, bytes.
const BATCH: Limit = Limit { what: "the batch", bytes_max: 1024 * 1024 };
/// The request, bytes: a name and a size.
const VERIFY: Limit = Limit { what: "the request", bytes_max: 4 * 1024 };
/// Objects in one batch. `huggingface_hub` names 256, git-lfs 100.
const OBJECTS_MAX: usize = 1_000;
/// Largest object, bytes: the Hub's own limit.
const OBJECT_BYTES_MAX: u64 = 500 * 1000 * 1000 * 1000;
/// What git-lfs insists on.
const CONTENT_TYPE: &str = "application/vnd.git-lfs+json";
const BASIC: &str = "basic";
const XET: &str = "xet";
const SHA256: &str = "sha256";

#[derive(Deserialize)]
struct Batch {
    operation: Operation,
    /// Not said: basic.
    #[serde(default)]
    transfers: Vec<String>,
    objects: Vec<Object>,
    #[serde(default)]
    hash_algo: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Upload,
    Download,
}

#[derive(Deserialize)]
struct Object {
    /// SHA-256.
    oid: String,
    /// Bytes.
    size: u64,
}

#[derive(Serialize)]
struct BatchAnswer {
    transfer: &'static str,
    hash_algo: &'static str,
    objects: Vec<ObjectAnswer>,
}

#[derive(Serialize)]
struct ObjectAnswer {
    oid: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    authenticated: Option<bool>,
    /// Left out for an object that is here already.
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<BTreeMap<&'static str, Transfer>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ObjectError>,
}

#[derive(Serialize)]
struct Transfer {
    href: String,
    header: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
}

#[derive(Serialize)]
struct ObjectError {
    code: u16,
    message: String,
}

/// What makes the URL of an object good.
#[derive(Deserialize)]
struct Signed {
    size: u64,
    expires: u64,
    signature: String,
}

/// An object that is here.
struct Known {
    file: FileHash,
    size: u64,
}

/// Says for every object how it is to be moved, or why not.
pub(super) async fn batch(app: Arc<App>, head: Head, body: Body, repo: RepoKey) -> Result<Response, Refusal> {
    admit(&app, &head.headers, &repo, Action::Read).await?;
    let batch: Batch = bodies::json(&app, &head.headers, body, BATCH).await?;
    let action = match batch.operation {
        Operation::Download => Action::Content,
        // What may be committed, and where, is seen to when it is.
        Operation::Upload => Action::Propose,
    };
    admit(&app, &head.headers, &repo, action).await?;
    if batch.objects.len() > OBJECTS_MAX {
        return Err(Refusal::bad_request(format!("a batch has at most {OBJECTS_MAX} objects")));
    }
    if !batch.transfers.is_empty() && !batch.transfers.iter().any(|transfer| transfer == BASIC) {
        return Err(Refusal::bad_request("the only transfer here is basic"));
    }
    if batch.hash_algo.is_some_and(|algo| algo != SHA256) {
        return Err(Refusal::bad_request("objects are named by their SHA-256 here"));
    }
    if batch.operation == Operation::Upload && batch.transfers.iter().any(|transfer| transfer == XET) {
        // With a token of the CAS, which they ask for themselves.
        let named = |Object { oid, size }| ObjectAnswer { oid, size, authenticated: None, actions: None, error: None };
        let objects = batch.objects.into_iter().map(named).collect();
        return lfs_json(&BatchAnswer { transfer: XET, hash_algo: SHA256, objects });
    }
    let urls = Urls { base: app.base_url(&head.headers)?, repo, app: Arc::clone(&app) };
    let operation = batch.operation;
    let answered = app.workers.disk(move || {
        let answers = batch.objects.into_iter().map(|object| urls.answer(operation, object));
        answers.collect::<Result<Vec<_>, StoreError>>()
    });
    lfs_json(&BatchAnswer { transfer: BASIC, hash_algo: SHA256, objects: answered.await? })
}

/// Takes the bytes of an object, which must be those that were announced, or gives them.
pub(super) async fn object(
    app: Arc<App>,
    head: Head,
    body: Body,
    repo: RepoKey,
    oid: String,
) -> Result<Response, Refusal> {
    let way = match head.method {
        Method::PUT => Way::Upload,
        Method::GET | Method::HEAD => Way::Download,
        _ => return Err(Refusal::method_not_allowed()),
    };
    let refused = || Refusal::forbidden("the URL is not signed or has expired");
    let Query(Signed { size, expires, signature }) = Query::try_from_uri(&head.uri).map_err(|_| refused())?;
    let sha256 = digest(&oid).ok_or_else(refused)?;
    let resource = Resource::Object { repo: &repo, sha256, size, way };
    if !app.keys.is_signed(resource, expires, &signature, unix_now()) {
        return Err(refused());
    }
    if way == Way::Upload {
        return receive(&app, &head.headers, body, &repo, &oid, size).await;
    }
    let (asked, name) = (Arc::clone(&app), oid.clone());
    let known = app.workers.disk(move || known(&asked, &repo, &name)).await?;
    let Known { file, size } = known.ok_or_else(|| Refusal::not_found("there is no such object"))?;
    let etag = HeaderValue::try_from(format!("\"{oid}\"")).map_err(|_| refused())?;
    resolve::plain(app, &head, HeaderMap::from_iter([(header::ETAG, etag)]), file, size).await
}

/// Also takes what is here already: whoever sends it shows to have it.
async fn receive(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    repo: &RepoKey,
    oid: &str,
    size: u64,
) -> Result<Response, Refusal> {
    let other = |what: &str| Refusal::bad_request(format!("the object has another {what} than was announced"));
    let of_length = |refusal: Refusal| match refusal.status {
        StatusCode::PAYLOAD_TOO_LARGE => other("size"),
        _ => refusal,
    };
    let announced = Limit { what: "the object", bytes_max: size };
    let mut pieces = Pieces::new(app, headers, body, announced).map_err(of_length)?;
    let _place = app.ingests.place(app.config.stall).await?;
    let mut ingest = Ingest::new(&app.store, &app.workers);
    while let Some(piece) = pieces.next().await.map_err(of_length)? {
        ingest.push(Piece::Bytes(piece)).await?;
    }
    let taken = ingest.finish().await?;
    if taken.size() != size {
        return Err(other("size"));
    }
    if taken.sha256() != oid {
        return Err(other("SHA-256"));
    }
    let file = taken.hash();
    taken.keep().await?;
    app.proofs.note(repo, file);
    Ok(StatusCode::OK.into_response())
}

/// Says whether an object is here.
pub(super) async fn verify(app: Arc<App>, head: Head, body: Body, repo: RepoKey) -> Result<Response, Refusal> {
    admit(&app, &head.headers, &repo, Action::Content).await?;
    let Object { oid, size } = bodies::json(&app, &head.headers, body, VERIFY).await?;
    let asked = Arc::clone(&app);
    match app.workers.disk(move || known(&asked, &repo, &oid)).await? {
        Some(known) if known.size == size => Ok(StatusCode::OK.into_response()),
        Some(_) => Err(Refusal::bad_request("the object has another size")),
        None => Err(Refusal::not_found("there is no such object")),
    }
}

/// Makes the answers of one batch.
struct Urls {
    app: Arc<App>,
    base: String,
    repo: RepoKey,
}

impl Urls {
    fn answer(&self, operation: Operation, object: Object) -> Result<ObjectAnswer, StoreError> {
        let Object { oid, size } = object;
        let answer =
            |actions, error| ObjectAnswer { oid: oid.clone(), size, authenticated: Some(true), actions, error };
        let refused = |code, message: &str| answer(None, Some(ObjectError { code, message: message.to_owned() }));
        let Some(sha256) = digest(&oid) else {
            return Ok(refused(422, "an object is named by the 64 lowercase hexadecimal digits of its SHA-256"));
        };
        let known = known(&self.app, &self.repo, &oid)?;
        Ok(match (operation, known) {
            (_, Some(known)) if known.size != size => refused(422, "the object has another size"),
            (Operation::Upload, Some(_)) => answer(None, None),
            (Operation::Upload, None) if size > OBJECT_BYTES_MAX => refused(422, "the object is too large"),
            (Operation::Upload, None) => {
                let verify = format!("{}/{}.git/info/lfs/verify", self.base, self.repo);
                let verify = Transfer { href: verify, header: BTreeMap::new(), expires_in: None };
                let upload = self.signed(&oid, sha256, size, Way::Upload);
                answer(Some(BTreeMap::from([("upload", upload), ("verify", verify)])), None)
            }
            (Operation::Download, Some(_)) => {
                let download = self.signed(&oid, sha256, size, Way::Download);
                answer(Some(BTreeMap::from([("download", download)])), None)
            }
            (Operation::Download, None) => refused(404, "there is no such object"),
        })
    }

    fn signed(&self, oid: &str, sha256: [u8; 32], size: u64, way: Way) -> Transfer {
        let Self { app, base, repo } = self;
        let lifetime = app.config.url_lifetime.as_secs();
        let expires = unix_now() + lifetime;
        let signature = app.keys.sign(Resource::Object { repo, sha256, size, way }, expires);
        let query = format!("size={size}&expires={expires}&signature={signature}");
        let href = format!("{base}/{repo}.git/info/lfs/objects/{oid}?{query}");
        Transfer { href, header: BTreeMap::new(), expires_in: Some(lifetime) }
    }
}

/// An object that a repository has, or that was uploaded for it. Of others nobody is told.
fn known(app: &App, repo: &RepoKey, oid: &str) -> Result<Option<Known>, StoreError> {
    let store = &app.store;
    let Some(file) = store.file_of_sha256(oid)? else { return Ok(None) };
    let is_public = !app.keeps_secrets() || file == FileHash::ZERO;
    if !is_public && !app.proofs.has(repo, file) && !store.file_is_in(repo, file)? {
        return Ok(None);
    }
    Ok(store.file(file)?.map(|terms| Known { file, size: file_bytes(&terms) }))
}

/// The bytes of a SHA-256 in lowercase hexadecimal.
fn digest(oid: &str) -> Option<[u8; 32]> {
    if oid.len() != 64 || !oid.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(oid.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(digest)
}

fn lfs_json(value: &impl Serialize) -> Result<Response, Refusal> {
    let text = serde_json::to_vec(value).map_err(|error| Refusal::bad_request(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
