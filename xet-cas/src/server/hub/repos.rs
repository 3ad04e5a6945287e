//! Making repositories.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::front_matter::FrontMatter;
use super::{Action, App, Refusal, RepoKey, admit, admit_any, json as answer};
use crate::api::{CreateRepoAnswer, CreateRepoRequest};
use crate::server::app::unix_now;
use crate::server::bodies::{self, Limit};
use crate::server::store::{Moved, RepoRecord};

/// The request, bytes: a few names.
const CREATE: Limit = Limit { what: "the request", bytes_max: 64 * 1024 };
/// A README, bytes, escaped. Larger ones can be committed all the same: clients go on without an answer.
const YAML: Limit = Limit { what: "the README", bytes_max: 4 * 1024 * 1024 };

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
    let key = key(repo.kind.as_deref(), &name)?;
    admit(&app, &headers, &key, Action::Create).await?;
    let now = unix_now();
    let record = RepoRecord { private: is_private, created: now, modified: now, ..RepoRecord::default() };
    let url = format!("{}/{key}", app.base_url(&headers)?);
    let store = Arc::clone(&app.store);
    let is_new = app.workers.disk(move || store.create_repo(&key, record)).await?;
    if is_new {
        return Ok(answer(&CreateRepoAnswer { url }));
    }
    let message = format!("the repository {name} exists");
    let body = json!({ "error": message, "url": url }).to_string();
    let mut response = Refusal::conflict(message).into_response();
    // Clients that do not mind read the URL from the refusal.
    *response.body_mut() = body.into();
    Ok(response)
}

#[derive(Deserialize)]
struct Named {
    name: String,
    organization: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// `DELETE /api/repos/delete`
pub(super) async fn remove(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    admit_any(&app, &headers)?;
    let Named { name, organization, kind } = bodies::json(&app, &headers, body, CREATE).await?;
    let name = organization.map_or(name.clone(), |owner| format!("{owner}/{name}"));
    let key = key(kind.as_deref(), &name)?;
    admit(&app, &headers, &key, Action::Admin).await?;
    let (store, of) = (Arc::clone(&app.store), key.clone());
    match app.workers.disk(move || store.delete_repo(&of)).await? {
        true => Ok(answer(&json!({}))),
        false => Err(Refusal::repo_not_found(key.id.as_str())),
    }
}

/// `POST /api/repos/move`: the former name leads to the repository until another one is given it.
pub(super) async fn rename(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wanted {
        from_repo: String,
        to_repo: String,
        #[serde(rename = "type")]
        kind: Option<String>,
    }
    admit_any(&app, &headers)?;
    let Wanted { from_repo, to_repo, kind } = bodies::json(&app, &headers, body, CREATE).await?;
    let (from, to) = (key(kind.as_deref(), &from_repo)?, key(kind.as_deref(), &to_repo)?);
    admit(&app, &headers, &from, Action::Admin).await?;
    admit(&app, &headers, &to, Action::Create).await?;
    let url = format!("{}/{to}", app.base_url(&headers)?);
    let store = Arc::clone(&app.store);
    let moved = app.workers.disk(move || {
        // Under another name it would follow another one.
        if store.repo(&from)?.is_some_and(|record| record.mirrored.is_some()) {
            return Err(Refusal::forbidden("this is a mirror of a repository of another Hub, and keeps its name"));
        }
        Ok(store.move_repo(&from, &to)?)
    });
    match moved.await? {
        Moved::Done => Ok(answer(&json!({ "url": url }))),
        Moved::Missing => Err(Refusal::repo_not_found(&from_repo)),
        Moved::Taken => Err(Refusal::conflict(format!("the repository {to_repo} exists"))),
    }
}

fn key(kind: Option<&str>, name: &str) -> Result<RepoKey, Refusal> {
    Ok(RepoKey {
        kind: kind.unwrap_or("model").parse().map_err(Refusal::bad_request)?,
        id: name.parse().map_err(Refusal::bad_request)?,
    })
}

/// `POST /api/validate-yaml`: what there is to say of a README's front matter.
pub(super) async fn validate_yaml(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    struct Wanted {
        content: String,
    }
    admit_any(&app, &headers)?;
    let Wanted { content } = bodies::json(&app, &headers, body, YAML).await?;
    let told = |errors: &[&str], warnings: &[&str]| {
        let messages = |texts: &[&str]| texts.iter().map(|text| json!({ "message": text })).collect::<Vec<_>>();
        json!({ "errors": messages(errors), "warnings": messages(warnings) })
    };
    match app.workers.reads(move || FrontMatter::of(&content)).await {
        FrontMatter::Good => Ok(answer(&told(&[], &[]))),
        FrontMatter::Missing => Ok(answer(&told(&[], &["empty or missing yaml metadata in repo card"]))),
        FrontMatter::Bad(reason) => {
            let body = told(&[&reason], &[]).to_string();
            let mut response = Refusal::bad_request(reason).into_response();
            // Clients show what stands in the list.
            *response.body_mut() = body.into();
            Ok(response)
        }
    }
}
