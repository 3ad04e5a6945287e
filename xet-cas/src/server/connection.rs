//! One HTTP/1.1 connection and its deadlines.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long a connection may take to send the head of its next request, idle time included. Longer than
/// clients keep an idle connection (reqwest 90 s, hf-xet 60 s), so that none is closed under a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(100);
/// Largest head of a request, bytes: a batch of reconstructions names files in the URL.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Received at once, and beyond this nothing more is read to be sent, bytes: one piece of file data, so that a client that
/// takes nothing holds one and not several. A head must fit.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Speaks HTTP on a socket until it ends. Drops a client that takes nothing for `stall` while there is
/// something to send.
pub(super) fn http(
    stream: TcpStream,
    stall: Duration,
    router: Router,
) -> impl GracefulConnection<Error = hyper::Error> + Send {
    // Answers are written in one go; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Line { stream, stall, blocked: None }), TowerToHyperService::new(router))
}

/// A socket on which a write may block only so long.
struct Line {
    stream: TcpStream,
    stall: Duration,
    /// Runs since the first write that found no room.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl Line {
    fn guard<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let stall = self.stall;
        let deadline = self.blocked.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
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
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}
