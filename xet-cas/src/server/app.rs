//! What every request has at hand.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Config;
use super::ingest::Ingests;
use super::keys::Keys;
use super::staging::Staging;
use super::store::Store;
use super::traffic::Traffic;
use super::workers::Workers;

/// The origin behind the router.
pub(super) struct App {
    pub(super) config: Config,
    pub(super) store: Arc<Store>,
    pub(super) keys: Keys,
    pub(super) staging: Staging,
    pub(super) workers: Workers,
    pub(super) ingests: Ingests,
    pub(super) traffic: Traffic,
}

impl App {
    pub(super) fn new(config: Config, store: Store) -> Self {
        Self {
            store: Arc::new(store),
            keys: Keys::random(),
            staging: Staging::default(),
            workers: Workers::new(),
            ingests: Ingests::new(),
            traffic: Traffic::new(config.limit_rate),
            config,
        }
    }
}

/// The wall clock, seconds since 1970: tokens and URLs say when they end.
#[expect(clippy::disallowed_methods, reason = "the server is the shell: expiry dates are wall-clock times")]
pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
