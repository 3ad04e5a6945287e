use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use hyper::{HeaderMap, Method, body::Incoming};
use tokio::sync::watch;

/// A request as it arrived, without its body.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// `GET`, `POST`, ...
    pub method: Method,
    /// Path and query, as sent.
    pub target: String,
    /// All headers; [`Self::header`] reads one.
    pub headers: HeaderMap,
    /// Whether a rule changed the answer.
    pub faulted: bool,
    sent: Arc<Sent>,
}

#[derive(Debug, Default)]
struct Sent {
    bytes: AtomicU64,
    is_over: AtomicBool,
}

/// The answer to a request, while it is under way.
#[derive(Debug)]
pub(crate) struct Answered(Arc<Sent>);

impl Answered {
    pub(crate) fn count(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl SeenRequest {
    pub(crate) fn new(request: &hyper::Request<Incoming>, faulted: bool) -> Self {
        Self {
            method: request.method().clone(),
            target: target(request).to_owned(),
            headers: request.headers().clone(),
            faulted,
            sent: Arc::default(),
        }
    }

    pub(crate) fn answered(&self) -> Answered {
        Answered(self.sent.clone())
    }

    /// Bytes of the answer's body that were passed on so far.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent.bytes.load(Ordering::Relaxed)
    }

    /// Whether the answer is over, well or not.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.sent.is_over.load(Ordering::Relaxed)
    }

    /// The first header of this name (case does not matter), if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

pub(crate) fn target(request: &hyper::Request<Incoming>) -> &str {
    request.uri().path_and_query().map_or("/", |target| target.as_str())
}

/// Requests in the order of their arrival.
#[derive(Debug)]
pub(crate) struct RequestLog(watch::Sender<Vec<SeenRequest>>);

impl RequestLog {
    /// Far more than a test makes; a client that retries without end fills some megabytes, no more.
    const REQUESTS_MAX: usize = 10_000;

    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }

    pub(crate) fn push(&self, request: SeenRequest) {
        self.0.send_if_modified(|seen| {
            let room = seen.len() <= Self::REQUESTS_MAX;
            if room {
                seen.push(request);
            }
            room
        });
    }

    pub(crate) fn all(&self) -> Vec<SeenRequest> {
        let seen = self.0.borrow();
        assert!(seen.len() <= Self::REQUESTS_MAX, "more requests than the log holds: it would prove nothing");
        seen.clone()
    }

    pub(crate) async fn until(&self, mut enough: impl FnMut(&[SeenRequest]) -> bool) {
        let waited = self.0.subscribe().wait_for(|seen| enough(seen)).await.map(drop);
        waited.expect("the sender lives in self");
    }
}
