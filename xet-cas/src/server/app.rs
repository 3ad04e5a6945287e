//! What every request has at hand.

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::buffers::Buffers;
use super::keys::Keys;
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
    pub(super) traffic: Traffic,
    pub(super) buffers: Buffers,
}

impl App {
    pub(super) fn new(config: Config, store: Store) -> Result<Self, Error> {
        let unusable =
            |error: StoreError| Error::Data { path: config.data.clone(), source: io::Error::other(error.to_string()) };
        Ok(Self {
            keys: Keys::new(store.signing_key().map_err(unusable)?),
            store: Arc::new(store),
            staging: Staging::default(),
            workers: Workers::new(),
            traffic: Traffic::new(config.limit_rate),
            buffers: Buffers::default(),
            config,
        })
    }
}

/// The wall clock, seconds since 1970: tokens and URLs say when they end.
#[expect(clippy::disallowed_methods, reason = "the server is the shell: expiry dates are wall-clock times")]
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
