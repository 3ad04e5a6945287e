//! Lookup tables of a shard: where to find what has a hash that begins so.

use super::footer::{Footer, ROW_BYTES, TableAt};
use super::{ShardFile, StoredXorb};
use crate::Error;

/// Which lookup tables are written behind the sections of a shard.
///
/// They serve readers that do not want to read all of it, as the deployed client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LookupTables {
    /// The one of files.
    pub files: bool,
    /// The one of xorbs.
    pub xorbs: bool,
    /// The one of chunks, under the shard's key if it has one.
    pub chunks: bool,
}

impl LookupTables {
    /// All of them, as a client stores its shards.
    pub const ALL: Self = Self { files: true, xorbs: true, chunks: true };
    /// None, as a server stores them.
    pub const NONE: Self = Self { files: false, xorbs: false, chunks: false };
}

/// A row: the first eight bytes of the hash as a number, the entry of the file or xorb (counted from the first of its section),
/// and the chunk in the xorb.
type Row = (u64, u32, u32);

/// Appends tables and tells where they are. One that is not written stands, empty, where it would be.
pub(super) fn write(
    out: &mut Vec<u8>,
    tables: LookupTables,
    files: &[&ShardFile],
    xorbs: &[&StoredXorb],
) -> [TableAt; 3] {
    let rows = [
        tables.files.then(|| file_rows(files.iter().copied())),
        tables.xorbs.then(|| xorb_rows(xorbs.iter().copied())),
        tables.chunks.then(|| chunk_rows(xorbs.iter().copied())),
    ];
    let mut at = [TableAt { start: 0, rows: 0 }; 3];
    for ((at, rows), row_bytes) in at.iter_mut().zip(rows).zip(ROW_BYTES) {
        let rows = rows.unwrap_or_default();
        *at = TableAt { start: out.len() as u64, rows: rows.len() as u64 };
        for (key, entry, chunk) in rows {
            out.extend_from_slice(&key.to_le_bytes());
            out.extend_from_slice(&entry.to_le_bytes());
            if row_bytes == 16 {
                out.extend_from_slice(&chunk.to_le_bytes());
            }
        }
    }
    at
}

/// Checks that rows ascend and point at what they say. `bytes` are the tables, whose lengths were checked. Rows may be
/// missing: then a lookup finds less.
pub(super) fn check(bytes: &[u8], footer: &Footer, files: &[ShardFile], xorbs: &[StoredXorb]) -> Result<(), Error> {
    let mut rest = bytes;
    for (which, (table, row_bytes)) in footer.tables.iter().zip(ROW_BYTES).enumerate() {
        let (table, behind) = rest.split_at((table.rows * row_bytes) as usize);
        rest = behind;
        if table.is_empty() {
            continue;
        }
        let expected = match which {
            0 => file_rows(files.iter()),
            1 => xorb_rows(xorbs.iter()),
            _ => chunk_rows(xorbs.iter()),
        };
        let rows: Vec<Row> = table.chunks_exact(row_bytes as usize).map(read_row).collect();
        Error::check_bounds("rows of a table in a shard", rows.len() as u64, 0, expected.len() as u64)?;
        for neighbours in rows.windows(2) {
            let [(key, ..), (next, ..)] = [neighbours[0], neighbours[1]];
            Error::check_bounds("hash in a table in a shard", next, key, u64::MAX)?;
        }
        for row in rows {
            if expected.binary_search(&row).is_err() {
                return Err(Error::Mismatch {
                    what: "table and entries of a shard",
                    left: row.1.into(),
                    right: row.2.into(),
                });
            }
        }
    }
    Ok(())
}

fn read_row(bytes: &[u8]) -> Row {
    let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
    let chunk = if bytes.len() == 16 { word(12) } else { 0 };
    (truncated(bytes), word(8), chunk)
}

fn truncated(hash: &[u8]) -> u64 {
    hash.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

fn file_rows<'a>(files: impl Iterator<Item = &'a ShardFile>) -> Vec<Row> {
    let mut entry = 0;
    let row = |file: &ShardFile| {
        let row = (truncated(file.hash.as_bytes()), entry, 0);
        entry += file.entries() as u32;
        row
    };
    sorted(files.map(row).collect())
}

fn xorb_rows<'a>(xorbs: impl Iterator<Item = &'a StoredXorb>) -> Vec<Row> {
    let row = |(stored, entry): (&StoredXorb, u32)| (truncated(stored.xorb.hash.as_bytes()), entry, 0);
    sorted(numbered(xorbs).map(row).collect())
}

fn chunk_rows<'a>(xorbs: impl Iterator<Item = &'a StoredXorb>) -> Vec<Row> {
    let rows = |(stored, entry): (&'a StoredXorb, u32)| {
        let leaves = stored.xorb.leaves.iter().zip(0_u32..);
        leaves.map(move |(leaf, chunk)| (truncated(leaf.hash.as_bytes()), entry, chunk))
    };
    sorted(numbered(xorbs).flat_map(rows).collect())
}

/// Xorbs with the entries at which they begin.
fn numbered<'a>(xorbs: impl Iterator<Item = &'a StoredXorb>) -> impl Iterator<Item = (&'a StoredXorb, u32)> {
    xorbs.scan(0, |next, stored| {
        let entry = *next;
        *next += stored.xorb.entries() as u32;
        Some((stored, entry))
    })
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_unstable();
    rows
}
