//! What can go wrong between a repository's name and its bytes.

use std::sync::Arc;
use std::time::Duration;

/// Why a request failed, after the attempts that the retry policy allows.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint is not a usable URL.
    #[error("endpoint `{endpoint}` is not usable: {reason}")]
    Endpoint {
        /// What was given, without user and password.
        endpoint: String,
        /// Why it is refused.
        reason: String,
    },
    /// 401: no token, or not a right one.
    #[error("{what}: not authorised{}", message_suffix(message))]
    Unauthorized {
        /// What was asked for.
        what: String,
        /// What the server said.
        message: String,
        /// Page of the repository, if it is about one.
        page: Option<String>,
    },
    /// 403: the token is fine but the access was not granted (a gated repository, say).
    #[error("{what}: access denied{}", message_suffix(message))]
    Forbidden {
        /// What was asked for.
        what: String,
        /// What the server said.
        message: String,
        /// Page of the repository, if it is about one.
        page: Option<String>,
    },
    /// The repository is gated, and this user has not been let in.
    #[error("repository {repo} is gated: its owner decides who may read it")]
    Gated {
        /// Its name.
        repo: String,
        /// Where access to it is asked for.
        page: String,
    },
    /// There is no such repository, or it is private and the token does not open it.
    #[error("repository {repo} was not found{}", if *needs_token { ", or is private" } else { "" })]
    RepoNotFound {
        /// Its name.
        repo: String,
        /// Where it would be.
        page: String,
        /// 401: the server says no more without a token.
        needs_token: bool,
    },
    /// The repository has no such branch, tag or commit.
    #[error("repository {repo} has no revision `{revision}`")]
    RevisionNotFound {
        /// The repository's name.
        repo: String,
        /// What was asked for.
        revision: String,
    },
    /// 404 for anything else.
    #[error("{what}: not found{}", message_suffix(message))]
    NotFound {
        /// What was asked for.
        what: String,
        /// What the server said.
        message: String,
    },
    /// A signed URL was refused: it has expired, and the reconstruction has to be asked for again.
    #[error("{what}: the signed URL was refused")]
    UrlExpired {
        /// What was asked for.
        what: String,
    },
    /// The server asks to wait longer than the retry policy allows.
    #[error("{what}: the server asks to wait {} s", retry_after.as_secs())]
    RateLimited {
        /// What was asked for.
        what: String,
        /// How long it asks to wait.
        retry_after: Duration,
    },
    /// Any other status that is not success.
    #[error("{what}: the server answered {status}{}", message_suffix(message))]
    Status {
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: u16,
        /// What the server said.
        message: String,
    },
    /// The connection failed or broke.
    #[error("{what}: {reason}")]
    Transport {
        /// What was asked for.
        what: String,
        /// What the connection said.
        reason: String,
    },
    /// The server, or what stands between, has a certificate that nobody trusted vouches for.
    #[error("{what}: the certificate of the server is not trusted: {reason}")]
    Certificate {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A proxy that cannot be one.
    #[error("proxy `{proxy}` is not usable: {reason}")]
    Proxy {
        /// What was given, without user and password.
        proxy: String,
        /// Why it is refused.
        reason: String,
    },
    /// Certificates of authorities that cannot be read.
    #[error("the certificates of authorities are not usable: {reason}")]
    CaCertificates {
        /// Why.
        reason: String,
    },
    /// A deadline passed.
    #[error("{what}: {waited_for} took longer than {:.1} s", deadline.as_secs_f64())]
    Deadline {
        /// What was asked for.
        what: String,
        /// What was awaited.
        waited_for: &'static str,
        /// The deadline.
        deadline: Duration,
    },
    /// A redirect that is not followed.
    #[error("{what}: will not follow the redirect: {reason}")]
    Redirect {
        /// What was asked for.
        what: String,
        /// Why.
        reason: String,
    },
    /// An answer that is not what the API says (HTML from a captive portal, say).
    #[error("{what}: the answer makes no sense: {reason}")]
    Malformed {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A listing that must not be acted upon (a path that leaves the repository, say).
    #[error("the listing of {repo} is unusable: {reason}")]
    Listing {
        /// The repository's name.
        repo: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Data that is not what its name says.
    #[error("{what}: {source}")]
    Format {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        source: crate::Error,
    },
    /// The server looked at what was uploaded, and will not have it.
    #[error("{what}: the server refused it{}", message_suffix(message))]
    Refused {
        /// What was uploaded.
        what: String,
        /// What the server said.
        message: String,
    },
    /// Somebody else changed the branch in the meantime. Publishing again takes that into account.
    #[error("somebody else committed to `{branch}` of {repo} in the meantime{}", message_suffix(message))]
    Conflict {
        /// The repository's name.
        repo: String,
        /// The branch.
        branch: String,
        /// What the server said.
        message: String,
    },
    /// A pattern is no glob.
    #[error("`{pattern}` is no file pattern: {reason}")]
    Pattern {
        /// What was given.
        pattern: String,
        /// Why it is refused.
        reason: String,
    },
    /// A local file cannot be read.
    #[error("cannot read {path}: {source}")]
    LocalFile {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// A local file or folder cannot be published as it is.
    #[error("cannot publish {path}: {reason}")]
    Unpublishable {
        /// The file or folder.
        path: std::path::PathBuf,
        /// Why.
        reason: String,
    },
}

/// What a caller may do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Ask otherwise: the caller's own input is wrong.
    Usage,
    /// Get a token, or access.
    NotAuthorised,
    /// Look for another name.
    NotFound,
    /// Try later, or another source.
    Network,
    /// Distrust the source.
    Integrity,
    /// Look at the disk.
    Disk,
}

impl Error {
    /// What the caller may do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Endpoint { .. }
            | Self::Unpublishable { .. }
            | Self::Pattern { .. }
            | Self::Proxy { .. }
            | Self::CaCertificates { .. } => ErrorKind::Usage,
            Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::Gated { .. }
            | Self::RepoNotFound { needs_token: true, .. } => ErrorKind::NotAuthorised,
            Self::RepoNotFound { .. } | Self::RevisionNotFound { .. } | Self::NotFound { .. } => ErrorKind::NotFound,
            Self::UrlExpired { .. }
            | Self::RateLimited { .. }
            | Self::Status { .. }
            | Self::Transport { .. }
            | Self::Certificate { .. }
            | Self::Deadline { .. }
            | Self::Redirect { .. }
            | Self::Malformed { .. }
            | Self::Refused { .. }
            | Self::Conflict { .. }
            | Self::Listing { .. } => ErrorKind::Network,
            Self::Format { .. } => ErrorKind::Integrity,
            Self::LocalFile { .. } => ErrorKind::Disk,
        }
    }

    /// The page of the repository to visit, where that may help: to be let in, or to see that it is there.
    pub fn page(&self) -> Option<&str> {
        match self {
            Self::Gated { page, .. } | Self::RepoNotFound { page, .. } => Some(page),
            Self::Unauthorized { page, .. } | Self::Forbidden { page, .. } => page.as_deref(),
            _ => None,
        }
    }

    /// Whether the CAS itself is to blame, when asking it how a file is put together failed with this: it is not
    /// there, cannot be reached, does not know the file, or talks nonsense. The Hub may have the file all the same,
    /// as it is: see [`Hub::open_file`](super::Hub::open_file). A refusal of access is none, and neither is a wish to
    /// wait.
    pub fn is_cas_unusable(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status != 429,
            Self::NotFound { .. }
            | Self::Transport { .. }
            | Self::Deadline { .. }
            | Self::Redirect { .. }
            | Self::Malformed { .. } => true,
            _ => false,
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Deadline { .. } => true,
            Self::Status { status, .. } => is_transient_status(*status),
            _ => false,
        }
    }
}

/// An address as it may be shown: a user or password in it is left out, even if it is no good address.
pub(super) fn without_user(address: &str) -> String {
    let is_scheme = |at: &usize| address[..*at].bytes().all(|c| c.is_ascii_alphanumeric());
    let start = address.find("://").filter(is_scheme).map_or(0, |at| at + 3);
    match address.rfind('@') {
        Some(at) if at >= start => format!("{}<redacted>{}", &address[..start], &address[at..]),
        _ => address.to_owned(),
    }
}

/// 408, 429 and server errors other than "not implemented".
pub(super) fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=599)
}

fn message_suffix(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
