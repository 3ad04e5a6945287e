//! `GET /api/{kind}/{repo}/commits/{revision}`: the commits that lead to a revision, newest first, page by page.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::pairs::Pairs;
use super::{App, Head, Located, Refusal, RepoKey, json as answer, locate, with_next};
use crate::api::utc;
use crate::server::store::{CommitHead, StoreError};

/// Commits on a page if nobody says, as on the Hub.
const PAGE_COMMITS: usize = 50;
/// Each may have a message of 64 KiB.
const PAGE_COMMITS_MAX: usize = 100;
/// Whose commits these are, if nobody was asked for a name.
pub(super) const NOBODY: &str = "origin";

pub(super) async fn history(app: Arc<App>, head: Head, repo: RepoKey, revision: String) -> Result<Response, Refusal> {
    let wanted = Pairs::parse(head.uri.query().unwrap_or_default())?;
    let is_formatted = wanted.all("expand").any(|each| each == "formatted");
    let page_commits = wanted.number("limit")?.unwrap_or(PAGE_COMMITS).clamp(1, PAGE_COMMITS_MAX);
    let Located { repo, sha, .. } = locate(&app, repo, revision).await?;
    let (store, of) = (Arc::clone(&app.store), repo.clone());
    let page = app.workers.reads(move || {
        let mut commits = store.history(&of, &sha, page_commits + 1)?;
        // One more than a page, to see whether there is another.
        let next = if commits.len() > page_commits { commits.pop().map(|(sha, _)| sha) } else { None };
        let page: Vec<Value> = commits.iter().map(|(sha, commit)| told(sha, commit, is_formatted)).collect();
        Ok::<_, StoreError>((page, next))
    });
    let (page, next) = page.await?;
    // The next page begins at a commit, so that it is the same whatever has been committed since.
    let next = next.map(|sha| {
        let expand = if is_formatted { "&expand[]=formatted" } else { "" };
        let kind = repo.kind.plural();
        Ok::<_, Refusal>(format!(
            "{}/api/{kind}/{}/commits/{sha}?limit={page_commits}{expand}",
            app.base_url(&head.headers)?,
            repo.id
        ))
    });
    Ok(with_next(answer(&page), next.transpose()?))
}

fn told(sha: &str, commit: &CommitHead, is_formatted: bool) -> Value {
    let mut told = json!({
        "id": sha,
        "title": commit.summary,
        "message": commit.description,
        "authors": [{ "user": commit.author.as_deref().unwrap_or(NOBODY) }],
        "date": utc(commit.unix_seconds),
        "parents": commit.parent.iter().collect::<Vec<_>>(),
    });
    if is_formatted {
        told["formatted"] = json!({ "title": html(&commit.summary), "message": html(&commit.description) });
    }
    told
}

/// A text as HTML that says the same. The Hub would make links of names and numbers.
pub(super) fn html(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            c => html.push(c),
        }
    }
    html
}
