//! Work on an origin's data while no origin runs on it.

use super::store::Store;
use super::{CheckOptions, CheckReport, Collected, Config, Error};
use std::time::Duration;

/// An origin's data, held so that no origin can use it meanwhile. Everything here blocks.
pub struct Upkeep {
    store: Store,
    config: Config,
}

impl Upkeep {
    /// Opens the data of an origin with these settings.
    ///
    /// # Errors
    /// As [`Origin::bind`](super::Origin::bind), but for addresses.
    pub fn open(config: Config) -> Result<Self, Error> {
        Ok(Self { store: Store::open(&config)?, config })
    }

    /// Looks whether everything that is named is there, and everything that is there is named.
    ///
    /// # Errors
    /// If the data cannot be read. What is wrong with it is in the report.
    pub fn check(&self, options: CheckOptions) -> Result<CheckReport, Error> {
        self.store.check(options).map_err(|error| self.failed(&error))
    }

    /// Removes what no ref of any repository leads to and nobody has had a use for within `grace`.
    ///
    /// # Errors
    /// If the data cannot be read or written. What was removed before that is complete.
    pub fn collect_garbage(&self, grace: Duration) -> Result<Collected, Error> {
        self.store.collect_garbage(grace).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Data { path: self.config.data.clone(), source: std::io::Error::other(error.to_string()) }
    }
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upkeep").field("data", &self.config.data).finish_non_exhaustive()
    }
}
