use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch, task::JoinSet};

use crate::{
    front::{Answer, Body, BoxError, Ending, Front, full, reply},
    request_log::{Answered, RequestLog, SeenRequest, target},
};

mod rule;
pub use rule::{Fault, Rewrite, Rule};

mod pieces;
use pieces::{Pieces, flip_bit, from_body, into_body, resized, stall_after, trickle, truncate_after};

/// A reverse proxy on 127.0.0.1 that misbehaves as its [`Rule`]s say.
///
/// Method, target, headers and body go to the upstream unchanged, `Host` included: an origin that
/// builds its URLs from `Host` sends the client back here for the data. A request without a fault
/// is answered as the upstream answers it, streaming. Dropping the handle ends every connection.
#[derive(Debug)]
pub struct FaultyOrigin {
    front: Front,
    proxy: Arc<Proxy>,
}

impl FaultyOrigin {
    /// Listens on a free port of 127.0.0.1 in front of `upstream`, a base URL such as
    /// `http://127.0.0.1:8080`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless `upstream` is `http://host:port`; else if no socket can be had.
    pub async fn start(upstream: &str) -> io::Result<Self> {
        let upstream = Mutex::new(authority(upstream)?);
        let proxy =
            Arc::new(Proxy { upstream, rules: Mutex::default(), log: RequestLog::new(), sent: watch::Sender::new(0) });
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

    /// Adds a rule behind the others. The first rule that applies decides, and counts; those behind
    /// it do not see the request, those before it have let it pass.
    pub fn add(&self, rule: Rule) {
        self.proxy.rules.lock().unwrap_or_else(PoisonError::into_inner).push(rule);
    }

    /// Has another upstream from here on, at the same address of its own: a server that was set up anew.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn set_upstream(&self, upstream: &str) -> io::Result<()> {
        *self.proxy.upstream.lock().unwrap_or_else(PoisonError::into_inner) = authority(upstream)?;
        Ok(())
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

    /// Bytes of bodies that were passed on so far, over all requests. [`SeenRequest::sent_bytes`] says of which.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        *self.proxy.sent.borrow()
    }

    /// Waits until at least so many bytes of bodies were passed on. It has no deadline of its own.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn until_sent(&self, bytes: u64) {
        let waited = self.proxy.sent.subscribe().wait_for(|sent| *sent >= bytes).await.map(drop);
        waited.expect("the sender lives in self");
    }

    /// Waits until the requests so far are `enough`: how a test meets a client without sleeping.
    /// It has no deadline of its own.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn until(&self, enough: impl FnMut(&[SeenRequest]) -> bool) {
        self.proxy.log.until(enough).await;
    }
}

/// Host and port of `http://host:port`.
fn authority(url: &str) -> io::Result<String> {
    let authority = url.trim_end_matches('/').strip_prefix("http://");
    let authority = authority.filter(|rest| rest.contains(':') && !rest.contains('/'));
    Ok(authority.ok_or(io::ErrorKind::InvalidInput)?.to_owned())
}

#[derive(Debug)]
struct Proxy {
    /// Host and port.
    upstream: Mutex<String>,
    rules: Mutex<Vec<Rule>>,
    log: RequestLog,
    /// Bytes of bodies, faulted or not.
    sent: watch::Sender<u64>,
}

impl Answer for Proxy {
    async fn answer(&self, request: Request<Incoming>, ending: &Arc<Ending>) -> Response<Body> {
        let fault = self.fault_for(&request);
        let seen = SeenRequest::new(&request, fault.is_some());
        let answered = seen.answered();
        self.log.push(seen);
        let answer = match fault {
            None => self.exchange(request).await,
            Some(fault) => self.misbehave(fault, request, ending).await,
        };
        match answer {
            Ok(answer) => answer.map(|pieces| into_body(self.counted(pieces, answered))),
            Err(error) => {
                let text = format!("faulty origin: {error}\n");
                reply(StatusCode::BAD_GATEWAY, "text/plain", text)
            }
        }
    }
}

impl Proxy {
    /// Counts what is passed on, until it is dropped.
    fn counted(&self, pieces: Pieces, answered: Answered) -> Pieces {
        let sent = self.sent.clone();
        let counted = pieces.inspect_ok(move |piece| {
            answered.count(piece.len() as u64);
            sent.send_modify(|sent| *sent += piece.len() as u64);
        });
        counted.boxed()
    }

    fn fault_for(&self, request: &Request<Incoming>) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        rules.iter_mut().find_map(|rule| rule.apply(request.method(), target(request), request.headers()))
    }

    async fn misbehave(
        &self,
        fault: Fault,
        mut request: Request<Incoming>,
        ending: &Arc<Ending>,
    ) -> Result<Response<Pieces>, BoxError> {
        match fault {
            Fault::NeverAnswer => std::future::pending().await,
            Fault::AnswerAfter(pause) => {
                tokio::time::sleep(pause).await;
                self.exchange(request).await
            }
            Fault::Reset => {
                ending.reset();
                std::future::pending().await
            }
            Fault::Status { code, headers, body } => instead(request, code, "text/plain", &headers, body).await,
            Fault::Html => instead(request, 200, "text/html", &[], PORTAL.into()).await,
            Fault::Body { bytes, content_type } => instead(request, 200, &content_type, &[], bytes).await,
            Fault::RedirectTo { code, url } => {
                let headers = [("location".into(), url)];
                instead(request, code, "text/plain", &headers, Bytes::new()).await
            }
            Fault::StallAfter(bytes) => self.bent(request, |body| stall_after(body, bytes)).await,
            Fault::TruncateAfter(bytes) => {
                let ending = Arc::clone(ending);
                self.bent(request, |body| truncate_after(body, bytes, ending)).await
            }
            Fault::Trickle { bytes_per_second } => self.bent(request, |body| trickle(body, bytes_per_second)).await,
            Fault::FlipBit { offset } => self.bent(request, |body| flip_bit(body, offset)).await,
            Fault::WrongLength { by } => Ok(wrong_length(self.exchange(request).await?, by)),
            Fault::WrongContentRange => Ok(wrong_content_range(self.exchange(request).await?)),
            Fault::IgnoreRange => {
                request.headers_mut().remove(header::RANGE);
                self.exchange(request).await
            }
            Fault::RangeAs200 => {
                let mut answer = self.exchange(request).await?;
                if answer.status() == StatusCode::PARTIAL_CONTENT {
                    *answer.status_mut() = StatusCode::OK;
                    answer.headers_mut().remove(header::CONTENT_RANGE);
                }
                Ok(answer)
            }
            Fault::Rewrite(rewrite) => rewritten(self.exchange(request).await?, &rewrite).await,
        }
    }

    async fn bent(
        &self,
        request: Request<Incoming>,
        bend: impl FnOnce(Pieces) -> Pieces + Send,
    ) -> Result<Response<Pieces>, BoxError> {
        Ok(self.exchange(request).await?.map(bend))
    }

    /// One connection per request; it lives as long as the answer's body.
    async fn exchange(&self, request: Request<Incoming>) -> Result<Response<Pieces>, BoxError> {
        let upstream = self.upstream.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = TcpStream::connect(upstream).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let mut answer = sender.send_request(request).await?;
        // These belong to one connection, and there are two.
        answer.headers_mut().remove(header::CONNECTION);
        answer.headers_mut().remove(header::TRANSFER_ENCODING);
        Ok(answer.map(|body| {
            let pieces = from_body(body.map_err(Into::into).boxed_unsync());
            // The connection is driven until its last piece was passed on, and no longer.
            pieces.inspect(move |_| _ = &driver).boxed()
        }))
    }
}

const PORTAL: &str = "<!DOCTYPE html><title>Welcome</title><p>Accept the terms of this network to go on.";

/// Reads the request to its end first: a connection closed on unread bytes is reset, and the
/// answer may be lost.
async fn instead(
    request: Request<Incoming>,
    code: u16,
    content_type: &str,
    headers: &[(String, String)],
    body: Bytes,
) -> Result<Response<Pieces>, BoxError> {
    let mut rest = request.into_body();
    while let Some(frame) = rest.frame().await {
        drop(frame?);
    }
    let length = body.len();
    let mut answer = reply(StatusCode::from_u16(code)?, content_type, body).map(from_body);
    let own = answer.headers_mut();
    own.insert(header::CONTENT_LENGTH, length.into());
    for (name, value) in headers {
        own.insert(name.parse::<HeaderName>()?, value.parse()?);
    }
    Ok(answer)
}

fn wrong_length(mut answer: Response<Pieces>, by: i64) -> Response<Pieces> {
    let length = answer.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let Some(length) = length else { return answer };
    let wrong = length.saturating_add_signed(by);
    answer.headers_mut().insert(header::CONTENT_LENGTH, wrong.into());
    answer.map(|pieces| resized(pieces, length, wrong))
}

fn wrong_content_range(mut answer: Response<Pieces>) -> Response<Pieces> {
    let one_later = |range: &HeaderValue| {
        let (range, total) = range.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
        let (start, end) = range.split_once('-')?;
        let (start, end) = (start.parse::<u64>().ok()? + 1, end.parse::<u64>().ok()? + 1);
        HeaderValue::try_from(format!("bytes {start}-{end}/{total}")).ok()
    };
    let range = answer.headers_mut().get_mut(header::CONTENT_RANGE);
    if let Some(range) = range
        && let Some(wrong) = one_later(range)
    {
        *range = wrong;
    }
    answer
}

async fn rewritten(answer: Response<Pieces>, rewrite: &Rewrite) -> Result<Response<Pieces>, BoxError> {
    const BODY_BYTES_MAX: usize = 64 << 20;
    let (mut head, pieces) = answer.into_parts();
    let body = Limited::new(into_body(pieces), BODY_BYTES_MAX).boxed_unsync();
    let body = (rewrite.0)(body.collect().await?.to_bytes());
    head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    Ok(Response::from_parts(head, from_body(full(body))))
}
