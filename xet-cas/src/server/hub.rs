//! The Hub: repositories, their listings, their regular files, and commits.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;

use super::access::Action;
use super::admission::{admit, admit_any};
use super::app::App;
use super::keys::Scope;
use super::refusal::Refusal;
use super::store::{Commit, RepoKey, StoreError};

mod route;
use route::Route;

mod attributes;
mod branches;
mod commit;
mod discussions;
mod info;
mod preupload;
mod repos;
mod resolve;
mod token;
mod tree;

/// Paths that hold the name of a repository are taken apart by [`Route`], because the owner is optional.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/repos/create", post(repos::create))
        .route("/api/validate-yaml", post(repos::validate_yaml))
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
    let (is_get, is_post) = (head.method == Method::GET, head.method == Method::POST);
    match route {
        Route::Resolve { repo, revision, path } if is_get || head.method == Method::HEAD => {
            resolve::resolve(app, head, repo, revision, path).await
        }
        Route::Info { repo, revision } if is_get => {
            admit(&app, &head.headers, &repo, Action::Read).await?;
            info::info(app, repo, revision).await
        }
        Route::Tree { repo, revision, folder } if is_get => {
            admit(&app, &head.headers, &repo, Action::Read).await?;
            tree::tree(app, head, repo, revision, folder).await
        }
        Route::ReadToken { repo, revision } if is_get => {
            admit(&app, &head.headers, &repo, Action::Content).await?;
            token::token(app, head, repo, Some(revision), Scope::Read).await
        }
        Route::WriteToken { repo } if is_get => {
            let action = if opens_pull_request(&head.uri)? { Action::Propose } else { Action::Write };
            admit(&app, &head.headers, &repo, action).await?;
            token::token(app, head, repo, None, Scope::Write).await
        }
        Route::Preupload { repo, revision } if is_post => {
            let action = if opens_pull_request(&head.uri)? { Action::Propose } else { Action::Write };
            admit(&app, &head.headers, &repo, action).await?;
            preupload::preupload(app, head, body, repo, revision).await
        }
        Route::Branch { repo, branch } if is_post => {
            admit(&app, &head.headers, &repo, Action::Write).await?;
            branches::create(app, head, body, repo, branch).await
        }
        Route::Discussions { repo } if is_post => {
            admit(&app, &head.headers, &repo, Action::Propose).await?;
            discussions::open(app, head, body, repo).await
        }
        Route::Discussion { repo, number } if is_get => {
            admit(&app, &head.headers, &repo, Action::Read).await?;
            discussions::details(app, repo, number).await
        }
        Route::Commit { repo, branch } if is_post => {
            let action = if opens_pull_request(&head.uri)? { Action::Propose } else { Action::Write };
            admit(&app, &head.headers, &repo, action).await?;
            commit::commit(app, head, body, repo, branch).await
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

fn json(value: &impl serde::Serialize) -> Response {
    axum::Json(value).into_response()
}
