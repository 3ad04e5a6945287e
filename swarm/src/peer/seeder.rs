//! The listening side: accepts peers and serves them, within bounds.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{Id, JoinError, JoinSet};
use xet_cas::client::Network;

use super::slots::Slots;
use super::uploads::{Uploader, Uploads};
use super::{Link, PeerError, seed};
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
    /// Peers served at once; more are closed at once. Default 100, at about a megabyte each. One address gets a
    /// quarter of them, loopback excepted.
    pub peers_max: usize,
    /// What all peers together are sent of chunk data at most, bytes a second, as it travels. Default: no limit.
    pub limit_up: Option<NonZeroU64>,
    /// For a peer to shake hands, and to take what it asked for. Default 10 s.
    pub deadline: Duration,
    /// How Hubs are reached, which are asked anonymously whether something is public before it is served. Default:
    /// directly.
    pub network: Network,
}

impl Default for SeedConfig {
    fn default() -> Self {
        Self { peers_max: 100, limit_up: None, deadline: Duration::from_secs(10), network: Network::default() }
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
        let library = Arc::new(Library::new(index, config.network.clone()));
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
        let mut slots = Slots::new(self.config.peers_max);
        let uploads = Uploads::new(self.config.limit_up);
        let mut sessions = JoinSet::new();
        // From where each session comes.
        let mut addresses: HashMap<Id, IpAddr> = HashMap::new();
        let mut shutdown = std::pin::pin!(shutdown);
        let mut paced = std::pin::pin!(uploads.run());
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = &mut paced => {}
                Some(ended) = sessions.join_next_with_id() => {
                    let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
                    if let Some(address) = addresses.remove(&id) {
                        slots.give_back(address);
                    }
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "a peer session failed inside");
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    // Who comes when all slots are taken is closed at once, and may try another peer.
                    Ok((_, peer)) if !slots.take(peer.ip()) => tracing::debug!(%peer, "no slot is free"),
                    Ok((stream, peer)) => {
                        let session = self.session(stream, peer, uploads.join());
                        let id = sessions.spawn(async move {
                            if let Err(error) = session.await {
                                tracing::debug!(%peer, %error, "a peer session ended");
                            }
                        }).id();
                        addresses.insert(id, peer.ip());
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

    fn session(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        uploader: Uploader,
    ) -> impl Future<Output = Result<(), PeerError>> + use<> {
        let (library, counters, deadline) = (self.library.clone(), self.counters.clone(), self.config.deadline);
        async move {
            let (link, session) = Link::accept(stream, exchange_config(), deadline).await?;
            counters.peers.fetch_add(1, Ordering::Relaxed);
            seed(link, session, peer, library, uploader, counters).await
        }
    }
}

/// Room to read ahead while a batch is sent.
fn exchange_config() -> bep_xet::Config {
    let mut config = bep_xet::Config::default();
    config.data_queued_bytes_max = DATA_QUEUED_BYTES_MAX;
    config
}
