//! `POST /v1|v2/shards`: what the uploaded xorbs make up, checked before it is kept.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use tokio::time::{Interval, interval};

use super::super::app::App;
use super::super::bodies::{Limit, Spooled, spool};
use super::super::keys::{Pass, Scope};
use super::super::refusal::Refusal;
use super::super::store::{Progress, StoreError};
use super::{authorize, json};
use crate::api::{ShardAnswer, ShardFrame};
use crate::shard::{SHARD_BYTES_MAX, Shard};

/// A shard, bytes.
const SHARD: Limit = Limit { what: "the shard", bytes_max: SHARD_BYTES_MAX as u64 };
/// A sign of life at least this often during a long check: clients give up after 300 s of silence, proxies
/// sooner.
const FRAME_INTERVAL: Duration = Duration::from_secs(15);

/// Answers when all is done.
pub(super) async fn v1(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let pass = authorize(&app, &headers, Scope::Write)?;
    let upload = spool(&app, &headers, body, SHARD).await?;
    let is_new = put(app, pass, upload, Arc::default()).await?;
    Ok(json(&ShardAnswer { result: is_new.into() }))
}

/// Answers at once, a line of JSON per sign of life, the last with the result.
pub(super) async fn v2(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let pass = authorize(&app, &headers, Scope::Write)?;
    let upload = spool(&app, &headers, body, SHARD).await?;
    let progress = Arc::new(Progress::default());
    let job = Job {
        check: Box::pin(put(app, pass, upload, Arc::clone(&progress))),
        progress,
        signs: interval(FRAME_INTERVAL),
    };
    let lines = stream::unfold(Some(job), |job| async {
        let (frame, job) = job?.next().await;
        let mut line = serde_json::to_vec(&frame).unwrap_or_default();
        line.push(b'\n');
        Some((Ok::<_, std::convert::Infallible>(line), job))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// A check that somebody waits for.
struct Job {
    check: Pin<Box<dyn Future<Output = Result<bool, StoreError>> + Send>>,
    progress: Arc<Progress>,
    signs: Interval,
}

impl Job {
    async fn next(mut self) -> (ShardFrame, Option<Self>) {
        tokio::select! {
            biased;
            result = &mut self.check => (last_frame(result), None),
            _ = self.signs.tick() => {
                let (verified, total) = self.progress.get();
                (ShardFrame::Validating { verified, total }, Some(self))
            }
        }
    }
}

fn last_frame(result: Result<bool, StoreError>) -> ShardFrame {
    match result {
        Ok(_) => ShardFrame::Result,
        Err(error) => {
            let retryable = error.is_ours();
            ShardFrame::Error { message: Refusal::from(error).message, retryable }
        }
    }
}

async fn put(app: Arc<App>, pass: Pass, mut upload: Spooled, progress: Arc<Progress>) -> Result<bool, StoreError> {
    let (store, holder) = (Arc::clone(&app.store), Arc::clone(&app));
    let job = move || {
        let body = upload.content()?;
        drop(upload);
        let is_new = store.put_shard(&body, &progress)?;
        // Where nothing is secret nobody asks. Names of files and xorbs may have been heard elsewhere; the hashes of the
        // verification are of chunks.
        if holder.keeps_secrets() {
            let files = Shard::decode_upload(&body)?.files;
            let proven = files.iter().filter(|file| file.verification.is_some());
            proven.for_each(|file| holder.proofs.note(&pass.repo, file.hash));
        }
        Ok(is_new)
    };
    app.workers.heavy(job).await
}
