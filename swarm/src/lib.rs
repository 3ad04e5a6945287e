#![doc = include_str!("../README.md")]

mod pull;
pub use pull::{Config, PullRequest, pull};

mod event;
pub use event::{Event, SourceBytes, Summary, WireBytes};

mod selection;

mod plan;

mod fetch;

mod verified;

mod store;
pub use store::{Destination, Index};

mod error;
pub use error::{Error, ErrorKind};
