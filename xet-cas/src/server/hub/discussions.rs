//! Discussions, and the pull requests among them: `.../discussions[/{number}[/{step}]]`.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::commit::MESSAGE_BYTES_MAX;
use super::history::NOBODY;
use super::pairs::Pairs;
use super::route::Step;
use super::{App, Head, Located, Refusal, RepoKey, json as answer, locate};
use crate::api::utc;
use crate::server::app::unix_now;
use crate::server::bodies::{self, Limit};
use crate::server::store::{Change, Discussion, Event, MAIN, Merge, PULL_REQUESTS, Status, Store, StoreError, What};

/// The request, bytes: a title and a text, escaped.
const REQUEST: Limit = Limit { what: "the request", bytes_max: 4 * MESSAGE_BYTES_MAX as u64 };
/// Characters of a title.
const TITLE_CHARACTERS_MAX: usize = 200;
/// Discussions on a page.
const PAGE_DISCUSSIONS: usize = 50;
/// Discussions read from the store at a time. Each may have a mebibyte of text.
const READ_DISCUSSIONS: usize = 16;
/// What stands for a comment that was hidden.
const HIDDEN: &str = "This comment has been hidden";

/// A list of discussions, newest first.
pub(super) async fn list(app: Arc<App>, head: Head, repo: RepoKey) -> Result<Response, Refusal> {
    let wanted = Pairs::parse(head.uri.query().unwrap_or_default())?;
    let start = wanted.number("p")?.unwrap_or(0).saturating_mul(PAGE_DISCUSSIONS);
    let Located { repo, .. } = locate(&app, repo, MAIN.into()).await?;
    let store = Arc::clone(&app.store);
    let found = app.workers.reads(move || {
        let (mut page, mut count, mut before) = (Vec::new(), 0, u64::MAX);
        loop {
            let read = store.discussions(&repo, before, READ_DISCUSSIONS)?;
            let Some((last, _)) = read.last() else { break };
            before = *last;
            for (number, discussion) in read.iter().filter(|(_, discussion)| matches(&wanted, discussion)) {
                if (start..start.saturating_add(PAGE_DISCUSSIONS)).contains(&count) {
                    page.push(summary(&repo, *number, discussion));
                }
                count += 1;
            }
        }
        Ok::<_, StoreError>((page, count))
    });
    let (discussions, count) = found.await?;
    Ok(answer(&json!({ "discussions": discussions, "count": count, "start": start })))
}

fn matches(wanted: &Pairs, discussion: &Discussion) -> bool {
    let is_kind = match wanted.first("type") {
        Some("pull_request") => discussion.base.is_some(),
        Some("discussion") => discussion.base.is_none(),
        _ => true,
    };
    let is_status = match wanted.first("status") {
        Some("open") => discussion.status.is_open(),
        Some("closed") => !discussion.status.is_open(),
        _ => true,
    };
    let is_author = |author| discussion.author.as_deref().unwrap_or(NOBODY) == author;
    is_kind && is_status && wanted.first("author").is_none_or(is_author)
}

/// Opens a discussion, or a pull request that changes nothing yet.
pub(super) async fn open(
    app: Arc<App>,
    head: Head,
    body: Body,
    repo: RepoKey,
    author: Option<String>,
) -> Result<Response, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wanted {
        title: String,
        #[serde(default)]
        description: String,
        #[serde(default)]
        pull_request: bool,
    }
    let Wanted { title, description, pull_request } = bodies::json(&app, &head.headers, body, REQUEST).await?;
    check_title(&title)?;
    check_text(&description)?;
    let Located { repo, .. } = locate(&app, repo, MAIN.into()).await?;
    let (store, now) = (Arc::clone(&app.store), unix_now());
    let opened = app.workers.disk(move || match pull_request {
        true => {
            let nothing = Change {
                branch: MAIN.into(),
                summary: title,
                description,
                unix_seconds: now,
                author,
                ..Change::default()
            };
            store.open_pull_request(&repo, nothing).map(|(_, number)| number)
        }
        false => {
            let mut discussion = Discussion::new(title, author.clone(), now, Status::Open);
            if !description.is_empty() {
                discussion.push(now, author, What::comment(description));
            }
            store.open_discussion(&repo, &discussion)
        }
    });
    Ok(answer(&json!({ "num": opened.await?, "pullRequest": pull_request })))
}

pub(super) async fn details(app: Arc<App>, repo: RepoKey, number: u64) -> Result<Response, Refusal> {
    let Located { repo, .. } = locate(&app, repo, MAIN.into()).await?;
    let store = Arc::clone(&app.store);
    let told = app.workers.reads(move || {
        let discussion = store.discussion(&repo, number)?.ok_or_else(|| unknown(&repo, number))?;
        let mut told = summary(&repo, number, &discussion);
        told["events"] =
            discussion.events.iter().enumerate().map(|(at, happened)| event(number, at, happened)).collect();
        if let Some(base) = &discussion.base {
            told["filesWithConflicts"] = json!(store.conflicts(&repo, number, &discussion)?);
            told["changes"] = json!({ "base": format!("refs/heads/{base}") });
            if let Some(commit) = &discussion.merge_commit {
                told["changes"]["mergeCommitId"] = json!(commit);
            }
        }
        Ok::<_, Refusal>(told)
    });
    Ok(answer(&told.await?))
}

/// Whether a branch is none of a pull request, or that of one which this user has opened.
pub(super) async fn is_own(app: &App, repo: &RepoKey, branch: &str, user: Option<&str>) -> Result<bool, Refusal> {
    let Some(number) = branch.strip_prefix(PULL_REQUESTS) else { return Ok(true) };
    let (Some(user), Ok(number)) = (user, number.parse()) else { return Ok(false) };
    let (store, repo) = (Arc::clone(&app.store), repo.clone());
    let discussion = app.workers.disk(move || store.discussion(&repo, number)).await?;
    Ok(discussion.is_some_and(|discussion| discussion.author.as_deref() == Some(user)))
}

/// Who does something to a discussion.
pub(super) struct By {
    pub(super) user: Option<String>,
    /// Whether the repository is theirs.
    pub(super) is_owner: bool,
}

impl By {
    /// What somebody has said is for them to change, and for the repository's owners.
    fn check(&self, author: Option<&str>) -> Result<(), Refusal> {
        let is_own = author.is_some() && author == self.user.as_deref();
        if is_own || self.is_owner { Ok(()) } else { Err(Refusal::forbidden("this is for its author to change")) }
    }
}

/// What a client wants done to a discussion.
#[derive(Deserialize)]
struct Wanted {
    comment: Option<String>,
    content: Option<String>,
    title: Option<String>,
    status: Option<String>,
}

pub(super) async fn step(
    app: Arc<App>,
    head: Head,
    body: Body,
    repo: RepoKey,
    number: u64,
    step: Step,
    by: By,
) -> Result<Response, Refusal> {
    let wanted = bodies::text(&app, &head.headers, body, REQUEST).await?;
    // Where there is nothing to say, clients send `null` or nothing.
    let wanted: Option<Wanted> = match wanted.trim() {
        "" => None,
        text => serde_json::from_str(text)
            .map_err(|error| Refusal::bad_request(format!("the request is not the expected JSON: {error}")))?,
    };
    let wanted = wanted.unwrap_or(Wanted { comment: None, content: None, title: None, status: None });
    for text in [&wanted.comment, &wanted.content].into_iter().flatten() {
        check_text(text)?;
    }
    let Located { repo, .. } = locate(&app, repo, MAIN.into()).await?;
    let store = Arc::clone(&app.store);
    Ok(answer(&app.workers.heavy(move || done(&store, &repo, number, step, wanted, by)).await?))
}

/// Does it, and tells what has happened.
fn done(store: &Store, repo: &RepoKey, number: u64, step: Step, wanted: Wanted, by: By) -> Result<Value, Refusal> {
    let now = unix_now();
    let discussion = store.discussion(repo, number)?.ok_or_else(|| unknown(repo, number))?;
    match &step {
        Step::Comment => {}
        Step::Title | Step::Status => by.check(discussion.author.as_deref())?,
        Step::EditComment(id) | Step::HideComment(id) => {
            let event = event_place(id).and_then(|(_, at)| discussion.events.get(at));
            by.check(event.and_then(|event| event.author.as_deref()))?;
        }
        Step::Merge if by.is_owner => {}
        Step::Merge => return Err(Refusal::forbidden("merging is for those who may write")),
    }
    let author = by.user;
    let missing = |what: &str| Refusal::bad_request(format!("the request has no {what}"));
    // What happens is the last event of the discussion.
    let append = |change: &dyn Fn(&mut Discussion) -> Result<What, StoreError>| -> Result<Value, Refusal> {
        let happened = store.update_discussion(repo, number, |discussion| {
            let what = change(discussion)?;
            discussion.push(now, author.clone(), what);
            let at = discussion.events.len() - 1;
            Ok(event(number, at, &discussion.events[at]))
        });
        happened?.ok_or_else(|| unknown(repo, number))
    };
    let change_comment = |id: &str, change: &dyn Fn(&mut String, &mut Option<u64>, &mut bool)| {
        let no_comment = || StoreError::NoSuchEntry { path: format!("the comment {}", crate::api::shown(id)) };
        let happened = store.update_discussion(repo, number, |discussion| {
            let (of, at) = event_place(id).ok_or_else(no_comment)?;
            let happened = discussion.events.get_mut(at).filter(|_| of == number).ok_or_else(no_comment)?;
            let What::Comment { text, edited, is_hidden } = &mut happened.what else { return Err(no_comment()) };
            change(text, edited, is_hidden);
            Ok(event(number, at, happened))
        });
        let told = happened?.ok_or_else(|| unknown(repo, number))?;
        Ok::<_, Refusal>(json!({ "updatedComment": told }))
    };
    match step {
        Step::Comment => {
            let text = wanted.comment.ok_or_else(|| missing("comment"))?;
            Ok(json!({ "newMessage": append(&|_| Ok(What::comment(text.clone())))? }))
        }
        Step::EditComment(id) => {
            let content = wanted.content.ok_or_else(|| missing("content"))?;
            change_comment(&id, &|text, edited, is_hidden| {
                if !*is_hidden {
                    (*text, *edited) = (content.clone(), Some(now));
                }
            })
        }
        Step::HideComment(id) => change_comment(&id, &|text, _, is_hidden| {
            (*text, *is_hidden) = (HIDDEN.to_owned(), true);
        }),
        Step::Title => {
            let to = wanted.title.ok_or_else(|| missing("title"))?;
            check_title(&to)?;
            let told = append(&|discussion| {
                let from = std::mem::replace(&mut discussion.title, to.clone());
                Ok(What::Title { from, to: to.clone() })
            });
            Ok(json!({ "newTitle": told? }))
        }
        Step::Status => {
            let status = match wanted.status.as_deref() {
                Some("open") => Status::Open,
                Some("closed") => Status::Closed,
                _ => return Err(Refusal::bad_request("the status is open or closed")),
            };
            let told = append(&|discussion| {
                if discussion.status == Status::Merged {
                    return Err(StoreError::Commit { reason: "what was merged stays so".into() });
                }
                discussion.status = status;
                if let Some(text) = &wanted.comment {
                    discussion.push(now, author.clone(), What::comment(text.clone()));
                }
                Ok(What::Status(status))
            });
            Ok(json!({ "newStatus": told? }))
        }
        Step::Merge => {
            let merge = Merge { comment: wanted.comment, author: author.clone(), unix_seconds: now };
            let commit = store.merge_pull_request(repo, number, merge)?.ok_or_else(|| unknown(repo, number))?;
            Ok(json!({ "mergeCommitId": commit }))
        }
    }
}

fn summary(repo: &RepoKey, number: u64, discussion: &Discussion) -> Value {
    json!({
        "num": number,
        "title": discussion.title,
        "status": discussion.status,
        "isPullRequest": discussion.base.is_some(),
        "createdAt": utc(discussion.unix_seconds),
        "author": author(discussion.author.as_deref()),
        "repo": { "name": repo.id.as_str(), "type": repo.kind.to_string() },
    })
}

fn author(name: Option<&str>) -> Value {
    json!({ "name": name.unwrap_or(NOBODY) })
}

fn event(number: u64, at: usize, event: &Event) -> Value {
    let by = author(event.author.as_deref());
    let (kind, data) = match &event.what {
        What::Comment { text, edited, is_hidden } => {
            let changed = utc(edited.unwrap_or(event.unix_seconds));
            let latest = json!({ "raw": text, "html": super::history::html(text), "updatedAt": changed, "author": by });
            let data = json!({
                "edited": edited.is_some(),
                "hidden": is_hidden,
                "numEdits": u8::from(edited.is_some()),
                "latest": latest,
                "history": [latest],
            });
            ("comment", data)
        }
        What::Status(status) => ("status-change", json!({ "status": status })),
        What::Title { from, to } => ("title-change", json!({ "from": from, "to": to })),
    };
    let created = utc(event.unix_seconds);
    json!({ "id": event_id(number, at), "type": kind, "createdAt": created, "author": by, "data": data })
}

/// Events are only ever added, so that their place is their name: 24 hexadecimal digits, as on the Hub.
fn event_id(number: u64, at: usize) -> String {
    format!("{number:016x}{at:08x}")
}

fn event_place(id: &str) -> Option<(u64, usize)> {
    let (number, at) = id.split_at_checked(16).filter(|(_, at)| at.len() == 8)?;
    Some((u64::from_str_radix(number, 16).ok()?, usize::from_str_radix(at, 16).ok()?))
}

fn check_title(title: &str) -> Result<(), Refusal> {
    if title.trim().is_empty() || title.chars().count() > TITLE_CHARACTERS_MAX {
        return Err(Refusal::bad_request(format!("a title has 1 to {TITLE_CHARACTERS_MAX} characters")));
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), Refusal> {
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(Refusal::bad_request(format!("a text has at most {MESSAGE_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn unknown(repo: &RepoKey, number: u64) -> Refusal {
    Refusal::not_found(format!("{repo} has no discussion {number}"))
}
