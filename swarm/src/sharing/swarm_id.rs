//! Names of swarms: info hashes that everybody who knows a repository's name can compute.

use bt_wire::InfoHash;
use sha1::{Digest as _, Sha1};
use xet_cas::XorbHash;

/// Label of repository swarms; the number is that of the scheme.
const REPO_LABEL: &str = "zest-xet-repo-v2:";
/// Label of xorb swarms: those of peers of the legacy dialects.
const XORB_LABEL: &str = "zest-xet-v1:";

/// The swarm of a repository, whatever its commits: weights outlive commits.
/// SHA-1 of the label and `{authority}/{type}/{name}`.
pub(crate) fn repo_swarm(endpoint: &str, repo_type: &str, repo: &str) -> InfoHash {
    let authority = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest).trim_end_matches('/');
    let name = format!("{REPO_LABEL}{}/{repo_type}/{repo}", authority.to_ascii_lowercase());
    InfoHash::from_bytes(Sha1::digest(name.as_bytes()).into())
}

/// The swarm of a xorb, under which peers of the legacy dialects connect. SHA-1 of the label and the 32 raw bytes.
pub(crate) fn xorb_swarm(xorb: XorbHash) -> InfoHash {
    InfoHash::from_bytes(Sha1::new().chain_update(XORB_LABEL).chain_update(xorb.as_bytes()).finalize().into())
}
