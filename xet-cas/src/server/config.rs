//! How an origin behaves.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of an [`Origin`](super::Origin). Start from [`Config::new`] and assign.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// Folder that holds everything; created if missing. One origin at a time.
    pub data: PathBuf,
    /// When set, every call of the Hub needs `Authorization: Bearer` it. Default: none, open to whoever
    /// reaches the address.
    pub token: Option<String>,
    /// Answers 503 for file data. Metadata and regular files (those in commits) stay. Default: false.
    pub no_data: bool,
    /// File data sent per second, bytes, over all connections. Default: no limit.
    pub limit_rate: Option<u64>,
    /// Entries on one page of a listing. Default 1,000, as on the Hub.
    pub tree_page_entries: usize,
    /// How long a CAS token is good for. Default 1 h; clients renew it about 30 s before the end.
    pub token_lifetime: Duration,
    /// How long a URL for data or for an upload is good. Default 1 h; clients ask for new ones on 403. An upload
    /// that has not been asked for by then is given up.
    pub url_lifetime: Duration,
    /// A client that for this long neither sends a byte of a body nor takes one is dropped. Default 60 s.
    pub stall: Duration,
    /// Bytes of xorbs and regular files that may be kept; uploads beyond are refused. Default: as many as the disk takes.
    pub quota: Option<u64>,
    /// How long answers under way may take to finish at shutdown. Default 10 s.
    pub drain: Duration,
}

impl Config {
    /// The defaults, over this folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            token: None,
            no_data: false,
            limit_rate: None,
            tree_page_entries: 1_000,
            token_lifetime: Duration::from_secs(3_600),
            url_lifetime: Duration::from_secs(3_600),
            stall: Duration::from_secs(60),
            quota: None,
            drain: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("data", &self.data)
            .field("token", &self.token.as_ref().map(|_| "redacted"))
            .field("no_data", &self.no_data)
            .field("limit_rate", &self.limit_rate)
            .finish_non_exhaustive()
    }
}
