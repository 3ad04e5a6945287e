//! Peers: connections that carry `ut_xet`, to fetch from and to serve.

mod link;
use link::Link;

mod frames;

mod session;

mod leeching;

mod leech;
pub(crate) use leech::{Collecting, Leech, leech};

mod seeding;

mod packing;

mod uploads;

mod slots;

mod seed;
use seed::seed;

mod seeder;
pub use seeder::{SeedConfig, SeedCounters, Seeder};

mod error;
pub(crate) use error::PeerError;

#[cfg(test)]
mod tests;
