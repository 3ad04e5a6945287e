//! What the Hub says of a repository besides its files: who may read it, its branches and tags, its commits.

use std::collections::HashSet;

use serde::de::DeserializeOwned;
use url::Url;

use super::http::{Answer, Request, parse_json};
use super::{Error, Hub, listing};
use crate::api::{
    CommitJson, GatedJson, RefJson, RefsAnswer, RepoId, RepoStateAnswer, RepoType, check_path, encode_segment, shown,
    unix_seconds,
};

/// Commits of one revision at most.
const COMMITS_MAX: usize = 100_000;
/// Pages of a history at most. The Hub sends 50 commits a page.
const PAGES_MAX: usize = 10_000;
/// Branches and tags of a repository at most.
const REFS_MAX: usize = 10_000;
/// Longest name of a branch or tag, bytes.
const REF_BYTES_MAX: usize = 240;
/// How much of a title, a message or a name is taken, bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// A repository at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepoState {
    /// The commit: 40 lowercase hexadecimal digits.
    pub sha: String,
    /// Whether only its owner sees it.
    pub private: bool,
    /// Whether readers have to be let in.
    pub gated: Gated,
}

/// Whether the readers of a repository have to be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Gated {
    /// No.
    #[default]
    No,
    /// They have to ask, and are let in.
    Auto,
    /// They have to ask, and somebody decides.
    Manual,
}

/// A branch, a tag, or what a pull request is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// `refs/heads/main`, `refs/tags/v1`
    pub full_name: String,
    /// The commit: 40 lowercase hexadecimal digits.
    pub sha: String,
}

impl Ref {
    /// What it is called as a revision: without `refs/heads/` or `refs/tags/`.
    pub fn revision(&self) -> &str {
        let name = &self.full_name;
        name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/")).unwrap_or(name)
    }
}

/// A commit, without its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// 40 lowercase hexadecimal digits.
    pub sha: String,
    /// First line of its message.
    pub title: String,
    /// The rest of it.
    pub message: String,
    /// Who made it.
    pub authors: Vec<String>,
    /// When, seconds since 1970; 0 if the Hub does not say.
    pub unix_seconds: u64,
}

impl Hub {
    /// Finds the commit of a branch, tag, `refs/pr/N` or commit, and who may read the repository. Unlike
    /// [`resolve`](Self::resolve) it asks about a full commit too.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`], [`Error::RevisionNotFound`], or what any request can meet.
    ///
    /// # Cancel safety
    /// The request is given up if the future is dropped; nothing else remains of it.
    pub async fn repo_state(&self, repo_type: RepoType, repo: &RepoId, revision: &str) -> Result<RepoState, Error> {
        let what = format!("revision `{}` of {repo}", shown(revision));
        let path = format!("/api/{}/{repo}/revision/{}", repo_type.plural(), encode_segment(revision));
        let (answer, _) = self.repo_json::<RepoStateAnswer>(&what, self.url(&path)?, repo_type, repo, revision).await?;
        let RepoStateAnswer { sha, private, gated } = answer;
        let gated = match gated {
            GatedJson::Flag(false) => Gated::No,
            GatedJson::Kind(kind) if kind == "auto" => Gated::Auto,
            // Whatever else there may be, it is not open.
            GatedJson::Flag(true) | GatedJson::Kind(_) => Gated::Manual,
        };
        Ok(RepoState { sha: checked_sha(&what, sha)?, private, gated })
    }

    /// The branches and tags of a repository.
    ///
    /// # Errors
    /// [`Error::Listing`] if a name must not be acted upon; not-found errors; or what any request can meet.
    ///
    /// # Cancel safety
    /// The request is given up if the future is dropped; nothing else remains of it.
    pub async fn refs(&self, repo_type: RepoType, repo: &RepoId) -> Result<Vec<Ref>, Error> {
        let what = format!("branches of {repo}");
        let path = format!("/api/{}/{repo}/refs", repo_type.plural());
        let (answer, _) = self.repo_json::<RefsAnswer>(&what, self.url(&path)?, repo_type, repo, "").await?;
        let unusable = |reason| Error::Listing { repo: repo.to_string(), reason };
        let listed = [("refs/heads/", answer.branches), ("refs/tags/", answer.tags)];
        if listed.iter().map(|(_, refs)| refs.len()).sum::<usize>() > REFS_MAX {
            return Err(unusable(format!("it has more than {REFS_MAX} branches and tags")));
        }
        let mut refs = Vec::new();
        for (prefix, RefJson { full_name, sha }) in
            listed.into_iter().flat_map(|(prefix, refs)| refs.into_iter().map(move |listed| (prefix, listed)))
        {
            let is_fine = full_name.len() <= REF_BYTES_MAX
                && full_name.strip_prefix(prefix).is_some_and(|name| check_path(name).is_ok());
            if !is_fine {
                return Err(unusable(format!("`{}` is no name of a branch or tag", shown(&full_name))));
            }
            refs.push(Ref { full_name, sha: checked_sha(&what, sha)? });
        }
        Ok(refs)
    }

    /// The commits that lead to a revision, newest first, `max` of them at most.
    ///
    /// # Errors
    /// [`Error::Listing`] for a history that has no end or leads back to itself; not-found errors; or what any request
    /// can meet.
    ///
    /// # Cancel safety
    /// The pages read so far are lost if the future is dropped.
    pub async fn history(
        &self,
        repo_type: RepoType,
        repo: &RepoId,
        revision: &str,
        max: usize,
    ) -> Result<Vec<HistoryEntry>, Error> {
        let what = format!("history of `{}` of {repo}", shown(revision));
        let unusable = |reason: &str| Error::Listing { repo: repo.to_string(), reason: reason.to_owned() };
        let path = format!("/api/{}/{repo}/commits/{}", repo_type.plural(), encode_segment(revision));
        let (mut entries, mut seen) = (Vec::new(), HashSet::new());
        let mut next = Some(self.url(&path)?);
        let mut pages = 0;
        while let Some(url) = next {
            pages += 1;
            let (page, headers) =
                self.repo_json::<Vec<CommitJson>>(&what, url.clone(), repo_type, repo, revision).await?;
            if pages > PAGES_MAX || entries.len() + page.len() > COMMITS_MAX {
                return Err(unusable("its history has no end"));
            }
            for commit in page {
                if entries.len() == max {
                    return Ok(entries);
                }
                let entry = entry(&what, commit)?;
                if !seen.insert(entry.sha.clone()) {
                    return Err(unusable("its history leads back to itself"));
                }
                entries.push(entry);
            }
            next = listing::next_page(&self.endpoint, &url, &headers)
                .map_err(|reason| Error::Malformed { what: what.clone(), reason })?;
        }
        Ok(entries)
    }

    async fn repo_json<T: DeserializeOwned>(
        &self,
        what: &str,
        url: Url,
        repo_type: RepoType,
        repo: &RepoId,
        revision: &str,
    ) -> Result<(T, reqwest::header::HeaderMap), Error> {
        let request = Request::get(what.to_owned(), url.clone()).token(self.token_for(&url));
        let address = self.address(repo_type, repo);
        let Answer { body, headers, .. } =
            self.http.bytes(&request).await.map_err(|error| address.name(error, revision))?;
        Ok((parse_json(what, &body)?, headers))
    }
}

fn entry(what: &str, commit: CommitJson) -> Result<HistoryEntry, Error> {
    let CommitJson { id, title, message, authors, date } = commit;
    Ok(HistoryEntry {
        sha: checked_sha(what, id)?,
        title: cut(title),
        message: cut(message),
        authors: authors.into_iter().map(|author| cut(author.user)).collect(),
        unix_seconds: unix_seconds(&date).unwrap_or(0),
    })
}

fn checked_sha(what: &str, sha: String) -> Result<String, Error> {
    if !listing::is_hex(&sha, 40) {
        let reason = "a commit is not 40 hexadecimal digits".to_owned();
        return Err(Error::Malformed { what: what.to_owned(), reason });
    }
    Ok(sha)
}

fn cut(mut text: String) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
