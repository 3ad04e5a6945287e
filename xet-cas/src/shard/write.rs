//! Serializes a shard in the form in which it is uploaded.

use super::{
    BOOKEND, ENTRY_BYTES, FILE_HAS_METADATA, FILE_HAS_VERIFICATION, HEADER_BYTES, Shard, ShardFile, ShardXorb, TAG,
    VERSION,
};
use crate::hash::swap_groups;

impl Shard {
    /// The upload form: no lookup tables, no footer. Files and xorbs are written in hash order, whatever
    /// their order here.
    pub fn encode_upload(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + ENTRY_BYTES * (2 + self.entries()));
        out.extend_from_slice(&TAG);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&0_u64.to_le_bytes());

        let mut files: Vec<&ShardFile> = self.files.iter().collect();
        files.sort_by_key(|file| file.hash);
        for file in files {
            write_file(&mut out, file);
        }
        bookend(&mut out);

        let mut xorbs: Vec<&ShardXorb> = self.xorbs.iter().collect();
        xorbs.sort_by_key(|xorb| xorb.hash);
        for xorb in xorbs {
            write_xorb(&mut out, xorb);
        }
        bookend(&mut out);
        out
    }

    /// Bytes of the upload form.
    pub fn upload_bytes(&self) -> usize {
        HEADER_BYTES + ENTRY_BYTES * (2 + self.entries())
    }

    fn entries(&self) -> usize {
        let file = |file: &ShardFile| {
            1 + file.terms.len() + file.verification.as_ref().map_or(0, Vec::len) + usize::from(file.sha256.is_some())
        };
        self.files.iter().map(file).sum::<usize>() + self.xorbs.iter().map(|xorb| 1 + xorb.leaves.len()).sum::<usize>()
    }
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

/// The serialized size of the xorb is 0 and the deduplication flags are clear, as in the deployed client:
/// both are the server's to fill in.
fn write_xorb(out: &mut Vec<u8>, xorb: &ShardXorb) {
    let raw_bytes: u32 = xorb.leaves.iter().map(|leaf| leaf.length).sum();
    entry(out, xorb.hash.as_bytes(), [0, xorb.leaves.len() as u32, raw_bytes, 0]);
    let mut offset = 0;
    for leaf in &xorb.leaves {
        entry(out, leaf.hash.as_bytes(), [offset, leaf.length, 0, 0]);
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
