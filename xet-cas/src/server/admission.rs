//! Requests before [`access`](super::access): who asks, about what, and how a "no" is worded.

use std::sync::Arc;

use axum::http::HeaderMap;

use super::access::{Action, Verdict, Who};
use super::app::{App, unix_now};
use super::refusal::Refusal;
use super::request::credentials;
use super::store::{RepoKey, StoreError};

/// Whose token a request carries. A wrong one is refused, also where none is needed: whoever sends it believes in it.
pub(super) fn who(app: &App, headers: &HeaderMap) -> Result<Who, Refusal> {
    app.guard.who(credentials(headers), unix_now()).map_err(|_| Refusal::wrong_credentials())
}

/// Who asks for something that concerns no repository, if it is for them.
pub(super) fn admit_any(app: &App, headers: &HeaderMap) -> Result<Who, Refusal> {
    let who = who(app, headers)?;
    match app.guard.permits_any(&who) {
        Verdict::Allowed => Ok(who),
        _ => Err(Refusal::no_credentials()),
    }
}

/// Who asks, if they may do this with the repository.
pub(super) async fn admit(app: &Arc<App>, headers: &HeaderMap, repo: &RepoKey, action: Action) -> Result<Who, Refusal> {
    let who = admit_any(app, headers)?;
    let (asked, key, asker) = (Arc::clone(app), repo.clone(), who.clone());
    let verdict = app.workers.disk(move || {
        // Under a former name it is still that of its owner today.
        let key = asked.store.current_name(key)?;
        let record = asked.store.repo(&key)?;
        Ok::<_, StoreError>(asked.guard.permits(&asker, action, &key, record.as_ref()))
    });
    refuse(app, headers, &who, repo, verdict.await?)?;
    Ok(who)
}

/// A verdict in the Hub's words.
fn refuse(app: &App, headers: &HeaderMap, who: &Who, repo: &RepoKey, verdict: Verdict) -> Result<(), Refusal> {
    match verdict {
        Verdict::Allowed => Ok(()),
        Verdict::NeedsToken => Err(Refusal::no_credentials()),
        Verdict::Missing if who.is_anonymous() && !app.guard.knows_nobody() => {
            Err(Refusal::repo_not_found_without_token(repo.id.as_str()))
        }
        Verdict::Missing => Err(Refusal::repo_not_found(repo.id.as_str())),
        Verdict::Gated => {
            let page = format!("{}/{repo}", app.base_url(headers)?);
            Err(Refusal::gated(who.is_anonymous(), &repo.kind.to_string(), repo.id.as_str(), &page))
        }
        Verdict::Forbidden(reason) => Err(Refusal::forbidden(reason)),
    }
}
