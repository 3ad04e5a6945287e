//! The listening side: accepts peers and serves them, within bounds.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Link, seed};
use crate::library::Library;
use crate::{Error, Index};

/// Pause after a connection could not be accepted, which mostly means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Data that waits to be sent to one peer, bytes: one batch of chunks, while the next is read.
const DATA_QUEUED_BYTES_MAX: usize = 384 * 1024;

/// How a seeder behaves. Start from `default()` and assign.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SeedConfig {
    /// Peers served at once; more are closed at once. Default 100, at about a megabyte each.
    pub peers_max: usize,
    /// For a peer to shake hands, and to take what it asked for. Default 10 s.
    pub deadline: Duration,
}

impl Default for SeedConfig {
    fn default() -> Self {
        Self { peers_max: 100, deadline: Duration::from_secs(10) }
    }
}

/// Serves the files of an index to peers.
#[derive(Debug)]
pub struct Seeder {
    listener: TcpListener,
    address: SocketAddr,
    library: Arc<Library>,
    config: SeedConfig,
    counters: SeedCounters,
}

/// What was served. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct SeedCounters {
    data_bytes: Arc<AtomicU64>,
    peers: Arc<AtomicU64>,
}

impl SeedCounters {
    /// Bytes of chunk data sent.
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes.load(Ordering::Relaxed)
    }

    /// Peers that shook hands.
    pub fn peers(&self) -> u64 {
        self.peers.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self, bytes: u64) {
        self.data_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Seeder {
    /// Listens. Port 0 takes a free one.
    ///
    /// # Errors
    /// [`Error::Listen`] if the address cannot be had.
    pub async fn bind(index: Index, config: SeedConfig, listen: SocketAddr) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let library = Arc::new(Library::new(index));
        Ok(Self { listener, address, library, config, counters: SeedCounters::default() })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// A handle on what is served.
    pub fn counters(&self) -> SeedCounters {
        self.counters.clone()
    }

    /// Files that there are to serve, to whoever may have them.
    ///
    /// # Errors
    /// [`Error::Index`] if the index cannot be read.
    pub async fn files(&self) -> Result<usize, Error> {
        self.library.files().await
    }

    /// Serves until `shutdown` is ready, and then closes all connections.
    ///
    /// # Errors
    /// None at present: trouble with one connection ends that connection.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let slots = Arc::new(Semaphore::new(self.config.peers_max));
        let mut sessions = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = sessions.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "a peer session failed inside");
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        // Who comes when all slots are taken is closed at once, and may try another peer.
                        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
                        let (library, counters, deadline) = (self.library.clone(), self.counters.clone(), self.config.deadline);
                        sessions.spawn(async move {
                            let result = match Link::accept(stream, exchange_config(), deadline).await {
                                Ok((link, session)) => {
                                    counters.peers.fetch_add(1, Ordering::Relaxed);
                                    seed(link, session, peer, library, counters).await
                                }
                                Err(error) => Err(error),
                            };
                            drop(slot);
                            if let Err(error) = result {
                                tracing::debug!(%peer, %error, "a peer session ended");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::debug!(%error, "cannot accept");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        sessions.shutdown().await;
        Ok(())
    }
}

/// Room to read ahead while a batch is sent.
fn exchange_config() -> bep_xet::Config {
    let mut config = bep_xet::Config::default();
    config.data_queued_bytes_max = DATA_QUEUED_BYTES_MAX;
    config
}
