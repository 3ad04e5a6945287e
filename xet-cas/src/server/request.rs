//! What the head of a request says.

use axum::http::{HeaderMap, Uri, header};

use super::refusal::Refusal;

/// Longest host and port, bytes: the longest DNS name, and a port.
const HOST_BYTES_MAX: usize = 253 + 6;
/// Longest name of a request that is taken over from a client, characters.
const ID_CHARACTERS_MAX: usize = 128;
/// Headers in which clients name a request, the first one first.
const ID_HEADERS: [&str; 2] = ["x-request-id", "x-amzn-trace-id"];

/// Where the client reached this origin, `http://host:port`: URLs in answers lead there again. Headers in which a proxy
/// says more are not believed, because anybody can send them.
pub(super) fn host_url(headers: &HeaderMap) -> Result<String, Refusal> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.chars().all(is_fine) {
        return Err(Refusal::bad_request("the Host header is missing or malformed"));
    }
    Ok(format!("http://{host}"))
}

/// A base URL that was configured, without a slash at its end; `None` if it is none.
pub(super) fn public_url(text: &str) -> Option<String> {
    let url: Uri = text.parse().ok()?;
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    let authority = url.authority()?.as_str();
    let is_fine = is_http && url.query().is_none() && !text.contains(['#', '<', '>', '"']) && !authority.contains('@');
    is_fine.then(|| text.trim_end_matches('/').to_owned())
}

/// The token of an `Authorization: Bearer` header.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What a request shows to say who sends it; `None` only if it does not try. What is no token is none that is known.
pub(super) fn credentials(headers: &HeaderMap) -> Option<&str> {
    headers.contains_key(header::AUTHORIZATION).then(|| bearer(headers).unwrap_or_default())
}

/// By what name a client and this origin speak of a request: the client's own if it gave one that can be repeated.
pub(super) fn id(headers: &HeaderMap) -> String {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '=' | ';' | '/' | '+');
    let given = ID_HEADERS.iter().find_map(|name| headers.get(*name)?.to_str().ok());
    let id: String = given.unwrap_or_default().chars().filter(|c| is_fine(*c)).take(ID_CHARACTERS_MAX).collect();
    if id.is_empty() { format!("{:032x}", rand::random::<u128>()) } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_urls_when_configured_then_only_what_can_stand_before_a_path() {
        for (text, expected) in [
            ("https://hub.example", Some("https://hub.example")),
            ("https://hub.example/", Some("https://hub.example")),
            ("http://10.0.0.1:8080/hub/", Some("http://10.0.0.1:8080/hub")),
            ("http://[::1]:8080", Some("http://[::1]:8080")),
            ("hub.example", None),
            ("ftp://hub.example", None),
            ("https://", None),
            ("https://user:word@hub.example", None),
            ("https://hub.example/?a=b", None),
            ("https://hub.example/#a", None),
            ("https://hub.example/\"", None),
            ("", None),
        ] {
            assert_eq!(expected, public_url(text).as_deref(), "{text}");
        }
    }

    #[test]
    fn given_names_of_requests_when_odd_or_missing_then_repeated_safely_or_made() {
        let named =
            |name: &'static str, value: &str| HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);

        assert_eq!("Root=1-67;a/b", id(&named("x-amzn-trace-id", "Root=1-67;a/b")));
        assert_eq!("ab", id(&named("x-request-id", "a<\"' b")));
        assert_eq!(128, id(&named("x-request-id", &"x".repeat(1_000))).len());
        assert_eq!(32, id(&named("x-request-id", "<>")).len());
        assert_eq!(32, id(&HeaderMap::new()).len());
        assert_ne!(id(&HeaderMap::new()), id(&HeaderMap::new()));
    }
}
