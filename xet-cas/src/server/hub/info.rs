//! `GET /api/{kind}/{repo}` and `/revision/{revision}`: which commit a name means.

use std::sync::Arc;

use axum::response::Response;
use serde::Serialize;

use super::{App, Refusal, RepoKey, json, locate};
use crate::server::store::MAIN;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RepoInfo<'a> {
    id: &'a str,
    sha: &'a str,
    private: bool,
    gated: bool,
    disabled: bool,
    downloads: u64,
    likes: u64,
    tags: [&'a str; 0],
    siblings: Vec<Sibling<'a>>,
}

#[derive(Serialize)]
struct Sibling<'a> {
    rfilename: &'a str,
}

pub(super) async fn info(app: Arc<App>, repo: RepoKey, revision: Option<String>) -> Result<Response, Refusal> {
    let located = locate(&app, repo, revision.unwrap_or(MAIN.into())).await?;
    let (store, repo) = (Arc::clone(&app.store), located.repo.clone());
    let private = app.workers.disk(move || store.repo(&repo)).await?.is_some_and(|record| record.private);
    Ok(json(&RepoInfo {
        id: located.repo.id.as_str(),
        sha: &located.sha,
        private,
        gated: false,
        disabled: false,
        downloads: 0,
        likes: 0,
        tags: [],
        siblings: located.commit.files.keys().map(|path| Sibling { rfilename: path }).collect(),
    }))
}
