//! What every request has at hand.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;

use super::access::Guard;
use super::buffers::Buffers;
use super::connections::Connections;
use super::ingest::Ingests;
use super::keys::Keys;
use super::limits::Limiter;
use super::metrics::Metrics;
use super::mirror::Mirror;
use super::proofs::Proofs;
use super::refusal::Refusal;
use super::staging::Staging;
use super::store::{Store, StoreError};
use super::traffic::Traffic;
use super::workers::Workers;
use super::{Config, Error, request};

/// The origin behind the router.
pub(super) struct App {
    pub(super) config: Config,
    pub(super) guard: Guard,
    pub(super) store: Arc<Store>,
    pub(super) keys: Keys,
    pub(super) proofs: Proofs,
    pub(super) staging: Staging,
    pub(super) workers: Workers,
    pub(super) ingests: Ingests,
    pub(super) mirror: Mirror,
    pub(super) traffic: Traffic,
    pub(super) buffers: Buffers,
    pub(super) connections: Arc<Connections>,
    pub(super) metrics: Metrics,
    pub(super) api_limit: Option<Limiter>,
    pub(super) resolve_limit: Option<Limiter>,
    /// [`Config::public_url`], checked.
    public_url: Option<String>,
    is_stopping: AtomicBool,
}

impl App {
    pub(super) fn new(config: Config, public_url: Option<String>, store: Store) -> Result<Self, Error> {
        let limiter = |resource, limit: Option<_>| limit.map(|limit| Limiter::new(resource, limit));
        let unusable =
            |error: StoreError| Error::Data { path: config.data.clone(), source: io::Error::other(error.to_string()) };
        let keys = Keys::new(store.signing_key().map_err(unusable)?);
        let (store, workers) = (Arc::new(store), Workers::new());
        let mirror = Mirror::new(&config, &store, &workers)?;
        Ok(Self {
            guard: Guard::new(&config.access),
            keys,
            store,
            proofs: Proofs::default(),
            staging: Staging::default(),
            workers,
            mirror,
            ingests: Ingests::new(),
            traffic: Traffic::new(config.limit_rate),
            buffers: Buffers::default(),
            connections: Connections::new(config.connections_max, config.connections_per_address_max),
            metrics: Metrics::default(),
            api_limit: limiter("api", config.rate_limits.api),
            resolve_limit: limiter("resolvers", config.rate_limits.resolve),
            public_url,
            is_stopping: AtomicBool::new(false),
            config,
        })
    }

    /// Whether it matters who has which file: nothing is private or gated where nobody can be told from anybody else, and
    /// nothing comes from where a token was shown.
    pub(super) fn keeps_secrets(&self) -> bool {
        let mirrors_secrets = self.config.mirror.as_ref().is_some_and(|mirror| mirror.token.is_some());
        !self.guard.knows_nobody() || mirrors_secrets
    }

    /// What URLs in the answer to this request begin with.
    pub(super) fn base_url(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        self.public_url.clone().map_or_else(|| request::host_url(headers), Ok)
    }

    pub(super) fn public_url(&self) -> Option<&str> {
        self.public_url.as_deref()
    }

    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }
}

/// The wall clock, seconds since 1970: tokens and URLs say when they end.
#[expect(clippy::disallowed_methods, reason = "the server is the shell: expiry dates are wall-clock times")]
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
