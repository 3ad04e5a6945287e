//! One HTTP/1.1 connection and its deadlines.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::app::App;
use super::bodies::PROGRESS_BYTES_MIN;
use super::connections::Seat;

/// How long a connection may take to send the head of its next request, idle time included. Longer than
/// clients keep an idle connection (reqwest 90 s, hf-xet 60 s), so that none is closed under a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(100);
/// Largest head of a request, bytes: a batch of reconstructions names files in the URL.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Received at once, and beyond this nothing more is read to be sent, bytes: one piece of file data, so that a client that
/// takes nothing holds one and not several. A head must fit.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// A connection as its socket and its requests see it.
pub(super) struct Flow {
    app: Arc<App>,
    seat: Seat,
    /// A request is being answered.
    is_serving: AtomicBool,
}

impl Flow {
    pub(super) fn new(app: Arc<App>, seat: Seat) -> Arc<Self> {
        Arc::new(Self { app, seat, is_serving: AtomicBool::new(false) })
    }

    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }
}

/// Speaks HTTP on a socket until it ends. Drops a client that takes next to nothing while there is something to send.
pub(super) fn http(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    flow: Arc<Flow>,
) -> impl GracefulConnection<Error = hyper::Error> + Send {
    // Answers are written in one go; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let line = Line { stream, flow: Arc::clone(&flow), blocked: None, waited: Duration::ZERO, taken: 0 };
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let serving = Serving::begin(&flow);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let answer = router.call(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await?.map(|body| Served { body, _serving: serving })) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(line), service)
}

/// A request that is being answered, until it is dropped.
struct Serving(Arc<Flow>);

impl Serving {
    fn begin(flow: &Arc<Flow>) -> Self {
        flow.is_serving.store(true, Ordering::Relaxed);
        flow.seat.busy();
        Self(Arc::clone(flow))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.is_serving.store(false, Ordering::Relaxed);
    }
}

/// The body of an answer. Once it is dropped, nothing is left to be said but what is in the connection's buffer.
struct Served {
    body: Body,
    _serving: Serving,
}

impl HttpBody for Served {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket on which writes may block only so long.
struct Line {
    stream: TcpStream,
    flow: Arc<Flow>,
    /// Runs while a write finds no room, from the moment given.
    blocked: Option<(Instant, Pin<Box<Sleep>>)>,
    /// How long writes have blocked since the client last made progress.
    waited: Duration,
    /// What it has taken since then, bytes.
    taken: usize,
}

impl Line {
    fn guard(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            if let Some((since, _)) = self.blocked.take() {
                self.waited += since.elapsed();
            }
            let bytes = *written.as_ref().unwrap_or(&0);
            self.flow.app.metrics.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
            self.taken += bytes;
            if self.taken as u64 >= PROGRESS_BYTES_MIN {
                (self.taken, self.waited) = (0, Duration::ZERO);
            }
            return Poll::Ready(written);
        }
        let left = self.flow.app.config.stall.saturating_sub(self.waited);
        let (_, deadline) = self.blocked.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
        deadline.as_mut().poll(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no data")))
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, data);
        self.guard(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.guard(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Asked for when all that was to be said has been written.
        if !self.flow.is_serving.load(Ordering::Relaxed) {
            self.flow.seat.idle();
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let bytes = (buffer.filled().len() - before) as u64;
        self.flow.app.metrics.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        read
    }
}
