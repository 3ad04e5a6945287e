//! `GET /api/{kind}/{repo}/compare/{from}..{to}?raw=true`: which files differ, a line each as git's raw format has it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use super::pairs::Pairs;
use super::{App, Head, Refusal, RepoKey, locate};
use crate::server::store::{Commit, Content, Entry};

/// The whole answer, bytes.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
const NO_BLOB: &str = "0000000000000000000000000000000000000000";

pub(super) async fn compare(
    app: Arc<App>,
    head: Head,
    repo: RepoKey,
    from: String,
    to: String,
) -> Result<Response, Refusal> {
    if !Pairs::parse(head.uri.query().unwrap_or_default())?.is_set("raw") {
        return Err(Refusal::bad_request("this origin tells which files differ (raw=true), and not where"));
    }
    let from = locate(&app, repo.clone(), from).await?.commit;
    let to = locate(&app, repo, to).await?.commit;
    let lines = app.workers.reads(move || lines(&from, &to)).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], lines).into_response())
}

fn lines(from: &Commit, to: &Commit) -> Result<String, Refusal> {
    let paths: BTreeSet<&String> = from.files.keys().chain(to.files.keys()).collect();
    let mut lines = String::new();
    for line in paths.into_iter().filter_map(|path| line(path, from.files.get(path), to.files.get(path))) {
        if lines.len() + line.len() > ANSWER_BYTES_MAX {
            return Err(Refusal::bad_request("too much differs to be told at once"));
        }
        lines.push_str(&line);
    }
    Ok(lines)
}

/// `{T or B} {bytes after}\t:{mode before} {mode after} {blob before}... {blob after}... {status}\t{path}`
fn line(path: &str, before: Option<&Entry>, after: Option<&Entry>) -> Option<String> {
    let status = match (before, after) {
        (Some(before), Some(after)) if before == after => return None,
        (Some(_), Some(_)) => 'M',
        (None, Some(_)) => 'A',
        (Some(_), None) => 'D',
        (None, None) => return None,
    };
    let kind = if after.or(before).is_some_and(|entry| entry.content == Content::Regular) { 'T' } else { 'B' };
    let mode = |entry: Option<&Entry>| if entry.is_some() { "100644" } else { "000000" };
    let blob = |entry: Option<&Entry>| entry.map_or(NO_BLOB.to_owned(), |entry| entry.oid.clone());
    let size = after.map_or(0, |entry| entry.size);
    Some(format!(
        "{kind} {size}\t:{} {} {}... {}... {status}\t{path}\n",
        mode(before),
        mode(after),
        blob(before),
        blob(after)
    ))
}
