//! The footer of a shard: where its parts are, how long it may be used, and how much it describes.

use super::HEADER_BYTES;
use super::read::Sections;
use crate::Error;

/// Bytes of the footer.
pub(super) const FOOTER_BYTES: usize = 200;
const VERSION: u64 = 1;

/// What the footer says, but for what is always the same.
///
/// # Wire shape
/// u64 but for the key: version; offsets of the file and the xorb section; offset and rows of the tables of files, xorbs and
/// chunks; key (32 bytes, zeros: none); creation, expiry (Unix seconds); 48 bytes of zeros; serialized, file and raw bytes;
/// offset of the footer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) xorbs_start: u64,
    /// Of files, of xorbs, of chunks.
    pub(super) tables: [TableAt; 3],
    pub(super) key: Option<[u8; 32]>,
    pub(super) created: u64,
    pub(super) key_expiry: u64,
    pub(super) serialized_bytes: u64,
    pub(super) file_bytes: u64,
    pub(super) raw_bytes: u64,
    /// Where the footer itself begins.
    pub(super) start: u64,
}

/// Where a lookup table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TableAt {
    pub(super) start: u64,
    pub(super) rows: u64,
}

/// Bytes of a row of each table: the truncated hash, and one index or two.
pub(super) const ROW_BYTES: [u64; 3] = [12, 12, 16];

impl Footer {
    pub(super) fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = [0; FOOTER_BYTES];
        let mut put = |at: usize, word: u64| out[at..at + 8].copy_from_slice(&word.to_le_bytes());
        put(0, VERSION);
        put(8, HEADER_BYTES as u64);
        put(16, self.xorbs_start);
        for (table, at) in self.tables.iter().zip((24..).step_by(16)) {
            put(at, table.start);
            put(at + 8, table.rows);
        }
        put(104, self.created);
        put(112, self.key_expiry);
        put(168, self.serialized_bytes);
        put(176, self.file_bytes);
        put(184, self.raw_bytes);
        put(192, self.start);
        out[72..104].copy_from_slice(&self.key.unwrap_or_default());
        out
    }

    pub(super) fn decode(bytes: &[u8; FOOTER_BYTES]) -> Result<Self, Error> {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Error::check_bounds("version of a shard footer", word(0), VERSION, VERSION)?;
        Error::check_equal("offset of the files in a shard", word(8), HEADER_BYTES as u64)?;
        let key: [u8; 32] = std::array::from_fn(|i| bytes[72 + i]);
        Ok(Self {
            xorbs_start: word(16),
            tables: [24, 40, 56].map(|at| TableAt { start: word(at), rows: word(at + 8) }),
            key: (key != [0; 32]).then_some(key),
            created: word(104),
            key_expiry: word(112),
            serialized_bytes: word(168),
            file_bytes: word(176),
            raw_bytes: word(184),
            start: word(192),
        })
    }

    /// Checks that the parts are where the footer says, one behind the other, with `tables_bytes` between the sections and the
    /// footer. The sums are for statistics and not checked.
    pub(super) fn check(&self, sections: &Sections, tables_bytes: usize) -> Result<(), Error> {
        Error::check_equal("offset of the xorbs in a shard", self.xorbs_start, sections.xorbs_start as u64)?;
        Error::check_equal("offset of a shard footer", self.start, (sections.end + tables_bytes) as u64)?;
        let mut end = sections.end as u64;
        // The deployed client takes it for the end of the xorbs, also where there are no tables.
        Error::check_equal("offset of the table of files in a shard", self.tables[0].start, end)?;
        for (table, row_bytes) in self.tables.iter().zip(ROW_BYTES) {
            let rows_max = (self.start - end) / row_bytes;
            Error::check_bounds("rows of a table in a shard", table.rows, 0, rows_max)?;
            if table.rows > 0 {
                Error::check_equal("offset of a table in a shard", table.start, end)?;
            }
            end += table.rows * row_bytes;
        }
        Error::check_equal("end of the tables and offset of a shard footer", end, self.start)
    }
}
