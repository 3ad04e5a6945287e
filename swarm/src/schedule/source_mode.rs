//! Which sources a pull uses.

use std::fmt;
use std::str::FromStr;

/// Which sources file data comes from, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SourceMode {
    /// Whoever is fastest, and the Hub less where peers make up for it.
    #[default]
    Auto,
    /// The Hub for what no peer has, and when peers bring nothing for some seconds.
    PeersFirst,
    /// Peers alone, for what they can be asked for.
    PeersOnly,
    /// The Hub alone.
    CdnOnly,
}

const NAMES: [(SourceMode, &str); 4] = [
    (SourceMode::Auto, "auto"),
    (SourceMode::PeersFirst, "peers-first"),
    (SourceMode::PeersOnly, "peers-only"),
    (SourceMode::CdnOnly, "cdn-only"),
];

impl fmt::Display for SourceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(mode, _)| mode == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for SourceMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(_, name)| *name == text).map(|(mode, _)| *mode);
        found.ok_or_else(|| format!("one of {}", NAMES.map(|(_, name)| name).join(", ")))
    }
}
