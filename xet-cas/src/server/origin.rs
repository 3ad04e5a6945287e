//! The listening socket and the life of an origin.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::interval;

use super::app::{App, unix_now};
use super::refusal::Refusal;
use super::store::Store;
use super::{Config, Counters, Error, cas, connection, hub, linger};

/// Connections served at once; further ones wait to be accepted. Each may also hold a file open, and
/// many systems allow 1,024 descriptors less than they say.
const CONNECTIONS_MAX: usize = 1_000;
/// Pause after a connection could not be accepted, which mostly means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Uploads that nobody asked for in time are looked for this often.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// And no more often.
const SWEEP_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// A Hub and CAS over a directory, bound to an address and not serving yet.
pub struct Origin {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
}

impl Origin {
    /// Opens or creates the data folder and listens. Port 0 takes a free one.
    ///
    /// # Errors
    /// If the folder is unusable, in use or not an origin's, or the address cannot be had.
    ///
    /// # Cancel safety
    /// Dropping the future leaves at most an empty data folder behind.
    pub async fn bind(config: Config, listen: SocketAddr) -> Result<Self, Error> {
        for (setting, value) in
            [("limit_rate", config.limit_rate.unwrap_or(1)), ("tree_page_entries", config.tree_page_entries as u64)]
        {
            if value == 0 {
                return Err(Error::Setting { setting, value });
            }
        }
        let settings = config.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(&settings)).await;
        let store = opened.map_err(|stopped| Error::Data { path: config.data.clone(), source: stopped.into() })??;
        let in_listen = |source| Error::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(in_listen)?;
        let address = listener.local_addr().map_err(in_listen)?;
        Ok(Self { listener, address, app: Arc::new(App::new(config, store)?) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What clients take as `HF_ENDPOINT`, if they run where this address is reachable. Answers hold URLs
    /// under the name by which they were asked for, not this one.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A handle on what was sent, which outlives [`serve`](Self::serve).
    pub fn counters(&self) -> Counters {
        self.app.traffic.counters()
    }

    /// Bytes of file data sent so far: xorb ranges and whole files. Metadata and regular files do not count.
    pub fn data_bytes_sent(&self) -> u64 {
        self.counters().data_bytes_sent()
    }

    /// Serves until `shutdown` is ready, then lets answers under way finish for [`Config::drain`] at most.
    ///
    /// # Errors
    /// None at present: trouble with one connection ends that connection.
    ///
    /// # Cancel safety
    /// Dropping the future ends every connection at once. What is stored is complete at any moment.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        let Self { listener, app, .. } = self;
        let (stall, drain) = (app.config.stall, app.config.drain);
        let router = router(Arc::clone(&app));
        let graceful = GracefulShutdown::new();
        let mut sweeps = interval(SWEEP_INTERVAL.min(app.config.url_lifetime).max(SWEEP_INTERVAL_MIN));
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accept = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, listener.accept().await)
            };
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => report(ended),
                _ = sweeps.tick() => {
                    let app = Arc::clone(&app);
                    connections.spawn(async move {
                        let swept = Arc::clone(&app);
                        app.workers.disk(move || swept.staging.sweep(unix_now())).await;
                    });
                }
                (slot, accepted) = accept => match accepted {
                    Ok((stream, peer)) => {
                        tracing::trace!(%peer, "connected");
                        let served = graceful.watch(connection::http(stream, stall, router.clone()));
                        connections.spawn(async move {
                            let _slot = slot;
                            if let Err(error) = served.await {
                                tracing::debug!(%peer, %error, "connection ended early");
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
        drop(listener);
        if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
            tracing::info!(connections = connections.len(), "answers did not finish in time and were cut");
        }
        connections.shutdown().await;
        Ok(())
    }
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin")
            .field("address", &self.address)
            .field("config", &self.app.config)
            .finish_non_exhaustive()
    }
}

fn router(app: Arc<App>) -> Router {
    hub::routes()
        .merge(cas::routes())
        .method_not_allowed_fallback(|| async { Refusal::method_not_allowed() })
        .layer(axum::middleware::from_fn(linger::linger))
        .with_state(app)
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request failed inside the origin");
    }
}
