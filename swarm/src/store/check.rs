//! Hashing of files that are already there.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use xet_cas::client::{Content, TreeFile};
use xet_cas::{CHUNK_BYTES_MAX, Chunker, GitBlobHasher, Leaf};

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

/// Cuts a file into chunks and hashes them. Returns the identity of what was hashed, or `None` in its place if the file
/// changed meanwhile.
pub(crate) fn hash_chunks(path: &Path) -> Result<(Vec<Leaf>, Option<Identity>), Error> {
    let mut reader = File::open(path).map_err(Error::disk("open", path))?;
    let before = Identity::of_file(&reader).map_err(Error::disk("inspect", path))?;
    let (mut leaves, mut chunker) = (Vec::new(), Chunker::new());
    // A chunk that is not ended yet stays at the front.
    let (mut buffer, mut filled) = (vec![0; READ_BYTES + CHUNK_BYTES_MAX], 0);
    loop {
        let seen = filled;
        let read = reader.read(&mut buffer[filled..]).map_err(Error::disk("read", path))?;
        if read == 0 {
            break;
        }
        filled += read;
        let (mut start, mut at) = (0, seen);
        while let Some(boundary) = chunker.next_boundary(&buffer[at..filled]) {
            at += boundary;
            leaves.push(Leaf::of(&buffer[start..at]));
            start = at;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
    if filled > 0 {
        leaves.push(Leaf::of(&buffer[..filled]));
    }
    let after = Identity::of_file(&reader).map_err(Error::disk("inspect", path))?;
    Ok((leaves, (before == after).then_some(after)))
}

#[cfg(test)]
mod tests {
    use xet_cas::{Leaf, chunks};

    use super::{READ_BYTES, hash_chunks};

    #[test]
    fn given_files_of_many_lengths_when_hashed_then_the_chunks_are_those_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let noise: Vec<u8> = (0..1_000_000_u32).flat_map(|at| at.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
        for length in [0, 1, 100_000, READ_BYTES - 1, READ_BYTES, READ_BYTES + 131_072, 3_999_999] {
            std::fs::write(&path, &noise[..length]).unwrap();

            let (leaves, identity) = hash_chunks(&path).unwrap();

            assert_eq!(chunks(&noise[..length]).map(Leaf::of).collect::<Vec<_>>(), leaves, "{length} bytes");
            assert_eq!(length as u64, identity.unwrap().size);
        }
    }
}
