//! Which chunks of a partial file were written: what a later pull need not fetch again.
//!
//! A hint, not a proof: every chunk is read and hashed before it counts. So records are neither protected against
//! damage nor forced to the disk.
//!
//! # Wire shape
//! 8 bytes of magic, then records of 44 bytes: offset in the file u64 little-endian, chunk hash 32, length u32
//! little-endian. A record that is cut short ends it.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use xet_cas::Leaf;

use crate::Error;

const MAGIC: &[u8; 8] = b"zestjnl1";
const RECORD_BYTES: usize = 8 + Leaf::ENCODED_BYTES;
/// Records that are written in one go: half a megabyte of chunks, which is what a kill costs.
const WAITING_RECORDS_MAX: usize = 8;

/// The journal of one partial file. There is none on the disk until something is noted.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<File>,
    /// Records that are not written yet.
    waiting: Vec<u8>,
}

impl Journal {
    /// A new one.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default() }
    }

    /// Goes on with one, if there is one that can be read.
    pub(crate) fn open(path: PathBuf) -> Option<Self> {
        let mut file = OpenOptions::new().read(true).append(true).open(&path).ok()?;
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).ok().filter(|()| magic == *MAGIC)?;
        let records = (file.metadata().ok()?.len() - MAGIC.len() as u64) / RECORD_BYTES as u64;
        file.set_len(MAGIC.len() as u64 + records * RECORD_BYTES as u64).ok()?;
        Some(Self { path, state: State { file: Some(file), waiting: Vec::new() }.into() })
    }

    /// What it says that was written before it was opened: offsets and chunks.
    pub(crate) fn records(&self) -> Result<impl Iterator<Item = (u64, Leaf)> + use<>, Error> {
        let mut reader = BufReader::new(File::open(&self.path).map_err(Error::disk("open", &self.path))?);
        reader.read_exact(&mut [0; MAGIC.len()]).map_err(Error::disk("read", &self.path))?;
        Ok(std::iter::from_fn(move || {
            let mut record = [0; RECORD_BYTES];
            reader.read_exact(&mut record).ok()?;
            let (offset, leaf) = record.split_first_chunk()?;
            Some((u64::from_le_bytes(*offset), Leaf::decode(leaf.first_chunk()?)))
        }))
    }

    /// Notes a chunk that was written. That it could not be noted costs a later pull that chunk, and is no failure.
    pub(crate) fn note(&self, offset: u64, leaf: Leaf) {
        let mut state = self.state();
        state.waiting.extend_from_slice(&offset.to_le_bytes());
        state.waiting.extend_from_slice(&leaf.encode());
        if state.waiting.len() >= WAITING_RECORDS_MAX * RECORD_BYTES {
            self.write(&mut state);
        }
    }

    /// Writes what waits.
    pub(crate) fn flush(&self) {
        self.write(&mut self.state());
    }

    fn write(&self, state: &mut State) {
        let mut write = || {
            let file = match &mut state.file {
                Some(file) => file,
                empty => {
                    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&self.path)?;
                    file.write_all(MAGIC)?;
                    empty.insert(file)
                }
            };
            file.write_all(&state.waiting)
        };
        if let Err(error) = write() {
            tracing::debug!(path = %self.path.display(), %error, "cannot note what was written");
        }
        state.waiting.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes it from the disk. Nothing is noted any more.
    pub(crate) fn remove(&self) {
        let mut state = self.state();
        state.waiting.clear();
        state.file = None;
        // One that could not be read, and was not written over since, is there all the same.
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove a journal");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if !self.state().waiting.is_empty() {
            self.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use xet_cas::Leaf;

    use super::{Journal, RECORD_BYTES};

    fn leaf(index: u64) -> Leaf {
        Leaf::of(&index.to_le_bytes())
    }

    #[test]
    fn given_a_journal_that_cannot_be_read_when_removed_though_nothing_was_noted_then_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        std::fs::write(&path, "damaged").unwrap();
        assert!(Journal::open(path.clone()).is_none());

        Journal::new(path.clone()).remove();

        assert!(!path.exists());
    }

    #[test]
    fn given_a_journal_cut_anywhere_when_opened_again_then_its_whole_records_are_there_and_more_can_follow() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = Journal::new(path.clone());
        (0..20).for_each(|index| journal.note(index * 100, leaf(index)));
        drop(journal);
        let whole = std::fs::read(&path).unwrap();

        for cut in [8, 9, 8 + RECORD_BYTES - 1, 8 + RECORD_BYTES, whole.len() - 1, whole.len()] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let journal = Journal::open(path.clone()).unwrap();
            journal.note(7, leaf(7));
            journal.flush();

            let left = ((cut - 8) / RECORD_BYTES) as u64;
            let expected = (0..left).map(|index| (index * 100, leaf(index))).chain([(7, leaf(7))]);
            assert!(journal.records().unwrap().eq(expected), "cut at {cut}");
        }
    }

    #[test]
    fn given_something_else_when_opened_then_it_is_no_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        for content in [&b""[..], b"zestjnl", b"zestjnl2 and more"] {
            std::fs::write(&path, content).unwrap();
            assert!(Journal::open(path.clone()).is_none());
        }
    }
}
