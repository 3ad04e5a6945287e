//! Another Hub, from which repositories are copied: their files come in verified, their commits keep their names.
//!
//! Chunks stay what they are there, so that a file keeps its hash even if it was cut by other rules than ours. Where the
//! Hub has no CAS that can be used, the file is cut anew, and is listed under the hash that it has then.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::ingest::{Arrival, Ingest, Piece};
use super::plain::PlainReader;
use super::store::{Commit, Content, Entry, Gated, Store, StoreError};
use super::workers::Workers;
use crate::FileHash;
use crate::api::shown;
use crate::client::{self, HistoryEntry, Hub, ReadOptions, TreeFile};
use crate::reconstruction::describe::file_bytes;

/// Data that is fetched ahead of what is taken in, for one file, uncompressed bytes: one entry of a xorb, most times.
const AHEAD_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// What has come is worked on after this time although it is little, so that who follows sees it: huggingface_hub gives
/// a connection up that brings nothing for 10 s.
const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// Largest regular file, bytes; it is read into memory. The Hub takes 10 MiB, and once took more.
const REGULAR_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why a file or a commit could not be copied.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error(transparent)]
    Upstream(#[from] client::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not what its listing says.
    #[error("{path}: {reason}")]
    Wrong { path: String, reason: String },
}

/// A file that is here.
pub(super) struct Brought {
    pub(super) entry: Entry,
    /// Its hash, if it is in xorbs.
    pub(super) hash: FileHash,
    /// Bytes that were fetched for it: none if it was here already.
    pub(super) fetched_bytes: u64,
}

/// Copies from one Hub into one store.
#[derive(Clone)]
pub(super) struct Upstream {
    pub(super) hub: Hub,
    pub(super) store: Arc<Store>,
    pub(super) workers: Workers,
}

impl Upstream {
    /// Sees to it that the bytes of a file are here. `arrival` is for who reads them meanwhile; it is not ended here.
    ///
    /// # Cancel safety
    /// The file is here or not if the future is dropped.
    pub(super) async fn bring(
        &self,
        commit: &client::Commit,
        file: &TreeFile,
        arrival: Option<&Arc<Arrival>>,
        mut on_bytes: impl FnMut(u64),
    ) -> Result<Brought, CopyError> {
        if let Some((entry, hash)) = self.here(file).await? {
            return Ok(Brought { entry, hash, fetched_bytes: 0 });
        }
        match &file.content {
            client::Content::Regular => self.bring_regular(commit, file, &mut on_bytes).await,
            client::Content::Lfs { sha256 } | client::Content::Xet { sha256, .. } => {
                self.bring_large(commit, file, sha256, arrival, &mut on_bytes).await
            }
        }
    }

    async fn bring_large(
        &self,
        commit: &client::Commit,
        file: &TreeFile,
        sha256: &str,
        arrival: Option<&Arc<Arrival>>,
        on_bytes: &mut impl FnMut(u64),
    ) -> Result<Brought, CopyError> {
        let options = ReadOptions { ahead_bytes_max: AHEAD_BYTES_MAX, ..ReadOptions::default() };
        let mut pieces = self.hub.read_chunks(commit, file, &options);
        let mut ingest = match arrival {
            Some(arrival) => Ingest::followed(&self.store, &self.workers, Arc::clone(arrival)),
            None => Ingest::new(&self.store, &self.workers),
        };
        if let Err(error) = feed(&mut ingest, &mut pieces, on_bytes).await {
            ingest.give_up().await;
            return Err(error);
        }
        let taken = ingest.finish().await?;
        if taken.size() != file.size {
            return Err(wrong(file, format!("it has {} bytes, not {}", taken.size(), file.size)));
        }
        if taken.sha256() != sha256 {
            return Err(wrong(file, format!("its SHA-256 is {}, not {sha256}", taken.sha256())));
        }
        let hash = taken.hash();
        taken.keep().await?;
        Ok(Brought { entry: Entry::xet(sha256.to_owned(), hash, file.size), hash, fetched_bytes: file.size })
    }

    async fn bring_regular(
        &self,
        commit: &client::Commit,
        file: &TreeFile,
        on_bytes: &mut impl FnMut(u64),
    ) -> Result<Brought, CopyError> {
        if file.size > REGULAR_BYTES_MAX {
            return Err(wrong(file, format!("a regular file of {} bytes is too large", file.size)));
        }
        // The reader checks it against its name.
        let mut pieces = self.hub.read_chunks(commit, file, &ReadOptions::default());
        let mut content = Vec::with_capacity(file.size as usize);
        while let Some(piece) = pieces.next().await {
            let (bytes, _) = piece?;
            on_bytes(bytes.len() as u64);
            content.extend_from_slice(&bytes);
        }
        let store = Arc::clone(&self.store);
        let kept = self.workers.disk(move || {
            let mut objects = store.new_objects();
            let oid = objects.add(&content)?;
            objects.finish().map(|()| oid)
        });
        let oid = kept.await?;
        if oid != file.blob_id {
            return Err(wrong(file, format!("its git id is {oid}, not {}", file.blob_id)));
        }
        Ok(Brought { entry: Entry::regular(oid, file.size), hash: FileHash::ZERO, fetched_bytes: file.size })
    }

    /// The entry of a file whose bytes are here, whoever brought them.
    pub(super) async fn here(&self, file: &TreeFile) -> Result<Option<(Entry, FileHash)>, StoreError> {
        let (store, file) = (Arc::clone(&self.store), file.clone());
        self.workers.heavy(move || here(&store, &file)).await
    }
}

async fn feed(
    ingest: &mut Ingest,
    pieces: &mut client::Pieces,
    on_bytes: &mut impl FnMut(u64),
) -> Result<(), CopyError> {
    loop {
        let Ok(piece) = tokio::time::timeout(FLUSH_AFTER, pieces.next()).await else {
            ingest.flush().await?;
            continue;
        };
        let Some(piece) = piece else { return Ok(()) };
        let (bytes, leaf) = piece?;
        on_bytes(bytes.len() as u64);
        let piece = match leaf.filter(|leaf| leaf.length as usize == bytes.len()) {
            Some(leaf) => Piece::Chunk(bytes, leaf),
            None => Piece::Bytes(bytes),
        };
        ingest.push(piece).await?;
    }
}

fn here(store: &Store, file: &TreeFile) -> Result<Option<(Entry, FileHash)>, StoreError> {
    let of_size = |hash| {
        let terms = store.file(hash)?;
        Ok::<_, StoreError>(terms.filter(|terms| file_bytes(terms) == file.size))
    };
    let sha256 = match &file.content {
        client::Content::Regular => {
            let is_here = store.has_object(&file.blob_id)?;
            return Ok(is_here.then(|| (Entry::regular(file.blob_id.clone(), file.size), FileHash::ZERO)));
        }
        client::Content::Xet { sha256, hash } => {
            if of_size(*hash)?.is_some() {
                return Ok(Some((Entry::xet(sha256.clone(), *hash, file.size), *hash)));
            }
            sha256
        }
        client::Content::Lfs { sha256 } => sha256,
    };
    let Some(hash) = store.file_of_sha256(sha256)? else { return Ok(None) };
    let Some(terms) = of_size(hash)? else { return Ok(None) };
    // That this is its SHA-256 is what somebody said who uploaded it.
    if hash != FileHash::ZERO && sha256_of(store, terms)? != *sha256 {
        return Ok(None);
    }
    Ok(Some((Entry::xet(sha256.clone(), hash, file.size), hash)))
}

fn sha256_of(store: &Store, terms: Vec<crate::Term>) -> Result<String, StoreError> {
    let mut hasher = Sha256::new();
    let mut reader = PlainReader::whole(terms);
    while let Some(piece) = reader.next(store, 1)? {
        hasher.update(&piece);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A file as a listing has it, whether its bytes are here or not.
pub(super) fn listed_entry(file: &TreeFile) -> Entry {
    let (size, oid) = (file.size, file.blob_id.clone());
    let content = match &file.content {
        client::Content::Regular => Content::Regular,
        client::Content::Lfs { sha256 } => Content::Lfs { sha256: sha256.clone() },
        client::Content::Xet { sha256, hash } => Content::Xet { sha256: sha256.clone(), hash: *hash },
    };
    Entry { size, oid, content }
}

/// A file as the other Hub lists it.
pub(super) fn tree_file(path: &str, entry: &Entry) -> TreeFile {
    let content = match &entry.content {
        Content::Regular => client::Content::Regular,
        Content::Lfs { sha256 } => client::Content::Lfs { sha256: sha256.clone() },
        Content::Xet { sha256, hash } => client::Content::Xet { sha256: sha256.clone(), hash: *hash },
    };
    TreeFile { path: path.to_owned(), size: entry.size, blob_id: entry.oid.clone(), content }
}

/// A commit as the other Hub tells of it.
pub(super) fn commit_of(told: Option<HistoryEntry>, parent: Option<String>, files: Vec<(String, Entry)>) -> Commit {
    let (summary, description, unix_seconds, author) = match told {
        Some(told) => (told.title, told.message, told.unix_seconds, told.authors.into_iter().next()),
        None => Default::default(),
    };
    Commit { parent, summary, description, unix_seconds, author, files: files.into_iter().collect() }
}

pub(super) fn gated(gated: client::Gated) -> Gated {
    match gated {
        client::Gated::No => Gated::No,
        client::Gated::Auto => Gated::Auto,
        client::Gated::Manual => Gated::Manual,
    }
}

fn wrong(file: &TreeFile, reason: String) -> CopyError {
    CopyError::Wrong { path: shown(&file.path), reason }
}
