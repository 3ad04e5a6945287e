//! What is said of a repository, in listings and when it is asked for by name.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::RepoType;
use crate::api::utc;
use crate::server::store::{Commit, Content, Entry, Gated, RepoKey, RepoRecord};

/// A repository as it is to be described.
pub(super) struct Described<'a> {
    pub(super) repo: &'a RepoKey,
    pub(super) record: &'a RepoRecord,
    /// When what is told of was last changed, seconds since 1970.
    pub(super) modified: u64,
    /// The commit in question.
    pub(super) sha: &'a str,
    /// Its files, if they are to be told.
    pub(super) commit: Option<&'a Commit>,
    /// Whether sizes and names of the files are to be told too.
    pub(super) has_blobs: bool,
}

impl Described<'_> {
    /// All that is known, or if something is chosen, that alone. What counts likes, runs spaces or reads cards is not
    /// here.
    pub(super) fn json(&self, chosen: &[&str]) -> Value {
        let Self { repo, record, modified, sha, .. } = self;
        let id = repo.id.as_str();
        let mut told = Map::new();
        let mut tell = |name: &str, value: Value| {
            if chosen.is_empty() || chosen.contains(&name) {
                told.insert(name.to_owned(), value);
            }
        };
        if let Some(owner) = repo.id.owner() {
            tell("author", json!(owner));
        }
        tell("sha", json!(sha));
        tell("lastModified", json!(utc(*modified)));
        tell("createdAt", json!(utc(record.created)));
        tell("private", json!(record.private));
        tell("gated", gated(record.gated));
        tell("disabled", json!(false));
        tell("likes", json!(0));
        tell("tags", json!([]));
        match repo.kind {
            RepoType::Model => {
                tell("modelId", json!(id));
                tell("downloads", json!(0));
            }
            RepoType::Dataset => tell("downloads", json!(0)),
            RepoType::Space => {}
        }
        if let Some(commit) = self.commit {
            tell("siblings", commit.files.iter().map(|(path, entry)| sibling(path, entry, self.has_blobs)).collect());
            tell("usedStorage", json!(used_storage(commit)));
        }
        told.insert("id".into(), json!(id));
        told.insert("_id".into(), json!(id));
        told.into()
    }
}

fn gated(gated: Gated) -> Value {
    match gated {
        Gated::No => json!(false),
        Gated::Auto => json!("auto"),
        Gated::Manual => json!("manual"),
    }
}

fn sibling(path: &str, entry: &Entry, has_blobs: bool) -> Value {
    let mut told = json!({ "rfilename": path });
    if has_blobs {
        told["size"] = json!(entry.size);
        told["blobId"] = json!(entry.oid);
        if let Content::Xet { sha256, .. } | Content::Lfs { sha256 } = &entry.content {
            let pointer_size = entry.pointer_bytes();
            told["lfs"] = json!({ "sha256": sha256, "size": entry.size, "pointerSize": pointer_size });
        }
    }
    told
}

/// Bytes of the files of a commit, each once.
fn used_storage(commit: &Commit) -> u64 {
    let sizes: BTreeMap<&str, u64> = commit.files.values().map(|entry| (entry.oid.as_str(), entry.size)).collect();
    sizes.values().fold(0, |sum, size| sum.saturating_add(*size))
}
