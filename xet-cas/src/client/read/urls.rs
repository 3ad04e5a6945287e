//! Signed URLs expire: one new answer serves all entries of a read.

use std::collections::HashMap;

use tokio::sync::Mutex;

use crate::client::{Cas, Error};
use crate::{ByteRange, FetchEntry, FileHash};

/// The newest URLs of the entries of a range of a file.
pub(super) struct Urls {
    pub(super) cas: Cas,
    hash: FileHash,
    asked: ByteRange,
    newest: Mutex<Newest>,
}

#[derive(Default)]
struct Newest {
    generation: u32,
    entries: Vec<FetchEntry>,
}

impl Urls {
    pub(super) fn new(cas: Cas, hash: FileHash, asked: ByteRange) -> Self {
        Self { cas, hash, asked, newest: Mutex::default() }
    }

    /// Gives these entries URLs that are newer than those of `generation`, the first being 0. Of many that need them the
    /// first asks.
    pub(super) async fn renew(&self, entries: &mut [FetchEntry], generation: &mut u32) -> Result<(), Error> {
        let mut newest = self.newest.lock().await;
        if newest.generation == *generation {
            newest.entries = self.cas.reconstruct_range(self.hash, self.asked).await?.entries;
            newest.generation += 1;
        }
        let key = |entry: &FetchEntry| (entry.xorb, entry.chunks, entry.bytes);
        let urls: HashMap<_, _> = newest.entries.iter().map(|entry| (key(entry), &entry.url)).collect();
        for entry in entries {
            let url = urls.get(&key(entry)).ok_or_else(|| Error::Malformed {
                what: format!("new URLs for {}", self.hash),
                reason: "the file is split in another way than before".to_owned(),
            })?;
            entry.url.clone_from(url);
        }
        *generation = newest.generation;
        Ok(())
    }
}
