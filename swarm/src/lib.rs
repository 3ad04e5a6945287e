#![doc = include_str!("../README.md")]

mod pull;
pub use pull::{Config, PullRequest, pull};

mod event;
pub use event::{Event, PeerLost, SourceBytes, Summary, WireBytes};

mod selection;

mod plan;

mod present;

mod ledger;

mod schedule;
pub use schedule::SourceMode;

mod token_bucket;

mod work;

mod reuse;

mod fetch;

mod verified;

mod sharing;
pub use sharing::{Explanation, Sharing, Step, explain};

mod library;

mod adopt;
pub use adopt::{AdoptEvent, AdoptRequest, Adopted, adopt};

mod peer;
pub use peer::{SeedConfig, SeedCounters, Seeder};

mod store;
pub use store::{Destination, Index};

mod error;
pub use error::{Error, ErrorKind};
