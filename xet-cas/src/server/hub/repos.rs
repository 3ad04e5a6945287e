//! Making repositories.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};

use super::{App, Refusal, RepoKey, authorize, json};
use crate::api::{CreateRepoAnswer, CreateRepoRequest};
use crate::server::app::unix_now;
use crate::server::bodies::{self, Limit};
use crate::server::request::base_url;
use crate::server::store::RepoRecord;

/// The request, bytes: a few names.
const CREATE: Limit = Limit { what: "the request", bytes_max: 64 * 1024 };
/// A README, bytes: as large as a regular file may be, escaped.
const YAML: Limit = Limit { what: "the README", bytes_max: 24 * 1024 * 1024 };

/// `POST /api/repos/create`
pub(super) async fn create(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    authorize(&app, &headers)?;
    let repo: CreateRepoRequest = bodies::json(&app, &headers, body, CREATE).await?;
    let is_private = repo.private == Some(true) || repo.visibility.as_deref() == Some("private");
    if is_private && app.config.token.is_none() {
        return Err(Refusal::forbidden(
            "this origin is open to everyone; start it with a token to keep repositories private",
        ));
    }
    let name = match &repo.organization {
        Some(owner) => format!("{owner}/{}", repo.name),
        None => repo.name,
    };
    let key = RepoKey {
        kind: repo.kind.as_deref().unwrap_or("model").parse().map_err(Refusal::bad_request)?,
        id: name.parse().map_err(Refusal::bad_request)?,
    };
    let now = unix_now();
    let record = RepoRecord { private: is_private, created: now, modified: now, ..RepoRecord::default() };
    let url = format!("{}/{key}", base_url(&headers)?);
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
    authorize(&app, &headers)?;
    bodies::discard(&app, &headers, body, YAML).await?;
    Ok(json(&serde_json::json!({ "errors": [], "warnings": [] })))
}
