//! `.../user-access-request/{what}`: who has been let into a gated repository.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, Head, Located, Refusal, RepoKey, json as answer, locate};
use crate::api::utc;
use crate::server::bodies::{self, Limit};
use crate::server::store::{Gated, MAIN, RepoRecord};

/// The request, bytes: a name and a reason.
const REQUEST: Limit = Limit { what: "the request", bytes_max: 64 * 1024 };
/// Users let into one repository.
const READERS_MAX: usize = 10_000;
/// Longest name of a user, bytes.
const USER_BYTES_MAX: usize = 96;

/// `GET .../user-access-request/{status}`. Nobody waits: who was not let in has not asked here.
pub(super) async fn readers(app: Arc<App>, repo: RepoKey, status: String) -> Result<Response, Refusal> {
    let Located { repo, .. } = locate(&app, repo, MAIN.into()).await?;
    let store = Arc::clone(&app.store);
    let record = app.workers.disk(move || store.repo(&repo)).await?.unwrap_or_default();
    check_gated(&record)?;
    let told = |user: &String| {
        json!({
            "requestId": user,
            "user": { "user": user, "fullname": user },
            "status": "accepted",
            "timestamp": utc(record.created),
        })
    };
    match status.as_str() {
        "accepted" => Ok(answer(&record.readers.iter().map(told).collect::<Vec<Value>>())),
        "pending" | "rejected" => Ok(answer(&json!([]))),
        _ => Err(Refusal::not_found("this origin has no such route")),
    }
}

/// `POST .../user-access-request/{grant or handle}`: lets a user in, or keeps one out again.
pub(super) async fn let_in(
    app: Arc<App>,
    head: Head,
    body: Body,
    repo: RepoKey,
    what: String,
) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wanted {
        user: Option<String>,
        /// The same name here: see [`readers`].
        request_id: Option<String>,
        status: Option<String>,
    }
    let Wanted { user, request_id, status } = bodies::json(&app, &head.headers, body, REQUEST).await?;
    let user = user.or(request_id).filter(|user| !user.is_empty() && user.len() <= USER_BYTES_MAX);
    let user = user.ok_or_else(|| Refusal::bad_request("the request names no user"))?;
    let is_in = match (what.as_str(), status.as_deref()) {
        ("grant", None) | ("handle", Some("accepted")) => true,
        ("handle", Some("rejected" | "pending")) => false,
        ("grant" | "handle", _) => return Err(Refusal::bad_request("the status is accepted, rejected or pending")),
        _ => return Err(Refusal::not_found("this origin has no such route")),
    };
    let Located { repo, .. } = locate(&app, repo, MAIN.into()).await?;
    let store = Arc::clone(&app.store);
    let changed = app.workers.disk(move || {
        check_gated(&store.repo(&repo)?.unwrap_or_default())?;
        let mut is_change = false;
        store.update_repo(&repo, |record| {
            is_change = match is_in {
                true => record.readers.len() < READERS_MAX && record.readers.insert(user),
                false => record.readers.remove(&user),
            };
        })?;
        Ok::<_, Refusal>(is_change)
    });
    match changed.await? {
        true => Ok(answer(&json!({}))),
        false => Err(Refusal::bad_request("that is so already, or too many users have been let in")),
    }
}

fn check_gated(record: &RepoRecord) -> Result<(), Refusal> {
    match record.gated {
        Gated::No => Err(Refusal::bad_request("the repository is not gated")),
        Gated::Auto | Gated::Manual => Ok(()),
    }
}
