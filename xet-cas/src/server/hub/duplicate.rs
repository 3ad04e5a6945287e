//! `POST /api/{kind}/{repo}/lfs-files/duplicate`: large files of one repository that another one is to have too.
//!
//! All repositories of an origin share what is stored, so there is nothing to copy. It is checked that the files are in
//! the repository that they are to come from.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::{App, Head, Refusal, RepoKey, json as answer, locate};
use crate::RepoType;
use crate::server::bodies::{self, Limit};
use crate::server::store::{Commit, Content, MAIN};

/// The request, bytes: clients name 1,000 files at a time.
const REQUEST: Limit = Limit { what: "the request", bytes_max: 4 * 1024 * 1024 };
const FILES_MAX: usize = 5_000;
/// Commits whose files are looked through.
const COMMITS_MAX: usize = 1_000;

#[derive(Deserialize)]
struct Wanted {
    target: Target,
    files: Vec<WantedFile>,
}

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "type")]
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct WantedFile {
    sha256: String,
}

pub(super) async fn duplicate(app: Arc<App>, head: Head, body: Body, repo: RepoKey) -> Result<Response, Refusal> {
    let Wanted { target, files } = bodies::json(&app, &head.headers, body, REQUEST).await?;
    if files.len() > FILES_MAX {
        return Err(Refusal::bad_request(format!("at most {FILES_MAX} files can be asked for at a time")));
    }
    let kind: RepoType = target.kind.parse().map_err(Refusal::bad_request)?;
    let id = target.name.parse().map_err(|_| Refusal::repo_not_found(&target.name))?;
    locate(&app, RepoKey { kind, id }, MAIN.into()).await?;
    let located = locate(&app, repo, MAIN.into()).await?;
    let store = Arc::clone(&app.store);
    let missing = app.workers.heavy(move || {
        let mut missing: BTreeSet<String> = files.iter().map(|file| file.sha256.clone()).collect();
        let mut commit = located.commit;
        for _ in 0..COMMITS_MAX {
            strike_out(&mut missing, &commit);
            let Some(parent) = commit.parent.as_ref().filter(|_| !missing.is_empty()) else { break };
            commit = store.commit(&located.repo, parent)?;
        }
        Ok::<_, Refusal>((files, missing))
    });
    let (files, missing) = missing.await?;
    let (failed, success): (Vec<_>, Vec<_>) = files.iter().partition(|file| missing.contains(&file.sha256));
    let named = |file: &&WantedFile| json!({ "sha256": file.sha256 });
    let refused = |file: &&WantedFile| json!({ "sha256": file.sha256, "error": "the repository has no such file" });
    Ok(answer(&json!({
        "success": success.iter().map(named).collect::<Vec<_>>(),
        "failed": failed.iter().map(refused).collect::<Vec<_>>(),
    })))
}

fn strike_out(missing: &mut BTreeSet<String>, commit: &Commit) {
    for entry in commit.files.values() {
        if let Content::Xet { sha256, .. } = &entry.content {
            missing.remove(sha256);
        }
    }
}
