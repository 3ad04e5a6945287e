//! The listening half of [`FaultyOrigin`](crate::FaultyOrigin) and [`Sink`](crate::Sink).

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{Request, Response, StatusCode, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What stands behind the socket.
pub(crate) trait Answer: Send + Sync + 'static {
    fn answer(&self, request: Request<Incoming>, ending: &Arc<Ending>) -> impl Future<Output = Response<Body>> + Send;
}

/// An HTTP/1.1 server on a free port of 127.0.0.1. Dropping it ends every connection.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Front {
    pub(crate) async fn start(answer: Arc<impl Answer>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, answer));
        Ok(Self { address, _tasks: tasks })
    }
}

async fn accept(listener: TcpListener, answer: Arc<impl Answer>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&answer)))),
                // Out of file descriptors, or a client that left early: the next one may fare
                // better.
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => (),
        }
    }
}

async fn serve(stream: TcpStream, answer: Arc<impl Answer>) {
    let _ = stream.set_nodelay(true);
    let ending = Arc::new(Ending::default());
    let line = Line { stream, ending: Arc::clone(&ending) };
    let service = service_fn(move |request| {
        let (answer, ending) = (Arc::clone(&answer), Arc::clone(&ending));
        async move { Ok::<_, Infallible>(answer.answer(request, &ending).await) }
    });
    // A failure ends this connection alone, and is often what the test asked for.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(line), service).await;
}

pub(crate) fn reply(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body.into()));
    *response.status_mut() = status;
    if let Ok(value) = content_type.parse() {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Whether and how the connection is to be ended by force, as soon as what was written has left the
/// process.
#[derive(Debug, Default)]
pub(crate) struct Ending(AtomicU8);

impl Ending {
    const CLOSE: u8 = 1;
    const RESET: u8 = 2;

    /// FIN, in the middle of whatever was being sent.
    pub(crate) fn close(&self) {
        self.0.store(Self::CLOSE, Ordering::Relaxed);
    }

    /// RST.
    pub(crate) fn reset(&self) {
        self.0.store(Self::RESET, Ordering::Relaxed);
    }
}

/// A socket that fails its next flush once an ending was asked for: hyper flushes whenever the
/// answer has no more to give for the moment, and ends a connection that cannot.
struct Line {
    stream: TcpStream,
    ending: Arc<Ending>,
}

impl AsyncWrite for Line {
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ending = self.ending.0.load(Ordering::Relaxed);
        match ending {
            Ending::CLOSE => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Ending::RESET => {
                let _ = self.stream.set_zero_linger();
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            _ => (),
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}
