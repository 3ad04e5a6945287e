//! The leaf list of every file in the CAS that was verified: one file each, written once.
//!
//! They need no protection against damage: a list reduces to the name of its file or it does not.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use xet_cas::{FileHash, Leaf};

use super::staging::write_pieces;
use crate::Error;

/// Leaves that are written or read in one go, so that a list is not in memory twice: 36 KiB.
const LEAVES_AT_ONCE: usize = 1024;

/// The lists of one user, `leaves/<2 hex>/<file hash>` under `ZEST_HOME`.
#[derive(Debug, Clone)]
pub(super) struct LeafLists {
    folder: PathBuf,
}

impl LeafLists {
    pub(super) fn new(home: &Path) -> Self {
        Self { folder: home.join("leaves") }
    }

    /// Keeps the list of a file.
    pub(super) fn store(&self, hash: FileHash, leaves: &[Leaf]) -> Result<(), Error> {
        let path = self.path(hash);
        let length = leaves.len() * Leaf::ENCODED_BYTES;
        if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == length as u64) {
            return Ok(());
        }
        write_pieces(
            &self.folder,
            &path,
            leaves.chunks(LEAVES_AT_ONCE).map(|leaves| leaves.iter().flat_map(Leaf::encode).collect::<Vec<u8>>()),
        )
    }

    /// The list of a file, if it is there and reduces to the file's name.
    pub(super) fn load(&self, hash: FileHash) -> Option<Vec<Leaf>> {
        let mut file = File::open(self.path(hash)).ok()?;
        let count = usize::try_from(file.metadata().ok()?.len()).ok()? / Leaf::ENCODED_BYTES;
        let (mut leaves, mut piece) = (Vec::with_capacity(count), Vec::new());
        loop {
            piece.clear();
            let read = (&mut file).take((LEAVES_AT_ONCE * Leaf::ENCODED_BYTES) as u64).read_to_end(&mut piece).ok()?;
            if read == 0 {
                break;
            }
            let (encoded, rest) = piece.as_chunks::<{ Leaf::ENCODED_BYTES }>();
            if !rest.is_empty() {
                return None;
            }
            leaves.extend(encoded.iter().map(Leaf::decode));
        }
        (Leaf::file_hash(&leaves) == hash).then_some(leaves)
    }

    /// Whether there is a list of a file.
    pub(super) fn has(&self, hash: FileHash) -> bool {
        self.path(hash).exists()
    }

    /// Forgets the list of a file. That there is none is no error.
    pub(super) fn remove(&self, hash: FileHash) -> Result<(), Error> {
        let path = self.path(hash);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::disk("remove", path)(error)),
            _ => Ok(()),
        }
    }

    /// The files that there are lists of, in no particular order.
    pub(super) fn files(&self) -> impl Iterator<Item = FileHash> {
        let folders = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
        names.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    fn path(&self, hash: FileHash) -> PathBuf {
        let name = hash.to_string();
        self.folder.join(&name[..2]).join(&name)
    }
}
