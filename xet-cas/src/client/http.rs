//! One HTTP exchange under deadlines, and its repetition under the retry policy.
//!
//! Redirects are followed here, not in the HTTP library, so that a token is dropped the moment a
//! redirect leaves the origin it is for.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE,
};
use reqwest::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::body::later;
use super::config::PROGRESS_BYTES_MIN;
use super::error::without_user;
use super::payload::Payload;
use super::retry::{Attempts, AttemptsMade, Failure};
use super::tls::{certificate_trouble, tls};
use super::{Config, Deadlines, Error, Network, RetryObserver, RetryPolicy, Secret};
use crate::ByteRange;
use crate::api::{ERROR_CODE_HEADER, ERROR_MESSAGE_HEADER, error_code, shown};

/// Redirects followed for one request.
const REDIRECTS_MAX: usize = 5;
/// Largest metadata answer, bytes: a page of a listing or a reconstruction of a very large file.
const METADATA_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How much of an error's body is shown, bytes.
const ERROR_TEXT_BYTES_MAX: usize = 300;
/// Idle connections kept for one host: as many as fetches run at once.
const IDLE_CONNECTIONS_MAX: usize = 16;
/// Idle connections are closed after this long, below the usual server's own limit of 60 s to 75 s.
const IDLE_CONNECTION_LIFETIME: Duration = Duration::from_secs(50);

/// A request that can be sent again.
#[derive(Clone)]
pub(super) struct Request {
    /// For messages: "listing of org/model".
    pub(super) what: String,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// Sent as bearer token, to this URL's origin only.
    pub(super) token: Option<Secret>,
    pub(super) body: Payload,
    /// Overrides [`Deadlines::answer`].
    pub(super) answer_deadline: Option<Duration>,
    /// Whether it is made again if it fails for a reason that may pass.
    pub(super) is_repeated: bool,
    /// Longest metadata answer, bytes.
    pub(super) answer_bytes_max: usize,
}

impl Request {
    pub(super) fn get(what: String, url: Url) -> Self {
        Self::new(Method::GET, what, url)
    }

    pub(super) fn new(method: Method, what: String, url: Url) -> Self {
        Self {
            what,
            method,
            url,
            headers: HeaderMap::new(),
            token: None,
            body: Payload::default(),
            answer_deadline: None,
            is_repeated: true,
            answer_bytes_max: METADATA_BYTES_MAX,
        }
    }

    pub(super) fn token(mut self, token: Option<&Secret>) -> Self {
        self.token = token.cloned();
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Asks for these bytes of the resource alone.
    pub(super) fn range(self, range: ByteRange) -> Self {
        self.ranges(&[range])
    }

    /// Asks for these runs of bytes, in this order.
    pub(super) fn ranges(self, ranges: &[ByteRange]) -> Self {
        let ranges = ranges.iter().map(|range| format!("{}-{}", range.start, range.end.saturating_sub(1)));
        match HeaderValue::from_str(&format!("bytes={}", ranges.collect::<Vec<_>>().join(","))) {
            Ok(value) => self.header(RANGE, value),
            Err(_) => self,
        }
    }

    pub(super) fn body(mut self, content_type: Option<&'static str>, body: impl Into<Payload>) -> Self {
        if let Some(content_type) = content_type {
            self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        self.body = body.into();
        self
    }
}

/// A metadata answer that has been read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// An HTTP client that reaches hosts as it is told, and follows no redirect by itself.
pub(crate) fn client_builder(network: &Network) -> Result<reqwest::ClientBuilder, Error> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(network)?)
        // What is not told here would be read from the environment.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    for proxy in network.proxies.build()? {
        builder = builder.proxy(proxy);
    }
    Ok(builder)
}

/// Sends requests.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    pub(super) deadlines: Deadlines,
    /// See [`Config::multi_range`].
    pub(super) multi_range: bool,
    retry: RetryPolicy,
    on_retry: Option<RetryObserver>,
}

impl Http {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let builder = client_builder(&config.network)?
            .connect_timeout(config.deadlines.connect)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_CONNECTION_LIFETIME)
            .user_agent(config.user_agent.clone())
            .http1_only();
        let client = builder.build().map_err(|error| {
            let endpoint = without_user(config.endpoint.as_str());
            Error::Endpoint { endpoint, reason: root_cause(&error) }
        })?;
        let Config { deadlines, retry, multi_range, .. } = *config;
        Ok(Self { client, deadlines, multi_range, retry, on_retry: config.on_retry.clone() })
    }

    /// Counts attempts at something.
    pub(super) fn attempts<'a>(&'a self, what: &'a str) -> Attempts<'a> {
        Attempts::new(what, self.retry, self.on_retry.as_ref())
    }

    /// Sends until the answer is a success, and returns its head; the body has not been read.
    pub(super) async fn send(&self, request: &Request) -> Result<Response, Error> {
        let mut attempts = self.attempts(&request.what);
        loop {
            match self.send_once(request).await {
                Ok(mut response) => {
                    response.extensions_mut().insert(AttemptsMade(attempts.made + 1));
                    return Ok(response);
                }
                Err(failure) if request.is_repeated => attempts.wait_after(failure).await?,
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }

    /// Sends and reads a JSON answer.
    pub(super) async fn json<T: DeserializeOwned>(&self, request: &Request) -> Result<(T, HeaderMap), Error> {
        let Answer { body, headers, .. } = self.bytes(request).await?;
        Ok((parse_json(&request.what, &body)?, headers))
    }

    /// Sends and reads a metadata answer; a broken body is asked for again like a broken connection.
    pub(super) async fn bytes(&self, request: &Request) -> Result<Answer, Error> {
        let mut attempts = self.attempts(&request.what);
        loop {
            match self.bytes_once(request).await {
                Ok(answer) => return Ok(answer),
                Err(failure) if request.is_repeated => attempts.wait_after(failure).await?,
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }

    async fn bytes_once(&self, request: &Request) -> Result<Answer, Failure> {
        let response = self.send_once(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, body: self.read_metadata(request, response).await? })
    }

    /// One attempt: connection, head of the answer, redirects.
    async fn send_once(&self, request: &Request) -> Result<Response, Failure> {
        let mut url = request.url.clone();
        let mut token = request.token.as_ref();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.exchange(request, &url, token).await?;
            let Some(next) = redirect_target(request, &url, &response)? else {
                return self.check_status(request, response).await;
            };
            if next.origin() != url.origin() {
                token = None;
            }
            url = next;
        }
        let reason = format!("more than {REDIRECTS_MAX} in a row");
        Err(Failure::final_(Error::Redirect { what: request.what.clone(), reason }))
    }

    async fn exchange(&self, request: &Request, url: &Url, token: Option<&Secret>) -> Result<Response, Failure> {
        let mut builder = self.client.request(request.method.clone(), url.clone()).headers(request.headers.clone());
        if let Some(token) = token {
            builder = builder.header(AUTHORIZATION, bearer(&request.what, token)?);
        }
        let piece_taken = Arc::new(Notify::new());
        if request.method != Method::GET && request.method != Method::HEAD {
            let body = request.body.body(piece_taken.clone());
            builder = builder.header(CONTENT_LENGTH, request.body.length()).body(body);
        }
        let deadline = request.answer_deadline.unwrap_or(self.deadlines.answer);
        let mut answer = std::pin::pin!(builder.send());
        loop {
            return tokio::select! {
                answer = &mut answer => answer.map_err(|error| transport(&request.what, &error).into()),
                // The deadline counts from the last piece on.
                () = piece_taken.notified() => continue,
                () = tokio::time::sleep(deadline) => {
                    Err(Error::Deadline { what: request.what.clone(), waited_for: "the answer", deadline }.into())
                }
            };
        }
    }

    async fn check_status(&self, request: &Request, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        let mut message = header_text(&headers, ERROR_MESSAGE_HEADER);
        if message.is_empty() {
            message = self.error_text(response).await;
        }
        let code = header_text(&headers, ERROR_CODE_HEADER);
        let error = status_error(request.what.clone(), status, &code, message);
        Err(Failure::status(error, status, &headers))
    }

    /// A metadata answer's whole body, bounded in bytes and time.
    async fn read_metadata(&self, request: &Request, mut response: Response) -> Result<Bytes, Failure> {
        let (what, bytes_max) = (request.what.as_str(), request.answer_bytes_max);
        let Deadlines { stall, metadata_body, .. } = self.deadlines;
        let late = |waited_for, deadline| Error::Deadline { what: what.to_owned(), waited_for, deadline };
        let read = async {
            let (mut body, mut begun, mut counted_bytes) = (BytesMut::new(), Instant::now(), 0);
            loop {
                let next = timeout_at(later(begun, stall), response.chunk()).await;
                let next = next.map_err(|_| late("more of the body", stall))?;
                let Some(piece) = next.map_err(|error| transport(what, &error))? else { return Ok(body.freeze()) };
                if body.len() + piece.len() > bytes_max {
                    let reason = format!("it is longer than {bytes_max} bytes");
                    return Err(Failure::final_(Error::Malformed { what: what.to_owned(), reason }));
                }
                body.extend_from_slice(&piece);
                if (body.len() - counted_bytes) as u64 >= PROGRESS_BYTES_MIN {
                    (begun, counted_bytes) = (Instant::now(), body.len());
                }
            }
        };
        timeout(metadata_body, read).await.unwrap_or_else(|_| Err(late("the body", metadata_body).into()))
    }

    /// The beginning of an error's body, if it is text worth showing.
    async fn error_text(&self, mut response: Response) -> String {
        let first = timeout(self.deadlines.stall, response.chunk()).await;
        let Ok(Ok(Some(piece))) = first else { return String::new() };
        if looks_like_html(&piece) {
            return String::new();
        }
        let text = String::from_utf8_lossy(&piece[..piece.len().min(ERROR_TEXT_BYTES_MAX)]);
        shown(&text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// What an answer that is no success means. Which repository it is about is filled in by whoever asked.
fn status_error(what: String, status: StatusCode, code: &str, message: String) -> Error {
    let not_found = |needs_token| Error::RepoNotFound { repo: what.clone(), page: String::new(), needs_token };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if code == error_code::GATED_REPO => {
            Error::Gated { repo: what, page: String::new() }
        }
        StatusCode::UNAUTHORIZED if code == error_code::REPO_NOT_FOUND => not_found(true),
        StatusCode::UNAUTHORIZED => Error::Unauthorized { what, message, page: None },
        StatusCode::FORBIDDEN => Error::Forbidden { what, message, page: None },
        StatusCode::NOT_FOUND | StatusCode::GONE => match code {
            error_code::REPO_NOT_FOUND => not_found(false),
            error_code::REVISION_NOT_FOUND => Error::RevisionNotFound { repo: what, revision: String::new() },
            _ => Error::NotFound { what, message },
        },
        status => Error::Status { what, status: status.as_u16(), message },
    }
}

/// Reads a metadata answer as JSON.
pub(super) fn parse_json<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| {
        let is_page = looks_like_html(body);
        let reason = if is_page { "it is an HTML page, not JSON".into() } else { shown(&error.to_string()) };
        Error::Malformed { what: what.to_owned(), reason }
    })
}

/// Where a redirect leads; `None` if the answer is none.
fn redirect_target(request: &Request, from: &Url, response: &Response) -> Result<Option<Url>, Failure> {
    let refuse =
        |reason: &str| Err(Failure::final_(Error::Redirect { what: request.what.clone(), reason: reason.to_owned() }));
    let keeps_method = matches!(response.status().as_u16(), 307 | 308);
    if !keeps_method && !matches!(response.status().as_u16(), 301..=303) {
        return Ok(None);
    }
    let is_read = request.method == Method::GET || request.method == Method::HEAD;
    let Some(location) = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()) else {
        return refuse("it names no target");
    };
    let Ok(target) = from.join(location) else { return refuse("its target is no URL") };
    if !matches!(target.scheme(), "http" | "https") || (from.scheme() == "https" && target.scheme() == "http") {
        return refuse("it leaves HTTPS");
    }
    if !is_read && (!keeps_method || target.origin() != from.origin()) {
        return refuse("it would send an upload elsewhere");
    }
    Ok(Some(target))
}

fn bearer(what: &str, token: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| Error::Unauthorized {
        what: what.to_owned(),
        message: "the token holds characters that no token has".into(),
        page: None,
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The wall clock, for dates that servers state.
#[expect(clippy::disallowed_methods, reason = "the client is the shell: expiry dates are wall-clock times")]
pub(super) fn system_now() -> SystemTime {
    SystemTime::now()
}

pub(super) fn header_text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

pub(super) fn transport(what: &str, error: &reqwest::Error) -> Error {
    if let Some(own) = own_error(error) {
        return own;
    }
    match certificate_trouble(error) {
        Some(reason) => Error::Certificate { what: what.to_owned(), reason },
        None => Error::Transport { what: what.to_owned(), reason: root_cause(error) },
    }
}

/// What went wrong on this side, while a payload was made.
fn own_error(error: &reqwest::Error) -> Option<Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        if let Some(own) = source.downcast_ref::<Error>() {
            return Some(own.clone());
        }
        cause = source.source();
    }
    None
}

/// The innermost cause, which names the trouble, and never the URL, which may be signed.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_connect() { format!("cannot connect: {cause}") } else { cause.to_string() }
}

fn looks_like_html(body: &[u8]) -> bool {
    let start: Vec<u8> = body.iter().copied().skip_while(u8::is_ascii_whitespace).take(14).collect();
    let start = start.to_ascii_lowercase();
    start.starts_with(b"<!doctype html") || start.starts_with(b"<html")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use reqwest::Method;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;

    use super::{Http, Request};
    use crate::client::Config;

    /// The deadline is far shorter than the upload takes, and far longer than any piece of it.
    #[tokio::test(flavor = "multi_thread")]
    async fn given_a_slow_uplink_when_uploading_then_the_deadline_counts_from_the_last_piece() {
        const BODY_BYTES: usize = 12 * 1024 * 1024;
        let socket = TcpSocket::new_v4().unwrap();
        // What the system buffers would hide how slowly the body is read.
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let slow_server = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut pace = tokio::time::interval(Duration::from_millis(50));
            let mut piece = vec![0; BODY_BYTES / 40];
            for _ in 0..40 {
                pace.tick().await;
                connection.read_exact(&mut piece).await.unwrap();
            }
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            connection
        };
        let mut config = Config::new(&url).unwrap();
        config.retry.attempts = 1;
        let http = Http::new(&config).unwrap();
        let body = Bytes::from(vec![7; BODY_BYTES]);
        let mut request = Request::new(Method::POST, "upload".into(), config.endpoint.clone()).body(None, body);
        request.answer_deadline = Some(Duration::from_millis(800));

        let (answer, _connection) = tokio::join!(http.json::<serde_json::Value>(&request), slow_server);

        assert!(answer.is_ok(), "{answer:?}");
    }
}
