//! Git's name for a file, which is the Hub's ETag of regular files.

use sha1::{Digest, Sha1};

/// Computes the SHA-1 of a git blob: of `blob <length>\0` and the bytes.
#[derive(Debug, Clone)]
pub struct GitBlobHasher(Sha1);

impl GitBlobHasher {
    /// Starts a blob of `length` bytes.
    pub fn new(length: u64) -> Self {
        Self(Sha1::new_with_prefix(format!("blob {length}\0")))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The SHA-1 as 40 lowercase hexadecimal digits.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The name of a blob that is in memory.
    pub fn of(data: &[u8]) -> String {
        let mut hasher = Self::new(data.len() as u64);
        hasher.update(data);
        hasher.finish()
    }
}
