use std::{io, net::SocketAddr, sync::Arc};

use hyper::{Request, Response, StatusCode, body::Incoming};

use crate::{
    front::{Answer, Body, Ending, Front, reply},
    request_log::{RequestLog, SeenRequest},
};

/// Another host: answers 200 to everything and remembers what it was told. It must never be told a
/// token.
#[derive(Debug)]
pub struct Sink {
    front: Front,
    log: Arc<RequestLog>,
}

impl Sink {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// If no socket can be had.
    pub async fn start() -> io::Result<Self> {
        let log = Arc::new(RequestLog::new());
        Ok(Self { front: Front::start(Arc::new(Swallow(Arc::clone(&log)))).await?, log })
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

    /// Every request so far.
    ///
    /// # Panics
    ///
    /// If there were more than the log holds (10,000).
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.log.all()
    }
}

struct Swallow(Arc<RequestLog>);

impl Answer for Swallow {
    async fn answer(&self, request: Request<Incoming>, _: &Arc<Ending>) -> Response<Body> {
        self.0.push(SeenRequest::new(&request, false));
        reply(StatusCode::OK, "text/plain", "sink\n")
    }
}
