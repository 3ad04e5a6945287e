//! What every request meets before its route and every answer after it: limits, names, counts, a line in the log.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::time::Instant;

use super::access::Who;
use super::address::Address;
use super::app::App;
use super::connection::Peer;
use super::limits::{Limiter, Party, Standing};
use super::metrics::Class;
use super::operation::HEALTH;
use super::refusal::Refusal;
use super::{admission, request};
use crate::api::{ERROR_CODE_HEADER, ERROR_MESSAGE_HEADER};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest path in the log, bytes.
const LOGGED_PATH_BYTES_MAX: usize = 512;

pub(super) async fn front(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request::id(request.headers());
    let class = Class::of(request.uri().path());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let who = admission::who(&app, request.headers()).unwrap_or(Who::ANONYMOUS);
    let address = request.extensions().get::<Peer>().map(|Peer(peer)| Address::of(peer.ip()));

    let limited = limiter(&app, class, &uri)
        .zip(address)
        .map(|(limiter, address)| (limiter, limiter.take(party(&who, address), start)));
    let mut answer = match limited {
        _ if app.is_stopping() && uri.path() != HEALTH => Refusal::stopping().into_response(),
        Some((_, Standing { is_allowed: false, .. })) => {
            app.metrics.rate_limited.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Refusal::too_many_requests().into_response()
        }
        _ => named(next.run(request).await),
    };

    let headers = answer.headers_mut();
    if let Some((limiter, standing)) = limited {
        limiter.tell(standing, headers);
    }
    if app.is_stopping() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(id) = HeaderValue::try_from(&id) {
        headers.insert(REQUEST_ID, id);
    }
    let (status, elapsed) = (answer.status().as_u16(), start.elapsed());
    app.metrics.answered(class, status, elapsed);
    if tracing::enabled!(tracing::Level::INFO) {
        // Without the query, which may hold a signature.
        let path = logged(uri.path());
        let user = who.user().map(|user| user.name.as_str()).unwrap_or_default();
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        let elapsed_ms = elapsed.as_millis() as u64;
        tracing::info!(%method, path, status, elapsed_ms, address, user, request = id, "answered");
    }
    answer
}

/// The limit that a request counts for. URLs that are signed were counted when they were asked for.
fn limiter<'a>(app: &'a App, class: Class, uri: &Uri) -> Option<&'a Limiter> {
    match class {
        Class::Api => app.api_limit.as_ref(),
        Class::Resolve if !is_signed(uri) => app.resolve_limit.as_ref(),
        Class::Resolve | Class::Cas | Class::Data | Class::Operation => None,
    }
}

/// Whether a request has all that a signed URL has. What is wrong with it is found out where it leads to.
fn is_signed(uri: &Uri) -> bool {
    let has = |name: &str| uri.query().unwrap_or_default().split('&').any(|part| part.starts_with(name));
    has("signature=") && has("expires=") && !uri.path().ends_with("/batch")
}

fn party(who: &Who, address: Address) -> Party {
    match (who.user(), who.token_name()) {
        (Some(user), _) => Party::User(user.name.clone()),
        (None, Some(token)) => Party::Token(token),
        (None, None) => Party::Address(address),
    }
}

/// Gives a refusal that came from below the routes the form of all others.
fn named(answer: Response) -> Response {
    let status = answer.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    let is_named =
        |headers: &HeaderMap| headers.contains_key(ERROR_CODE_HEADER) && headers.contains_key(ERROR_MESSAGE_HEADER);
    if !is_refusal || is_named(answer.headers()) {
        return answer;
    }
    let mut named = Refusal::unnamed(status).into_response();
    if let Some(allowed) = answer.headers().get(header::ALLOW) {
        named.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    named
}

fn logged(path: &str) -> &str {
    let end = (0..=path.len().min(LOGGED_PATH_BYTES_MAX)).rev().find(|end| path.is_char_boundary(*end));
    &path[..end.unwrap_or_default()]
}
