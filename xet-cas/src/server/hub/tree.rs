//! `GET /api/{kind}/{repo}/tree/{revision}[/{folder}]`: what a commit holds, page by page.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::Query;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::{App, Head, Located, Refusal, RepoKey, json, locate};
use crate::GitBlobHasher;
use crate::api::{LfsJson, TreeEntryJson, encode_path, encode_segment};
use crate::server::store::{Commit, Content, Entry, folders_of};

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    #[serde(default)]
    recursive: String,
    limit: Option<usize>,
    /// The last path of the page before, so that a page does not depend on how large the others were.
    cursor: Option<String>,
}

pub(super) async fn tree(
    app: Arc<App>,
    head: Head,
    repo: RepoKey,
    revision: String,
    folder: String,
) -> Result<Response, Refusal> {
    let Query(wanted) = Query::<Wanted>::try_from_uri(&head.uri)
        .map_err(|error| Refusal::bad_request(format!("the query is malformed: {error}")))?;
    let is_recursive = matches!(wanted.recursive.as_str(), "1" | "true" | "True");
    let page_entries = app.config.tree_page_entries.min(wanted.limit.unwrap_or(usize::MAX)).max(1);
    let after = wanted.cursor.as_deref().map(decode_cursor).transpose()?;
    let located = locate(&app, repo, revision).await?;
    if !folder.is_empty() && !located.commit.has_folder(&folder) {
        return Err(Refusal::entry_not_found(&located.repo.id, &folder));
    }
    let base = app.base_url(&head.headers)?;
    let page = app.workers.disk(move || {
        let mut paths = listing(&located.commit, &folder, is_recursive).into_iter();
        let after = after.unwrap_or_default();
        let page: Vec<String> =
            paths.by_ref().filter(|path| *path > after.as_str()).take(page_entries).map(str::to_owned).collect();
        let is_last = paths.next().is_none();
        let entries: Vec<TreeEntryJson> = page.iter().map(|path| entry(&located.commit, path)).collect();
        let next = page
            .last()
            .filter(|_| !is_last)
            .map(|last| next_url(&base, &located, &folder, is_recursive, page_entries, last));
        (entries, next)
    });
    let (entries, next) = page.await;
    let mut response = json(&entries);
    if let Some(url) = next.and_then(|url| HeaderValue::try_from(format!("<{url}>; rel=\"next\"")).ok()) {
        response.headers_mut().insert(header::LINK, url);
    }
    Ok(response)
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

fn entry(commit: &Commit, path: &str) -> TreeEntryJson {
    let Some(file) = commit.files.get(path) else { return folder_entry(commit, path) };
    let (lfs, xet_hash) = match &file.content {
        Content::Regular => (None, None),
        Content::Xet { sha256, hash } => (Some(lfs(file, sha256)), Some(hash.to_string())),
    };
    TreeEntryJson {
        kind: "file".into(),
        oid: file.oid.clone(),
        size: as_json(file.size),
        path: path.to_owned(),
        lfs,
        xet_hash,
    }
}

fn lfs(file: &Entry, sha256: &str) -> LfsJson {
    LfsJson { oid: sha256.to_owned(), size: as_json(file.size), pointer_size: file.pointer_bytes() as i64 }
}

/// A folder's id changes with its files, as git's would; it is not the same number.
fn folder_entry(commit: &Commit, path: &str) -> TreeEntryJson {
    let inside = format!("{path}/");
    let mut listed = String::new();
    for (file, entry) in commit.files.range(inside.clone()..).take_while(|(file, _)| file.starts_with(&inside)) {
        listed.push_str(&format!("{} {file}\n", entry.oid));
    }
    let oid = GitBlobHasher::of(listed.as_bytes());
    TreeEntryJson { kind: "directory".into(), oid, size: 0, path: path.to_owned(), lfs: None, xet_hash: None }
}

fn as_json(size: u64) -> i64 {
    size.try_into().unwrap_or(i64::MAX)
}

/// Names the commit, not the branch: all pages are of one state.
fn next_url(
    base: &str,
    located: &Located,
    folder: &str,
    is_recursive: bool,
    page_entries: usize,
    last: &str,
) -> String {
    let Located { repo, sha, .. } = located;
    let folder = if folder.is_empty() { String::new() } else { format!("/{}", encode_path(folder)) };
    let cursor = encode_segment(&URL_SAFE_NO_PAD.encode(last));
    let kind = repo.kind.plural();
    format!(
        "{base}/api/{kind}/{}/tree/{sha}{folder}?recursive={is_recursive}&limit={page_entries}&cursor={cursor}",
        repo.id
    )
}

fn decode_cursor(cursor: &str) -> Result<String, Refusal> {
    let malformed = || Refusal::bad_request("the cursor is not one that this origin gave");
    let path = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| malformed())?;
    String::from_utf8(path).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

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
