//! Hashing of files that are already there.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use xet_cas::GitBlobHasher;
use xet_cas::client::{Content, TreeFile};

use super::Identity;
use crate::Error;

/// Bytes read at once.
const READ_BYTES: usize = 1024 * 1024;

/// Computes the hash that names a file of this kind: SHA-256 of large files, git's SHA-1 of others.
#[derive(Debug)]
pub(crate) enum EtagHasher {
    Sha256(Sha256),
    Git(GitBlobHasher),
}

impl EtagHasher {
    pub(crate) fn new(file: &TreeFile) -> Self {
        match file.content {
            Content::Regular => Self::Git(GitBlobHasher::new(file.size)),
            _ => Self::Sha256(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(data),
            Self::Git(hasher) => hasher.update(data),
        }
    }

    /// Lowercase hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        match self {
            Self::Sha256(hasher) => hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Git(hasher) => hasher.finish(),
        }
    }
}

/// Hashes what lies at `path` as `file` is hashed. Returns the identity of what was hashed, or `None` in its
/// place if the file changed meanwhile.
pub(crate) fn hash_file(path: &Path, file: &TreeFile) -> Result<(String, Option<Identity>), Error> {
    let mut reader = File::open(path).map_err(Error::disk("open", path))?;
    let before = Identity::of_file(&reader).map_err(Error::disk("inspect", path))?;
    let mut hasher = EtagHasher::new(file);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match reader.read(&mut buffer).map_err(Error::disk("read", path))? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let after = Identity::of_file(&reader).map_err(Error::disk("inspect", path))?;
    Ok((hasher.finish(), (before == after).then_some(after)))
}
