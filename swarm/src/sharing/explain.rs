//! Why a repository is shared or not: the steps of the proof of publicness, told to people.

use serde::Serialize;
use xet_cas::client::{self, Commit, Content, Hub, Network};
use xet_cas::{RepoId, RepoType};

use super::publicness::anonymous_hub;
use super::{Scope, repo_swarm};

/// Files of a repository that are tried one by one, at most: each is a request to the CAS.
const FILES_TRIED_MAX: usize = 16;

/// With whom a repository's content is shared, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The repository.
    pub repo: String,
    /// Base URL of its Hub.
    pub endpoint: String,
    /// With whom.
    pub sharing: Sharing,
    /// What was found out, step by step, without any credentials.
    pub steps: Vec<Step>,
    /// Info hash that peers are asked for; none where nobody is.
    pub info_hash: Option<String>,
}

/// With whom content is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sharing {
    /// Everybody.
    Wan,
    /// Machines of the local network, and peers that were named.
    Site,
    /// Nobody: it is not proved to be public.
    Nobody,
}

/// One step of the proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// What was tried.
    pub what: String,
    /// What came of it: nothing if it went well.
    pub failure: Option<String>,
}

/// Goes through the proof that a repository is public, as it is done before anything is served; the Hub is reached as
/// `network` says.
///
/// # Errors
/// Only if the endpoint is none; that the proof fails is what it is asked for.
pub async fn explain(
    endpoint: &str,
    repo_type: RepoType,
    repo: &RepoId,
    revision: &str,
    network: &Network,
) -> Result<Explanation, crate::Error> {
    let hub = anonymous_hub(endpoint, network)?;
    let mut steps = Vec::new();
    let is_public = prove(&hub, repo_type, repo, revision, &mut steps).await.is_some();
    let sharing = match Scope::of(hub.endpoint()) {
        _ if !is_public => Sharing::Nobody,
        Scope::Wan => Sharing::Wan,
        Scope::Site => Sharing::Site,
    };
    let info_hash = is_public.then(|| repo_swarm(hub.endpoint(), &repo_type.to_string(), repo.as_str()).to_string());
    Ok(Explanation { repo: repo.to_string(), endpoint: hub.endpoint().to_owned(), sharing, steps, info_hash })
}

/// `None` as soon as a step fails.
async fn prove(hub: &Hub, repo_type: RepoType, repo: &RepoId, revision: &str, steps: &mut Vec<Step>) -> Option<()> {
    let mut note = |what: String, result: Result<(), client::Error>| {
        let failure = result.err().map(|error| error.to_string());
        let went_well = failure.is_none().then_some(());
        steps.push(Step { what, failure });
        went_well
    };
    let resolved = hub.resolve(repo_type, repo, revision).await;
    let (commit, resolved) = split(resolved);
    note(format!("find `{revision}` without credentials"), resolved)?;
    let commit: Commit = commit?;
    let (files, listed) = split(hub.list(&commit).await);
    note("list its files without credentials".to_owned(), listed)?;
    let in_cas = files?.into_iter().filter_map(|file| match file.content {
        Content::Xet { hash, .. } => Some((file.path, hash)),
        _ => None,
    });
    let in_cas: Vec<_> = in_cas.collect();
    if in_cas.is_empty() {
        steps.push(Step { what: "find files that peers can have".into(), failure: Some("none is in the CAS".into()) });
        return None;
    }
    let (cas, made) = split(hub.cas(&commit));
    note("ask for a token of its CAS".to_owned(), made)?;
    let cas = cas?;
    let count = in_cas.len();
    for (path, hash) in in_cas.into_iter().take(FILES_TRIED_MAX) {
        note(format!("ask the CAS for `{path}` without credentials"), cas.probe(hash).await)?;
    }
    if let Some(more @ 1..) = count.checked_sub(FILES_TRIED_MAX) {
        note(format!("({more} more files are tried when they are asked for)"), Ok(()))?;
    }
    Some(())
}

fn split<T>(result: Result<T, client::Error>) -> (Option<T>, Result<(), client::Error>) {
    match result {
        Ok(value) => (Some(value), Ok(())),
        Err(error) => (None, Err(error)),
    }
}
