//! `POST .../discussions` and `GET .../discussions/{number}`: pull requests, as far as clients open them before they
//! commit to them. Nobody talks here.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::commit::MESSAGE_BYTES_MAX;
use super::{App, Head, Refusal, RepoKey, json as answer};
use crate::server::app::unix_now;
use crate::server::bodies::{self, Limit};
use crate::server::store::{Change, MAIN, PullRequest};

/// The request, bytes: a title and a description, escaped.
const REQUEST: Limit = Limit { what: "the request", bytes_max: 4 * MESSAGE_BYTES_MAX as u64 };

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    title: String,
    #[serde(default)]
    pull_request: bool,
}

/// Opens a pull request that changes nothing yet.
pub(super) async fn open(app: Arc<App>, head: Head, body: Body, repo: RepoKey) -> Result<Response, Refusal> {
    let Wanted { title, pull_request } = bodies::json(&app, &head.headers, body, REQUEST).await?;
    if !pull_request {
        return Err(Refusal::bad_request("this origin has pull requests, and no other discussions"));
    }
    if title.len() > MESSAGE_BYTES_MAX {
        return Err(Refusal::bad_request(format!("a title has at most {MESSAGE_BYTES_MAX} bytes")));
    }
    let nothing = Change { branch: MAIN.into(), summary: title, unix_seconds: unix_now(), ..Change::default() };
    let store = Arc::clone(&app.store);
    let opened = app.workers.disk(move || {
        if store.repo(&repo)?.is_none() {
            return Err(Refusal::repo_not_found(repo.id.as_str()));
        }
        Ok(store.open_pull_request(&repo, nothing)?)
    });
    let (_, number) = opened.await?;
    Ok(answer(&json!({ "num": number, "pullRequest": true })))
}

/// What `huggingface_hub` reads of a pull request.
pub(super) async fn details(app: Arc<App>, repo: RepoKey, number: u64) -> Result<Response, Refusal> {
    let (store, of) = (Arc::clone(&app.store), repo.clone());
    let known =
        app.workers.disk(move || Ok::<_, Refusal>((store.repo(&of)?.is_some(), store.pull_request(&of, number)?)));
    let PullRequest { title, base, unix_seconds, .. } = match known.await? {
        (true, Some(opened)) => opened,
        (true, None) => return Err(Refusal::not_found(format!("{repo} has no pull request {number}"))),
        (false, _) => return Err(Refusal::repo_not_found(repo.id.as_str())),
    };
    Ok(answer(&json!({
        "num": number,
        "title": title,
        "status": "draft",
        "isPullRequest": true,
        "createdAt": utc(unix_seconds),
        "repo": { "name": repo.id.as_str(), "type": repo.kind.to_string() },
        "changes": { "base": format!("refs/heads/{base}") },
        "filesWithConflicts": [],
        "events": [],
    })))
}

/// `2024-02-29T23:59:59.000Z`
fn utc(unix_seconds: u64) -> String {
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    /// In 400 years of the calendar.
    const ERA_DAYS: u64 = 146_097;
    let (days, seconds) = (unix_seconds / DAY_SECONDS, unix_seconds % DAY_SECONDS);
    // Years that begin in March have the odd day at their end.
    let since_march_of_0 = days + 719_468;
    let (era, day_of_era) = (since_march_of_0 / ERA_DAYS, since_march_of_0 % ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / (ERA_DAYS - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn given_seconds_when_told_as_a_date_then_leap_years_and_centuries_are_right() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_735_689_600, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(date, utc(seconds));
        }
    }
}
