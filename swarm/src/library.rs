//! What this machine can serve: finished files that are as they were when they were verified, read in place.

use std::collections::HashMap;
use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;

use bep_xet::{Object, ObjectKind};
use bt_wire::InfoHash;
use bytes::Bytes;
use xet_cas::client::Network;
use xet_cas::proof::Tree;
use xet_cas::xorb::RecordHeader;
use xet_cas::{ChunkHash, ChunkRange, FileHash, Leaf, Scheme, XorbHash};

use crate::Error;
use crate::sharing::{Publicness, Scope, repo_swarm, xorb_swarm};
use crate::store::{FileRecord, Identity, Index};
use crate::verified::chunk_offsets;

/// Files that are kept open with their trees, at most. A tree has some 60 bytes a chunk: 60 MB for the
/// largest files on the Hub, under a megabyte for most.
const OPEN_FILES_MAX: usize = 16;

/// Files that are being opened at once.
const OPENINGS_MAX: usize = 2;
/// Repositories that are looked at for who comes under the swarm of a xorb, at most.
const REPOS_OF_XORB_MAX: usize = 8;
/// The index is looked at for changes no more often than this.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The files of an index, by swarm.
#[derive(Debug)]
pub(crate) struct Library {
    index: Index,
    publicness: Publicness,
    openings: Arc<Semaphore>,
    shelves: Mutex<Shelves>,
}

#[derive(Debug, Default)]
struct Shelves {
    /// When it was last looked at whether the index has changed.
    looked_at: Option<Instant>,
    /// The index as it was read.
    read_at: Option<SystemTime>,
    swarms: HashMap<InfoHash, HashMap<FileHash, FileRecord>>,
    /// Xorbs that a file of the swarm holds whole.
    xorbs: HashMap<(InfoHash, XorbHash), (FileHash, ChunkRange)>,
    /// Swarms of repositories, by the swarm of a xorb that they have. Who comes for one xorb may ask for the others of
    /// the same repositories, as peers of the legacy dialects do.
    of_xorb: HashMap<InfoHash, Vec<InfoHash>>,
    /// Most recently used last.
    open: Vec<(FileHash, Arc<OpenFile>)>,
}

impl Library {
    pub(crate) fn new(index: Index, network: Network) -> Self {
        Self {
            index,
            publicness: Publicness::new(network),
            openings: Arc::new(Semaphore::new(OPENINGS_MAX)),
            shelves: Mutex::default(),
        }
    }

    /// How many files there are.
    pub(crate) async fn files(self: &Arc<Self>) -> Result<usize, Error> {
        let library = self.clone();
        tokio::task::spawn_blocking(move || library.read_again()).await.map_err(Error::internal)??;
        Ok(self.shelves().swarms.values().map(HashMap::len).sum())
    }

    /// What a peer names, if it is of this swarm and may be served to this address.
    pub(crate) async fn find(self: &Arc<Self>, swarm: InfoHash, object: Object, to: IpAddr) -> Option<Held> {
        self.refresh().await;
        let swarms = self.shelves().repo_swarms(swarm);
        for swarm in swarms {
            let (hash, run) = match object.kind {
                ObjectKind::File => (FileHash::from_bytes(object.hash), None),
                ObjectKind::Xorb => {
                    let xorb = XorbHash::from_bytes(object.hash);
                    let Some((file, run)) = self.shelves().xorbs.get(&(swarm, xorb)).copied() else { continue };
                    (file, Some(run))
                }
                _ => return None,
            };
            let Some(file) = self.find_file(swarm, hash, to).await else { continue };
            let chunks = run.unwrap_or(ChunkRange { start: 0, end: file.chunk_count() });
            return Some(Held { file, chunks });
        }
        None
    }

    /// A chunk that a peer names by its hash, out of any file of this swarm that may be served to this address.
    pub(crate) async fn find_chunk(self: &Arc<Self>, swarm: InfoHash, chunk: ChunkHash, to: IpAddr) -> Option<Held> {
        self.refresh().await;
        let swarms = self.shelves().repo_swarms(swarm);
        if swarms.is_empty() {
            return None;
        }
        let index = self.index.clone();
        let look = move || index.find_chunks(&[chunk]).pop();
        for (hash, at) in tokio::task::spawn_blocking(look).await.ok()?? {
            for swarm in &swarms {
                let Some(file) = self.find_file(*swarm, hash, to).await else { continue };
                // What the chunk index says is a hint.
                if file.tree.leaves().get(at as usize).is_some_and(|leaf| leaf.hash == chunk) {
                    return Some(Held { file, chunks: ChunkRange { start: at, end: at + 1 } });
                }
            }
        }
        None
    }

    async fn find_file(self: &Arc<Self>, swarm: InfoHash, hash: FileHash, to: IpAddr) -> Option<Arc<OpenFile>> {
        let record = self.shelves().swarms.get(&swarm)?.get(&hash)?.clone();
        if !Scope::of(&record.provenance.endpoint).allows(to)
            || !self.publicness.is_public(&record.provenance, hash).await
        {
            return None;
        }
        // A cold file costs memory and a core for a moment; many at once would cost all of both.
        let permit = self.openings.clone().acquire_owned().await.ok()?;
        let library = self.clone();
        let open = move || {
            let file = library.open(&record, hash);
            drop(permit);
            file
        };
        tokio::task::spawn_blocking(open).await.ok()?
    }

    /// Looks at the index again, if it has changed and that was not just done.
    async fn refresh(self: &Arc<Self>) {
        if self.shelves().looked_at.is_some_and(|looked_at| looked_at.elapsed() < LOOK_INTERVAL) {
            return;
        }
        let library = self.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || library.read_again()).await {
            tracing::warn!(%error, "the index cannot be read");
        }
    }

    fn read_again(&self) -> Result<(), Error> {
        self.shelves().looked_at = Some(now());
        let changed = self.index.changed();
        if self.shelves().read_at == changed && changed.is_some() {
            return Ok(());
        }
        let mut swarms: HashMap<InfoHash, HashMap<FileHash, FileRecord>> = HashMap::new();
        let mut xorbs = HashMap::new();
        let mut of_xorb: HashMap<InfoHash, Vec<InfoHash>> = HashMap::new();
        for record in self.index.all()? {
            let Some(Ok(hash)) = record.xet_hash.as_ref().map(|text| text.parse::<FileHash>()) else { continue };
            if Identity::of(&record.path) != Some(record.identity) {
                continue;
            }
            let from = &record.provenance;
            let swarm = repo_swarm(&from.endpoint, &from.repo_type, &from.repo);
            for xorb in &record.xorbs {
                let Ok(name) = xorb.hash.parse::<XorbHash>() else { continue };
                let chunks = ChunkRange { start: xorb.first_chunk, end: xorb.end_chunk };
                xorbs.insert((swarm, name), (hash, chunks));
                let repos = of_xorb.entry(xorb_swarm(name)).or_default();
                if !repos.contains(&swarm) && repos.len() < REPOS_OF_XORB_MAX {
                    repos.push(swarm);
                }
            }
            swarms.entry(swarm).or_default().insert(hash, record);
        }
        let mut shelves = self.shelves();
        shelves.swarms = swarms;
        shelves.xorbs = xorbs;
        shelves.of_xorb = of_xorb;
        // Reading it touches it.
        shelves.read_at = self.index.changed();
        Ok(())
    }

    fn open(&self, record: &FileRecord, hash: FileHash) -> Option<Arc<OpenFile>> {
        let known = self.shelves().open.iter().position(|(open, _)| *open == hash);
        if let Some(at) = known {
            let mut shelves = self.shelves();
            if at < shelves.open.len() {
                let found = shelves.open.remove(at);
                if found.0 == hash && found.1.is_unchanged() {
                    let file = found.1.clone();
                    shelves.open.push(found);
                    return Some(file);
                }
            }
        }
        let file = Arc::new(OpenFile::open(record, self.index.leaves(hash)?)?);
        let mut shelves = self.shelves();
        if shelves.open.len() >= OPEN_FILES_MAX {
            shelves.open.remove(0);
        }
        shelves.open.push((hash, file.clone()));
        Some(file)
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    /// The swarms of repositories that a swarm stands for: itself, or those that have the xorb whose swarm it is.
    fn repo_swarms(&self, swarm: InfoHash) -> Vec<InfoHash> {
        if self.swarms.contains_key(&swarm) {
            return vec![swarm];
        }
        self.of_xorb.get(&swarm).cloned().unwrap_or_default()
    }
}

/// Something that can be served: some or all chunks of a file.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) file: Arc<OpenFile>,
    /// Chunks of the file.
    pub(crate) chunks: ChunkRange,
}

/// A file that is served.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: File,
    identity: Identity,
    pub(crate) tree: Tree,
    /// Where each chunk begins.
    offsets: Vec<u64>,
    /// Which chunks were hashed since the file was opened.
    checked: Mutex<Vec<bool>>,
}

impl OpenFile {
    fn open(record: &FileRecord, leaves: Vec<Leaf>) -> Option<Self> {
        let file = File::open(&record.path).ok()?;
        let identity = Identity::from_metadata(&file.metadata().ok()?);
        if identity != record.identity {
            return None;
        }
        let offsets = chunk_offsets(&leaves);
        let checked = Mutex::new(vec![false; leaves.len()]);
        let tree = Tree::new(leaves).ok()?;
        (tree.bytes() == identity.size).then_some(Self { file, identity, tree, offsets, checked })
    }

    /// Whether it is still the file that was verified.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| Identity::from_metadata(&metadata) == self.identity)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.identity.size
    }

    pub(crate) fn chunk_count(&self) -> u32 {
        self.offsets.len() as u32
    }

    /// How many of these chunks one batch of so many bytes takes, as raw records: at least one, if there is any.
    pub(crate) fn batch(&self, chunks: ChunkRange, bytes_max: u64) -> ChunkRange {
        let leaves = self.tree.leaves().iter().skip(chunks.start as usize).take(chunks.count() as usize);
        let fitting = fitting(leaves, bytes_max).max(1);
        ChunkRange { start: chunks.start, end: chunks.end.min(chunks.start.saturating_add(fitting)) }
    }

    /// Reads a chunk as the record that travels: header, and the bytes as they are. `None` if the file has
    /// changed, or no longer holds what it should.
    pub(crate) fn read_record(&self, index: u32) -> Option<Bytes> {
        let at = index as usize;
        let (offset, leaf) = (*self.offsets.get(at)?, *self.tree.leaves().get(at)?);
        let header = RecordHeader { scheme: Scheme::None, stored_length: leaf.length, raw_length: leaf.length };
        let mut record = vec![0; header.record_bytes()];
        let (head, chunk) = record.split_at_mut(RecordHeader::BYTES);
        head.copy_from_slice(&header.encode());
        self.file.read_exact_at(chunk, offset).ok()?;
        // The identity is looked at after the bytes: a change before or while they were read shows.
        if !self.is_unchanged() {
            return None;
        }
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if !checked[at] {
            drop(checked);
            (Leaf::of(chunk) == leaf).then_some(())?;
            checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
            checked[at] = true;
        }
        Some(record.into())
    }
}

/// How many of these chunks, from the first, take no more than so many bytes as raw records.
fn fitting<'a>(leaves: impl Iterator<Item = &'a Leaf>, bytes_max: u64) -> u32 {
    let ends = leaves.scan(0, |bytes, leaf| {
        *bytes += RecordHeader::BYTES as u64 + u64::from(leaf.length);
        Some(*bytes)
    });
    ends.take_while(|end| *end <= bytes_max).count() as u32
}

#[expect(clippy::disallowed_methods, reason = "the library is a shell: it paces its looks at the index")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_chunks_when_a_batch_is_cut_then_as_many_records_as_fit_with_their_headers() {
        let leaves: Vec<Leaf> = [100, 200, 300].map(|bytes| Leaf::of(&vec![7; bytes])).into();

        for (bytes_max, expected) in [(107, 0), (108, 1), (315, 1), (316, 2), (623, 2), (624, 3), (u64::MAX, 3)] {
            assert_eq!(expected, fitting(leaves.iter(), bytes_max), "{bytes_max}");
        }
        assert_eq!(0, fitting([].iter(), 1_000));
    }
}
