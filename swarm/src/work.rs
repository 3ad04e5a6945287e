//! Files that are being fetched, as every source sees them.

mod board;
#[cfg(test)]
mod desk;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xet_cas::client::{self, Cas};
use xet_cas::proof::Outline;
use xet_cas::{ByteRange, FileHash, Reconstruction, XorbHash};

pub(crate) use self::board::{Board, PeerSeat};
#[cfg(test)]
pub(crate) use self::desk::Desk;
use crate::Error;
use crate::ledger::{Ledger, Recurrence, Reserved, Source};
use crate::plan::{EntryPlan, FilePlan, TermRun};
use crate::present::Present;
use crate::store::Partial;
use crate::verified::HashedChunk;

/// A file that is put together from chunks.
#[derive(Debug)]
pub(crate) struct FileWork {
    /// Within the pull.
    pub(crate) number: usize,
    pub(crate) hash: FileHash,
    pub(crate) bytes: u64,
    pub(crate) cas: Cas,
    pub(crate) partial: Partial,
    pub(crate) outline: Outline,
    pub(crate) xorb_candidates: Vec<(XorbHash, ByteRange)>,
    /// What the CAS says that it is made of.
    pub(crate) runs: Arc<[TermRun]>,
    /// The CAS gives entries of parts of it, as far as is known.
    pub(crate) gives_parts: AtomicBool,
    /// It was proved public, so peers may be asked for it.
    pub(crate) is_shareable: bool,
    ledger: Mutex<Ledger>,
    /// The newest answer of the CAS to each question, and how many there were: signed URLs expire, and one new
    /// answer serves all entries that it describes.
    renewals: tokio::sync::Mutex<HashMap<ByteRange, Renewal>>,
}

#[derive(Debug, Default)]
struct Renewal {
    generation: u32,
    newest: Reconstruction,
}

impl FileWork {
    /// Of a file that is `present` as far as it goes, and otherwise is to be fetched as planned.
    pub(crate) fn new(
        number: usize,
        hash: FileHash,
        cas: Cas,
        partial: Partial,
        plan: &FilePlan,
        bytes: u64,
        present: &Present,
    ) -> Self {
        Self {
            number,
            hash,
            bytes,
            cas,
            partial,
            outline: plan.outline.clone(),
            xorb_candidates: plan.xorb_candidates.clone(),
            runs: plan.runs.clone(),
            gives_parts: AtomicBool::new(plan.gives_parts),
            is_shareable: false,
            ledger: Mutex::new(Ledger::new(plan, bytes, present)),
            renewals: tokio::sync::Mutex::default(),
        }
    }

    /// The ledger. Held for moments only, never across a wait or a write.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings an entry's URL up to date if others have got a newer one, or if it was refused and nobody has.
    /// Returns the generation of the URL.
    pub(crate) async fn renew_url(&self, plan: &mut EntryPlan, generation: u32, refused: bool) -> Result<u32, Error> {
        let mut renewals = self.renewals.lock().await;
        let renewal = renewals.entry(plan.asked).or_default();
        if renewal.generation == generation {
            if !refused {
                return Ok(generation);
            }
            renewal.newest = self.cas.reconstruct_range(self.hash, plan.asked).await?;
            renewal.generation += 1;
        }
        plan.renew_url(&renewal.newest).map_err(|error| client::Error::Malformed {
            what: format!("new URLs for {}", self.hash),
            reason: error.to_string(),
        })?;
        Ok(renewal.generation)
    }

    /// Writes a chunk at its place and wherever else it belongs, as far as it is not there yet. Returns the bytes
    /// written, or `None` if another chunk was proved to belong there.
    pub(crate) fn write(&self, chunk: &HashedChunk<'_>, offset: u64, source: Source) -> Result<Option<u64>, Error> {
        let Some(mut bytes) = self.write_once(chunk, offset, source)? else { return Ok(None) };
        if bytes == 0 {
            // Whoever has written it, or is writing it, does so everywhere. A chunk that fills a file would else be
            // looked at for every two of its places.
            return Ok(Some(0));
        }
        let copies = self.ledger().copies_of(offset);
        for copy in copies {
            let Some(written) = self.write_once(chunk, copy, source)? else { return Ok(None) };
            bytes += written;
        }
        Ok(Some(bytes))
    }

    fn write_once(&self, chunk: &HashedChunk<'_>, offset: u64, source: Source) -> Result<Option<u64>, Error> {
        let reserved = self.ledger().reserve(offset, chunk.leaf());
        match reserved {
            Reserved::Yours => {}
            Reserved::Taken => return Ok(Some(0)),
            Reserved::Differs => return Ok(None),
        }
        if let Err(error) = self.partial.write_chunk(chunk, offset) {
            self.ledger().take_back(offset);
            return Err(error);
        }
        self.ledger().written(offset, source);
        self.partial.note(offset, chunk.leaf());
        Ok(Some(chunk.leaf().length.into()))
    }

    /// Copies chunks that are already in the file. Returns the bytes written, and from which on it was not done.
    fn copy_within(&self, recurrences: &[Recurrence], source: Source) -> (Result<u64, Error>, Option<usize>) {
        let (mut bytes, mut chunk) = (0, Vec::new());
        for (at, Recurrence { leaf, written_at, offset }) in recurrences.iter().enumerate() {
            chunk.resize(leaf.length as usize, 0);
            if let Err(error) = self.partial.read(&mut chunk, *written_at) {
                return (Err(error), Some(at));
            }
            let hashed = HashedChunk::new(&chunk);
            let written = if hashed.leaf() == *leaf { self.write(&hashed, *offset, source) } else { Ok(None) };
            match written {
                Ok(Some(written)) => bytes += written,
                Ok(None) => return (Ok(bytes), Some(at)),
                Err(error) => return (Err(error), Some(at)),
            }
        }
        (Ok(bytes), None)
    }
}
