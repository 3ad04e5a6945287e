//! The layout of the Hugging Face cache, as path arithmetic, and the JSON of its tree listings.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xet_cas::FileHash;
use xet_cas::client::{Commit, Content, TreeFile};

use super::staging::write_atomically;
use crate::Error;

/// Longest listing that is read: some 300,000 files.
const LISTING_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Marks a folder as a cache, so that backup tools pass over it.
pub(super) const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This file is a cache directory tag created by huggingface_hub.\n\
    # For information about cache directory tags, see:\n\
    #\thttps://bford.info/cachedir/\n";

/// Folder of locks in the cache, beside the repositories.
pub(super) const LOCKS: &str = ".locks";

/// Folder of a repository in the cache: `models--org--name`.
pub(super) fn repo_folder(cache: &Path, commit: &Commit) -> PathBuf {
    cache.join(format!("{}--{}", commit.repo_type.plural(), commit.repo.as_str().replace('/', "--")))
}

/// From `snapshots/<sha>/<path>` to `blobs/<etag>`, relative.
pub(super) fn blob_link(path: &str, etag: &str) -> PathBuf {
    let ups = 2 + path.matches('/').count();
    let mut link: PathBuf = std::iter::repeat_n("..", ups).collect();
    link.push("blobs");
    link.push(etag);
    link
}

/// `trees/<sha>.json`: all files of a commit, by which a reader without network tells whether a snapshot
/// is complete.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TreeJson {
    format_version: u32,
    files: BTreeMap<String, TreeFileJson>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TreeFileJson {
    size: u64,
    blob_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lfs_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lfs_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xet_hash: Option<String>,
}

impl TreeJson {
    /// The listing that a tool has left, if there is one that can be read.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        if std::fs::metadata(path).ok()?.len() > LISTING_BYTES_MAX {
            return None;
        }
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// The files that are in the CAS, and their names there.
    pub(crate) fn xet_hashes(&self) -> HashMap<String, FileHash> {
        let hash = |file: &TreeFileJson| file.xet_hash.as_ref()?.parse().ok();
        self.files.iter().filter_map(|(path, file)| Some((path.clone(), hash(file)?))).collect()
    }

    pub(super) fn new(files: &[TreeFile]) -> Self {
        let json = |file: &TreeFile| {
            let (lfs_sha256, xet_hash) = match &file.content {
                Content::Lfs { sha256 } => (Some(sha256.clone()), None),
                Content::Xet { sha256, hash } => (Some(sha256.clone()), Some(hash.to_string())),
                _ => (None, None),
            };
            let lfs_size = lfs_sha256.is_some().then_some(file.size);
            TreeFileJson { size: file.size, blob_id: file.blob_id.clone(), lfs_sha256, lfs_size, xet_hash }
        };
        Self { format_version: 1, files: files.iter().map(|file| (file.path.clone(), json(file))).collect() }
    }

    /// Writes it, unless what is there says the same: other tools space it in other ways, and the disk may not be
    /// writable.
    pub(super) fn write(&self, staging: &Path, trees: &Path, sha: &str) -> Result<(), Error> {
        let path = trees.join(format!("{sha}.json"));
        if Self::read(&path).as_ref() == Some(self) {
            return Ok(());
        }
        write_atomically(staging, &path, &serde_json::to_vec(self).map_err(Error::internal)?)
    }
}

#[cfg(test)]
mod tests {
    use xet_cas::client::{Content, TreeFile};

    use super::{TreeJson, blob_link};

    #[test]
    fn given_a_listing_as_the_stock_client_spaces_it_when_written_then_it_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let stock =
            "{\n \"format_version\": 1,\n \"files\": {\n  \"a\": {\n   \"size\": 3,\n   \"blob_id\": \"e\"\n  }\n }\n}";
        let path = folder.path().join("c0.json");
        std::fs::write(&path, stock).unwrap();
        let write = |size| {
            let file = TreeFile { path: "a".into(), size, blob_id: "e".into(), content: Content::Regular };
            TreeJson::new(&[file]).write(folder.path(), folder.path(), "c0").unwrap();
            std::fs::read_to_string(&path).unwrap()
        };

        assert_eq!(stock, write(3));
        assert_ne!(stock, write(4));
    }

    #[test]
    fn given_a_nested_path_when_linked_then_one_level_up_for_each_folder() {
        assert_eq!("../../blobs/e", blob_link("a", "e").to_str().unwrap());
        assert_eq!("../../../../blobs/e", blob_link("x/y/a", "e").to_str().unwrap());
    }
}
