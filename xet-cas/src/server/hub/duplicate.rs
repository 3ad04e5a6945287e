//! `POST /api/{kind}/{repo}/lfs-files/duplicate`: large files of one repository that another one is to have too.
//!
//! All repositories of an origin share what is stored, so there is nothing to copy. It is checked that the files are in
//! the repository that they are to come from.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::commit::is_sha256;
use super::{Action, App, Head, Refusal, RepoKey, admit, json as answer, locate};
use crate::RepoType;
use crate::server::bodies::{self, Limit};
use crate::server::store::{MAIN, StoreError};

/// The request, bytes: clients name 1,000 files at a time.
const REQUEST: Limit = Limit { what: "the request", bytes_max: 4 * 1024 * 1024 };
const FILES_MAX: usize = 5_000;

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
    let target = RepoKey { kind, id };
    admit(&app, &head.headers, &target, Action::Propose).await?;
    let located = locate(&app, repo, MAIN.into()).await?;
    let asked = Arc::clone(&app);
    let told = app.workers.disk(move || {
        let (mut success, mut failed) = (Vec::new(), Vec::new());
        for WantedFile { sha256 } in files {
            let file = if is_sha256(&sha256) { asked.store.file_of_sha256(&sha256)? } else { None };
            match file {
                Some(file) if asked.store.file_is_in(&located.repo, file)? => {
                    // Who may read it here may commit it there.
                    asked.proofs.note(&target, file);
                    success.push(json!({ "sha256": sha256 }));
                }
                _ => failed.push(json!({ "sha256": sha256, "error": "the repository has no such file" })),
            }
        }
        Ok::<_, StoreError>(json!({ "success": success, "failed": failed }))
    });
    Ok(answer(&told.await?))
}
