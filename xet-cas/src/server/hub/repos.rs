//! Making repositories.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};

use super::{Action, App, Refusal, RepoKey, admit, admit_any, json};
use crate::api::{CreateRepoAnswer, CreateRepoRequest};
use crate::server::app::unix_now;
use crate::server::bodies::{self, Limit};
use crate::server::store::RepoRecord;

/// The request, bytes: a few names.
const CREATE: Limit = Limit { what: "the request", bytes_max: 64 * 1024 };
/// A README, bytes: as large as a regular file may be, escaped.
const YAML: Limit = Limit { what: "the README", bytes_max: 24 * 1024 * 1024 };

/// `POST /api/repos/create`
pub(super) async fn create(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    let who = admit_any(&app, &headers)?;
    let repo: CreateRepoRequest = bodies::json(&app, &headers, body, CREATE).await?;
    let is_private = repo.private == Some(true) || repo.visibility.as_deref() == Some("private");
    if is_private && who.is_anonymous() {
        return Err(Refusal::forbidden("a private repository is for those who show a token that this origin knows"));
    }
    // Without an organisation it is the user's own.
    let owner = repo.organization.as_deref().or_else(|| who.user().map(|user| user.name.as_str()));
    let name = match owner {
        Some(owner) => format!("{owner}/{}", repo.name),
        None => repo.name,
    };
    let key = RepoKey {
        kind: repo.kind.as_deref().unwrap_or("model").parse().map_err(Refusal::bad_request)?,
        id: name.parse().map_err(Refusal::bad_request)?,
    };
    admit(&app, &headers, &key, Action::Create).await?;
    let now = unix_now();
    let record = RepoRecord { private: is_private, created: now, modified: now, ..RepoRecord::default() };
    let url = format!("{}/{key}", app.base_url(&headers)?);
    let store = Arc::clone(&app.store);
    let is_new = app.workers.disk(move || store.create_repo(&key, record)).await?;
    if is_new {
        return Ok(json(&CreateRepoAnswer { url }));
    }
    let message = format!("the repository {name} exists");
    let body = serde_json::json!({ "error": message, "url": url }).to_string();
    let mut response = Refusal::conflict(message).into_response();
    // Clients that do not mind read the URL from the refusal.
    *response.body_mut() = body.into();
    Ok(response)
}

/// `POST /api/validate-yaml`: nothing is wrong with anybody's front matter here.
pub(super) async fn validate_yaml(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    admit_any(&app, &headers)?;
    bodies::discard(&app, &headers, body, YAML).await?;
    Ok(json(&serde_json::json!({ "errors": [], "warnings": [] })))
}
