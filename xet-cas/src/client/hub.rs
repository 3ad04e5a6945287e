//! The Hub: what a repository holds, and its regular files.

use reqwest::StatusCode;
use reqwest::header::{ACCEPT_ENCODING, HeaderValue};
use serde::de::DeserializeOwned;
use url::Url;

use super::cas::KnownCas;
use super::http::{Answer, Http, Request, parse_json};
use super::{Body, Cas, Config, Error, Network, Secret, listing};
use crate::api::{RepoId, RepoType, RevisionAnswer, TreeEntryJson, encode_path, encode_segment, shown};
use crate::{ByteRange, FileHash};

/// Client for one Hub.
#[derive(Debug, Clone)]
pub struct Hub {
    pub(super) http: Http,
    pub(super) endpoint: Url,
    token: Option<Secret>,
    network: Network,
    known_cas: KnownCas,
}

/// A revision of a repository, pinned to its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// Kind of repository.
    pub repo_type: RepoType,
    /// The repository.
    pub repo: RepoId,
    /// The branch, tag or commit that was asked for.
    pub revision: String,
    /// The commit: 40 lowercase hexadecimal digits.
    pub sha: String,
}

/// A file of a commit. Its path has been checked: relative, without `..`, unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFile {
    /// Path in the repository, with `/`.
    pub path: String,
    /// Length, bytes.
    pub size: u64,
    /// Git's SHA-1: of the file, or of the pointer that stands for a large file.
    pub blob_id: String,
    /// How its bytes are stored and named.
    pub content: Content,
}

/// How the bytes of a file are stored and named.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// In git: named by the blob's SHA-1.
    Regular,
    /// As an LFS object: named by its SHA-256, 64 lowercase hexadecimal digits.
    Lfs {
        /// SHA-256.
        sha256: String,
    },
    /// In the CAS: named by its file hash, and by the SHA-256 besides.
    Xet {
        /// SHA-256.
        sha256: String,
        /// The file hash.
        hash: FileHash,
    },
}

impl TreeFile {
    /// The name under which caches keep the bytes: the SHA-256 of large files, git's SHA-1 of others.
    pub fn etag(&self) -> &str {
        match &self.content {
            Content::Regular => &self.blob_id,
            Content::Lfs { sha256 } | Content::Xet { sha256, .. } => sha256,
        }
    }
}

impl Hub {
    /// Prepares a client; no connection is made yet.
    ///
    /// # Errors
    /// [`Error::Proxy`] or [`Error::CaCertificates`] for settings that cannot be; [`Error::Endpoint`] if the HTTP client
    /// cannot be set up.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let (endpoint, token, network) = (config.endpoint.clone(), config.token.clone(), config.network.clone());
        Ok(Self { http: Http::new(config)?, endpoint, token, network, known_cas: KnownCas::default() })
    }

    /// The base URL, without a trailing slash.
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }

    /// Whether requests are made without a token, so that what they bring is public.
    pub fn is_anonymous(&self) -> bool {
        self.token.is_none()
    }

    /// Finds the commit of a branch, tag or `refs/pr/N`. A full commit is taken as it is, unasked.
    ///
    /// # Errors
    /// [`Error::RepoNotFound`], [`Error::RevisionNotFound`], or what any request can meet.
    ///
    /// # Cancel safety
    /// The request is given up if the future is dropped; nothing else remains of it.
    pub async fn resolve(&self, repo_type: RepoType, repo: &RepoId, revision: &str) -> Result<Commit, Error> {
        let commit = |sha: String| Commit { repo_type, repo: repo.clone(), revision: revision.to_owned(), sha };
        if listing::is_hex(revision, 40) {
            return Ok(commit(revision.to_owned()));
        }
        let path = format!("/api/{}/{repo}/revision/{}", repo_type.plural(), encode_segment(revision));
        let answer: RevisionAnswer = self
            .get(format!("revision `{revision}` of {repo}"), &path, &self.address(repo_type, repo), revision)
            .await?;
        if !listing::is_hex(&answer.sha, 40) {
            let reason = "the commit is not 40 hexadecimal digits".to_owned();
            return Err(Error::Malformed { what: format!("revision `{revision}` of {repo}"), reason });
        }
        Ok(commit(answer.sha))
    }

    /// Lists all files of a commit.
    ///
    /// # Errors
    /// [`Error::Listing`] if a path or size in it must not be acted upon; not-found errors; or what any
    /// request can meet.
    ///
    /// # Cancel safety
    /// The pages read so far are lost if the future is dropped.
    pub async fn list(&self, commit: &Commit) -> Result<Vec<TreeFile>, Error> {
        let Commit { repo_type, repo, sha, revision } = commit;
        let what = format!("listing of {repo}");
        let path = format!("/api/{}/{repo}/tree/{sha}?recursive=true&expand=false", repo_type.plural());
        let unusable = |reason| Error::Listing { repo: repo.to_string(), reason };
        let address = self.address(*repo_type, repo);
        let mut pages = listing::Pages::default();
        let mut next = Some(self.url(&path)?);
        while let Some(url) = next {
            let request = Request::get(what.clone(), url.clone()).token(self.token_for(&url));
            let Answer { body: page, headers, .. } =
                self.http.bytes(&request).await.map_err(|error| address.name(error, revision))?;
            pages.admit(page.len()).map_err(unusable)?;
            pages.add(parse_json::<Vec<TreeEntryJson>>(&what, &page)?).map_err(unusable)?;
            next = listing::next_page(&self.endpoint, &url, &headers)
                .map_err(|reason| Error::Malformed { what: what.clone(), reason })?;
        }
        pages.finish().map_err(unusable)
    }

    /// Begins to download a file as a whole, which is how regular files and LFS objects without Xet are
    /// stored. The bytes are not verified here.
    ///
    /// # Errors
    /// What any request can meet.
    ///
    /// # Cancel safety
    /// The request is given up if the future is dropped; nothing else remains of it.
    pub async fn open_file(&self, commit: &Commit, file: &TreeFile) -> Result<Body, Error> {
        self.open_file_from(commit, file, 0).await.map(|(body, _)| body)
    }

    /// As [`open_file`](Self::open_file), from byte `start` on. Returns also where the body begins: at `start`, or
    /// at 0 if the server does not give parts.
    ///
    /// # Errors
    /// What any request can meet.
    ///
    /// # Cancel safety
    /// The request is given up if the future is dropped; nothing else remains of it.
    pub async fn open_file_from(&self, commit: &Commit, file: &TreeFile, start: u64) -> Result<(Body, u64), Error> {
        self.open_file_range(commit, file, ByteRange { start, end: file.size }).await
    }

    /// As [`open_file`](Self::open_file), for a range of it. Returns also where the body begins: at the start of the
    /// range, or at 0 if the server does not give parts; it goes on to the end of the file then.
    ///
    /// # Errors
    /// What any request can meet.
    ///
    /// # Cancel safety
    /// The request is given up if the future is dropped; nothing else remains of it.
    pub async fn open_file_range(
        &self,
        commit: &Commit,
        file: &TreeFile,
        range: ByteRange,
    ) -> Result<(Body, u64), Error> {
        let Commit { repo_type, repo, sha, revision } = commit;
        let path = format!("/{}{repo}/resolve/{sha}/{}", repo_type.url_prefix(), encode_path(&file.path));
        let what = format!("{} of {repo}", shown(&file.path));
        let url = self.url(&path)?;
        let identity = HeaderValue::from_static("identity");
        let mut request = Request::get(what.clone(), url).token(self.token.as_ref()).header(ACCEPT_ENCODING, identity);
        let whole = ByteRange { start: 0, end: file.size };
        if range != whole && range.length() > 0 && range.end <= file.size {
            request = request.range(range);
        }
        let address = self.address(*repo_type, repo);
        let response = self.http.send(&request).await.map_err(|error| address.name(error, revision))?;
        let comes = if response.status() == StatusCode::PARTIAL_CONTENT { range } else { whole };
        let body = Body::new(what, response, Some(comes), comes.length(), self.http.deadlines.stall)?;
        Ok((body, comes.start))
    }

    /// The CAS of a commit, for downloads. Its token is asked for on first use and again before it expires; it
    /// is that of the clients that were made for this commit before.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if no URL can be made of the commit.
    pub fn cas(&self, commit: &Commit) -> Result<Cas, Error> {
        let Commit { repo_type, repo, sha, .. } = commit;
        let path = format!("/api/{}/{repo}/xet-read-token/{sha}", repo_type.plural());
        let cas = Cas::new(self.http.clone(), self.url(&path)?, self.token.clone(), self.address(*repo_type, repo));
        Ok(cas.remembered(&self.known_cas))
    }

    /// How hosts are reached.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Page of a repository, for people.
    pub fn page(&self, repo_type: RepoType, repo: &RepoId) -> String {
        format!("{}/{}{repo}", self.endpoint(), repo_type.url_prefix())
    }

    pub(super) fn address(&self, repo_type: RepoType, repo: &RepoId) -> RepoAddress {
        RepoAddress { repo: repo.clone(), page: self.page(repo_type, repo) }
    }

    pub(super) fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// The Hub token, if `url` is on the Hub itself.
    pub(super) fn token_for(&self, url: &Url) -> Option<&Secret> {
        self.token.as_ref().filter(|_| url.origin() == self.endpoint.origin())
    }

    pub(super) fn url(&self, path: &str) -> Result<Url, Error> {
        let endpoint = self.endpoint();
        Url::parse(&format!("{endpoint}{path}"))
            .map_err(|error| Error::Endpoint { endpoint: endpoint.to_owned(), reason: error.to_string() })
    }

    async fn get<T: DeserializeOwned>(
        &self,
        what: String,
        path: &str,
        repo: &RepoAddress,
        revision: &str,
    ) -> Result<T, Error> {
        let request = Request::get(what, self.url(path)?).token(self.token.as_ref());
        let answer = self.http.json(&request).await.map_err(|error| repo.name(error, revision))?;
        Ok(answer.0)
    }
}

/// A repository as errors name it: what the transport does not know.
#[derive(Debug, Clone)]
pub(super) struct RepoAddress {
    repo: RepoId,
    /// For people.
    page: String,
}

impl RepoAddress {
    pub(super) fn repo(&self) -> &RepoId {
        &self.repo
    }

    /// Fills in which repository and revision an error is about.
    pub(super) fn name(&self, error: Error, revision: &str) -> Error {
        let (repo, page) = (self.repo.to_string(), self.page.clone());
        match error {
            Error::Gated { .. } => Error::Gated { repo, page },
            Error::RepoNotFound { needs_token, .. } => Error::RepoNotFound { repo, page, needs_token },
            Error::RevisionNotFound { .. } => Error::RevisionNotFound { repo, revision: revision.to_owned() },
            Error::Unauthorized { what, message, .. } => Error::Unauthorized { what, message, page: Some(page) },
            Error::Forbidden { what, message, .. } => Error::Forbidden { what, message, page: Some(page) },
            other => other,
        }
    }
}
