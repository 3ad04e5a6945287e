//! Answers that say no.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::store::StoreError;
use crate::api::{ERROR_CODE_HEADER, ERROR_MESSAGE_HEADER, RepoId, error_code};

/// Text shown of a refusal, characters: names from outside are part of it.
const MESSAGE_CHARACTERS_MAX: usize = 500;

/// Why a request is not granted: status, the Hub's word for it, and a sentence.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// When to ask again.
    retry_after_seconds: Option<u32>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after_seconds: None }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// `huggingface_hub` tells a refused token from a missing repository by this very sentence.
    pub(super) fn wrong_credentials() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Invalid credentials in Authorization header")
    }

    pub(super) fn no_credentials() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "this origin needs a token")
    }

    /// As the Hub answers those who show no token: the repository may be there, and not for everyone.
    pub(super) fn repo_not_found_without_token(repo: &str) -> Self {
        let message = format!("there is no repository {repo}, or it needs a token");
        Self::new(StatusCode::UNAUTHORIZED, error_code::REPO_NOT_FOUND, message)
    }

    /// In the Hub's words, which tools look for.
    pub(super) fn gated(is_anonymous: bool, kind: &str, repo: &str, page: &str) -> Self {
        let (status, message) = match is_anonymous {
            true => (
                StatusCode::UNAUTHORIZED,
                format!(
                    "Access to {kind} {repo} is restricted. You must have access to it and be authenticated to access \
                     it. Please log in."
                ),
            ),
            false => (
                StatusCode::FORBIDDEN,
                format!(
                    "Access to {kind} {repo} is restricted and you are not in the authorized list. Visit {page} to \
                     ask for access."
                ),
            ),
        };
        Self::new(status, error_code::GATED_REPO, message)
    }

    pub(super) fn too_many_requests() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "too many requests; wait until the window is over")
    }

    pub(super) fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Stopping", "the origin is being stopped")
    }

    /// What something below the routes refused, in its own way.
    pub(super) fn unnamed(status: StatusCode) -> Self {
        match status {
            StatusCode::METHOD_NOT_ALLOWED => Self::method_not_allowed(),
            StatusCode::NOT_FOUND => Self::not_found("this origin has no such route"),
            StatusCode::INTERNAL_SERVER_ERROR => Self::new(status, "InternalError", "the origin failed"),
            StatusCode::BAD_REQUEST => Self::bad_request("the path or the query is malformed"),
            status => Self::new(status, "Refused", status.canonical_reason().unwrap_or("refused")),
        }
    }

    /// A CAS token that is malformed, forged or expired.
    pub(super) fn cas_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "the CAS token is missing, wrong or expired; ask the Hub for another",
        )
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(super) fn repo_not_found(repo: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, error_code::REPO_NOT_FOUND, format!("there is no repository {repo}"))
    }

    pub(super) fn revision_not_found(repo: &RepoId, revision: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, error_code::REVISION_NOT_FOUND, format!("{repo} has no revision {revision}"))
    }

    pub(super) fn entry_not_found(repo: &RepoId, path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, error_code::ENTRY_NOT_FOUND, format!("{repo} has no entry {path}"))
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "this path does not take this method")
    }

    pub(super) fn timeout(what: &str) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", format!("{what} stopped arriving"))
    }

    pub(super) fn precondition_failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", message)
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", message)
    }

    pub(super) fn too_large(what: &str, bytes_max: u64) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", format!("{what} is larger than {bytes_max} bytes"))
    }

    pub(super) fn range() -> Self {
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "RangeNotSatisfiable", "the range lies outside the file")
    }

    pub(super) fn no_data() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "NoData", "this origin sends no file data")
    }

    /// It is on its way here.
    pub(super) fn arriving(retry_after_seconds: u32) -> Self {
        let message = "this is still arriving from another Hub; ask again";
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, "Arriving", message);
        Self { retry_after_seconds: Some(retry_after_seconds), ..refusal }
    }

    /// The Hub behind this one does not give what it should.
    pub(super) fn upstream(message: impl Into<String>) -> Self {
        let message = format!("the Hub behind this mirror: {}", message.into());
        Self::new(StatusCode::BAD_GATEWAY, "UpstreamUnavailable", message)
    }

    /// There is no room now.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Busy", message)
    }

    pub(super) fn full(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage", message)
    }

    fn internal(error: &StoreError) -> Self {
        tracing::error!(%error, "the store failed");
        let full = matches!(error, StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull);
        if full {
            return Self::full("the origin's disk is full");
        }
        // Paths on the server are nobody's business.
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "the origin could not read or write its data")
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match &error {
            StoreError::Io { .. } | StoreError::Corrupt { .. } | StoreError::GivenUp => Self::internal(&error),
            #[cfg(feature = "s3")]
            StoreError::Bucket { .. } => {
                tracing::error!(%error, "the bucket failed");
                let what = "the origin's bucket does not answer as it should";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", what)
            }
            StoreError::Full { .. } => Self::full(message),
            StoreError::MissingObject { .. } | StoreError::Conflicts { .. } => Self::conflict(message),
            StoreError::NoSuchRepo { .. } => Self::new(StatusCode::NOT_FOUND, error_code::REPO_NOT_FOUND, message),
            StoreError::NoSuchCommit { .. } => {
                Self::new(StatusCode::NOT_FOUND, error_code::REVISION_NOT_FOUND, message)
            }
            StoreError::ParentMoved { .. } => Self::precondition_failed(message),
            StoreError::NoSuchEntry { .. } => Self::new(StatusCode::NOT_FOUND, error_code::ENTRY_NOT_FOUND, message),
            StoreError::NoSuchBranch { .. } => {
                Self::new(StatusCode::NOT_FOUND, error_code::REVISION_NOT_FOUND, message)
            }
            StoreError::Format { .. }
            | StoreError::MissingXorb { .. }
            | StoreError::UnknownSha256 { .. }
            | StoreError::WrongSha256 { .. }
            | StoreError::Commit { .. } => Self::bad_request(message),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let message: String = self.message.chars().take(MESSAGE_CHARACTERS_MAX).collect();
        let ascii: String = message.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
        let ascii = HeaderValue::from_str(&ascii).unwrap_or(HeaderValue::from_static("refused"));
        let headers = [
            (HeaderName::from_static(ERROR_CODE_HEADER), HeaderValue::from_static(self.code)),
            (HeaderName::from_static(ERROR_MESSAGE_HEADER), ascii),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ];
        let mut response = (self.status, headers, serde_json::json!({ "error": message }).to_string()).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
