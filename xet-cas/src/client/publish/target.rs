//! The repository that is published to: the calls to its Hub.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt as _};
use reqwest::{Method, StatusCode};

use super::PublishOptions;
use super::folder::{self, LocalFile};
use crate::api::{
    CommitAnswer, CommitLine, CreateRepoRequest, GitBlobHasher, PreuploadAnswer, PreuploadFile, PreuploadMode,
    PreuploadRequest, RepoId, RepoType, encode_segment, shown,
};
use crate::client::http::Request;
use crate::client::payload::{Parts, Payload};
use crate::client::{Cas, Error, Hub, listing};

/// Files in one preupload request: the Hub's limit.
const PREUPLOAD_FILES_MAX: usize = 256;
/// Bytes of a file that the Hub looks at to choose its upload mode.
pub(super) const SAMPLE_BYTES: usize = 512;
/// Longest `.gitattributes` or `.gitignore` that is sent along, bytes; one that is longer is no such file.
const RULES_BYTES_MAX: u64 = 1024 * 1024;
/// Where the Hub puts what is published to no branch in particular.
const MAIN: &str = "main";
/// A new space needs to say what it is made with; `huggingface_hub` says this.
const SPACE_SDK: &str = "gradio";
/// What a pull request's branch begins with.
const PULL_REQUEST_PREFIX: &str = "refs/pr/";

/// Files from this size on go to the CAS whatever the Hub says, bytes; used where it cannot be asked.
pub(super) const LARGE_BYTES_MIN: u64 = 10 * 1024 * 1024;

pub(super) struct Target<'a> {
    pub(super) hub: &'a Hub,
    pub(super) repo: &'a RepoId,
    pub(super) options: &'a PublishOptions,
}

/// What a commit is to do.
pub(super) struct Change<'a> {
    /// The commit that the branch must be at.
    pub(super) parent: &'a str,
    /// Files that stand in the commit itself.
    pub(super) regular: &'a Arc<Vec<LocalFile>>,
    /// Files that the CAS has: path, SHA-256 and size.
    pub(super) large: Vec<(&'a str, [u8; 32], u64)>,
}

/// A commit that was made.
pub(super) struct Committed {
    pub(super) sha: String,
    /// The pull request that was opened: `refs/pr/N`.
    pub(super) pull_request: Option<String>,
}

impl Target<'_> {
    fn branch(&self) -> &str {
        if self.options.revision.is_empty() { MAIN } else { &self.options.revision }
    }

    /// The commit that the branch is at. What is missing is made, but in a dry run: the repository, the branch.
    /// `None`: it is missing.
    pub(super) async fn head(&self) -> Result<Option<String>, Error> {
        let may_create = !self.options.dry_run;
        match self.resolve().await {
            Err(Error::RepoNotFound { .. }) if may_create => {
                self.create_repo().await?;
                match self.resolve().await {
                    Err(Error::RevisionNotFound { .. }) if may_create => self.create_branch().await?,
                    found => return found.map(Some),
                }
            }
            Err(Error::RevisionNotFound { .. }) if may_create && !self.options.create_pr => {
                self.create_branch().await?
            }
            Err(Error::RepoNotFound { .. } | Error::RevisionNotFound { .. }) if !may_create => return Ok(None),
            found => return found.map(Some),
        }
        self.resolve().await.map(Some)
    }

    async fn resolve(&self) -> Result<String, Error> {
        let commit = self.hub.resolve(self.options.repo_type, self.repo, self.branch()).await?;
        Ok(commit.sha)
    }

    async fn create_repo(&self) -> Result<(), Error> {
        let body = CreateRepoRequest {
            name: self.repo.name().to_owned(),
            organization: self.repo.owner().map(str::to_owned),
            kind: Some(self.options.repo_type.to_string()),
            private: self.options.private.then_some(true),
            visibility: self.options.private.then(|| "private".to_owned()),
            sdk: (self.options.repo_type == RepoType::Space).then(|| SPACE_SDK.to_owned()),
        };
        let what = format!("creation of {}", self.repo);
        self.create(self.post(what, "/api/repos/create", "application/json", json(&body))?).await
    }

    async fn create_branch(&self) -> Result<(), Error> {
        let what = format!("creation of branch `{}` of {}", shown(self.branch()), self.repo);
        let path = self.api("branch");
        self.create(self.post(what, &path, "application/json", Bytes::from_static(b"{}"))?).await
    }

    /// One that is there already is fine: somebody else may have been faster.
    async fn create(&self, request: Request) -> Result<(), Error> {
        match self.hub.http.send(&request).await {
            Err(Error::Status { status, .. }) if status == StatusCode::CONFLICT.as_u16() => Ok(()),
            other => other.map(drop),
        }
    }

    /// What the Hub says of each file: how it wants it, and what it has at that path.
    pub(super) async fn preupload(&self, files: &[LocalFile]) -> Result<Vec<PreuploadMode>, Error> {
        let git_attributes = rules(files, ".gitattributes").await?;
        let git_ignore = rules(files, ".gitignore").await?;
        let mut modes = Vec::with_capacity(files.len());
        for batch in files.chunks(PREUPLOAD_FILES_MAX) {
            let mut asked = Vec::with_capacity(batch.len());
            for file in batch {
                let sample = BASE64.encode(folder::read_start(file, SAMPLE_BYTES).await?);
                asked.push(PreuploadFile { path: file.path.clone(), sample, size: file.size });
            }
            let body = PreuploadRequest {
                files: asked,
                git_attributes: git_attributes.clone(),
                git_ignore: git_ignore.clone(),
            };
            let what = format!("upload modes for {}", self.repo);
            let request = self.post(what, &self.api_for_change("preupload"), "application/json", json(&body))?;
            let answer = self.hub.http.json::<PreuploadAnswer>(&request).await;
            let (answer, _) = answer.map_err(|error| self.named(error))?;
            for file in batch {
                let mode = answer.files.iter().find(|mode| mode.path == file.path).ok_or_else(|| Error::Malformed {
                    what: request.what.clone(),
                    reason: format!("it says nothing of `{}`", shown(&file.path)),
                })?;
                modes.push(mode.clone());
            }
        }
        Ok(modes)
    }

    /// Commits everything at once.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the branch is not at the parent any more and has not what was to be committed; or what
    /// any request can meet.
    pub(super) async fn commit(&self, change: Change<'_>) -> Result<Committed, Error> {
        let what = format!("commit to {}", self.repo);
        let mut request = Request::new(Method::POST, what.clone(), self.hub.url(&self.api_for_change("commit"))?);
        request = request.token(self.hub.token()).body(Some("application/x-ndjson"), self.lines(&change));
        request.answer_deadline = Some(self.hub.http.deadlines.upload_answer);
        // The parent tells a repetition, but a pull request leaves the branch where it is: each would open another.
        request.is_repeated = !self.options.create_pr;
        let answer = match self.hub.http.json::<CommitAnswer>(&request).await {
            // Perhaps by this very commit, the answer to which was lost.
            Err(Error::Status { status: 409 | 412, message, .. }) => match self.head_that_holds(&change).await? {
                Some(sha) => return Ok(Committed { sha, pull_request: None }),
                None => {
                    let (repo, branch) = (self.repo.to_string(), self.branch().to_owned());
                    return Err(Error::Conflict { repo, branch, message });
                }
            },
            answer => answer.map_err(|error| self.named(error))?.0,
        };
        let malformed = |reason: &str| Error::Malformed { what: what.clone(), reason: reason.to_owned() };
        if !listing::is_hex(&answer.commit_oid, 40) {
            return Err(malformed("the commit is not 40 hexadecimal digits"));
        }
        let number = answer.pull_request_url.as_deref().and_then(|url| url.trim_end_matches('/').rsplit('/').next());
        let pull_request = match number {
            Some(number) if number.parse::<u64>().is_ok() => Some(format!("{PULL_REQUEST_PREFIX}{number}")),
            _ if self.options.create_pr => return Err(malformed("it names no pull request")),
            _ => None,
        };
        Ok(Committed { sha: answer.commit_oid, pull_request })
    }

    /// The lines of a commit, made while it is sent, since they hold whole files.
    fn lines(&self, change: &Change<'_>) -> Payload {
        let PublishOptions { message, description, .. } = self.options;
        let summary = if message.is_empty() { "Publish with zest".to_owned() } else { message.clone() };
        let parent_commit = Some(change.parent.to_owned());
        let header = line(&CommitLine::Header { summary, description: description.clone(), parent_commit });
        let mut large = BytesMut::new();
        for (path, sha256, size) in &change.large {
            let (path, oid) = ((*path).to_owned(), hex(sha256));
            large.extend_from_slice(&line(&CommitLine::LfsFile { path, algo: "sha256".into(), oid, size: *size }));
        }
        let (large, regular) = (large.freeze(), change.regular.clone());
        // What stands around the content does not depend on it, and base64 needs no escapes.
        let file_bytes = |file: &LocalFile| file_line(file, &[]).len() as u64 + file.size.div_ceil(3) * 4;
        let length = (header.len() + large.len()) as u64 + regular.iter().map(file_bytes).sum::<u64>();
        let read_line = async |number: usize, files: Arc<Vec<LocalFile>>| {
            let file = &files[number];
            Ok(file_line(file, &folder::read_whole(file).await?))
        };
        let parts: Parts = Arc::new(move || {
            let files = regular.clone();
            let regular = stream::iter(0..files.len()).then(move |number| read_line(number, files.clone()));
            stream::iter([Ok(header.clone())]).chain(regular).chain(stream::iter([Ok(large.clone())])).boxed()
        });
        Payload::Parts { length, parts }
    }

    /// The commit that the branch is at, if it has all of these files as they are here.
    async fn head_that_holds(&self, change: &Change<'_>) -> Result<Option<String>, Error> {
        if self.options.create_pr {
            return Ok(None);
        }
        let head = self.hub.resolve(self.options.repo_type, self.repo, self.branch()).await?;
        let listing = self.hub.list(&head).await?;
        let there: HashMap<&str, &str> = listing.iter().map(|file| (file.path.as_str(), file.etag())).collect();
        for file in change.regular.iter() {
            let name = GitBlobHasher::of(&folder::read_whole(file).await?);
            if there.get(file.path.as_str()) != Some(&name.as_str()) {
                return Ok(None);
            }
        }
        let has_large = |(path, sha256, _): &(&str, [u8; 32], u64)| there.get(path) == Some(&hex(sha256).as_str());
        Ok(change.large.iter().all(has_large).then_some(head.sha))
    }

    /// The CAS, for uploads.
    pub(super) fn write_cas(&self) -> Result<Cas, Error> {
        let url = self.hub.url(&self.api_for_change("xet-write-token"))?;
        let repo = self.hub.address(self.options.repo_type, self.repo);
        Ok(Cas::new(self.hub.http.clone(), url, self.hub.token().cloned(), repo))
    }

    fn api(&self, call: &str) -> String {
        format!("/api/{}/{}/{call}/{}", self.options.repo_type.plural(), self.repo, encode_segment(self.branch()))
    }

    /// The same for calls that want to know that a pull request is meant.
    fn api_for_change(&self, call: &str) -> String {
        let query = if self.options.create_pr { "?create_pr=1" } else { "" };
        self.api(call) + query
    }

    fn post(&self, what: String, path: &str, content_type: &'static str, body: Bytes) -> Result<Request, Error> {
        let request = Request::new(Method::POST, what, self.hub.url(path)?);
        Ok(request.token(self.hub.token()).body(Some(content_type), body))
    }

    fn named(&self, error: Error) -> Error {
        self.hub.address(self.options.repo_type, self.repo).name(error, self.branch())
    }
}

/// A file of rules that is published along, and counts at once.
async fn rules(files: &[LocalFile], path: &str) -> Result<Option<String>, Error> {
    match files.iter().find(|file| file.path == path && file.size <= RULES_BYTES_MAX) {
        Some(file) => Ok(Some(String::from_utf8_lossy(&folder::read_whole(file).await?).into_owned())),
        None => Ok(None),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that stands in the commit.
fn file_line(file: &LocalFile, content: &[u8]) -> Bytes {
    let content = BASE64.encode(content);
    line(&CommitLine::File { content, path: file.path.clone(), encoding: "base64".into() })
}

fn line(value: &CommitLine) -> Bytes {
    let mut line = Vec::from(json(value));
    line.push(b'\n');
    line.into()
}

fn json(value: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("these types have no keys that JSON cannot hold"))
}
