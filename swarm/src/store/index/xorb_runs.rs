//! Which runs of xorbs lie in files that were verified, so that what another file's terms name can be copied.
//!
//! Kept by content, not by place: what a file is made of stays true wherever it lies.

use std::collections::HashMap;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable as _, TableDefinition, TableError, WriteTransaction};
use xet_cas::{ChunkRange, FileHash, XorbHash};

use super::{BY_CONTENT, FILES, FileRecord};

/// Xorb, first chunk of it, file.
type RunKey = (&'static [u8; 32], u32, &'static [u8; 32]);
/// [`RunKey`] → end of the run in the xorb, its first chunk in the file.
const XORB_RUNS: TableDefinition<'_, RunKey, (u32, u32)> = TableDefinition::new("xorb_runs");
/// Runs that are told of the same chunks, at most: when none of so many files is there any more, others hardly are.
const HOLDERS_MAX: usize = 4;
/// Runs of one xorb that are looked at, at most: a file names a xorb some dozens of times, and hundreds of revisions may
/// share it.
const LOOKED_AT_MAX: usize = 16 * 1024;

/// A run of a xorb's chunks in a file that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldRun {
    /// Chunks of the xorb.
    pub(crate) chunks: ChunkRange,
    /// The file as it was when it was verified.
    pub(crate) file: Arc<FileRecord>,
    /// Where the run begins in the file's leaf list.
    pub(crate) first_chunk: u32,
}

pub(super) fn write(transaction: &WriteTransaction, records: &[FileRecord]) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(XORB_RUNS)?;
    for record in records {
        let Some(Ok(file)) = record.xet_hash.as_ref().map(|text| text.parse::<FileHash>()) else { continue };
        for run in record.runs.iter() {
            let key = (run.xorb.as_bytes(), run.chunks.start, file.as_bytes());
            // A file may name the same chunks twice; the longest of such runs holds the others.
            if table.get(key)?.is_none_or(|held| held.value().0 < run.chunks.end) {
                table.insert(key, (run.chunks.end, run.first_chunk))?;
            }
        }
    }
    Ok(())
}

/// Runs of each of these xorbs, by ascending first chunk. Those that enough others hold are left out.
pub(super) fn read(transaction: &ReadTransaction, xorbs: &[XorbHash]) -> Result<Vec<Vec<HeldRun>>, redb::Error> {
    let table = match transaction.open_table(XORB_RUNS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(vec![Vec::new(); xorbs.len()]),
        table => table?,
    };
    let (files, by_content) = (transaction.open_table(FILES)?, transaction.open_table(BY_CONTENT)?);
    let record = |file: FileHash| {
        let name = file.to_string();
        let Some(identity) = by_content.get(name.as_str())? else { return Ok(None) };
        let Some(value) = files.get(identity.value())? else { return Ok(None) };
        let record = serde_json::from_slice::<FileRecord>(value.value()).ok();
        // Another file may have the place of the one that is meant.
        Ok::<_, redb::Error>(record.filter(|record| record.xet_hash == Some(name)).map(Arc::new))
    };
    let mut records: HashMap<FileHash, Option<Arc<FileRecord>>> = HashMap::new();
    let mut held = Vec::with_capacity(xorbs.len());
    for xorb in xorbs {
        let mut runs = Vec::new();
        // Where the runs end that are told and reach furthest, ascending.
        let mut ends = [0; HOLDERS_MAX];
        let all_of_it = (xorb.as_bytes(), 0, &[0; 32])..=(xorb.as_bytes(), u32::MAX, &[u8::MAX; 32]);
        for row in table.range(all_of_it)?.take(LOOKED_AT_MAX) {
            let (key, value) = row?;
            let ((_, start, file), (end, first_chunk)) = (key.value(), value.value());
            if end <= ends[0] {
                continue;
            }
            let file = FileHash::from_bytes(*file);
            let known = match records.get(&file) {
                Some(known) => known.clone(),
                None => records.entry(file).or_insert(record(file)?).clone(),
            };
            let Some(file) = known else { continue };
            runs.push(HeldRun { chunks: ChunkRange { start, end }, file, first_chunk });
            ends[0] = end;
            ends.sort_unstable();
        }
        held.push(runs);
    }
    Ok(held)
}
