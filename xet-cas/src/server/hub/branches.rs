//! `POST /api/{kind}/{repo}/branch/{branch}`: a branch that begins where another one is.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;

use super::{App, Head, Located, Refusal, RepoKey, json, locate};
use crate::server::bodies::{self, Limit};
use crate::server::store::{MAIN, branch_ref, is_special};

/// The request, bytes: one name.
const REQUEST: Limit = Limit { what: "the request", bytes_max: 64 * 1024 };

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    /// Branch or commit. Default: the main branch.
    #[serde(default)]
    starting_point: Option<String>,
}

pub(super) async fn create(
    app: Arc<App>,
    head: Head,
    body: Body,
    repo: RepoKey,
    branch: String,
) -> Result<Response, Refusal> {
    if is_special(&branch) {
        return Err(Refusal::bad_request("names that begin with refs/ are not for branches"));
    }
    let Wanted { starting_point } = bodies::json(&app, &head.headers, body, REQUEST).await?;
    let Located { repo, sha, .. } = locate(&app, repo, starting_point.unwrap_or(MAIN.into())).await?;
    let store = Arc::clone(&app.store);
    let name = branch.clone();
    if app.workers.disk(move || store.create_ref(&repo, &branch_ref(&branch), &sha)).await? {
        return Ok(json(&serde_json::json!({})));
    }
    Err(Refusal::conflict(format!("the branch {name} exists")))
}
