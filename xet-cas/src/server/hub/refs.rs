//! Branches and tags: `GET .../refs`, `POST|DELETE .../branch/{branch}`, `POST .../tag/{revision}`, `DELETE
//! .../tag/{tag}`.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::pairs::Pairs;
use super::{App, Head, Located, Refusal, RepoKey, json as answer, locate};
use crate::server::bodies::{self, Limit};
use crate::server::store::{HEADS, MAIN, PULL_REQUESTS, TAGS};

/// The request, bytes: a name and a message.
const REQUEST: Limit = Limit { what: "the request", bytes_max: 256 * 1024 };
/// Branches, tags and pull requests of one repository: a list tells all of them.
const REFS_MAX: usize = 50_000;
/// Longest name, bytes.
const NAME_BYTES_MAX: usize = 200;

pub(super) async fn list(app: Arc<App>, head: Head, repo: RepoKey) -> Result<Response, Refusal> {
    let has_pull_requests = Pairs::parse(head.uri.query().unwrap_or_default())?.is_set("include_prs");
    let Located { repo, .. } = locate(&app, repo, MAIN.into()).await?;
    let store = Arc::clone(&app.store);
    let refs = app.workers.disk(move || store.refs(&repo)).await?;
    let below = |prefix: &str| -> Vec<Value> {
        let named = refs.iter().filter_map(|(name, sha)| Some((name, name.strip_prefix(prefix)?, sha)));
        let told = |(name, short, sha): (&String, &str, &String)| match prefix {
            // On the Hub they have no shorter name.
            PULL_REQUESTS => json!({ "name": name, "ref": name, "targetCommit": sha }),
            _ => json!({ "name": short, "ref": name, "targetCommit": sha }),
        };
        named.map(told).collect()
    };
    let mut told = json!({ "branches": below(HEADS), "converts": [], "tags": below(TAGS) });
    if has_pull_requests {
        let mut opened = below(PULL_REQUESTS);
        let number = |told: &Value| told["ref"].as_str().and_then(|name| name.rsplit('/').next()?.parse::<u64>().ok());
        opened.sort_by_key(number);
        told["pullRequests"] = opened.into();
    }
    Ok(answer(&told))
}

pub(super) async fn create_branch(
    app: Arc<App>,
    head: Head,
    body: Body,
    repo: RepoKey,
    branch: String,
) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wanted {
        /// Branch, tag or commit. Default: the main branch.
        #[serde(default)]
        starting_point: Option<String>,
    }
    let Wanted { starting_point } = bodies::json(&app, &head.headers, body, REQUEST).await?;
    create(app, repo, starting_point.unwrap_or(MAIN.into()), HEADS, branch).await
}

pub(super) async fn create_tag(
    app: Arc<App>,
    head: Head,
    body: Body,
    repo: RepoKey,
    revision: String,
) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    struct Wanted {
        tag: String,
    }
    let Wanted { tag } = bodies::json(&app, &head.headers, body, REQUEST).await?;
    create(app, repo, revision, TAGS, tag).await
}

async fn create(
    app: Arc<App>,
    repo: RepoKey,
    revision: String,
    prefix: &'static str,
    name: String,
) -> Result<Response, Refusal> {
    check_name(&name)?;
    let Located { repo, sha, .. } = locate(&app, repo, revision).await?;
    let full = format!("{prefix}{name}");
    let store = Arc::clone(&app.store);
    let created = app.workers.disk(move || {
        if store.refs(&repo)?.len() >= REFS_MAX {
            return Err(Refusal::bad_request(format!("a repository has at most {REFS_MAX} branches and tags")));
        }
        Ok(store.create_ref(&repo, &full, &sha)?)
    });
    match created.await? {
        true => Ok(answer(&json!({}))),
        false => Err(Refusal::conflict(format!("reference already exists: {prefix}{name}"))),
    }
}

pub(super) async fn delete_branch(app: Arc<App>, repo: RepoKey, branch: String) -> Result<Response, Refusal> {
    if branch == MAIN {
        return Err(Refusal::forbidden("the main branch cannot be deleted"));
    }
    delete(app, repo, HEADS, branch).await
}

pub(super) async fn delete_tag(app: Arc<App>, repo: RepoKey, tag: String) -> Result<Response, Refusal> {
    delete(app, repo, TAGS, tag).await
}

async fn delete(app: Arc<App>, repo: RepoKey, prefix: &str, name: String) -> Result<Response, Refusal> {
    let Located { repo, .. } = locate(&app, repo, MAIN.into()).await?;
    let (store, of, full) = (Arc::clone(&app.store), repo.clone(), format!("{prefix}{name}"));
    match app.workers.disk(move || store.delete_ref(&of, &full)).await? {
        true => Ok(answer(&json!({}))),
        false => Err(Refusal::revision_not_found(&repo.id, &name)),
    }
}

/// Takes what git takes, and nothing that could be meant for a commit or for another kind of reference.
fn check_name(name: &str) -> Result<(), Refusal> {
    let is_odd = |c: char| c.is_control() || c == ' ' || "~^:?*[\\".contains(c);
    let is_fine = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let is_commit = name.len() == 40 && name.bytes().all(|c| c.is_ascii_hexdigit());
    let is_bad = name.len() > NAME_BYTES_MAX
        || name.chars().any(is_odd)
        || !name.split('/').all(is_fine)
        || ["..", "@{"].iter().any(|text| name.contains(text))
        || name.starts_with('-')
        || name.ends_with('.')
        || name == "@"
        || name == "HEAD"
        || name.starts_with("refs/")
        || is_commit;
    if is_bad { Err(Refusal::bad_request("this cannot be the name of a branch or a tag")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn given_names_when_checked_then_as_git_does() {
        for name in ["main", "v1.0", "dev/x", "ü", "a@b", "refs", "feature/refs/x", &"0".repeat(39)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a..b",
            "a b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[b",
            "a\\b",
            "a\0",
            "a\n",
            "@",
            "a@{1}",
            "HEAD",
            "-a",
            "a.",
            "refs/heads/a",
            "refs/pr/7",
            &"0".repeat(40),
            &"x".repeat(201),
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
