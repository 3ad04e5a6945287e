//! `POST /api/{kind}/{repo}/paths-info/{revision}`: what lies at the paths that are named. What does not exist is left
//! out.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use serde::Deserialize;

use super::entries::entry;
use super::pairs::Pairs;
use super::{App, Head, Located, Refusal, RepoKey, json, last_commits, locate};
use crate::api::TreeEntryJson;
use crate::server::bodies::{self, Limit};
use crate::server::store::StoreError;

/// The request, bytes: clients name 500 paths at a time.
const REQUEST: Limit = Limit { what: "the request", bytes_max: 4 * 1024 * 1024 };
/// Paths in one request.
const PATHS_MAX: usize = 5_000;
/// Paths in one request whose last commits are wanted too.
const EXPANDED_PATHS_MAX: usize = 500;

#[derive(Deserialize)]
struct Wanted {
    paths: Vec<String>,
    #[serde(default)]
    expand: bool,
}

impl Wanted {
    /// Python sends a form, others JSON.
    async fn read(app: &App, head: &Head, body: Body) -> Result<Self, Refusal> {
        let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("application/json") {
            return bodies::json(app, &head.headers, body, REQUEST).await;
        }
        let form = Pairs::parse(&bodies::text(app, &head.headers, body, REQUEST).await?)?;
        Ok(Self { paths: form.all("paths").map(str::to_owned).collect(), expand: form.is_set("expand") })
    }
}

pub(super) async fn paths_info(
    app: Arc<App>,
    head: Head,
    body: Body,
    repo: RepoKey,
    revision: String,
) -> Result<Response, Refusal> {
    let Wanted { paths, expand } = Wanted::read(&app, &head, body).await?;
    let paths_max = if expand { EXPANDED_PATHS_MAX } else { PATHS_MAX };
    if paths.len() > paths_max {
        return Err(Refusal::bad_request(format!("at most {paths_max} paths can be asked for at a time")));
    }
    let Located { repo, sha, commit } = locate(&app, repo, revision).await?;
    let store = Arc::clone(&app.store);
    let entries = app.workers.reads(move || {
        // Telling of a folder reads all that is in it: each once.
        let mut seen = HashSet::new();
        let paths = paths.iter().map(|path| path.trim_end_matches('/')).filter(|path| seen.insert(*path));
        let paths = paths.filter(|path| commit.files.contains_key(*path) || commit.has_folder(path));
        let mut entries: Vec<TreeEntryJson> = paths.map(|path| entry(&commit, path)).collect();
        if expand {
            last_commits::fill(&store, &repo, &sha, &commit, &mut entries)?;
        }
        Ok::<_, StoreError>(entries)
    });
    Ok(json(&entries.await?))
}
