//! `GET /api/models`, `/api/datasets` and `/api/spaces`: repositories, page by page.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::describe::Described;
use super::pairs::Pairs;
use super::{Action, App, Head, Refusal, RepoKey, json, with_next};
use crate::api::encode_segment;
use crate::server::access::{Verdict, Who};
use crate::server::store::{MAIN, RepoRecord, Store, StoreError};
use crate::{RepoId, RepoType};

/// Repositories on a page, as on the Hub.
const PAGE_REPOS_MAX: usize = 1_000;
/// Repositories on a page whose files are told too.
const FULL_PAGE_REPOS_MAX: usize = 100;
/// Files told of on such a page, except those of its last repository.
const FULL_PAGE_FILES_MAX: usize = 100_000;
/// Records read from the store at a time.
const READ_REPOS: usize = 1_000;

/// Which repositories are wanted, and in which order.
struct Wanted {
    kind: RepoType,
    author: Option<String>,
    /// In lower case.
    search: Option<String>,
    order: Order,
    /// Where the page before ended.
    after: Option<Place>,
    page_repos: usize,
    is_full: bool,
    /// Names of properties; empty: all.
    chosen: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Name,
    Created,
    Modified,
}

/// Where a repository stands in a list: what is newer comes first.
type Place = (Reverse<u64>, RepoId);

impl Wanted {
    fn read(kind: RepoType, query: &Pairs) -> Result<Self, Refusal> {
        let is_full = query.is_set("full");
        let page_repos_max = if is_full { FULL_PAGE_REPOS_MAX } else { PAGE_REPOS_MAX };
        let order = match query.first("sort") {
            Some("lastModified") => Order::Modified,
            Some("createdAt") => Order::Created,
            // Nobody counts likes and downloads here.
            _ => Order::Name,
        };
        Ok(Self {
            kind,
            author: query.first("author").map(str::to_owned),
            search: query.first("search").map(str::to_lowercase),
            order,
            after: query.first("cursor").map(decode_cursor).transpose()?,
            page_repos: query.number("limit")?.unwrap_or(page_repos_max).clamp(1, page_repos_max),
            is_full,
            chosen: query.all("expand").map(str::to_owned).collect(),
        })
    }

    fn key(&self, id: &RepoId) -> RepoKey {
        RepoKey { kind: self.kind, id: id.clone() }
    }

    fn matches(&self, id: &RepoId) -> bool {
        self.author.as_deref().is_none_or(|author| id.owner() == Some(author))
            && self.search.as_deref().is_none_or(|search| id.as_str().to_lowercase().contains(search))
    }

    fn place(&self, id: &RepoId, record: &RepoRecord) -> Place {
        let time = match self.order {
            Order::Name => 0,
            Order::Created => record.created,
            Order::Modified => record.modified,
        };
        (Reverse(time), id.clone())
    }
}

pub(super) async fn list(app: Arc<App>, head: Head, who: Who, kind: RepoType) -> Result<Response, Refusal> {
    let query = head.uri.query().unwrap_or_default();
    let wanted = Wanted::read(kind, &Pairs::parse(query)?)?;
    let base = app.base_url(&head.headers)?;
    let kept = kept_parameters(query);
    let asked = Arc::clone(&app);
    let page = app.workers.reads(move || {
        let may_see = |repo: &RepoKey, record: &RepoRecord| {
            asked.guard.permits(&who, Action::Read, repo, Some(record)) == Verdict::Allowed
        };
        page(&asked.store, &wanted, may_see)
    });
    let (page, next) = page.await?;
    let next = next.map(|(Reverse(time), id)| {
        let cursor = encode_segment(&URL_SAFE_NO_PAD.encode(format!("{time} {id}")));
        format!("{base}/api/{}?{kept}cursor={cursor}", kind.plural())
    });
    Ok(with_next(json(&page), next))
}

/// A page, and where it ends if there are more.
fn page(
    store: &Store,
    wanted: &Wanted,
    may_see: impl Fn(&RepoKey, &RepoRecord) -> bool,
) -> Result<(Vec<Value>, Option<Place>), StoreError> {
    // One more than a page, to see whether there is another: the first ones by their place, as far as read.
    let mut found: Vec<(Place, RepoRecord)> = Vec::new();
    let mut read_to: Option<RepoId> = match (wanted.order, &wanted.after) {
        (Order::Name, Some((_, id))) => Some(id.clone()),
        _ => None,
    };
    loop {
        let read = store.repos(wanted.kind, read_to.as_ref(), READ_REPOS)?;
        let is_last = read.len() < READ_REPOS;
        read_to = read.last().map(|(id, _)| id.clone());
        for (id, record) in read {
            let place = wanted.place(&id, &record);
            if wanted.matches(&id)
                && wanted.after.as_ref().is_none_or(|after| *after < place)
                && may_see(&wanted.key(&id), &record)
            {
                found.push((place, record));
            }
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found.truncate(wanted.page_repos + 1);
        let is_enough = wanted.order == Order::Name && found.len() > wanted.page_repos;
        if is_last || is_enough {
            break;
        }
    }
    let (mut page, mut files) = (Vec::new(), 0);
    for ((_, id), record) in found.iter().take(wanted.page_repos) {
        page.push(told(store, wanted, id, record, &mut files)?);
        if files > FULL_PAGE_FILES_MAX {
            break;
        }
    }
    let next = page.len().checked_sub(1).filter(|last| last + 1 < found.len()).map(|last| found[last].0.clone());
    Ok((page, next))
}

fn told(
    store: &Store,
    wanted: &Wanted,
    id: &RepoId,
    record: &RepoRecord,
    files: &mut usize,
) -> Result<Value, StoreError> {
    let repo = wanted.key(id);
    let sha = store.resolve(&repo, MAIN)?.unwrap_or_default();
    let has_files = wanted.is_full || wanted.chosen.iter().any(|name| name == "siblings" || name == "usedStorage");
    let commit = match has_files && !sha.is_empty() {
        true => Some(store.commit(&repo, &sha)?),
        false => None,
    };
    *files += commit.as_ref().map_or(0, |commit| commit.files.len());
    let described = Described {
        repo: &repo,
        record,
        sha: &sha,
        modified: record.modified,
        commit: commit.as_deref(),
        has_blobs: false,
    };
    Ok(described.json(&wanted.chosen.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// The query without where it began, ready for more.
fn kept_parameters(query: &str) -> String {
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    kept.map(|pair| format!("{pair}&")).collect()
}

fn decode_cursor(cursor: &str) -> Result<Place, Refusal> {
    let malformed = || Refusal::bad_request("the cursor is not one that this origin gave");
    let text = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| malformed())?;
    let text = String::from_utf8(text).map_err(|_| malformed())?;
    let (time, id) = text.split_once(' ').ok_or_else(malformed)?;
    Ok((Reverse(time.parse().map_err(|_| malformed())?), id.parse().map_err(|_| malformed())?))
}
