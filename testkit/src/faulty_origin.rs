use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    front::{Answer, Body, BoxError, Ending, Front, reply},
    request_log::{RequestLog, SeenRequest, target},
};

mod rule;
pub use rule::{Fault, Rewrite, Rule};

mod pieces;
use pieces::{Pieces, into_body, into_pieces};

/// A reverse proxy on 127.0.0.1 that misbehaves as its [`Rule`]s say.
///
/// Method, target, headers and body go to the upstream unchanged, `Host` included: an origin that builds its URLs from
/// `Host` sends the client back here for the data. A request without a fault is answered as the upstream answers it,
/// streaming. Dropping the handle ends every connection.
#[derive(Debug)]
pub struct FaultyOrigin {
    front: Front,
    proxy: Arc<Proxy>,
}

impl FaultyOrigin {
    /// Listens on a free port of 127.0.0.1 in front of `upstream`, a base URL such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless `upstream` is `http://host:port`; else if no socket can be had.
    pub async fn start(upstream: &str) -> io::Result<Self> {
        let authority = upstream.trim_end_matches('/').strip_prefix("http://");
        let authority = authority.filter(|rest| rest.contains(':') && !rest.contains('/'));
        let upstream = authority.ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let proxy = Arc::new(Proxy { upstream, rules: Mutex::default(), log: RequestLog::new() });
        Ok(Self { front: Front::start(Arc::clone(&proxy)).await?, proxy })
    }

    /// Base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.front.address)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.front.address
    }

    /// Adds a rule behind the others. The first rule that applies decides, and counts; those behind it do not see the
    /// request, those before it have let it pass.
    pub fn add(&self, rule: Rule) {
        self.proxy.rules.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
    }

    /// Forgets all rules. Answers already under way keep their fault.
    pub fn clear(&self) {
        self.proxy.rules.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Every request so far, in the order of arrival, faulted or not.
    ///
    /// # Panics
    ///
    /// If there were more than the log holds (10,000).
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.proxy.log.all()
    }

    /// Waits until the requests so far are `enough`: how a test meets a client without sleeping. It has no deadline of
    /// its own.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn until(&self, enough: impl FnMut(&[SeenRequest]) -> bool) {
        self.proxy.log.until(enough).await;
    }
}

#[derive(Debug)]
struct Proxy {
    /// Host and port.
    upstream: String,
    rules: Mutex<Vec<Rule>>,
    log: RequestLog,
}

impl Answer for Proxy {
    async fn answer(&self, request: Request<Incoming>, ending: &Ending) -> Response<Body> {
        let fault = self.fault_for(&request);
        self.log.push(SeenRequest::new(&request, fault.is_some()));
        match fault {
            None => self.forward(request).await.map(into_body),
            Some(fault) => self.misbehave(fault, request, ending).await,
        }
    }
}

impl Proxy {
    fn fault_for(&self, request: &Request<Incoming>) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.iter_mut().find_map(|rule| rule.apply(request.method(), target(request)))
    }

    async fn misbehave(&self, fault: Fault, request: Request<Incoming>, ending: &Ending) -> Response<Body> {
        match fault {
            Fault::NeverAnswer => std::future::pending().await,
            Fault::Reset => {
                ending.reset();
                std::future::pending().await
            }
            Fault::Status { code, headers, body } => {
                drain(request).await;
                let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut answer = reply(status, "text/plain", body);
                for (name, value) in headers {
                    if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse()) {
                        answer.headers_mut().insert(name, value);
                    }
                }
                answer
            }
            Fault::Html => {
                drain(request).await;
                reply(StatusCode::OK, "text/html", "<!DOCTYPE html><title>Sign in</title><p>Accept the terms of this network.")
            }
            Fault::Body { bytes, content_type } => {
                drain(request).await;
                reply(StatusCode::OK, &content_type, bytes)
            }
            Fault::RedirectTo { code, url } => {
                let headers = vec![("location".into(), url)];
                Box::pin(self.misbehave(Fault::Status { code, headers, body: "".into() }, request, ending)).await
            }
        }
    }

    async fn forward(&self, request: Request<Incoming>) -> Response<Pieces> {
        self.exchange(request).await.unwrap_or_else(|error| {
            reply(StatusCode::BAD_GATEWAY, "text/plain", error.to_string()).map(into_pieces)
        })
    }

    /// One connection per request; it lives as long as the answer's body.
    async fn exchange(&self, request: Request<Incoming>) -> Result<Response<Pieces>, BoxError> {
        let stream = TcpStream::connect(&self.upstream).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let mut answer = sender.send_request(request).await?;
        // These belong to one connection, and there are two.
        answer.headers_mut().remove(header::CONNECTION);
        answer.headers_mut().remove(header::TRANSFER_ENCODING);
        Ok(answer)
    }
}
