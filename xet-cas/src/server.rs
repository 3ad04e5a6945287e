//! An origin: a Hugging Face Hub and CAS over a directory. Stock `huggingface_hub` and `hf-xet` download
//! from it and upload to it.
//!
//! ```no_run
//! # async fn example() -> Result<(), xet_cas::server::Error> {
//! use xet_cas::server::{Config, Origin};
//!
//! let origin = Origin::bind(Config::new("/srv/origin"), "127.0.0.1:8080".parse().expect("an address")).await?;
//! println!("export HF_ENDPOINT={}", origin.url());
//! let sent = origin.counters();
//! origin.serve(std::future::pending()).await?;
//! println!("{} bytes of file data sent", sent.data_bytes_sent());
//! # Ok(())
//! # }
//! ```
//!
//! # Trust
//! Nothing is stored before it was checked: every hash of a xorb and of a shard is recomputed, every name
//! from outside goes through one parser. Unless [`Config::access`] says otherwise, whoever reaches the address may
//! read and write everything. TLS is the business of a proxy in front.

mod config;
pub use config::{Config, Garbage, Mirror};

mod access;
pub use access::{Access, Anonymous, Permission, Token, TokenError, User};

mod limits;
pub use limits::{RateLimit, RateLimits};

#[cfg(feature = "s3")]
mod bucket;
#[cfg(feature = "s3")]
pub use bucket::Bucket;

mod origin;
pub use origin::Origin;

#[cfg(feature = "client")]
mod import;
#[cfg(feature = "client")]
pub use import::{ImportError, ImportEvent, ImportOptions, Imported, import};

mod traffic;
pub use traffic::Counters;

mod error;
pub use error::Error;

// What every request meets, from the socket inwards.
mod address;
mod admission;
mod app;
mod connection;
mod connections;
mod front;
mod linger;
mod metrics;
mod refusal;
mod workers;

// What is common to routes.
mod arriving;
mod bodies;
mod buffers;
mod delivery;
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "nothing arrives from another Hub"))]
mod follow;
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "nothing arrives from another Hub"))]
mod ingest;
mod keys;
mod proofs;
mod range;
mod request;
mod staging;

// Routes.
mod cas;
mod hub;
mod operation;

// What is elsewhere.
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "there is nothing that could be asked"))]
mod mirror;
#[cfg(feature = "client")]
mod upstream;

// What is on disk.
mod plain;
mod store;
pub use store::{CheckOptions, CheckReport, Collected};

mod upkeep;
pub use upkeep::Upkeep;
