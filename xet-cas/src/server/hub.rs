//! The Hub: repositories, their listings, their regular files, and commits.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;

use super::app::App;
use super::keys::{Scope, same_secret};
use super::refusal::Refusal;
use super::request::bearer;
use super::store::{Commit, RepoKey, StoreError};

mod route;
use route::Route;

mod access;
mod attributes;
mod commit;
mod compare;
mod date;
mod describe;
mod discussions;
mod duplicate;
mod entries;
mod front_matter;
mod history;
mod info;
mod last_commits;
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
        // Asks for a token itself: a signed URL needs none.
        Route::Resolve { repo, revision, path } if is_get => resolve::resolve(app, head, repo, revision, path).await,
        Route::Raw { repo, revision, path } if is_get => {
            authorize(&app, &head.headers)?;
            resolve::raw(app, head, repo, revision, path).await
        }
        Route::Info { repo, revision } if is_get => {
            authorize(&app, &head.headers)?;
            info::info(app, head, repo, revision).await
        }
        Route::PathsInfo { repo, revision } if is_post => {
            authorize(&app, &head.headers)?;
            paths_info::paths_info(app, head, body, repo, revision).await
        }
        Route::History { repo, revision } if is_get => {
            authorize(&app, &head.headers)?;
            history::history(app, head, repo, revision).await
        }
        Route::Compare { repo, from, to } if is_get => {
            authorize(&app, &head.headers)?;
            compare::compare(app, head, repo, from, to).await
        }
        Route::AuthCheck { repo, is_write } if is_get => {
            authorize(&app, &head.headers)?;
            access::check(app, repo, is_write).await
        }
        Route::AccessRequests { repo, what } if is_get => {
            authorize(&app, &head.headers)?;
            access::readers(app, repo, what).await
        }
        Route::AccessRequests { repo, what } if is_post => {
            authorize(&app, &head.headers)?;
            access::let_in(app, head, body, repo, what).await
        }
        Route::Duplicate { repo } if is_post => {
            authorize(&app, &head.headers)?;
            duplicate::duplicate(app, head, body, repo).await
        }
        Route::Tree { repo, revision, folder } if is_get => {
            authorize(&app, &head.headers)?;
            tree::tree(app, head, repo, revision, folder).await
        }
        Route::ReadToken { repo, revision } if is_get => {
            authorize(&app, &head.headers)?;
            token::token(app, head, repo, Some(revision), Scope::Read).await
        }
        Route::WriteToken { repo } if is_get => {
            authorize(&app, &head.headers)?;
            token::token(app, head, repo, None, Scope::Write).await
        }
        Route::Preupload { repo, revision } if is_post => {
            authorize(&app, &head.headers)?;
            preupload::preupload(app, head, body, repo, revision).await
        }
        Route::Repos { kind } if is_get => {
            authorize(&app, &head.headers)?;
            listing::list(app, head, kind).await
        }
        Route::Settings { repo } if head.method == Method::PUT => {
            authorize(&app, &head.headers)?;
            settings::update(app, head, body, repo).await
        }
        Route::Refs { repo } if is_get => {
            authorize(&app, &head.headers)?;
            refs::list(app, head, repo).await
        }
        Route::Branch { repo, branch } if is_post => {
            authorize(&app, &head.headers)?;
            refs::create_branch(app, head, body, repo, branch).await
        }
        Route::Branch { repo, branch } if is_delete => {
            authorize(&app, &head.headers)?;
            refs::delete_branch(app, repo, branch).await
        }
        Route::Tag { repo, name } if is_post => {
            authorize(&app, &head.headers)?;
            refs::create_tag(app, head, body, repo, name).await
        }
        Route::Tag { repo, name } if is_delete => {
            authorize(&app, &head.headers)?;
            refs::delete_tag(app, repo, name).await
        }
        Route::Squash { repo, branch } if is_post => {
            authorize(&app, &head.headers)?;
            squash::squash(app, head, body, repo, branch).await
        }
        Route::Discussions { repo } if is_get => {
            authorize(&app, &head.headers)?;
            discussions::list(app, head, repo).await
        }
        Route::DiscussionStep { repo, number, step } if is_post => {
            authorize(&app, &head.headers)?;
            discussions::step(app, head, body, repo, number, step).await
        }
        Route::Discussions { repo } if is_post => {
            authorize(&app, &head.headers)?;
            discussions::open(app, head, body, repo).await
        }
        Route::Discussion { repo, number } if is_get => {
            authorize(&app, &head.headers)?;
            discussions::details(app, repo, number).await
        }
        Route::Commit { repo, branch } if is_post => {
            authorize(&app, &head.headers)?;
            commit::commit(app, head, body, repo, branch).await
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}

/// Lets a request pass that carries the configured token, or any if none is configured.
fn authorize(app: &App, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(needed) = &app.config.token else { return Ok(()) };
    match bearer(headers) {
        None => Err(Refusal::no_credentials()),
        Some(given) if same_secret(given, needed) => Ok(()),
        Some(_) => Err(Refusal::wrong_credentials()),
    }
}

/// A commit that was asked for by a revision.
struct Located {
    repo: RepoKey,
    sha: String,
    commit: Arc<Commit>,
}

async fn locate(app: &App, repo: RepoKey, revision: String) -> Result<Located, Refusal> {
    let store = Arc::clone(&app.store);
    // A private repository was made under a token. Without one nobody can show that it is theirs.
    let is_open = app.config.token.is_none();
    let located = app.workers.disk(move || {
        let repo = store.current_name(repo)?;
        let record = store.repo(&repo)?.filter(|record| !(is_open && record.private));
        let Some(sha) = record.as_ref().map_or(Ok(None), |_| store.resolve(&repo, &revision))? else {
            return Ok(Err((record.is_some(), repo, revision)));
        };
        let commit = store.commit(&repo, &sha)?;
        Ok::<_, StoreError>(Ok(Located { repo, sha, commit }))
    });
    located.await?.map_err(|(repo_exists, repo, revision)| match repo_exists {
        true => Refusal::revision_not_found(&repo.id, &revision),
        false => Refusal::repo_not_found(repo.id.as_str()),
    })
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
