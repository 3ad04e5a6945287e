//! What every request has at hand.

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::ingest::Ingests;
use super::keys::Keys;
use super::mirror::Mirror;
use super::staging::Staging;
use super::store::{Store, StoreError};
use super::traffic::Traffic;
use super::workers::Workers;
use super::{Config, Error};

/// The origin behind the router.
pub(super) struct App {
    pub(super) config: Config,
    pub(super) store: Arc<Store>,
    pub(super) keys: Keys,
    pub(super) staging: Staging,
    pub(super) workers: Workers,
    pub(super) ingests: Ingests,
    pub(super) mirror: Mirror,
    pub(super) traffic: Traffic,
}

impl App {
    pub(super) fn new(config: Config, store: Store) -> Result<Self, Error> {
        let unusable =
            |error: StoreError| Error::Data { path: config.data.clone(), source: io::Error::other(error.to_string()) };
        let keys = Keys::new(store.signing_key().map_err(unusable)?);
        let (store, workers) = (Arc::new(store), Workers::new());
        let mirror = Mirror::new(&config, &store, &workers)?;
        Ok(Self {
            keys,
            store,
            staging: Staging::default(),
            workers,
            mirror,
            ingests: Ingests::new(),
            traffic: Traffic::new(config.limit_rate),
            config,
        })
    }
}

/// The wall clock, seconds since 1970: tokens and URLs say when they end.
#[expect(clippy::disallowed_methods, reason = "the server is the shell: expiry dates are wall-clock times")]
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
