//! A peer that speaks `ut_xet` by hand, and breaks its rules where a test asks for it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

mod client;
pub use bep_xet::Status;
pub use client::{Answer, PeerClient};

mod fault;
pub use fault::PeerFault;

mod files;
use files::Files;

mod line;

mod session;
use session::Session;

/// Connections served at once; more wait until one ends.
const CONNECTIONS_MAX: usize = 64;

/// A peer that has some files and one fault. Dropping the handle ends every connection.
///
/// It takes part in whatever swarm it is asked for. Nothing of the program under test but the codecs is in it, so a
/// rule that both sides would get wrong in the same way still shows.
#[derive(Debug)]
pub struct FaultyPeer {
    address: SocketAddr,
    counters: Arc<Counters>,
    _tasks: JoinSet<()>,
}

/// What a [`FaultyPeer`] was asked so far, over all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections whose handshakes were complete.
    pub handshakes: u64,
    /// Questions what there is.
    pub have_queries: u64,
    /// Requests for lists.
    pub lists: u64,
    /// Requests for chunks.
    pub ranges: u64,
    /// Chunks that were written to the connection, right or wrong.
    pub chunks_sent: u64,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    handshakes: AtomicU64,
    have_queries: AtomicU64,
    lists: AtomicU64,
    ranges: AtomicU64,
    chunks_sent: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl FaultyPeer {
    /// Listens on a free port of 127.0.0.1, with the whole of these files.
    ///
    /// # Errors
    /// If no socket can be had, and `InvalidInput` if a file is empty.
    pub async fn start(files: impl IntoIterator<Item = Vec<u8>>, fault: PeerFault) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), files, fault).await
    }

    /// Listens on this address; port 0 takes a free one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_at(
        listen: SocketAddr,
        files: impl IntoIterator<Item = Vec<u8>>,
        fault: PeerFault,
    ) -> io::Result<Self> {
        let files = Arc::new(Files::new(files, fault)?);
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let counters = Arc::new(Counters::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, files, fault, counters.clone()));
        Ok(Self { address, counters, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked so far.
    #[must_use]
    pub fn asked(&self) -> Asked {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { connections, handshakes, have_queries, lists, ranges, chunks_sent } = &*self.counters;
        Asked {
            connections: read(connections),
            handshakes: read(handshakes),
            have_queries: read(have_queries),
            lists: read(lists),
            ranges: read(ranges),
            chunks_sent: read(chunks_sent),
        }
    }
}

async fn accept(listener: TcpListener, files: Arc<Files>, fault: PeerFault, counters: Arc<Counters>) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if sessions.len() < CONNECTIONS_MAX => {
                let Ok((stream, _)) = accepted else {
                    tokio::task::yield_now().await;
                    continue;
                };
                count(&counters.connections);
                let session = Session::new(stream, files.clone(), fault, counters.clone());
                // However it ends, it ends this connection alone, and mostly as the test wants it.
                sessions.spawn(async move { drop(session.run().await) });
            }
            Some(_) = sessions.join_next() => {}
        }
    }
}
