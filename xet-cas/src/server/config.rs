//! How an origin behaves.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Access, RateLimits};

/// Settings of an [`Origin`](super::Origin). Start from [`Config::new`] and assign.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// Folder that holds everything; created if missing. One origin at a time.
    pub data: PathBuf,
    /// Who may do what. Default: everyone everything.
    pub access: Access,
    /// What clients take as `HF_ENDPOINT` if that is not where this origin listens: `https://hub.example`, which a
    /// proxy passes on from. Default: the `Host` of each request, with `http://`.
    pub public_url: Option<String>,
    /// How many requests are granted to whom. Default: no limits.
    pub rate_limits: RateLimits,
    /// Connections at once. Default 1,000; each may hold a file open too. When there are so many, the longest-idle one
    /// makes room for a newcomer.
    pub connections_max: usize,
    /// Connections at once from one IPv4 address or one IPv6 network of 64 bits. Default 750, so that nobody takes all;
    /// behind a proxy everybody comes from its address.
    pub connections_per_address_max: usize,
    /// Bytes of xorbs and regular files that may be kept; uploads beyond are refused. Default: as many as the disk takes.
    pub quota: Option<u64>,
    /// When what nothing refers to is removed.
    pub garbage: Garbage,
    /// Where to fetch repositories from that are not here. Default: nowhere.
    pub mirror: Option<Mirror>,
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
    /// A client that is waited for this long, and meanwhile neither sends 64 KiB of a body nor takes as much, is
    /// dropped. Default 60 s.
    pub stall: Duration,
    /// Where xorbs and regular files are kept instead of in the folder. The folder stays the place of everything else.
    #[cfg(feature = "s3")]
    pub bucket: Option<super::Bucket>,
    /// How long answers under way may take to finish at shutdown. Default 10 s.
    pub drain: Duration,
}

impl Config {
    /// The defaults, over this folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            access: Access::default(),
            public_url: None,
            rate_limits: RateLimits::default(),
            connections_max: 1_000,
            connections_per_address_max: 750,
            quota: None,
            garbage: Garbage::default(),
            mirror: None,
            no_data: false,
            limit_rate: None,
            tree_page_entries: 1_000,
            token_lifetime: Duration::from_secs(3_600),
            url_lifetime: Duration::from_secs(3_600),
            stall: Duration::from_secs(60),
            #[cfg(feature = "s3")]
            bucket: None,
            drain: Duration::from_secs(10),
        }
    }
}

/// When what nothing refers to is removed.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Garbage {
    /// How often it is looked for; `None`: never. Default 24 h.
    pub interval: Option<Duration>,
    /// How long what nothing refers to is kept after its last use: an upload is referred to at its end only, and a client
    /// that was told that something is here relies on that for a day. Default 48 h; at least 3 h while an origin runs.
    pub grace: Duration,
}

impl Default for Garbage {
    fn default() -> Self {
        Self { interval: Some(DAY), grace: 2 * DAY }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an answer of the Hub behind a mirror may take: those who wait for it do not wait much longer.
#[cfg(feature = "client")]
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// Another Hub, whose repositories are fetched on first use and kept.
#[derive(Clone)]
#[non_exhaustive]
pub struct Mirror {
    /// Base URL of the Hub.
    pub endpoint: String,
    /// What this origin shows there. Default: none. Repositories that are private or gated there are mirrored with a
    /// token only, and are private or gated here.
    pub token: Option<String>,
    /// How long a branch is taken to be where it was when last compared. Default 60 s.
    pub refresh: Duration,
    /// How the Hub is reached. Default: directly.
    #[cfg(feature = "client")]
    pub network: crate::client::Network,
    /// How long the Hub may take. Default: as for every client, but an answer within 20 s, because others wait for it
    /// here.
    #[cfg(feature = "client")]
    pub deadlines: crate::client::Deadlines,
}

impl Mirror {
    /// The Hub at this URL, without a token.
    pub fn of(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            token: None,
            refresh: Duration::from_secs(60),
            #[cfg(feature = "client")]
            network: crate::client::Network::default(),
            #[cfg(feature = "client")]
            deadlines: {
                let deadlines = crate::client::Deadlines::default();
                crate::client::Deadlines { answer: deadlines.answer.min(ANSWER_DEADLINE), ..deadlines }
            },
        }
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "redacted");
        f.debug_struct("Mirror").field("endpoint", &self.endpoint).field("token", &token).finish_non_exhaustive()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("data", &self.data)
            .field("access", &self.access)
            .field("public_url", &self.public_url)
            .field("mirror", &self.mirror)
            .field("no_data", &self.no_data)
            .field("limit_rate", &self.limit_rate)
            .finish_non_exhaustive()
    }
}
