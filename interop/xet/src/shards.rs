//! Shards of one are read by the other and are the same bytes, in every form that both have.

use xet_cas::shard::{Shard, ShardFile, ShardXorb};
use xet_cas::{ChunkRange, FileHash, Leaf, RangeHash, Term, chunks};
use xet_core_structures::metadata_shard::file_structs::{
    FileDataSequenceEntry, FileDataSequenceHeader, FileMetadataExt, FileVerificationEntry, MDBFileInfo,
};
use xet_core_structures::metadata_shard::shard_file::MDBShardInfo;
use xet_core_structures::metadata_shard::shard_in_memory::MDBInMemoryShard;
use xet_core_structures::metadata_shard::xorb_structs::{MDBXorbInfo, XorbChunkSequenceEntry, XorbChunkSequenceHeader};

use crate::files::File;
use crate::noise::Noise;
use crate::{Check, Difference, equal, taken};

pub const PROMISES: [(&str, Check); 3] = [
    ("shards of the upload form are the same bytes", |files| same_bytes(&UPLOAD, files)),
    ("shards of the upload form that we wrote are read by the deployed client", |files| {
        theirs_reads_ours(&UPLOAD, files)
    }),
    ("shards of the upload form that the deployed client wrote are read by us", |files| {
        ours_reads_theirs(&UPLOAD, files)
    }),
];

/// How both write and read one form.
struct Form {
    write: fn(&Shard) -> Result<Vec<u8>, Difference>,
    read: fn(&[u8]) -> Result<Shard, Difference>,
    their_write: fn(&MDBInMemoryShard) -> Result<Vec<u8>, Difference>,
    their_read: fn(&[u8]) -> Result<MDBInMemoryShard, Difference>,
}

const UPLOAD: Form = Form {
    write: |shard| Ok(shard.encode_upload()),
    read: |bytes| taken("upload form", "us", Shard::decode_upload(bytes)),
    their_write: |shard| {
        let mut bytes = Vec::new();
        let info = taken("full form", "its writer", MDBShardInfo::serialize_from(&mut bytes, shard, None))?;
        // What the deployed client sends is the file that it keeps, up to the tables, without the length of a footer.
        bytes.truncate(info.metadata.file_lookup_offset as usize);
        bytes[40..48].fill(0);
        Ok(bytes)
    },
    their_read: |mut bytes| taken("upload form", "their reader", MDBInMemoryShard::from_reader(&mut bytes)),
};

/// Shards of no files, of few, of all; files with and without what is optional.
fn shards(files: &[File], mut check: impl FnMut(&str, Shard) -> Result<(), Difference>) -> Result<(), Difference> {
    let mut noise = Noise::new(files.len() as u64);
    for count in [0, 1, 2, 10, files.len()] {
        for (is_verified, has_sha256) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut shard = Shard::default();
            for file in &files[..count] {
                add(&mut shard, file, is_verified, has_sha256.then(|| std::array::from_fn(|_| noise.next() as u8)));
            }
            check(&format!("{count} files, verification {is_verified}, SHA-256 {has_sha256}"), shard)?;
        }
    }
    Ok(())
}

/// The file in a xorb of its own, as a term for each half of it, so that chunks other than the first begin terms.
fn add(shard: &mut Shard, file: &File, is_verified: bool, sha256: Option<[u8; 32]>) {
    let leaves: Vec<Leaf> = chunks(&file.bytes).map(Leaf::of).collect();
    let hash = Leaf::file_hash(&leaves);
    if shard.files.iter().any(|known| known.hash == hash) {
        return;
    }
    let xorb = Leaf::xorb_hash(&leaves);
    let halves = [0..leaves.len() / 2, leaves.len() / 2..leaves.len()];
    let runs: Vec<_> = halves.into_iter().filter(|run| !run.is_empty()).collect();
    let term = |run: &std::ops::Range<usize>| Term {
        xorb,
        chunks: ChunkRange { start: run.start as u32, end: run.end as u32 },
        unpacked_length: leaves[run.clone()].iter().map(|leaf| leaf.length).sum(),
    };
    let range_hash = |run: &std::ops::Range<usize>| RangeHash::of(leaves[run.clone()].iter().map(|leaf| &leaf.hash));
    let verification = is_verified.then(|| runs.iter().map(range_hash).collect());
    shard.files.push(ShardFile { hash, terms: runs.iter().map(term).collect(), verification, sha256 });
    if hash != FileHash::ZERO && shard.xorbs.iter().all(|known| known.hash != xorb) {
        shard.xorbs.push(ShardXorb { hash: xorb, leaves });
    }
}

fn same_bytes(form: &Form, files: &[File]) -> Result<(), Difference> {
    shards(files, |what, shard| {
        let (ours, theirs) = ((form.write)(&shard)?, (form.their_write)(&translate(&shard)?)?);
        equal(&format!("{what}, length"), ours.len(), theirs.len())?;
        if let Some(at) = (0..ours.len()).find(|at| ours[*at] != theirs[*at]) {
            return Err(format!("{what}: byte {at} of {}", ours.len()));
        }
        Ok(())
    })
}

fn theirs_reads_ours(form: &Form, files: &[File]) -> Result<(), Difference> {
    shards(files, |what, shard| {
        let (expected, read) = (translate(&shard)?, (form.their_read)(&(form.write)(&shard)?)?);
        equal(&format!("{what}, files"), read.file_content, expected.file_content)?;
        equal(&format!("{what}, xorbs"), read.xorb_content, expected.xorb_content)
    })
}

fn ours_reads_theirs(form: &Form, files: &[File]) -> Result<(), Difference> {
    shards(files, |what, mut shard| {
        let read = (form.read)(&(form.their_write)(&translate(&shard)?)?)?;
        // Both write what they have in the order of the hashes.
        shard.files.sort_by_key(|file| file.hash);
        shard.xorbs.sort_by_key(|xorb| xorb.hash);
        equal(what, read, shard)
    })
}

/// The same in their types.
fn translate(shard: &Shard) -> Result<MDBInMemoryShard, Difference> {
    let mut theirs = MDBInMemoryShard::default();
    for xorb in &shard.xorbs {
        let mut end = 0;
        let chunk = |leaf: &Leaf| {
            end += leaf.length;
            XorbChunkSequenceEntry::new(leaf.hash.as_bytes().into(), leaf.length, end - leaf.length)
        };
        let chunks: Vec<_> = xorb.leaves.iter().map(chunk).collect();
        let metadata = XorbChunkSequenceHeader::new(xorb.hash.as_bytes().into(), chunks.len(), end);
        taken("a xorb", "their shard", theirs.add_xorb_block(MDBXorbInfo { metadata, chunks }))?;
    }
    for file in &shard.files {
        let segment = |term: &Term| {
            let ChunkRange { start, end } = term.chunks;
            FileDataSequenceEntry::new(term.xorb.as_bytes().into(), term.unpacked_length, start, end)
        };
        let verification =
            file.verification.iter().flatten().map(|range| FileVerificationEntry::new(range.as_bytes().into()));
        // Their type for a digest holds it as its text reads.
        let sha256 = file.sha256.map(|digest| std::array::from_fn::<u8, 32, _>(|i| digest[i ^ 7]));
        let info = MDBFileInfo {
            metadata: FileDataSequenceHeader::new(
                file.hash.as_bytes().into(),
                file.terms.len(),
                file.verification.is_some(),
                file.sha256.is_some(),
            ),
            segments: file.terms.iter().map(segment).collect(),
            verification: verification.collect(),
            metadata_ext: sha256.map(|digest| FileMetadataExt::new(digest.into())),
        };
        taken("a file", "their shard", theirs.add_file_reconstruction_info(info))?;
    }
    Ok(theirs)
}
