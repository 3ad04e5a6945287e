//! What client and server say to each other: the JSON of the Hub and CAS APIs, and names in URLs.

mod repo;
pub use repo::{RepoId, RepoType};
pub(crate) use repo::{encode_path, encode_segment};

mod path;
pub(crate) use path::{check_path, shown};

mod date;
pub(crate) use date::unix_seconds;
#[cfg(feature = "server")]
pub(crate) use date::utc;

mod git;
pub use git::GitBlobHasher;

mod subtree;

mod cas;
pub(crate) use cas::*;

mod hub;
pub(crate) use hub::*;
