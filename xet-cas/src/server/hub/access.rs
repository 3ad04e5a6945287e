//! `GET /api/{kind}/{repo}/auth-check[/write]`: whether one may read a repository, or change it.

use std::sync::Arc;

use axum::response::Response;
use serde_json::json;

use super::{App, Refusal, RepoKey, json as answer, locate};
use crate::server::store::MAIN;

pub(super) async fn check(app: Arc<App>, repo: RepoKey, _is_write: bool) -> Result<Response, Refusal> {
    locate(&app, repo, MAIN.into()).await?;
    Ok(answer(&json!({})))
}
