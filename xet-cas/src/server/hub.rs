//! The Hub: repositories, their listings, their regular files, and commits.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;

use super::access::Action;
use super::admission::{admit, admit_any};
use super::app::App;
use super::keys::Scope;
use super::refusal::Refusal;
use super::store::{Commit, PULL_REQUESTS, RepoKey, StoreError};

mod route;
use route::Route;

mod access_requests;
mod attributes;
mod commit;
mod compare;
mod describe;
mod discussions;
mod duplicate;
mod entries;
mod front_matter;
mod history;
mod info;
mod last_commits;
mod lfs;
mod listing;
mod pairs;
mod paths_info;
mod preupload;
mod refs;
mod repos;
mod resolve;
mod settings;
mod squash;
mod token;
mod tree;
mod whoami;

/// Paths that hold the name of a repository are taken apart by [`Route`], because the owner is optional.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/repos/create", post(repos::create))
        .route("/api/repos/delete", delete(repos::remove))
        .route("/api/repos/move", post(repos::rename))
        .route("/api/validate-yaml", post(repos::validate_yaml))
        .route("/api/whoami-v2", get(whoami::whoami))
        .fallback(dispatch)
}

/// What a request says besides its body.
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

async fn dispatch(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let head = Head { method: parts.method, uri: parts.uri, headers: parts.headers };
    let route = Route::parse(head.uri.path())?;
    // The answer to a HEAD is that to a GET, of which the connection sends no body.
    let is_get = head.method == Method::GET || head.method == Method::HEAD;
    let (is_post, is_delete) = (head.method == Method::POST, head.method == Method::DELETE);
    match route {
        Route::Resolve { repo, revision, path } if is_get => resolve::resolve(app, head, repo, revision, path).await,
        Route::Raw { repo, revision, path } if is_get => {
            admit(&app, &head.headers, &repo, Action::Content).await?;
            resolve::raw(app, head, repo, revision, path).await
        }
        Route::Info { repo, revision } if is_get => {
            admit(&app, &head.headers, &repo, Action::Read).await?;
            info::info(app, head, repo, revision).await
        }
        Route::PathsInfo { repo, revision } if is_post => {
            admit(&app, &head.headers, &repo, Action::Read).await?;
            paths_info::paths_info(app, head, body, repo, revision).await
        }
        Route::History { repo, revision } if is_get => {
            admit(&app, &head.headers, &repo, Action::Read).await?;
            history::history(app, head, repo, revision).await
        }
        Route::Compare { repo, from, to } if is_get => {
            admit(&app, &head.headers, &repo, Action::Read).await?;
            compare::compare(app, head, repo, from, to).await
        }
        Route::AuthCheck { repo, is_write } if is_get => {
            let action = if is_write { Action::Write } else { Action::Content };
            admit(&app, &head.headers, &repo, action).await?;
            Ok(json(&serde_json::json!({})))
        }
        Route::AccessRequests { repo, what } if is_get => {
            admit(&app, &head.headers, &repo, Action::Admin).await?;
            access_requests::readers(app, repo, what).await
        }
        Route::AccessRequests { repo, what } if is_post => {
            admit(&app, &head.headers, &repo, Action::Admin).await?;
            access_requests::let_in(app, head, body, repo, what).await
        }
        Route::Duplicate { repo } if is_post => {
            admit(&app, &head.headers, &repo, Action::Content).await?;
            duplicate::duplicate(app, head, body, repo).await
        }
        Route::Tree { repo, revision, folder } if is_get => {
            admit(&app, &head.headers, &repo, Action::Read).await?;
            tree::tree(app, head, repo, revision, folder).await
        }
        Route::ReadToken { repo, revision } if is_get => {
            admit(&app, &head.headers, &repo, Action::Content).await?;
            token::token(app, head, repo, Some(revision), Scope::Read).await
        }
        Route::WriteToken { repo, revision } if is_get => {
            admit(&app, &head.headers, &repo, change(&head, &revision)?).await?;
            token::token(app, head, repo, None, Scope::Write).await
        }
        Route::Preupload { repo, revision } if is_post => {
            admit(&app, &head.headers, &repo, change(&head, &revision)?).await?;
            preupload::preupload(app, head, body, repo, revision).await
        }
        Route::Repos { kind } if is_get => {
            let who = admit_any(&app, &head.headers)?;
            listing::list(app, head, who, kind).await
        }
        Route::Settings { repo } if head.method == Method::PUT => {
            admit(&app, &head.headers, &repo, Action::Admin).await?;
            settings::update(app, head, body, repo).await
        }
        Route::Refs { repo } if is_get => {
            admit(&app, &head.headers, &repo, Action::Read).await?;
            refs::list(app, head, repo).await
        }
        Route::Branch { repo, branch } if is_post => {
            admit(&app, &head.headers, &repo, Action::Write).await?;
            refs::create_branch(app, head, body, repo, branch).await
        }
        Route::Branch { repo, branch } if is_delete => {
            admit(&app, &head.headers, &repo, Action::Write).await?;
            refs::delete_branch(app, repo, branch).await
        }
        Route::Tag { repo, name } if is_post => {
            admit(&app, &head.headers, &repo, Action::Write).await?;
            refs::create_tag(app, head, body, repo, name).await
        }
        Route::Tag { repo, name } if is_delete => {
            admit(&app, &head.headers, &repo, Action::Write).await?;
            refs::delete_tag(app, repo, name).await
        }
        Route::Squash { repo, branch } if is_post => {
            let who = admit(&app, &head.headers, &repo, Action::Write).await?;
            squash::squash(app, head, body, repo, branch, who.user_name().map(str::to_owned)).await
        }
        Route::Discussions { repo } if is_get => {
            admit(&app, &head.headers, &repo, Action::Read).await?;
            discussions::list(app, head, repo).await
        }
        Route::DiscussionStep { repo, number, step } if is_post => {
            let who = admit(&app, &head.headers, &repo, Action::Propose).await?;
            let is_owner = admit(&app, &head.headers, &repo, Action::Write).await.is_ok();
            let by = discussions::By { user: who.user_name().map(str::to_owned), is_owner };
            discussions::step(app, head, body, repo, number, step, by).await
        }
        Route::Discussions { repo } if is_post => {
            let who = admit(&app, &head.headers, &repo, Action::Propose).await?;
            discussions::open(app, head, body, repo, who.user_name().map(str::to_owned)).await
        }
        Route::Discussion { repo, number } if is_get => {
            admit(&app, &head.headers, &repo, Action::Read).await?;
            discussions::details(app, repo, number).await
        }
        Route::LfsBatch { repo } if is_post => lfs::batch(app, head, body, repo).await,
        // The URL is all that is needed.
        Route::LfsObject { repo, oid } => lfs::object(app, head, body, repo, oid).await,
        Route::LfsVerify { repo } if is_post => lfs::verify(app, head, body, repo).await,
        Route::Commit { repo, branch } if is_post => {
            let who = admit(&app, &head.headers, &repo, change(&head, &branch)?).await?;
            if !discussions::is_own(&app, &repo, &branch, who.user_name()).await? {
                admit(&app, &head.headers, &repo, Action::Write).await?;
            }
            commit::commit(app, head, body, repo, branch, who.user_name().map(str::to_owned)).await
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}

/// A commit that was asked for by a revision.
struct Located {
    repo: RepoKey,
    sha: String,
    commit: Arc<Commit>,
}

async fn locate(app: &App, repo: RepoKey, revision: String) -> Result<Located, Refusal> {
    app.mirror.look_up(&repo, &revision).await?;
    let store = Arc::clone(&app.store);
    let located = app.workers.disk(move || {
        let repo = store.current_name(repo)?;
        let exists = store.repo(&repo)?.is_some();
        let Some(sha) = (if exists { store.resolve(&repo, &revision)? } else { None }) else {
            return Ok(Err((exists, repo, revision)));
        };
        let commit = store.commit(&repo, &sha)?;
        Ok::<_, StoreError>(Ok(Located { repo, sha, commit }))
    });
    let located = located.await?.map_err(|(repo_exists, repo, revision)| match repo_exists {
        true => Refusal::revision_not_found(&repo.id, &revision),
        false => Refusal::repo_not_found(repo.id.as_str()),
    })?;
    app.mirror.note(&located.repo, &located.sha);
    Ok(located)
}

/// What a change of a revision amounts to: whoever proposes something also uploads for it.
fn change(head: &Head, revision: &str) -> Result<Action, Refusal> {
    let proposes = opens_pull_request(&head.uri)? || revision.starts_with(PULL_REQUESTS);
    Ok(if proposes { Action::Propose } else { Action::Write })
}

/// Whether a commit is to open a pull request. Other calls have the parameter too, and need not know.
fn opens_pull_request(uri: &Uri) -> Result<bool, Refusal> {
    #[derive(Deserialize)]
    struct Wanted {
        #[serde(default)]
        create_pr: String,
    }
    let Query(Wanted { create_pr }) =
        Query::try_from_uri(uri).map_err(|error| Refusal::bad_request(format!("the query is malformed: {error}")))?;
    match create_pr.as_str() {
        "" | "0" | "false" => Ok(false),
        "1" | "true" => Ok(true),
        // Committing to the branch itself may not be what was asked for.
        other => Err(Refusal::bad_request(format!("create_pr is 0 or 1, not `{other}`"))),
    }
}

/// Names the page that follows, if there is one.
fn with_next(mut response: Response, url: Option<String>) -> Response {
    if let Some(link) = url.and_then(|url| HeaderValue::try_from(format!("<{url}>; rel=\"next\"")).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

fn json(value: &impl serde::Serialize) -> Response {
    axum::Json(value).into_response()
}
