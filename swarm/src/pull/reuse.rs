//! Copying what other files on this machine hold: chunks of the same xorbs, by the terms that both files are made of.
//! Every chunk is read and hashed on the way.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use xet_cas::{FileHash, Leaf, XorbHash};

use crate::Error;
use crate::plan::FilePlan;
use crate::present::Present;
use crate::store::{FileRecord, Identity, Index, Partial};
use crate::verified::{HashedChunk, chunk_offsets};

/// Files that are copied from, at most: each is open, and its chunk list was read.
const SOURCES_MAX: usize = 64;

/// Copies what there is of the plan into the partial file, and adds it to what is `present`. Trouble with the index or
/// with a source means that there is nothing to copy.
pub(super) fn copy(partial: &Partial, plan: &FilePlan, index: &Index, present: &mut Present) -> Result<(), Error> {
    let held = Held::look(plan, index);
    let mut buffer = Vec::new();
    for (xorb, term) in plan.terms_of_xorbs() {
        let Some(chunks) = held.chunks.get(&xorb) else { continue };
        // Where a chunk belongs is known from the lengths of all before it, or of all behind it.
        let mut offset = term.file_offset;
        for held_chunk in term.chunks.indices().map_while(|chunk| chunks.get(&chunk)) {
            held.copy(held_chunk, offset, partial, present, &mut buffer)?;
            offset += u64::from(held_chunk.leaf.length);
        }
        let mut offset = term.file_offset + u64::from(term.unpacked_length);
        for held_chunk in term.chunks.indices().rev().map_while(|chunk| chunks.get(&chunk)) {
            let Some(start) = offset.checked_sub(held_chunk.leaf.length.into()) else { break };
            offset = start;
            held.copy(held_chunk, offset, partial, present, &mut buffer)?;
        }
    }
    Ok(())
}

/// What other files hold of the xorbs of a plan.
#[derive(Default)]
struct Held {
    sources: Vec<File>,
    /// Per xorb, by index of the chunk.
    chunks: HashMap<XorbHash, BTreeMap<u32, HeldChunk>>,
}

struct HeldChunk {
    source: usize,
    offset: u64,
    leaf: Leaf,
}

impl Held {
    fn look(plan: &FilePlan, index: &Index) -> Self {
        let mut xorbs: Vec<XorbHash> = plan.runs.iter().map(|run| run.xorb).collect();
        xorbs.sort_unstable_by_key(|xorb| *xorb.as_bytes());
        xorbs.dedup();
        let runs = index.xorb_runs(&xorbs).unwrap_or_else(|error| {
            tracing::info!(%error, "nothing can be copied from other files");
            Vec::new()
        });
        let mut by_file = BTreeMap::new();
        for (xorb, run) in
            xorbs.into_iter().zip(runs).flat_map(|(xorb, runs)| runs.into_iter().map(move |run| (xorb, run)))
        {
            by_file.entry(run.file.path.clone()).or_insert_with(Vec::new).push((xorb, run));
        }
        let mut held = Self::default();
        for runs in by_file.into_values().take(SOURCES_MAX) {
            let Some((file, leaves)) = runs.first().and_then(|(_, run)| open(&run.file, index)) else { continue };
            let (source, offsets) = (held.sources.len(), chunk_offsets(&leaves));
            for (xorb, run) in runs {
                let of_xorb = held.chunks.entry(xorb).or_default();
                let of_file = leaves.iter().zip(&offsets).skip(run.first_chunk as usize);
                for (chunk, (leaf, offset)) in run.chunks.indices().zip(of_file) {
                    of_xorb.entry(chunk).or_insert(HeldChunk { source, offset: *offset, leaf: *leaf });
                }
            }
            held.sources.push(file);
        }
        held
    }

    /// Copies a chunk, if it is still what it was.
    fn copy(
        &self,
        HeldChunk { source, offset: from, leaf }: &HeldChunk,
        to: u64,
        partial: &Partial,
        present: &mut Present,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if present.contains(to) {
            return Ok(());
        }
        buffer.resize(leaf.length as usize, 0);
        let read = self.sources[*source].read_exact_at(buffer, *from);
        let chunk = HashedChunk::new(buffer);
        if read.is_ok() && chunk.leaf() == *leaf {
            partial.write_chunk(&chunk, to)?;
            partial.note(to, *leaf);
            present.insert(to, *leaf);
        }
        Ok(())
    }
}

/// A file that is as it was when it was verified, and its chunks.
fn open(record: &FileRecord, index: &Index) -> Option<(File, Vec<Leaf>)> {
    let file = File::open(&record.path).ok()?;
    if Identity::of_file(&file).ok()? != record.identity {
        return None;
    }
    let hash: FileHash = record.xet_hash.as_ref()?.parse().ok()?;
    Some((file, index.leaves(hash)?))
}
