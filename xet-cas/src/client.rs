//! Client for the Hub and the CAS: from a repository's name to the bytes of its files, and back up.
//!
//! Everything waits under the [`Deadlines`] of the configuration and is retried under its
//! [`RetryPolicy`]. The Hub token goes to the endpoint's origin alone and the CAS token to the CAS's;
//! neither follows a redirect elsewhere. Nothing here reads the environment but [`Environment::read`].

mod config;
pub use config::{Config, Deadlines, Environment, RetryNotice, RetryObserver, RetryPolicy};

mod secret;
pub use secret::Secret;

mod network;
pub use network::{Network, Proxies};

mod tls;
pub use tls::CaCertificates;

mod http;
#[cfg(feature = "s3")]
pub(crate) use http::client_builder;

mod payload;

mod retry;

mod blocking;

mod hub;
pub use hub::{Commit, Content, Hub, TreeFile};

mod listing;

mod history;
pub use history::{Gated, HistoryEntry, Ref, RepoState};

mod body;
pub use body::Body;

mod ranges_body;
pub use ranges_body::RangesBody;

mod cas;
pub use cas::Cas;

mod patterns;
pub use patterns::Patterns;

mod read;
#[cfg(feature = "server")]
pub(crate) use read::Pieces;
pub use read::{FileReader, ReadEvent, ReadObserver, ReadOptions};

mod publish;
pub use publish::{PublishOptions, PublishProgress, Published, Way};

mod error;
pub use error::{Error, ErrorKind};
