//! Peers: connections that carry `ut_xet`, to fetch from and to serve.

mod link;
use link::Link;

mod leech;
pub(crate) use leech::{Leech, Undecided, leech};

mod seed;
use seed::seed;

mod seeder;
pub use seeder::{SeedConfig, SeedCounters, Seeder};

mod error;
pub(crate) use error::PeerError;
