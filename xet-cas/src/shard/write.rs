//! Serializes the sections of a shard, which are all that the upload form has.

use super::{
    BOOKEND, CHUNK_IN_GLOBAL_DEDUP, ENTRY_BYTES, FILE_HAS_METADATA, FILE_HAS_VERIFICATION, HEADER_BYTES, Shard,
    ShardFile, ShardXorb, StoredXorb, TAG, VERSION,
};
use crate::hash::swap_groups;

impl Shard {
    /// The upload form: no lookup tables, no footer. Files and xorbs are written in hash order, whatever
    /// their order here.
    pub fn encode_upload(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.upload_bytes());
        header(&mut out, 0);
        files(&mut out, &sorted(&self.files, |file| file.hash));
        // The serialized size of a xorb is 0 and the deduplication flags are clear, as in the deployed client: both are
        // the server's to fill in.
        for xorb in sorted(&self.xorbs, |xorb| xorb.hash) {
            write_xorb(&mut out, xorb, 0, &[]);
        }
        bookend(&mut out);
        out
    }

    /// Bytes of the upload form.
    pub fn upload_bytes(&self) -> usize {
        let files = self.files.iter().map(ShardFile::entries).sum::<usize>();
        let xorbs = self.xorbs.iter().map(ShardXorb::entries).sum::<usize>();
        HEADER_BYTES + ENTRY_BYTES * (2 + files + xorbs)
    }
}

/// References in the order of what they are called.
pub(super) fn sorted<T, K: Ord>(items: &[T], name: impl Fn(&T) -> K) -> Vec<&T> {
    let mut sorted: Vec<&T> = items.iter().collect();
    sorted.sort_by_key(|item| name(item));
    sorted
}

/// The header; `footer_bytes` is 0 if there is no footer.
pub(super) fn header(out: &mut Vec<u8>, footer_bytes: u64) {
    out.extend_from_slice(&TAG);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&footer_bytes.to_le_bytes());
}

/// The file section.
pub(super) fn files(out: &mut Vec<u8>, files: &[&ShardFile]) {
    for file in files {
        write_file(out, file);
    }
    bookend(out);
}

/// The xorb section.
pub(super) fn xorbs(out: &mut Vec<u8>, xorbs: &[&StoredXorb]) {
    for StoredXorb { xorb, serialized_bytes, global_dedup_chunks } in xorbs {
        write_xorb(out, xorb, *serialized_bytes, global_dedup_chunks);
    }
    bookend(out);
}

fn write_file(out: &mut Vec<u8>, file: &ShardFile) {
    let mut flags = 0;
    if file.verification.is_some() {
        flags |= FILE_HAS_VERIFICATION;
    }
    if file.sha256.is_some() {
        flags |= FILE_HAS_METADATA;
    }
    entry(out, file.hash.as_bytes(), [flags, file.terms.len() as u32, 0, 0]);
    for term in &file.terms {
        entry(out, term.xorb.as_bytes(), [0, term.unpacked_length, term.chunks.start, term.chunks.end]);
    }
    for hash in file.verification.iter().flatten() {
        entry(out, hash.as_bytes(), [0; 4]);
    }
    if let Some(sha256) = &file.sha256 {
        entry(out, &swap_groups(sha256), [0; 4]);
    }
}

fn write_xorb(out: &mut Vec<u8>, xorb: &ShardXorb, serialized_bytes: u32, global_dedup_chunks: &[u32]) {
    let raw_bytes: u32 = xorb.leaves.iter().map(|leaf| leaf.length).sum();
    entry(out, xorb.hash.as_bytes(), [0, xorb.leaves.len() as u32, raw_bytes, serialized_bytes]);
    let mut offset = 0;
    for (leaf, chunk) in xorb.leaves.iter().zip(0..) {
        let flags = if global_dedup_chunks.binary_search(&chunk).is_ok() { CHUNK_IN_GLOBAL_DEDUP } else { 0 };
        entry(out, leaf.hash.as_bytes(), [offset, leaf.length, flags, 0]);
        offset += leaf.length;
    }
}

fn bookend(out: &mut Vec<u8>) {
    entry(out, &BOOKEND, [0; 4]);
}

fn entry(out: &mut Vec<u8>, hash: &[u8; 32], words: [u32; 4]) {
    out.extend_from_slice(hash);
    for word in words {
        out.extend_from_slice(&word.to_le_bytes());
    }
}
