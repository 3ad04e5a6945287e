//! Shards of one are read by the other and are the same bytes, in every form that both have.

use std::io::Cursor;
use std::time::Duration;

use xet_cas::shard::{LookupTables, Shard, ShardFile, ShardXorb, StoredShard};
use xet_cas::{ChunkRange, Error, FileHash, Leaf, RangeHash, Term, chunks};
use xet_core_structures::CoreError;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::file_structs::{
    FileDataSequenceEntry, FileDataSequenceHeader, FileMetadataExt, FileVerificationEntry, MDBFileInfo,
};
use xet_core_structures::metadata_shard::shard_file::MDBShardInfo;
use xet_core_structures::metadata_shard::shard_in_memory::MDBInMemoryShard;
use xet_core_structures::metadata_shard::streaming_shard::MDBMinimalShard;
use xet_core_structures::metadata_shard::xorb_structs::{MDBXorbInfo, XorbChunkSequenceEntry, XorbChunkSequenceHeader};

use crate::files::File;
use crate::noise::Noise;
use crate::{Check, Difference, equal, raw, taken};

const KEY: [u8; 32] = [0x5a; 32];

/// Those that both write byte by byte the same are three promises each.
macro_rules! of_form {
    ($form:ident, $name:literal) => {
        [
            (concat!("shards of the ", $name, " form are the same bytes"), |files| same_bytes(&$form, files)),
            (concat!("shards of the ", $name, " form that we wrote are read by the deployed client"), |files| {
                theirs_reads_ours(&$form, files)
            }),
            (concat!("shards of the ", $name, " form that the deployed client wrote are read by us"), |files| {
                ours_reads_theirs(&$form, files)
            }),
        ]
    };
}

pub const FORMS: [[(&str, Check); 3]; 3] =
    [of_form!(UPLOAD, "upload"), of_form!(CLIENT, "client's own"), of_form!(SERVER, "server's own")];

pub const PROMISES: [(&str, Check); 3] = [
    ("chunks are found by the tables that we wrote", queries),
    ("keyed exports that the deployed client wrote are read by us, and written again the same", keyed_of_theirs),
    ("chunks are found by the deployed client in keyed exports that we wrote", keyed_queries),
];

/// How both write and read one form.
struct Form {
    write: fn(&Shard) -> Vec<u8>,
    read: fn(&[u8]) -> Result<Shard, Error>,
    their_write: fn(&MDBInMemoryShard) -> Result<Vec<u8>, CoreError>,
    their_read: fn(&[u8]) -> Result<MDBInMemoryShard, CoreError>,
}

const UPLOAD: Form = Form {
    write: Shard::encode_upload,
    read: Shard::decode_upload,
    their_write: upload_form,
    their_read: |mut bytes| MDBInMemoryShard::from_reader(&mut bytes),
};

const CLIENT: Form = Form {
    write: |shard| StoredShard::from(shard.clone()).encode(LookupTables::ALL),
    read: |bytes| StoredShard::decode(bytes).map(StoredShard::into_shard),
    their_write: client_form,
    their_read: with_footer,
};

/// What a server makes of an upload.
const SERVER: Form = Form {
    write: |shard| {
        let mut stored = StoredShard::from(shard.clone());
        stored.mark_file_starts();
        stored.key_expiry = 0;
        stored.encode(LookupTables::NONE)
    },
    read: |bytes| StoredShard::decode(bytes).map(StoredShard::into_shard),
    their_write: |shard| {
        let mut bytes = Vec::new();
        let upload = upload_form(shard)?;
        let uploaded = MDBMinimalShard::from_reader(&mut &upload[..], true, true)?;
        uploaded.serialize(&mut bytes, uploaded.has_file_verification(), None)?;
        Ok(bytes)
    },
    their_read: with_footer,
};

/// What the deployed client sends is the file that it keeps, up to the tables, without the length of a footer.
fn upload_form(shard: &MDBInMemoryShard) -> Result<Vec<u8>, CoreError> {
    let mut bytes = Vec::new();
    let info = MDBShardInfo::serialize_from(&mut bytes, shard, None)?;
    bytes.truncate(info.metadata.file_lookup_offset as usize);
    bytes[40..48].fill(0);
    Ok(bytes)
}

/// As the deployed client writes it, but for the order of rows of equal hashes in the table of chunks, which it leaves to
/// chance. Ours is that of the rows.
fn client_form(shard: &MDBInMemoryShard) -> Result<Vec<u8>, CoreError> {
    let mut bytes = shard.to_bytes()?;
    let footer = MDBShardInfo::load_from_reader(&mut Cursor::new(&bytes))?.metadata;
    let begin = footer.chunk_lookup_offset as usize;
    let rows = &mut bytes[begin..][..16 * footer.chunk_lookup_num_entry as usize];
    let words = |row: &[u8; 16]| {
        let words = row.as_chunks::<4>().0;
        [1, 0, 2, 3].map(|at| u32::from_le_bytes(words[at]))
    };
    rows.as_chunks_mut::<16>().0.sort_by_key(words);
    Ok(bytes)
}

/// Sections by their own reader and by the footer, which are to agree; without the flags of a server.
fn with_footer(bytes: &[u8]) -> Result<MDBInMemoryShard, CoreError> {
    let info = MDBShardInfo::load_from_reader(&mut Cursor::new(bytes))?;
    let mut shard = MDBInMemoryShard::default();
    for file in info.read_all_file_info_sections(&mut Cursor::new(bytes))? {
        shard.add_file_reconstruction_info(file)?;
    }
    for mut xorb in info.read_all_xorb_blocks_full(&mut Cursor::new(bytes))? {
        for chunk in &mut xorb.chunks {
            *chunk = chunk.clone().with_global_dedup_flag(false);
        }
        shard.add_xorb_block(xorb)?;
    }
    let read = MDBInMemoryShard::from_reader(&mut &bytes[..])?;
    assert!(read.file_content == shard.file_content && read.xorb_content.len() == shard.xorb_content.len());
    Ok(shard)
}

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
        let theirs = taken(what, "their writer", (form.their_write)(&translate(&shard)?))?;
        same(what, &(form.write)(&shard), &theirs)
    })
}

fn theirs_reads_ours(form: &Form, files: &[File]) -> Result<(), Difference> {
    shards(files, |what, shard| {
        let expected = translate(&shard)?;
        let read = taken(what, "their reader", (form.their_read)(&(form.write)(&shard)))?;
        equal(&format!("{what}, files"), read.file_content, expected.file_content)?;
        equal(&format!("{what}, xorbs"), read.xorb_content, expected.xorb_content)
    })
}

fn ours_reads_theirs(form: &Form, files: &[File]) -> Result<(), Difference> {
    shards(files, |what, shard| {
        let theirs = taken(what, "their writer", (form.their_write)(&translate(&shard)?))?;
        equal(what, taken(what, "us", (form.read)(&theirs))?, in_hash_order(shard))
    })
}

/// Both write what they have in this order.
fn in_hash_order(mut shard: Shard) -> Shard {
    shard.files.sort_by_key(|file| file.hash);
    shard.xorbs.sort_by_key(|xorb| xorb.hash);
    shard
}

fn same(what: &str, ours: &[u8], theirs: &[u8]) -> Result<(), Difference> {
    equal(&format!("{what}, length"), ours.len(), theirs.len())?;
    match std::iter::zip(ours, theirs).position(|(ours, theirs)| ours != theirs) {
        Some(at) => Err(format!("{what}: byte {at} of {}", ours.len())),
        None => Ok(()),
    }
}

fn queries(files: &[File]) -> Result<(), Difference> {
    shards(files, |what, shard| find_all(what, &shard, &(CLIENT.write)(&shard)))
}

fn keyed_queries(files: &[File]) -> Result<(), Difference> {
    shards(files, |what, shard| {
        let mut stored = StoredShard::from(shard.clone());
        taken(what, "us", stored.apply_key(KEY))?;
        find_all(what, &shard, &stored.encode(LookupTables::ALL))
    })
}

/// Has their reader find every file, and every xorb by each of its chunks, in a shard of ours. Hashes that occur in
/// several xorbs are found in one of them.
fn find_all(what: &str, shard: &Shard, bytes: &[u8]) -> Result<(), Difference> {
    let reader = &mut Cursor::new(bytes);
    let info = taken(what, "their reader", MDBShardInfo::load_from_reader(reader))?;
    let expected = translate(shard)?;
    for (hash, file) in expected.file_content {
        let found = taken(what, "their reader", info.get_file_reconstruction_info(reader, &hash))?;
        equal(&format!("{what}, a file"), found, Some(file))?;
    }
    for xorb in &shard.xorbs {
        let hashes: Vec<MerkleHash> = xorb.leaves.iter().map(|leaf| leaf.hash.as_bytes().into()).collect();
        for (at, leaf) in xorb.leaves.iter().enumerate() {
            let found = taken(what, "their reader", info.chunk_hash_dedup_query(reader, &hashes[at..]))?;
            let (chunks, term) =
                found.ok_or_else(|| format!("{what}: they do not find chunk {at} of {}", xorb.hash))?;
            equal(&format!("{what}, chunks found"), chunks as u32, term.chunk_index_end - term.chunk_index_start)?;
            let of_xorb = shard.xorbs.iter().find(|xorb| *xorb.hash.as_bytes() == raw(&term.xorb_hash));
            let found = of_xorb.and_then(|xorb| xorb.leaves.get(term.chunk_index_start as usize));
            equal(&format!("{what}, the chunk found"), found, Some(leaf))?;
        }
    }
    Ok(())
}

fn keyed_of_theirs(files: &[File]) -> Result<(), Difference> {
    shards(files, |what, shard| {
        let theirs = taken(what, "their writer", translate(&shard)?.to_bytes())?;
        let reader = &mut Cursor::new(&theirs);
        let info = taken(what, "their reader", MDBShardInfo::load_from_reader(reader))?;
        for (xorbs, chunks) in [(true, true), (true, false), (false, true), (false, false)] {
            let (mut export, valid_for) = (Vec::new(), Duration::from_secs(3_600));
            reader.set_position(0);
            let exported = info.export_as_keyed_shard(reader, &mut export, KEY.into(), valid_for, true, xorbs, chunks);
            taken(what, "their writer", exported)?;

            let read = taken(what, "us", StoredShard::decode(&export))?;
            let mut expected = StoredShard::from(in_hash_order(shard.clone()));
            taken(what, "us", expected.apply_key(KEY))?;
            // By their clock.
            (expected.created, expected.key_expiry) = (read.created, read.created + valid_for.as_secs());
            equal(what, &read, &expected)?;
            same(what, &read.encode(LookupTables { files: true, xorbs, chunks }), &export)?;
        }
        Ok(())
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
