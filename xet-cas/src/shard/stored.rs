//! Shards with a footer: what clients and servers keep, and what a CAS answers about a chunk.

use super::footer::{FOOTER_BYTES, Footer};
use super::read::Sections;
use super::tables::{self, LookupTables};
use super::{SHARD_BYTES_MAX, Shard, ShardFile, ShardXorb, write};
use crate::{ChunkHash, Error};

/// Largest shard with tables and footer that is read, bytes: a row of 16 for each entry of 48.
pub const STORED_SHARD_BYTES_MAX: usize = SHARD_BYTES_MAX + SHARD_BYTES_MAX / 3 + FOOTER_BYTES;
/// [`StoredShard::key_expiry`] of a shard that is valid for ever.
pub const NEVER_EXPIRES: u64 = u64::MAX;

/// A shard with a footer, in one of these forms:
///
/// | form | how to get there from [`Shard`] |
/// |---|---|
/// | a client's own | [`from`](Self::from), [`LookupTables::ALL`] |
/// | a server's own | [`mark_file_starts`](Self::mark_file_starts), `key_expiry` 0, verification of the files perhaps left out, [`LookupTables::NONE`] |
/// | answer about a chunk | the same without files, and with a `key_expiry` to come: clients forget what expired in 1970; usually [keyed](Self::apply_key) |
/// | keyed export | [`apply_key`](Self::apply_key), `created` and `key_expiry`, any tables |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredShard {
    /// The files.
    pub files: Vec<ShardFile>,
    /// The xorbs.
    pub xorbs: Vec<StoredXorb>,
    /// Under which key the chunks of the xorbs are listed; `None`: by their own hashes.
    pub key: Option<[u8; 32]>,
    /// When it was written, Unix seconds. 0 where the same content shall give the same bytes.
    pub created: u64,
    /// Until when it may be used, Unix seconds.
    pub key_expiry: u64,
}

/// The chunks of one xorb, and what a server adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredXorb {
    /// Its name and chunks.
    pub xorb: ShardXorb,
    /// Bytes of its records, compressed. Clients leave it at 0.
    pub serialized_bytes: u32,
    /// Indices of the chunks that the CAS knows of when it is asked about a chunk, ascending. Clients list none.
    pub global_dedup_chunks: Vec<u32>,
}

impl From<Shard> for StoredShard {
    /// As a client stores it: valid for ever, the rest is the server's to fill in.
    fn from(shard: Shard) -> Self {
        let stored = |xorb| StoredXorb { xorb, serialized_bytes: 0, global_dedup_chunks: vec![] };
        let xorbs = shard.xorbs.into_iter().map(stored).collect();
        Self { files: shard.files, xorbs, key: None, created: 0, key_expiry: NEVER_EXPIRES }
    }
}

impl StoredShard {
    /// Reads a shard with a footer. Its tables are checked against its sections and not kept.
    ///
    /// Counts and offsets are checked against the bytes that are there before anything is allocated for them. Hashes are not
    /// recomputed.
    ///
    /// # Errors
    /// What [`Shard::decode_upload`] finds wrong; a missing footer, one of another version, or one whose offsets are not those
    /// of the sections; a table with a row that points elsewhere than it says.
    pub fn decode(data: &[u8]) -> Result<Self, Error> {
        Error::check_bounds("bytes of a shard", data.len() as u64, 0, STORED_SHARD_BYTES_MAX as u64)?;
        let sections = Sections::read(data)?;
        let behind = &data[sections.end..];
        let (tables, footer) = behind
            .split_last_chunk::<FOOTER_BYTES>()
            .ok_or_else(|| Error::truncated("shard footer", FOOTER_BYTES, behind.len()))?;
        let footer = Footer::decode(footer)?;
        footer.check(&sections, tables.len())?;
        tables::check(tables, &footer, &sections.files, &sections.xorbs)?;
        let Sections { files, xorbs, .. } = sections;
        Ok(Self { files, xorbs, key: footer.key, created: footer.created, key_expiry: footer.key_expiry })
    }

    /// Writes the shard with these tables and a footer. Files and xorbs are written in hash order, whatever their order here.
    pub fn encode(&self, tables: LookupTables) -> Vec<u8> {
        let files = write::sorted(&self.files, |file| file.hash);
        let xorbs = write::sorted(&self.xorbs, |stored| stored.xorb.hash);
        let mut out = Vec::new();
        write::header(&mut out, FOOTER_BYTES as u64);
        write::files(&mut out, &files);
        let xorbs_start = out.len();
        write::xorbs(&mut out, &xorbs);
        let tables = tables::write(&mut out, tables, &files, &xorbs);
        let terms = self.files.iter().flat_map(|file| &file.terms);
        let leaves = self.xorbs.iter().flat_map(|stored| &stored.xorb.leaves);
        let footer = Footer {
            xorbs_start: xorbs_start as u64,
            tables,
            key: self.key,
            created: self.created,
            key_expiry: self.key_expiry,
            serialized_bytes: self.xorbs.iter().map(|stored| u64::from(stored.serialized_bytes)).sum(),
            file_bytes: terms.map(|term| u64::from(term.unpacked_length)).sum(),
            raw_bytes: leaves.map(|leaf| u64::from(leaf.length)).sum(),
            start: out.len() as u64,
        };
        out.extend_from_slice(&footer.encode());
        out
    }

    /// Whether it may not be used any more at this time, Unix seconds.
    pub fn is_expired(&self, now: u64) -> bool {
        now > self.key_expiry
    }

    /// Adds to the chunks that the CAS knows of those with which a file of this shard begins.
    pub fn mark_file_starts(&mut self) {
        let mut starts: Vec<_> = self
            .files
            .iter()
            .filter_map(|file| file.terms.first())
            .map(|term| (term.xorb, term.chunks.start))
            .collect();
        starts.sort_unstable();
        for stored in &mut self.xorbs {
            let of_xorb = &starts[starts.partition_point(|(xorb, _)| *xorb < stored.xorb.hash)..];
            let of_xorb = of_xorb.iter().take_while(|(xorb, _)| *xorb == stored.xorb.hash).map(|(_, chunk)| *chunk);
            let in_xorb = of_xorb.filter(|chunk| (*chunk as usize) < stored.xorb.leaves.len());
            stored.global_dedup_chunks.extend(in_xorb);
            stored.global_dedup_chunks.sort_unstable();
            stored.global_dedup_chunks.dedup();
        }
    }

    /// Lists the chunks under a key from here on, so that only who has a chunk can find it. A key of zeros means none and
    /// changes nothing.
    ///
    /// # Errors
    /// [`Error::Keyed`] if they are listed under one already.
    pub fn apply_key(&mut self, key: [u8; 32]) -> Result<(), Error> {
        if self.key.is_some() {
            return Err(Error::Keyed);
        }
        if key != [0; 32] {
            let hashes = self.xorbs.iter_mut().flat_map(|stored| &mut stored.xorb.leaves).map(|leaf| &mut leaf.hash);
            hashes.for_each(|hash: &mut ChunkHash| *hash = hash.keyed(&key));
            self.key = Some(key);
        }
        Ok(())
    }

    /// The files and xorbs alone. The chunks stay listed as they are: [`key`](Self::key) says how.
    pub fn into_shard(self) -> Shard {
        Shard { files: self.files, xorbs: self.xorbs.into_iter().map(|stored| stored.xorb).collect() }
    }
}
