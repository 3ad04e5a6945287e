//! `GET /api/{kind}/{repo}/tree/{revision}[/{folder}]`: what a commit holds, page by page.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::entries::entry;
use super::pairs::Pairs;
use super::{App, Head, Located, Refusal, RepoKey, json, last_commits, locate, with_next};
use crate::api::{TreeEntryJson, encode_path, encode_segment};
use crate::server::store::{Commit, StoreError, folders_of};

/// Entries on a page whose last commits are told too, as on the Hub.
const EXPANDED_PAGE_ENTRIES: usize = 50;

pub(super) async fn tree(
    app: Arc<App>,
    head: Head,
    repo: RepoKey,
    revision: String,
    folder: String,
) -> Result<Response, Refusal> {
    let wanted = Pairs::parse(head.uri.query().unwrap_or_default())?;
    let (is_recursive, is_expanded) = (wanted.is_set("recursive"), wanted.is_set("expand"));
    let page_entries_max = if is_expanded { EXPANDED_PAGE_ENTRIES } else { usize::MAX };
    let wanted_entries = wanted.number("limit")?.unwrap_or(usize::MAX);
    let page_entries = app.config.tree_page_entries.min(page_entries_max).min(wanted_entries).max(1);
    // The last path of the page before, so that a page does not depend on how large the others were.
    let after = wanted.first("cursor").map(decode_cursor).transpose()?;
    let located = locate(&app, repo, revision).await?;
    if !folder.is_empty() && !located.commit.has_folder(&folder) {
        return Err(Refusal::entry_not_found(&located.repo.id, &folder));
    }
    let base = app.base_url(&head.headers)?;
    let store = Arc::clone(&app.store);
    let page = move || {
        let Located { repo, sha, commit } = &located;
        let mut paths = listing(commit, &folder, is_recursive).into_iter();
        let after = after.unwrap_or_default();
        let page: Vec<&str> = paths.by_ref().filter(|path| *path > after.as_str()).take(page_entries).collect();
        let next = page.last().filter(|_| paths.next().is_some()).map(|last| {
            let folder = if folder.is_empty() { String::new() } else { format!("/{}", encode_path(&folder)) };
            let cursor = encode_segment(&URL_SAFE_NO_PAD.encode(last));
            let kind = repo.kind.plural();
            // Names the commit, not the branch: all pages are of one state.
            format!(
                "{base}/api/{kind}/{}/tree/{sha}{folder}?recursive={is_recursive}&expand={is_expanded}\
                 &limit={page_entries}&cursor={cursor}",
                repo.id
            )
        });
        let mut entries: Vec<TreeEntryJson> = page.into_iter().map(|path| entry(commit, path)).collect();
        if is_expanded {
            last_commits::fill(&store, repo, sha, commit, &mut entries)?;
        }
        Ok::<_, StoreError>((entries, next))
    };
    let page = if is_expanded { app.workers.reads(page).await } else { app.workers.disk(page).await };
    let (entries, next) = page?;
    Ok(with_next(json(&entries), next))
}

/// The paths of files and folders below a folder, in order.
fn listing<'c>(commit: &'c Commit, folder: &str, is_recursive: bool) -> BTreeSet<&'c str> {
    let inside = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut paths = BTreeSet::new();
    for path in commit.files.range(inside.clone()..).map(|(path, _)| path).take_while(|path| path.starts_with(&inside))
    {
        paths.extend(folders_of(path).filter(|folder| folder.len() > inside.len()));
        paths.insert(path);
    }
    if !is_recursive {
        paths.retain(|path| !path[inside.len()..].contains('/'));
    }
    paths
}

fn decode_cursor(cursor: &str) -> Result<String, Refusal> {
    let malformed = || Refusal::bad_request("the cursor is not one that this origin gave");
    let path = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| malformed())?;
    String::from_utf8(path).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::Entry;

    fn commit(paths: &[&str]) -> Commit {
        let files = paths.iter().map(|path| ((*path).to_owned(), Entry::regular("0".repeat(40), 1))).collect();
        Commit { files, ..Commit::default() }
    }

    #[test]
    fn given_nested_files_when_listed_then_with_their_folders() {
        let commit = commit(&["a/b/c", "a/d", "a.txt", "z"]);
        let list = |folder, is_recursive| listing(&commit, folder, is_recursive).into_iter().collect::<Vec<_>>();

        assert_eq!(vec!["a", "a.txt", "z"], list("", false));
        assert_eq!(vec!["a", "a.txt", "a/b", "a/b/c", "a/d", "z"], list("", true));
        assert_eq!(vec!["a/b", "a/d"], list("a", false));
        assert_eq!(vec!["a/b", "a/b/c", "a/d"], list("a", true));
    }
}
