//! `PUT /api/{kind}/{repo}/settings`: who sees a repository, and who may read it.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::{App, Head, Located, Refusal, RepoKey, json as answer, locate};
use crate::server::bodies::{self, Limit};
use crate::server::store::{Gated, MAIN};

/// The request, bytes: a few words, and a description that is not kept.
const REQUEST: Limit = Limit { what: "the request", bytes_max: 256 * 1024 };

#[derive(Deserialize)]
struct Wanted {
    private: Option<bool>,
    /// The newer form of `private`.
    visibility: Option<String>,
    gated: Option<WantedGate>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WantedGate {
    Switch(bool),
    How(String),
}

impl Wanted {
    fn private(&self) -> Result<Option<bool>, Refusal> {
        match self.visibility.as_deref() {
            None => Ok(self.private),
            Some("private") => Ok(Some(true)),
            Some("public") => Ok(Some(false)),
            Some(_) => Err(Refusal::bad_request("a repository is private or public here")),
        }
    }

    fn gated(&self) -> Result<Option<Gated>, Refusal> {
        match &self.gated {
            None => Ok(None),
            Some(WantedGate::Switch(false)) => Ok(Some(Gated::No)),
            Some(WantedGate::How(how)) if how == "auto" => Ok(Some(Gated::Auto)),
            Some(WantedGate::How(how)) if how == "manual" => Ok(Some(Gated::Manual)),
            Some(_) => Err(Refusal::bad_request("`gated` is auto, manual or false")),
        }
    }
}

pub(super) async fn update(app: Arc<App>, head: Head, body: Body, repo: RepoKey) -> Result<Response, Refusal> {
    let wanted: Wanted = bodies::json(&app, &head.headers, body, REQUEST).await?;
    let (private, gated) = (wanted.private()?, wanted.gated()?);
    let Located { repo, .. } = locate(&app, repo, MAIN.into()).await?;
    let keeps_out = private == Some(true) || gated.is_some_and(|gated| gated != Gated::No);
    if keeps_out && app.guard.knows_nobody() {
        return Err(Refusal::forbidden("this origin knows nobody; start it with tokens to keep anybody out"));
    }
    let store = Arc::clone(&app.store);
    let changed = app.workers.disk(move || {
        // The other Hub decides, and is asked again soon.
        if store.repo(&repo)?.is_some_and(|record| record.mirrored.is_some()) {
            return Err(Refusal::forbidden("this is a mirror of a repository of another Hub; change it there"));
        }
        let changed = store.update_repo(&repo, |record| {
            record.private = private.unwrap_or(record.private);
            record.gated = gated.unwrap_or(record.gated);
        });
        Ok(changed?)
    });
    changed.await?;
    Ok(answer(&json!({})))
}
