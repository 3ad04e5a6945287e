//! `GET /v1/chunks/{prefix}/{chunk}`: which xorbs hold a chunk and what is likely to follow it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};

use super::super::app::{App, unix_now};
use super::super::keys::Scope;
use super::super::refusal::Refusal;
use super::super::store::StoreError;
use super::{authorize, parse_hash};
use crate::ChunkHash;

/// The deployed client's word, and that of the specification.
const PREFIXES: [&str; 2] = ["default", "default-merkledb"];
/// How long clients may use an answer, seconds: a day. Until then they do not ask again.
const ANSWER_SECONDS: u64 = 24 * 60 * 60;

/// Answers with a shard that lists chunks under a key, so that only who has a chunk can find it there.
pub(super) async fn chunk(
    State(app): State<Arc<App>>,
    Path((prefix, chunk)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    authorize(&app, &headers, Scope::Read)?;
    let chunk: ChunkHash = parse_hash(&chunk)?;
    if !PREFIXES.contains(&prefix.as_str()) {
        return Err(unknown());
    }
    let store = Arc::clone(&app.store);
    let xorbs = app.workers.disk(move || store.xorbs_about(chunk)).await.map_err(pass_over)?.ok_or_else(unknown)?;
    let (store, key, now) = (Arc::clone(&app.store), app.keys.chunk_key(), unix_now());
    let answer = move || store.keyed_shard(&xorbs, key, now, now + ANSWER_SECONDS);
    let shard = app.workers.heavy(answer).await.map_err(pass_over)?.ok_or_else(unknown)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], shard).into_response())
}

fn unknown() -> Refusal {
    Refusal::not_found("nothing is known about this chunk")
}

/// A client that gets a 5xx tries again for minutes, and all it would have got is a shorter upload.
fn pass_over(error: StoreError) -> Refusal {
    tracing::error!(%error, "a question about a chunk is not answered");
    unknown()
}
