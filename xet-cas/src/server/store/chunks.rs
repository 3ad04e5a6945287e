//! Which xorbs to tell of when a client asks about a chunk: so that it does not upload what is here.
//!
//! Clients ask about the chunk that begins a file, and about one in 1,024 others, chosen by their hash. An answer
//! holds for what follows in the file too, and the next question is far behind.

use std::collections::HashMap;

use redb::ReadableTable as _;

use super::metadata::CHUNKS;
use super::shards::Check;
use super::{Store, StoreError};
use crate::shard::{LookupTables, ShardFile, ShardXorb, StoredShard, StoredXorb};
use crate::{ChunkHash, Term, XorbHash};

/// Xorbs remembered for one chunk, the one that holds it first: 4 GiB of the file.
const XORBS_MAX: usize = 64;
/// Terms of a file that are looked at for them: of a file that is made of very many, what follows is not known far.
const TERMS_MAX: usize = 1024;
/// Chunks remembered of one shard.
const CHUNKS_MAX: usize = 1 << 16;
/// Chunks in one answer, unless a single xorb has more: 6 MB.
const ANSWER_CHUNKS_MAX: usize = 1 << 17;

impl Store {
    /// Remembers for some chunks of files that have been checked where they and their neighbours are. The newest file
    /// comes first: it is the one whose next version is the likeliest.
    pub(super) fn index_chunks(&self, check: &mut Check<'_>, files: &[ShardFile]) -> Result<(), StoreError> {
        let mut indexed: HashMap<ChunkHash, Vec<u8>> = HashMap::new();
        'files: for file in files {
            for (at, term) in file.terms.iter().enumerate() {
                let footer = check.footer(term.xorb)?;
                let leaves =
                    footer.leaves().get(term.chunks.start as usize..term.chunks.end as usize).unwrap_or_default();
                for (index, leaf) in leaves.iter().enumerate() {
                    let begins_file = at == 0 && index == 0;
                    if !(begins_file || leaf.hash.is_global_dedup_eligible()) || indexed.contains_key(&leaf.hash) {
                        continue;
                    }
                    if indexed.len() == CHUNKS_MAX {
                        break 'files;
                    }
                    indexed.insert(leaf.hash, xorbs_of(&file.terms[at..]));
                }
            }
        }
        if indexed.is_empty() {
            return Ok(());
        }
        self.metadata.write(|transaction| {
            let mut chunks = transaction.open_table(CHUNKS)?;
            for (chunk, mut xorbs) in indexed {
                // Another file may go on elsewhere behind the same chunk: what was known stays behind what is new.
                if let Some(known) = chunks.get(chunk.as_bytes())? {
                    append_unknown(&mut xorbs, known.value());
                }
                chunks.insert(chunk.as_bytes(), xorbs.as_slice())?;
            }
            Ok(())
        })
    }

    /// The xorbs to tell of when asked about a chunk; `None` if it is not remembered.
    pub(in super::super) fn xorbs_about(&self, chunk: ChunkHash) -> Result<Option<Vec<XorbHash>>, StoreError> {
        self.metadata.read(|transaction| {
            let Some(xorbs) = transaction.open_table(CHUNKS)?.get(chunk.as_bytes())? else { return Ok(None) };
            let (xorbs, _) = xorbs.value().as_chunks::<32>();
            Ok(Some(xorbs.iter().map(|xorb| XorbHash::from_bytes(*xorb)).collect()))
        })
    }

    /// A shard of these xorbs, or of the first of them, with their chunks under a key. `None` if none is here.
    pub(in super::super) fn keyed_shard(
        &self,
        xorbs: &[XorbHash],
        key: [u8; 32],
        created: u64,
        key_expiry: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut shard = StoredShard { files: Vec::new(), xorbs: Vec::new(), key: None, created, key_expiry };
        let mut chunks = 0;
        for &hash in xorbs {
            // Whoever is told of it need not upload it.
            if !self.has_xorb(hash)? {
                continue;
            }
            let footer = self.footer(hash)?;
            let leaves = footer.leaves().to_vec();
            chunks += leaves.len();
            if chunks > ANSWER_CHUNKS_MAX && !shard.xorbs.is_empty() {
                break;
            }
            let known = (0..).zip(&leaves).filter(|(_, leaf)| leaf.hash.is_global_dedup_eligible());
            let global_dedup_chunks = known.map(|(index, _)| index).collect();
            // No records of a xorb are longer than a u32 says: `SERIALIZED_BYTES_MAX`.
            let serialized_bytes = footer.serialized_bytes() as u32;
            shard.xorbs.push(StoredXorb { xorb: ShardXorb { hash, leaves }, serialized_bytes, global_dedup_chunks });
        }
        if shard.xorbs.is_empty() {
            return Ok(None);
        }
        shard.apply_key(key)?;
        Ok(Some(shard.encode(LookupTables::NONE)))
    }
}

/// The first xorbs of these terms, one after the other.
fn xorbs_of(terms: &[Term]) -> Vec<u8> {
    let mut xorbs: Vec<XorbHash> = Vec::new();
    for term in terms.iter().take(TERMS_MAX) {
        if xorbs.len() == XORBS_MAX {
            break;
        }
        if !xorbs.contains(&term.xorb) {
            xorbs.push(term.xorb);
        }
    }
    xorbs.iter().flat_map(|xorb| *xorb.as_bytes()).collect()
}

/// Appends those that are not among the first ones, as long as there is room.
fn append_unknown(xorbs: &mut Vec<u8>, others: &[u8]) {
    for other in others.as_chunks::<32>().0 {
        if xorbs.len() < XORBS_MAX * other.len() && !xorbs.as_chunks::<32>().0.contains(other) {
            xorbs.extend_from_slice(other);
        }
    }
}
