//! The listening socket and the life of an origin.

use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::address::Address;
use super::app::{App, unix_now};
use super::connection::{self, Flow};
use super::connections::{Full, Seat};
use super::refusal::Refusal;
use super::store::Store;
use super::{Config, Counters, Error, Garbage, cas, front, hub, linger, operation, request};

/// Connections that wait for a seat; further ones wait to be accepted.
const WAITING_MAX: usize = 256;
/// While some wait, it is looked so often whether others have been idle for long enough.
const SEAT_INTERVAL: Duration = Duration::from_millis(50);
/// Pause after a connection could not be accepted, which mostly means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Uploads that nobody asked for in time are looked for this often.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// And no more often.
const SWEEP_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Garbage is collected for the first time after so long, if not sooner: an origin that is started every day has to
/// come to it too.
const FIRST_COLLECTION: Duration = Duration::from_secs(10 * 60);
/// Garbage is collected no more often than this.
const COLLECTION_INTERVAL_MIN: Duration = Duration::from_secs(60);
/// What somebody had a use for is kept for so long while clients may be in the middle of something: a use is noted once an
/// hour only, and an upload of a large file takes its time.
const GRACE_MIN: Duration = Duration::from_secs(3 * 60 * 60);

/// A Hub and CAS over a directory, bound to its addresses and not serving yet.
pub struct Origin {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    app: Arc<App>,
}

impl Origin {
    /// Opens or creates the data folder and listens. Port 0 takes a free one.
    ///
    /// # Errors
    /// If the folder is unusable, in use or not an origin's, the address cannot be had, or a setting makes no sense.
    ///
    /// # Cancel safety
    /// Dropping the future leaves at most an empty data folder behind.
    pub async fn bind(config: Config, listen: SocketAddr) -> Result<Self, Error> {
        Self::bind_all(config, &[listen]).await
    }

    /// The same on several addresses, one at least.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    /// As [`bind`](Self::bind).
    pub async fn bind_all(config: Config, listen: &[SocketAddr]) -> Result<Self, Error> {
        for (setting, value) in [
            ("limit_rate", config.limit_rate.unwrap_or(1)),
            ("tree_page_entries", config.tree_page_entries as u64),
            ("connections_max", config.connections_max as u64),
            ("connections_per_address_max", config.connections_per_address_max as u64),
            ("number of addresses to listen on", listen.len() as u64),
        ] {
            if value == 0 {
                return Err(Error::Setting { setting, value });
            }
        }
        for limit in [config.rate_limits.api, config.rate_limits.resolve].into_iter().flatten() {
            let (setting, value) = match limit.window.as_secs() {
                0 => ("window of a rate limit in seconds", 0),
                _ => ("number of requests of a rate limit", limit.requests.into()),
            };
            if value == 0 {
                return Err(Error::Setting { setting, value });
            }
        }
        let public_url = match &config.public_url {
            None => None,
            Some(url) => Some(request::public_url(url).ok_or_else(|| Error::PublicUrl { url: url.clone() })?),
        };
        let settings = config.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(&settings)).await;
        let store = opened.map_err(|stopped| Error::Data { path: config.data.clone(), source: stopped.into() })??;
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for address in listen.iter().copied() {
            let in_listen = |source| Error::Listen { address, source };
            let listener = TcpListener::bind(address).await.map_err(in_listen)?;
            addresses.push(listener.local_addr().map_err(in_listen)?);
            listeners.push(listener);
        }
        Ok(Self { listeners, addresses, app: Arc::new(App::new(config, public_url, store)?) })
    }

    /// Where it listens first.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Everywhere it listens.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What clients take as `HF_ENDPOINT`: [`Config::public_url`], or the first address, if they run where that is
    /// reachable. Without the former, answers hold URLs under the name by which they were asked for, not this one.
    pub fn url(&self) -> String {
        self.app.public_url().map_or_else(|| format!("http://{}", self.local_addr()), str::to_owned)
    }

    /// A handle on what was sent, which outlives [`serve`](Self::serve).
    pub fn counters(&self) -> Counters {
        self.app.traffic.counters()
    }

    /// Bytes of file data sent so far: xorb ranges and whole files. Metadata and regular files do not count.
    pub fn data_bytes_sent(&self) -> u64 {
        self.counters().data_bytes_sent()
    }

    /// Serves until `shutdown` is ready, then lets answers under way finish for [`Config::drain`] at most. Whoever comes
    /// meanwhile is told that the origin stops.
    ///
    /// # Errors
    /// None at present: trouble with one connection ends that connection.
    ///
    /// # Cancel safety
    /// Dropping the future ends every connection at once. What is stored is complete at any moment.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        let Self { listeners, app, .. } = self;
        let drain = app.config.drain;
        let _fetching = AbortOnDrop(Arc::clone(&app));
        // Ends with this.
        let mut upkeep = JoinSet::new();
        upkeep.spawn(collect(Arc::clone(&app)));
        let mut service = Service { router: router(Arc::clone(&app)), app, connections: JoinSet::new() };
        let graceful = GracefulShutdown::new();
        tokio::select! {
            biased;
            () = shutdown => {}
            never = service.run(&listeners, Some(&graceful)) => match never {},
        }
        service.app.stop();
        let finished = async {
            tokio::select! {
                biased;
                () = graceful.shutdown() => {}
                never = service.run(&listeners, None) => match never {},
            }
        };
        if tokio::time::timeout(drain, finished).await.is_err() {
            tracing::info!(connections = service.connections.len(), "answers did not finish in time and were cut");
        }
        drop(listeners);
        service.connections.shutdown().await;
        // The folder is free when this returns.
        upkeep.shutdown().await;
        service.app.mirror.stop().await;
        // Jobs that nobody waits for any more use the folder until they are done.
        let _ = tokio::time::timeout(drain, service.app.workers.idle()).await;
        Ok(())
    }
}

/// Ends what is fetched from elsewhere also if nobody waits for the end.
struct AbortOnDrop(Arc<App>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.mirror.abort();
    }
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin")
            .field("addresses", &self.addresses)
            .field("config", &self.app.config)
            .finish_non_exhaustive()
    }
}

/// Collects garbage every now and then, for ever.
async fn collect(app: Arc<App>) {
    let Garbage { interval, grace } = app.config.garbage;
    let Some(interval) = interval else { return };
    let (interval, grace) = (interval.max(COLLECTION_INTERVAL_MIN), grace.max(GRACE_MIN));
    let mut pause = interval.min(FIRST_COLLECTION);
    loop {
        tokio::time::sleep(pause).await;
        pause = interval;
        let store = Arc::clone(&app.store);
        match app.workers.heavy(move || store.collect_garbage(grace)).await {
            Ok(collected) => tracing::info!(?collected, "garbage collected"),
            Err(error) => tracing::error!(%error, "garbage cannot be collected; tried again next time"),
        }
    }
}

/// An origin that serves.
struct Service {
    app: Arc<App>,
    router: Router,
    connections: JoinSet<()>,
}

impl Service {
    /// Takes connections. Those that `graceful` watches are waited for at the end.
    async fn run(
        &mut self,
        listeners: &[TcpListener],
        graceful: Option<&GracefulShutdown>,
    ) -> std::convert::Infallible {
        let url_lifetime = self.app.config.url_lifetime;
        let mut sweeps = interval(SWEEP_INTERVAL.min(url_lifetime).max(SWEEP_INTERVAL_MIN));
        let seats = Arc::clone(&self.app.connections);
        let mut waiting = VecDeque::new();
        loop {
            self.seat(&mut waiting, graceful);
            tokio::select! {
                biased;
                Some(ended) = self.connections.join_next() => report(ended),
                _ = sweeps.tick() => {
                    let app = Arc::clone(&self.app);
                    self.connections.spawn(async move {
                        let swept = Arc::clone(&app);
                        app.workers.disk(move || swept.staging.sweep(unix_now())).await;
                    });
                }
                () = seats.room(), if !waiting.is_empty() => {}
                () = tokio::time::sleep(SEAT_INTERVAL), if !waiting.is_empty() => {}
                accepted = accept(listeners), if waiting.len() < WAITING_MAX => match accepted {
                    Ok(connection) => waiting.push_back(connection),
                    Err(error) => {
                        tracing::debug!(%error, "cannot accept");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Gives seats to those who wait, one after the other. Who has to wait for others of the same address keeps nobody
    /// else waiting.
    fn seat(&mut self, waiting: &mut VecDeque<(TcpStream, SocketAddr)>, graceful: Option<&GracefulShutdown>) {
        let now = Instant::now();
        let (mut is_full, mut without_share) = (false, BTreeSet::new());
        for (stream, peer) in std::mem::take(waiting) {
            let address = Address::of(peer.ip());
            let taken = match () {
                () if is_full => Err(Full::All),
                () if without_share.contains(&address) => Err(Full::Share),
                () => self.app.connections.take(address, now),
            };
            match taken {
                Ok(seat) => self.connect(stream, peer, seat, graceful),
                Err(full) => {
                    waiting.push_back((stream, peer));
                    match full {
                        Full::All => is_full = true,
                        Full::Share => drop(without_share.insert(address)),
                    }
                }
            }
        }
    }

    fn connect(&mut self, stream: TcpStream, peer: SocketAddr, seat: Seat, graceful: Option<&GracefulShutdown>) {
        tracing::trace!(%peer, "connected");
        let flow = Flow::new(Arc::clone(&self.app), seat);
        let http = connection::http(stream, peer, self.router.clone(), Arc::clone(&flow));
        match graceful {
            Some(graceful) => self.connections.spawn(until_given_up(flow, peer, graceful.watch(http))),
            None => self.connections.spawn(until_given_up(flow, peer, http)),
        };
    }
}

async fn until_given_up(flow: Arc<Flow>, peer: SocketAddr, http: impl Future<Output = Result<(), hyper::Error>>) {
    tokio::select! {
        biased;
        () = flow.seat().given_up() => tracing::debug!(%peer, "an idle connection made room for another"),
        served = http => if let Err(error) = served {
            tracing::debug!(%peer, %error, "connection ended early");
        }
    }
}

/// The next connection on any of them. Each has its turn: the system wakes the task for one that was passed over.
async fn accept(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|cx| {
        for listener in listeners {
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

fn router(app: Arc<App>) -> Router {
    hub::routes()
        .merge(cas::routes())
        .merge(operation::routes())
        .method_not_allowed_fallback(|| async { Refusal::method_not_allowed() })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), front::front))
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
