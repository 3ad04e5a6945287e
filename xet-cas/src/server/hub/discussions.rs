//! `POST .../discussions` and `GET .../discussions/{number}`: pull requests, as far as clients open them before they
//! commit to them. Nobody talks here.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::commit::MESSAGE_BYTES_MAX;
use super::date::utc;
use super::{App, Head, Refusal, RepoKey, json as answer};
use crate::server::app::unix_now;
use crate::server::bodies::{self, Limit};
use crate::server::store::{Change, MAIN, PullRequest};

/// The request, bytes: a title and a description, escaped.
const REQUEST: Limit = Limit { what: "the request", bytes_max: 4 * MESSAGE_BYTES_MAX as u64 };

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    title: String,
    #[serde(default)]
    pull_request: bool,
}

/// Opens a pull request that changes nothing yet.
pub(super) async fn open(app: Arc<App>, head: Head, body: Body, repo: RepoKey) -> Result<Response, Refusal> {
    let Wanted { title, pull_request } = bodies::json(&app, &head.headers, body, REQUEST).await?;
    if !pull_request {
        return Err(Refusal::bad_request("this origin has pull requests, and no other discussions"));
    }
    if title.len() > MESSAGE_BYTES_MAX {
        return Err(Refusal::bad_request(format!("a title has at most {MESSAGE_BYTES_MAX} bytes")));
    }
    let nothing = Change {
        branch: MAIN.into(),
        summary: title,
        description: String::new(),
        parent: None,
        operations: Vec::new(),
        unix_seconds: unix_now(),
    };
    let store = Arc::clone(&app.store);
    let opened = app.workers.disk(move || {
        if !store.repo_exists(&repo)? {
            return Err(Refusal::repo_not_found(repo.id.as_str()));
        }
        Ok(store.open_pull_request(&repo, nothing)?)
    });
    let (_, number) = opened.await?;
    Ok(answer(&json!({ "num": number, "pullRequest": true })))
}

/// What `huggingface_hub` reads of a pull request.
pub(super) async fn details(app: Arc<App>, repo: RepoKey, number: u64) -> Result<Response, Refusal> {
    let (store, of) = (Arc::clone(&app.store), repo.clone());
    let known = app.workers.disk(move || Ok::<_, Refusal>((store.repo_exists(&of)?, store.pull_request(&of, number)?)));
    let PullRequest { title, base, unix_seconds } = match known.await? {
        (true, Some(opened)) => opened,
        (true, None) => return Err(Refusal::not_found(format!("{repo} has no pull request {number}"))),
        (false, _) => return Err(Refusal::repo_not_found(repo.id.as_str())),
    };
    Ok(answer(&json!({
        "num": number,
        "title": title,
        "status": "draft",
        "isPullRequest": true,
        "createdAt": utc(unix_seconds),
        "repo": { "name": repo.id.as_str(), "type": repo.kind.to_string() },
        "changes": { "base": format!("refs/heads/{base}") },
        "filesWithConflicts": [],
        "events": [],
    })))
}
