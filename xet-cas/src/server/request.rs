//! What the headers of a request say.

use axum::http::{HeaderMap, header};

use super::refusal::Refusal;

/// Longest host and port, bytes: the longest DNS name, and a port.
const HOST_BYTES_MAX: usize = 253 + 6;

/// Where the client reached this origin, `http://host:port`: URLs in answers lead there again, also through
/// a proxy that passes `Host` on.
pub(super) fn base_url(headers: &HeaderMap) -> Result<String, Refusal> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.chars().all(is_fine) {
        return Err(Refusal::bad_request("the Host header is missing or malformed"));
    }
    Ok(format!("http://{host}"))
}

/// The token of an `Authorization: Bearer` header.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
