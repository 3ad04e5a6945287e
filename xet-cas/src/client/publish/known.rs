//! What is known to be stored from earlier publications: finished ones, by the shards they registered, and ones that
//! were cut short, by the xorbs they had stored.
//!
//! Shards are kept where and as hf-xet keeps them, so that each finds what the other has uploaded:
//! `<cache>/<CAS>/shard-cache/<hash>.mdb`. Xorbs that no shard names yet are in journals beside them,
//! `<cache>/<CAS>/zest-staging/<random>.xorbs`, each locked while its publication runs.
//!
//! Whatever cannot be read or written costs bytes to send, not the publication.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::client::blocking::blocking;
use crate::client::http::system_now;
use crate::dedup::Index;
use crate::shard::{LookupTables, Shard, ShardXorb, StoredShard};
use crate::{ChunkHash, XorbHash};

/// Chunks that are remembered, those of this publication included: 32 GiB of average chunks, in some 23 MB.
const KNOWN_CHUNKS_MAX: usize = 1 << 19;
/// Larger shards are passed over, bytes: reading one takes more than twice its size in memory for a moment. This one
/// describes 40 GB.
const SHARD_FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Largest entry of a journal, bytes: a xorb with as many chunks as there may be.
const JOURNAL_ENTRY_BYTES_MAX: u32 = 512 * 1024;
/// Kept shards that are read at most, bytes: the newest, a second's work.
const SHARDS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Journals that are read at most, the newest; each comes from a publication that was cut short.
const JOURNALS_MAX: usize = 16;
/// How long a shard or a journal is used, seconds: three weeks, as the deployed client does. By then the server may have
/// collected what it names.
const SHARD_LIFETIME_SECONDS: u64 = 21 * 24 * 60 * 60;
/// How long it is kept after that, seconds: a week, as the deployed client does.
const SHARD_GRACE_SECONDS: u64 = 7 * 24 * 60 * 60;
/// Characters of a CAS's URL, and of the hash of it, in the name of its folder.
const FOLDER_PART_CHARACTERS: usize = 16;

/// Xorbs that are stored, as far as it is known here.
#[derive(Default)]
pub(super) struct Known {
    index: Index,
    /// `None`: nothing is kept.
    folder: Option<Folder>,
    /// Shards that the index knows, and the xorbs they describe.
    shards: Vec<(PathBuf, Vec<XorbHash>)>,
    /// Journals that the index knows, and the xorbs they name.
    journals: Vec<(PathBuf, Vec<XorbHash>)>,
    /// Xorbs that no shard has named yet.
    staged: HashMap<XorbHash, ShardXorb>,
    /// Xorbs of this publication.
    own: HashSet<XorbHash>,
    /// Others that files of this publication lie in.
    used: HashSet<XorbHash>,
    journal: Option<Journal>,
}

/// Where it is kept.
struct Folder {
    shards: PathBuf,
    journals: PathBuf,
}

impl Known {
    /// Nothing is known, and nothing will be kept.
    pub(super) fn nothing() -> Self {
        Self { index: Index::with_chunks_max(KNOWN_CHUNKS_MAX), ..Self::default() }
    }

    /// Reads what is kept below `cache` about this CAS.
    pub(super) async fn load(cache: &Path, cas_url: &str) -> Self {
        let folder = cache.join(folder_name(cas_url));
        let folder = Folder { shards: folder.join("shard-cache"), journals: folder.join("zest-staging") };
        blocking(move || {
            let mut known = Self::nothing();
            known.load_shards(&folder.shards);
            known.load_journals(&folder.journals);
            known.folder = Some(folder);
            known
        })
        .await
    }

    fn load_shards(&mut self, folder: &Path) {
        let now = unix_now();
        let mut loaded = Vec::new();
        let (mut chunks, mut bytes) = (0, 0);
        for (path, _) in newest_first(folder, "mdb") {
            // Half of the index is for this publication.
            if chunks >= KNOWN_CHUNKS_MAX / 4 || bytes >= SHARDS_BYTES_MAX {
                break;
            }
            let length = path.metadata().map_or(u64::MAX, |metadata| metadata.len());
            if length > SHARD_FILE_BYTES_MAX {
                continue;
            }
            bytes += length;
            let Some(stored) = read_shard(&path) else { continue };
            if stored.is_expired(now) {
                if now > stored.key_expiry.saturating_add(SHARD_GRACE_SECONDS) {
                    remove(&path);
                }
                continue;
            }
            chunks += stored.xorbs.iter().map(|stored| stored.xorb.leaves.len()).sum::<usize>();
            let key = stored.key;
            loaded.push((path, key, stored.into_shard().xorbs));
        }
        // The newest last: it is forgotten last.
        for (path, key, xorbs) in loaded.into_iter().rev() {
            self.shards.push((path, xorbs.iter().map(|xorb| xorb.hash).collect()));
            self.index.insert_shard(&Shard { files: vec![], xorbs }, key);
        }
    }

    fn load_journals(&mut self, folder: &Path) {
        let now = system_now();
        let (mut loaded, mut chunks) = (Vec::new(), 0);
        for (number, (path, modified)) in newest_first(folder, "xorbs").into_iter().enumerate() {
            let is_old = now.duration_since(modified).is_ok_and(|age| age.as_secs() > SHARD_LIFETIME_SECONDS);
            if is_old || number >= JOURNALS_MAX {
                remove_unless_in_use(&path);
            } else if chunks < KNOWN_CHUNKS_MAX / 4 {
                let xorbs = read_journal(&path).unwrap_or_default();
                chunks += xorbs.iter().map(|xorb| xorb.leaves.len()).sum::<usize>();
                loaded.push((path, xorbs));
            }
        }
        // The newest last: it is forgotten last.
        for (path, xorbs) in loaded.into_iter().rev() {
            self.journals.push((path, xorbs.iter().map(|xorb| xorb.hash).collect()));
            for xorb in xorbs {
                self.index.insert_xorb(&xorb);
                self.staged.insert(xorb.hash, xorb);
            }
        }
    }

    /// The index, for the packer.
    pub(super) fn take_index(&mut self) -> Index {
        std::mem::replace(&mut self.index, Index::with_chunks_max(KNOWN_CHUNKS_MAX))
    }

    /// Remembers a xorb that has just been stored, in case that no shard will name it.
    pub(super) fn stage(&mut self, xorb: &ShardXorb) {
        self.own.insert(xorb.hash);
        let Some(folder) = &self.folder else { return };
        if self.journal.is_none() {
            self.journal = Journal::create(&folder.journals).inspect_err(|error| log("begin", error)).ok();
        }
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.append(xorb)
        {
            log("write", &error);
        }
    }

    /// Adds to a shard the xorbs that its files lie in and that no shard has named so far.
    pub(super) fn complete(&mut self, shard: &mut Shard) {
        for xorb in shard.files.iter().flat_map(|file| &file.terms).map(|term| term.xorb) {
            if !self.own.contains(&xorb) && self.used.insert(xorb) {
                shard.xorbs.extend(self.staged.remove(&xorb));
            }
        }
    }

    /// Keeps a shard that the CAS has taken.
    pub(super) async fn registered(&mut self, shard: Shard) {
        let Some(folder) = &self.folder else { return };
        let folder = folder.shards.clone();
        blocking(move || {
            let mut stored = StoredShard::from(shard);
            stored.created = unix_now();
            stored.key_expiry = stored.created + SHARD_LIFETIME_SECONDS;
            let bytes = stored.encode(LookupTables::ALL);
            let name = ChunkHash::of(&bytes);
            let begun = folder.join(format!(".{:016x}.mdb_temp", rand::random::<u64>()));
            let kept = fs::create_dir_all(&folder)
                .and_then(|()| fs::write(&begun, bytes))
                .and_then(|()| fs::rename(&begun, folder.join(format!("{name}.mdb"))));
            if let Err(error) = kept {
                log("keep", &error);
                remove(&begun);
            }
        })
        .await;
    }

    /// Whether files of this publication lie in xorbs that were not stored by it.
    pub(super) fn was_used(&self) -> bool {
        !self.used.is_empty()
    }

    /// What was used is not stored after all: forgets it, here and on disk.
    pub(super) async fn forget(&mut self) {
        let used = std::mem::take(&mut self.used);
        let is_used = |xorbs: &[XorbHash]| xorbs.iter().any(|xorb| used.contains(xorb));
        let wrong: Vec<_> = self.shards.drain(..).filter(|(_, xorbs)| is_used(xorbs)).map(|(path, _)| path).collect();
        let journals: Vec<_> =
            self.journals.drain(..).filter(|(_, xorbs)| is_used(xorbs)).map(|(path, _)| path).collect();
        (self.index, self.staged, self.own) = (Self::nothing().index, HashMap::new(), HashSet::new());
        blocking(move || {
            wrong.iter().for_each(|path| remove(path));
            journals.iter().for_each(|path| remove_unless_in_use(path));
        })
        .await;
    }

    /// Everything is registered: this journal has served, and so have others whose every xorb a shard names by now.
    pub(super) async fn finish(mut self) {
        let journal = self.journal.take();
        let is_waiting = |xorb: &XorbHash| self.staged.contains_key(xorb);
        let journals: Vec<PathBuf> =
            self.journals.drain(..).filter(|(_, xorbs)| !xorbs.iter().any(is_waiting)).map(|(path, _)| path).collect();
        blocking(move || {
            journals.iter().for_each(|path| remove_unless_in_use(path));
            if let Some(journal) = journal {
                remove(&journal.path);
            }
        })
        .await;
    }
}

/// Makes what the CAS answered about a chunk known. Nonsense is nobody's loss.
pub(super) fn insert_answer(index: &mut Index, answer: &[u8]) {
    match StoredShard::decode(answer) {
        Ok(stored) => {
            let key = stored.key;
            index.insert_shard(&stored.into_shard(), key);
        }
        Err(error) => tracing::info!(%error, "the answer about a chunk is no shard"),
    }
}

/// Xorbs that were stored, one behind the other: the length of an entry (u32, little-endian), and a shard in its upload
/// form that holds one xorb. A broken end is passed over.
struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{:016x}.xorbs", rand::random::<u64>()));
        let file = File::options().append(true).create_new(true).open(&path)?;
        // Where there are no locks, another publication may remove it, and some bytes are sent again.
        file.lock().unwrap_or_else(|error| log("lock", &error));
        Ok(Self { path, file })
    }

    fn append(&mut self, xorb: &ShardXorb) -> io::Result<()> {
        let entry = Shard { files: vec![], xorbs: vec![xorb.clone()] }.encode_upload();
        let mut record = (entry.len() as u32).to_le_bytes().to_vec();
        record.extend(entry);
        self.file.write_all(&record)
    }
}

/// The xorbs of a journal, as far as it can be read.
fn read_journal(path: &Path) -> io::Result<Vec<ShardXorb>> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut xorbs, mut chunks) = (Vec::new(), 0);
    loop {
        let mut length = [0; 4];
        if reader.read_exact(&mut length).is_err() {
            return Ok(xorbs);
        }
        let length = u32::from_le_bytes(length);
        let mut entry = Vec::new();
        let read = (&mut reader).take(length.min(JOURNAL_ENTRY_BYTES_MAX).into()).read_to_end(&mut entry)?;
        let shard = Shard::decode_upload(&entry).ok().filter(|_| read == length as usize);
        let Some(shard) = shard else { return Ok(xorbs) };
        for xorb in shard.xorbs {
            chunks += xorb.leaves.len();
            // The name is not taken on trust: a xorb that is wrongly described would spoil a file.
            if crate::Leaf::xorb_hash(&xorb.leaves) != xorb.hash || chunks > KNOWN_CHUNKS_MAX / 4 {
                return Ok(xorbs);
            }
            xorbs.push(xorb);
        }
    }
}

/// A shard whose name is the hash of its bytes.
fn read_shard(path: &Path) -> Option<StoredShard> {
    let name: ChunkHash = path.file_stem()?.to_str()?.parse().ok()?;
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(SHARD_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > SHARD_FILE_BYTES_MAX || ChunkHash::of(&bytes) != name {
        return None;
    }
    StoredShard::decode(&bytes).inspect_err(|error| tracing::info!(%error, "a kept shard is not read")).ok()
}

/// The files of a folder with this ending, and when each was written.
fn newest_first(folder: &Path, ending: &str) -> Vec<(PathBuf, SystemTime)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter(|entry| entry.path().extension().is_some_and(|found| found == ending))
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.modified().ok()?)))
        .collect();
    files.sort_by_key(|(_, modified)| std::cmp::Reverse(*modified));
    files
}

fn remove_unless_in_use(path: &Path) {
    let is_free = File::options().append(true).open(path).is_ok_and(|file| file.try_lock().is_ok());
    if is_free {
        remove(path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        log("remove", &error);
    }
}

/// The folder of a CAS: the beginning of its URL, for people, and of the hash of it.
fn folder_name(cas_url: &str) -> String {
    let letters = cas_url.chars().take(FOLDER_PART_CHARACTERS).map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    let hash = URL_SAFE_NO_PAD.encode(ChunkHash::of(cas_url.as_bytes()).as_bytes());
    format!("{}-{}", letters.collect::<String>(), &hash[..FOLDER_PART_CHARACTERS])
}

fn unix_now() -> u64 {
    system_now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn log(verb: &str, error: &io::Error) {
    tracing::info!(%error, "cannot {verb} what is remembered of uploads");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Journal, Known, folder_name, read_journal};
    use crate::shard::{Shard, ShardFile, ShardXorb};
    use crate::{ChunkRange, FileHash, Leaf, Term};

    const CAS: &str = "http://localhost:8080";

    fn xorb(seed: u8) -> ShardXorb {
        let leaves: Vec<Leaf> = (0..3_u8).map(|n| Leaf::of(&[seed, n])).collect();
        ShardXorb { hash: Leaf::xorb_hash(&leaves), leaves }
    }

    /// A file that is this xorb.
    fn file(xorb: &ShardXorb) -> ShardFile {
        let chunks = ChunkRange { start: 0, end: xorb.leaves.len() as u32 };
        let term = Term { xorb: xorb.hash, chunks, unpacked_length: 2 * chunks.end };
        let hash: FileHash = Leaf::file_hash(&xorb.leaves);
        ShardFile { hash, terms: vec![term], verification: None, sha256: None }
    }

    fn finds(known: &mut Known, xorb: &ShardXorb) -> bool {
        let found = known.take_index().find(&[xorb.leaves[0].hash]);
        found.is_some_and(|found| found.xorb == xorb.hash)
    }

    fn files(folder: &Path) -> usize {
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }

    #[test]
    fn given_the_vectors_when_named_then_the_folder_is_that_of_the_deployed_client() {
        let vectors: serde_json::Value = serde_json::from_str(include_str!("../../../tests/vectors/xet.json")).unwrap();
        for case in vectors["misc"]["endpoint_cache_dir"].as_array().unwrap() {
            assert_eq!(case["dir"], folder_name(case["endpoint"].as_str().unwrap()));
        }
    }

    #[tokio::test]
    async fn given_a_registered_shard_when_loaded_later_then_its_xorbs_are_found_and_no_journal_remains() {
        let cache = tempfile::tempdir().unwrap();
        let xorb = xorb(1);
        let mut first = Known::load(cache.path(), CAS).await;
        first.stage(&xorb);
        first.registered(Shard { files: vec![file(&xorb)], xorbs: vec![xorb.clone()] }).await;
        first.finish().await;

        assert!(finds(&mut Known::load(cache.path(), CAS).await, &xorb));
        assert!(!finds(&mut Known::load(cache.path(), "http://elsewhere").await, &xorb));
        assert_eq!(0, files(&cache.path().join(folder_name(CAS)).join("zest-staging")));
    }

    #[tokio::test]
    async fn given_a_publication_cut_short_when_the_next_begins_then_its_xorbs_are_found_and_named() {
        let cache = tempfile::tempdir().unwrap();
        let xorb = xorb(1);
        let mut first = Known::load(cache.path(), CAS).await;
        first.stage(&xorb);
        drop(first);

        let mut second = Known::load(cache.path(), CAS).await;
        assert!(finds(&mut second, &xorb));
        let mut shard = Shard { files: vec![file(&xorb)], xorbs: vec![] };
        second.complete(&mut shard);
        assert_eq!(vec![xorb.clone()], shard.xorbs);
        assert!(second.was_used());

        second.forget().await;
        assert!(!finds(&mut second, &xorb) && !second.was_used());
        assert!(!finds(&mut Known::load(cache.path(), CAS).await, &xorb));
    }

    #[tokio::test]
    async fn given_a_publication_that_runs_when_another_finishes_then_its_journal_stays() {
        let cache = tempfile::tempdir().unwrap();
        let mut running = Known::load(cache.path(), CAS).await;
        running.stage(&xorb(1));

        Known::load(cache.path(), CAS).await.finish().await;

        assert_eq!(1, files(&cache.path().join(folder_name(CAS)).join("zest-staging")));
    }

    #[tokio::test]
    async fn given_a_publication_cut_short_when_another_of_other_files_finishes_then_it_is_still_remembered() {
        let cache = tempfile::tempdir().unwrap();
        let mut cut_short = Known::load(cache.path(), CAS).await;
        cut_short.stage(&xorb(1));
        drop(cut_short);

        let mut other = Known::load(cache.path(), CAS).await;
        other.stage(&xorb(2));
        let mut shard = Shard { files: vec![file(&xorb(2))], xorbs: vec![xorb(2)] };
        other.complete(&mut shard);
        other.registered(shard).await;
        other.finish().await;
        let journals = cache.path().join(folder_name(CAS)).join("zest-staging");
        assert_eq!(1, files(&journals));

        let mut again = Known::load(cache.path(), CAS).await;
        let mut shard = Shard { files: vec![file(&xorb(1))], xorbs: vec![] };
        again.complete(&mut shard);
        again.registered(shard).await;
        again.finish().await;
        assert_eq!(0, files(&journals));
    }

    #[tokio::test]
    async fn given_damaged_shards_when_loaded_then_passed_over() {
        let cache = tempfile::tempdir().unwrap();
        let xorb = xorb(1);
        let mut known = Known::load(cache.path(), CAS).await;
        known.registered(Shard { files: vec![], xorbs: vec![xorb.clone()] }).await;
        let folder = cache.path().join(folder_name(CAS)).join("shard-cache");
        let kept = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
        let mut bytes = std::fs::read(&kept).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&kept, bytes).unwrap();
        std::fs::write(folder.join("no hash.mdb"), "no shard").unwrap();

        assert!(!finds(&mut Known::load(cache.path(), CAS).await, &xorb));
    }

    #[test]
    fn given_a_journal_cut_anywhere_when_read_then_what_is_whole_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path()).unwrap();
        let xorbs = [xorb(1), xorb(2)];
        xorbs.iter().for_each(|xorb| journal.append(xorb).unwrap());
        let bytes = std::fs::read(&journal.path).unwrap();

        for length in 0..=bytes.len() {
            std::fs::write(&journal.path, &bytes[..length]).unwrap();
            let read = read_journal(&journal.path).unwrap();
            assert_eq!(xorbs[..length / (bytes.len() / 2)], read[..], "cut at {length}");
        }
    }
}
