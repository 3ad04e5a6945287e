//! `POST .../commit/{branch}`: a commit, one line of JSON per step.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::preupload::REGULAR_BYTES_MAX;
use super::{App, Head, Refusal, RepoKey, json, opens_pull_request};
use crate::api::{CommitAnswer, CommitLine, check_path};
use crate::reconstruction::describe::file_bytes;
use crate::server::app::unix_now;
use crate::server::bodies::{Limit, spool};
use crate::server::store::{Change, Entry, NewObjects, Operation, StoreError};

/// All lines, bytes. Larger commits can be made in steps.
const BODY: Limit = Limit { what: "the commit", bytes_max: 1024 * 1024 * 1024 };
/// One line, bytes: the largest regular file in base64, its path, and JSON around them.
const LINE_BYTES_MAX: u64 = REGULAR_BYTES_MAX.div_ceil(3) * 4 + 64 * 1024;
/// Lines of a commit.
const LINES_MAX: usize = 100_000;
/// Summary and description, bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;

pub(super) async fn commit(
    app: Arc<App>,
    head: Head,
    body: Body,
    repo: RepoKey,
    branch: String,
    author: Option<String>,
) -> Result<Response, Refusal> {
    let opens_pull_request = opens_pull_request(&head.uri)?;
    let base = app.base_url(&head.headers)?;
    let mut lines = spool(&app, &head.headers, body, BODY).await?;
    let asked = Arc::clone(&app);
    let committed = app.workers.heavy(move || {
        if asked.store.repo(&repo)?.is_none() {
            return Err(Refusal::repo_not_found(repo.id.as_str()));
        }
        let change = Change { author, ..read_change(&asked, &repo, lines.rewound()?, branch)? };
        let (commit, pull_request) = match opens_pull_request {
            false => (asked.store.change(&repo, change)?, None),
            true => {
                let (commit, number) = asked.store.open_pull_request(&repo, change)?;
                (commit, Some(number))
            }
        };
        Ok((commit, pull_request, repo))
    });
    let (commit_oid, pull_request, repo) = committed.await?;
    let commit_url = format!("{base}/{repo}/commit/{commit_oid}");
    // Clients read the number from the end.
    let pull_request_url = pull_request.map(|number| format!("{base}/{repo}/discussions/{number}"));
    Ok(json(&CommitAnswer { success: true, commit_oid, commit_url, pull_request_url }))
}

/// Reads the lines, keeps what they bring along, and finds what they name.
fn read_change(app: &App, repo: &RepoKey, lines: &mut File, branch: String) -> Result<Change, Refusal> {
    let mut change = Change {
        branch: branch.strip_prefix("refs/heads/").unwrap_or(&branch).to_owned(),
        unix_seconds: unix_now(),
        ..Change::default()
    };
    let mut lines = BufReader::new(lines);
    let mut objects = app.store.new_objects();
    let mut text = Vec::new();
    for number in 1..=LINES_MAX + 1 {
        text.clear();
        lines.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut text).map_err(in_upload)?;
        if text.is_empty() {
            objects.finish()?;
            return Ok(change);
        }
        if number > LINES_MAX {
            break;
        }
        if text.len() as u64 > LINE_BYTES_MAX {
            return Err(Refusal::too_large("a line of the commit", LINE_BYTES_MAX));
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        let line = serde_json::from_slice(&text)
            .map_err(|error| Refusal::bad_request(format!("line {number} of the commit is not understood: {error}")))?;
        match line {
            CommitLine::Header { summary, description, parent_commit } => {
                if summary.len() + description.len() > MESSAGE_BYTES_MAX {
                    return Err(Refusal::bad_request(format!(
                        "a commit's message has at most {MESSAGE_BYTES_MAX} bytes"
                    )));
                }
                (change.summary, change.description, change.parent) = (summary, description, parent_commit);
            }
            line => change.operations.push(operation(app, repo, &mut objects, line)?),
        }
    }
    Err(Refusal::bad_request(format!("a commit has at most {LINES_MAX} lines")))
}

fn operation(app: &App, repo: &RepoKey, objects: &mut NewObjects<'_>, line: CommitLine) -> Result<Operation, Refusal> {
    let checked = |path: String| check_path(&path).map(|()| path).map_err(Refusal::bad_request);
    match line {
        CommitLine::File { content, path, encoding } => {
            let path = checked(path)?;
            if encoding != "base64" {
                return Err(Refusal::bad_request(format!("`{path}` is encoded as `{encoding}`; only base64 is taken")));
            }
            let content = STANDARD
                .decode(content)
                .map_err(|error| Refusal::bad_request(format!("`{path}` is not base64: {error}")))?;
            let size = content.len() as u64;
            if size > REGULAR_BYTES_MAX {
                return Err(Refusal::bad_request(format!(
                    "`{path}` has {size} bytes and must be uploaded through Xet"
                )));
            }
            Ok(Operation::Put { path, entry: Entry::regular(objects.add(&content)?, size) })
        }
        CommitLine::LfsFile { path, algo, oid, size } => {
            let path = checked(path)?;
            if algo != "sha256" || !is_sha256(&oid) {
                return Err(Refusal::bad_request(format!(
                    "`{path}` needs a SHA-256 of 64 lowercase hexadecimal digits"
                )));
            }
            Ok(Operation::Put { entry: uploaded(app, repo, &path, oid, size)?, path })
        }
        CommitLine::DeletedFile { path } => Ok(Operation::DeleteFile { path: checked(path)? }),
        // Clients write a folder with and without a slash at the end.
        CommitLine::DeletedFolder { path } => {
            Ok(Operation::DeleteFolder { path: checked(path.trim_end_matches('/').to_owned())? })
        }
        CommitLine::Header { .. } => Err(Refusal::bad_request("a commit has one header")),
    }
}

/// Whether a text can be a SHA-256, as clients write it.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

/// A file that is named by its SHA-256 alone: a shard has said before which file that is. Who only knows the name of a
/// file that others have is not told that it is here.
fn uploaded(app: &App, repo: &RepoKey, path: &str, sha256: String, size: u64) -> Result<Entry, Refusal> {
    let unknown = || StoreError::UnknownSha256 { path: path.to_owned(), sha256: sha256.clone() };
    let file = app.store.file_of_sha256(&sha256)?.ok_or_else(unknown)?;
    if app.keeps_secrets() && !app.proofs.has(repo, file) && !app.store.file_is_in(repo, file)? {
        return Err(unknown().into());
    }
    let terms = app.store.file(file)?.ok_or_else(unknown)?;
    let actual = file_bytes(&terms);
    // Clients that copy a file do not say how large it is.
    if size != 0 && size != actual {
        return Err(Refusal::bad_request(format!("`{path}` has {actual} bytes, not {size}")));
    }
    Ok(Entry::xet(sha256, file, actual))
}

fn in_upload(source: std::io::Error) -> StoreError {
    StoreError::Io { what: "read an upload", path: "incoming".into(), source }
}
