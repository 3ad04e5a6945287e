//! An origin over a temporary folder, and a client that says exactly what a test wants it to say.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use xet_cas::server::{Config, Counters, Error, Origin};

/// No answer in a test takes longer.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Lab {
    pub(crate) address: SocketAddr,
    pub(crate) counters: Counters,
    pub(crate) folder: TempDir,
    /// What calls of the Hub show, unless they show something else or `""`.
    pub(crate) token: &'static str,
    stop: Option<oneshot::Sender<()>>,
    tasks: JoinSet<Result<(), Error>>,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Config)) -> Self {
        Self::over(tempfile::tempdir().unwrap(), adjust).await
    }

    pub(crate) async fn over(folder: TempDir, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(folder.path());
        adjust(&mut config);
        let origin = Origin::bind(config, (Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let (address, counters) = (origin.local_addr(), origin.counters());
        let (stop, stopped) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        tasks.spawn(origin.serve(async {
            let _ = stopped.await;
        }));
        Self { address, counters, folder, token: "", stop: Some(stop), tasks }
    }

    /// Stops, and starts again over the same folder.
    pub(crate) async fn restart_with(mut self, adjust: impl FnOnce(&mut Config)) -> Self {
        self.stop().await;
        Self::over(self.folder, adjust).await
    }

    /// Asks it to stop, without waiting.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(&mut self) {
        self.begin_stop();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap().unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    pub(crate) fn head(&self, target: &str) -> Call {
        self.call("HEAD", target)
    }

    pub(crate) fn post(&self, target: &str, body: impl Into<Bytes>) -> Call {
        let mut call = self.call("POST", target);
        call.body = full(body);
        call
    }

    pub(crate) fn call(&self, method: &str, target: &str) -> Call {
        let target = target.strip_prefix(&self.url()).unwrap_or(target);
        let request = Request::builder().method(method).uri(target);
        let token = Some(self.token).filter(|token| !token.is_empty() && !target.starts_with("/cas/"));
        let authorization = token.map(|token| format!("Bearer {token}"));
        Call { address: self.address, request, has_host: false, authorization, body: full("") }
    }

    pub(crate) async fn json(&self, target: &str) -> Value {
        self.get(target).send().await.ok().json()
    }

    pub(crate) async fn create(&self, repo: &str) {
        let (owner, name) = repo.split_once('/').unwrap();
        let body = serde_json::json!({ "name": name, "organization": owner, "type": "model" }).to_string();
        self.post("/api/repos/create", body).send().await.ok();
    }

    /// A token of the CAS for this repository, as a header.
    pub(crate) async fn cas_token(&self, repo: &str, scope: &str) -> String {
        let answer = self.json(&format!("/api/models/{repo}/xet-{scope}-token/main")).await;
        format!("Bearer {}", answer["accessToken"].as_str().unwrap())
    }

    /// A commit of these lines on `main`.
    pub(crate) async fn commit(&self, repo: &str, lines: &[Value]) -> Answer {
        let header = serde_json::json!({ "key": "header", "value": { "summary": "a commit" } });
        self.commit_lines(repo, std::iter::once(&header).chain(lines)).await
    }

    pub(crate) async fn commit_lines(&self, repo: &str, lines: impl IntoIterator<Item = &Value>) -> Answer {
        let body: String = lines.into_iter().map(|line| format!("{line}\n")).collect();
        self.post(&format!("/api/models/{repo}/commit/main"), body).send().await
    }
}

pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

pub(crate) fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body without a length that sends these pieces and, after them, nothing: not even its end if `hangs`.
pub(crate) fn pieces(pieces: Vec<Bytes>, hangs: bool) -> Body {
    let sent = stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece))));
    let rest = if hangs { stream::pending().left_stream() } else { stream::empty().right_stream() };
    StreamBody::new(sent.chain(rest)).boxed_unsync()
}

pub(crate) struct Call {
    address: SocketAddr,
    request: hyper::http::request::Builder,
    has_host: bool,
    authorization: Option<String>,
    body: Body,
}

impl Call {
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.has_host |= name.eq_ignore_ascii_case("host");
        if name.eq_ignore_ascii_case("authorization") {
            self.authorization = None;
        }
        self.request = self.request.header(name, value.as_ref());
        self
    }

    /// Shows this token of the Hub, or none.
    pub(crate) fn as_(mut self, token: &str) -> Self {
        self.authorization = Some(format!("Bearer {token}")).filter(|_| !token.is_empty());
        self
    }

    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Sends and reads the whole answer.
    pub(crate) async fn send(self) -> Answer {
        let what = format!("{:?} {:?}", self.request.method_ref(), self.request.uri_ref());
        tokio::time::timeout(DEADLINE, async {
            let (mut tasks, response) = self.begin().await;
            let (head, body) = response.into_parts();
            let body = body.collect().await;
            tasks.abort_all();
            let is_complete = body.is_ok();
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            Answer { what: what.clone(), status: head.status.as_u16(), headers: head.headers, body, is_complete }
        })
        .await
        .unwrap_or_else(|_| panic!("{what} was not answered in time"))
    }

    /// Sends and reads the head of the answer; the connection lives as long as the set.
    pub(crate) async fn begin(mut self) -> (JoinSet<()>, Response<hyper::body::Incoming>) {
        if !self.has_host {
            self.request = self.request.header("host", self.address.to_string());
        }
        if let Some(authorization) = &self.authorization {
            self.request = self.request.header("authorization", authorization);
        }
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async {
            let _ = connection.await;
        });
        let response = sender.send_request(self.request.body(self.body).unwrap()).await.unwrap();
        (tasks, response)
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    what: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// False: the connection broke off inside the body.
    pub(crate) is_complete: bool,
}

impl Answer {
    /// Insists on success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "{}: {} {:?}", self.what, self.status, self.body);
        assert!(self.is_complete, "{}: the body broke off", self.what);
        self
    }

    /// Insists on a refusal of this kind.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((status, code), (self.status, self.header("x-error-code")), "{}: {:?}", self.what, self.body);
        assert!(!self.header("x-error-message").is_empty());
        self
    }

    /// Insists that the refusal says this.
    #[track_caller]
    pub(crate) fn because(self, reason: &str) -> Self {
        assert!(self.header("x-error-message").contains(reason), "{}: {}", self.what, self.header("x-error-message"));
        self
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {:?}", self.what, self.body))
    }
}

pub(crate) fn file_line(path: &str, content: &[u8]) -> Value {
    let content = STANDARD.encode(content);
    serde_json::json!({ "key": "file", "value": { "path": path, "content": content, "encoding": "base64" } })
}
