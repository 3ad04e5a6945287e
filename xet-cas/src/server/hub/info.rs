//! `GET|HEAD /api/{kind}/{repo}` and `/revision/{revision}`: what a repository is, and which commit a name means.

use std::sync::Arc;

use axum::response::Response;

use super::describe::Described;
use super::pairs::Pairs;
use super::{App, Head, Refusal, RepoKey, json, locate};
use crate::server::store::{MAIN, StoreError};

pub(super) async fn info(
    app: Arc<App>,
    head: Head,
    repo: RepoKey,
    revision: Option<String>,
) -> Result<Response, Refusal> {
    let wanted = Pairs::parse(head.uri.query().unwrap_or_default())?;
    let located = locate(&app, repo, revision.unwrap_or(MAIN.into())).await?;
    let store = Arc::clone(&app.store);
    let told = app.workers.reads(move || {
        let record = store.repo(&located.repo)?.unwrap_or_default();
        let described = Described {
            repo: &located.repo,
            record: &record,
            modified: located.commit.unix_seconds,
            sha: &located.sha,
            commit: Some(&located.commit),
            has_blobs: wanted.is_set("blobs"),
        };
        Ok::<_, StoreError>(described.json(&wanted.all("expand").collect::<Vec<_>>()))
    });
    Ok(json(&told.await?))
}
