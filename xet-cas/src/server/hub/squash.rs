//! `POST /api/{kind}/{repo}/super-squash/{branch}`: a branch whose history becomes one commit.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::commit::MESSAGE_BYTES_MAX;
use super::{App, Head, Located, Refusal, RepoKey, json as answer, locate};
use crate::server::app::unix_now;
use crate::server::bodies::{self, Limit};
use crate::server::store::MAIN;

/// The request, bytes: a message, escaped.
const REQUEST: Limit = Limit { what: "the request", bytes_max: 4 * MESSAGE_BYTES_MAX as u64 };

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    message: String,
}

pub(super) async fn squash(
    app: Arc<App>,
    head: Head,
    body: Body,
    repo: RepoKey,
    branch: String,
    author: Option<String>,
) -> Result<Response, Refusal> {
    let Wanted { message } = bodies::json(&app, &head.headers, body, REQUEST).await?;
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(Refusal::bad_request(format!("a message has at most {MESSAGE_BYTES_MAX} bytes")));
    }
    let message = if message.is_empty() { format!("Super-squash branch '{branch}'") } else { message };
    let Located { repo, .. } = locate(&app, repo, MAIN.into()).await?;
    let store = Arc::clone(&app.store);
    let sha = app.workers.heavy(move || store.squash(&repo, &branch, message, author, unix_now())).await?;
    Ok(answer(&json!({ "commitOid": sha })))
}
