//! Writes `fuzz/seeds`: for every target a few small inputs that together reach every variant of its
//! format. `tests/corpus.rs` checks that they do.

#[path = "seeds/bencode.rs"]
mod bencode;
#[path = "seeds/bep_xet.rs"]
mod bep_xet;
#[path = "seeds/bt_wire.rs"]
mod bt_wire;
#[path = "seeds/multipart.rs"]
mod multipart;

use std::fs;
use std::io::Write;
use std::path::Path;

use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};
use xet_cas::shard::{LookupTables, Shard, ShardFile, ShardXorb, StoredShard};
use xet_cas::xorb::{Builder, Footer, RecordHeader, Serialized};
use xet_cas::{
    ByteRange, ChunkHash, ChunkRange, CompressionPolicy, FetchEntry, FileHash, Leaf, MerkleHashSubtree, RangeHash,
    Reconstruction, Scheme, Term,
};

type Seed = (&'static str, Vec<u8>);

fn main() -> std::io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    write(&seeds.join("bep_xet"), bep_xet::messages())?;
    write(&seeds.join("bep_xet_there_and_back"), bep_xet::recipes())?;
    write(&seeds.join("bencode"), bencode::values())?;
    write(&seeds.join("bencode_there_and_back"), bencode::recipes())?;
    write(&seeds.join("bt_wire"), bt_wire::streams())?;
    write(&seeds.join("bt_wire_there_and_back"), bt_wire::recipes())?;
    write(&seeds.join("multipart"), multipart::answers())?;
    write(&seeds.join("multipart_there_and_back"), multipart::recipes())?;
    write(&seeds.join("xorb"), xorbs())?;
    write(&seeds.join("xorb_there_and_back"), xorb_recipes())?;
    write(&seeds.join("shard"), shards())?;
    write(&seeds.join("shard_there_and_back"), shard_recipes())?;
    write(&seeds.join("reconstruction"), reconstructions())?;
    write(&seeds.join("subtree"), subtrees())
}

fn write(folder: &Path, seeds: Vec<Seed>) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    seeds.into_iter().try_for_each(|(name, bytes)| fs::write(folder.join(name), bytes))
}

fn xorbs() -> Vec<Seed> {
    let always = CompressionPolicy::Always;
    let raw = build(always(Scheme::None), &chunks()[2..]);
    let lz4 = build(always(Scheme::Lz4), &chunks());
    let bg4_lz4 = build(always(Scheme::Bg4Lz4), &chunks());
    let auto = build(CompressionPolicy::Auto, &chunks());
    let footer = auto.footer.encode();
    let with_footer = [&auto.records[..], &footer].concat();
    vec![
        ("raw", raw.records),
        ("lz4", lz4.records.clone()),
        ("bg4_lz4", bg4_lz4.records),
        ("cut_inside_a_record", lz4.records[..lz4.records.len() - 3].to_vec()),
        ("cut_inside_the_footer", with_footer[..with_footer.len() - 3].to_vec()),
        ("with_footer", with_footer),
        ("with_nonce", [&auto.records[..], &auto.footer.encode_with_nonce(*b"once")].concat()),
        ("with_footer_of_version_0", [&auto.records[..], &footer_v0(&auto.footer)].concat()),
        ("footer_alone", footer),
        ("frames_of_other_writers", frames_of_other_writers()),
    ]
}

/// A footer as servers wrote it once.
fn footer_v0(footer: &Footer) -> Vec<u8> {
    let count = footer.leaves().len() as u32;
    let end = |end| footer.byte_range(ChunkRange { start: 0, end }).map_or(0, |bytes| bytes.end as u32);
    let ends: Vec<u8> = (1..=count).flat_map(|chunks| end(chunks).to_le_bytes()).collect();
    let hashes: Vec<u8> = footer.leaves().iter().flat_map(|leaf| *leaf.hash.as_bytes()).collect();
    let length = (60 + 36 * count).to_le_bytes();
    [b"XETBLOB\0", &footer.hash().as_bytes()[..], &count.to_le_bytes(), &ends, &hashes, &[0; 16], &length].concat()
}

fn build(policy: CompressionPolicy, chunks: &[Vec<u8>]) -> Serialized {
    let mut builder = Builder::new(policy);
    for chunk in chunks {
        builder.begin_file();
        builder.push(Leaf::of(chunk), chunk).expect("four small chunks fit");
    }
    builder.finish()
}

/// Text, one byte over and over, floats, and something too short to compress.
fn chunks() -> [Vec<u8>; 4] {
    let floats = (0..400_u16).flat_map(|i| (f32::from(i) / 64.0 + 1.0).to_le_bytes());
    [b"one fish, two fish, ".repeat(10), vec![7; 70_000], floats.collect(), b"chunk".to_vec()]
}

/// LZ4 frames that Xet clients read but do not write: linked blocks, checksums, content size.
fn frames_of_other_writers() -> Vec<u8> {
    let plain = FrameInfo::new();
    let infos = [
        plain.clone().block_mode(BlockMode::Linked),
        plain.clone().block_checksums(true),
        plain.clone().content_checksum(true),
        plain.content_size(Some(chunks()[1].len() as u64)),
    ];
    let record = |info| {
        let [_, chunk, ..] = chunks();
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&chunk).expect("writing to a Vec cannot fail");
        let frame = encoder.finish().expect("writing to a Vec cannot fail");
        let header =
            RecordHeader { scheme: Scheme::Lz4, stored_length: frame.len() as u32, raw_length: chunk.len() as u32 };
        [&header.encode()[..], &frame].concat()
    };
    infos.map(record).concat()
}

fn shards() -> Vec<Seed> {
    let xorb = build(CompressionPolicy::Auto, &chunks());
    let xorbs = vec![ShardXorb { hash: xorb.hash(), leaves: xorb.footer.leaves().to_vec() }];
    let shard = |files: Vec<ShardFile>| Shard { files, xorbs: xorbs.clone() }.encode_upload();
    let (verified, sha256) = (true, Some([7; 32]));
    let full = shard(vec![file(&xorb, verified, sha256), empty_file(verified, sha256)]);
    let own = StoredShard::from(Shard { files: vec![file(&xorb, verified, sha256)], xorbs: xorbs.clone() });
    let mut served = own.clone();
    served.mark_file_starts();
    served.key_expiry = 0;
    let mut answer = StoredShard { files: vec![], created: 1_900_000_000, key_expiry: 2_000_000_000, ..served.clone() };
    let unkeyed_answer = answer.clone();
    answer.apply_key([9; 32]).expect("it has no key");
    let of_all = own.encode(LookupTables::ALL);
    vec![
        ("stored_by_a_client", of_all.clone()),
        ("stored_with_a_footer_cut", of_all[..of_all.len() - 9].to_vec()),
        ("stored_empty", StoredShard::from(Shard::default()).encode(LookupTables::ALL)),
        ("stored_by_a_server", served.encode(LookupTables::NONE)),
        ("answer_about_a_chunk", unkeyed_answer.encode(LookupTables::NONE)),
        ("keyed", answer.encode(LookupTables::ALL)),
        ("empty", Shard::default().encode_upload()),
        ("xorb_without_files", shard(vec![])),
        ("files_with_neither", shard(vec![file(&xorb, false, None), empty_file(false, None)])),
        ("files_with_verification", shard(vec![file(&xorb, verified, None), empty_file(verified, None)])),
        ("files_with_sha256", shard(vec![file(&xorb, false, sha256), empty_file(false, sha256)])),
        ("files_with_tables_behind", [&full[..], &[0; 200]].concat()),
        ("cut_inside_an_entry", full[..full.len() - 60].to_vec()),
        ("files_with_both", full),
    ]
}

fn file(xorb: &Serialized, verified: bool, sha256: Option<[u8; 32]>) -> ShardFile {
    let leaves = xorb.footer.leaves();
    let runs = [ChunkRange { start: 0, end: 1 }, ChunkRange { start: 1, end: leaves.len() as u32 }];
    let leaves_of = |run: &ChunkRange| &leaves[run.start as usize..run.end as usize];
    let term = |run: &ChunkRange| Term {
        xorb: xorb.hash(),
        chunks: *run,
        unpacked_length: leaves_of(run).iter().map(|leaf| leaf.length).sum(),
    };
    let verification = |run: &ChunkRange| RangeHash::of(leaves_of(run).iter().map(|leaf| &leaf.hash));
    ShardFile {
        hash: Leaf::file_hash(leaves),
        terms: runs.iter().map(term).collect(),
        verification: verified.then(|| runs.iter().map(verification).collect()),
        sha256,
    }
}

fn empty_file(verified: bool, sha256: Option<[u8; 32]>) -> ShardFile {
    ShardFile { hash: FileHash::ZERO, terms: vec![], verification: verified.then(Vec::new), sha256 }
}

/// The order of instructions is that of `XorbRecipe::read`.
fn xorb_recipes() -> Vec<Seed> {
    const AUTO: u8 = 0;
    const RAW: u8 = 1;
    const LZ4: u8 = 2;
    const BG4_LZ4: u8 = 3;
    const BEGIN_FILE: u8 = 1;
    let run = [1, 0, 0, 0, 3, 0, 0, 0];
    // Every kind of content, and every width of length: one byte, two, four.
    let chunks = [
        &[0, 0x00, 4][..],
        b"chunk",
        &[0, 0x13, 200, 7],
        &[0, 0x24, 0x00, 0x20, 1, 2, 3, 4],
        &[BEGIN_FILE, 0x26, 0x00, 0x20],
        &[0, 0x37, 0x00, 0x00, 0x01, 0x00, 42],
        &[BEGIN_FILE, 0x36, 0xff, 0xff, 0x01, 0x00],
    ]
    .concat();
    let recipe = |policy: u8, damage: &[u8]| [&[policy], damage, &run, &chunks[..]].concat();
    vec![
        ("auto", recipe(AUTO, &NO_DAMAGE)),
        ("raw", recipe(RAW, &NO_DAMAGE)),
        ("lz4", recipe(LZ4, &NO_DAMAGE)),
        ("bg4_lz4", recipe(BG4_LZ4, &NO_DAMAGE)),
        ("a_changed_byte", recipe(AUTO, &CHANGED_BYTE)),
        ("a_lost_end", recipe(AUTO, &LOST_END)),
        ("no_chunks", [&[AUTO][..], &NO_DAMAGE, &run].concat()),
    ]
}

/// The order of instructions is that of `ShardRecipe::read`.
fn shard_recipes() -> Vec<Seed> {
    const FILE: u8 = 0;
    const XORB: u8 = 1;
    let verification = |terms: usize| [3; 32].repeat(terms);
    let file = |sha256: Option<[u8; 32]>, terms: u8, verified: bool| {
        let term = [&[5; 32][..], &[1, 0, 0, 0], &[3, 0, 0, 0], &[99, 0, 0, 0]].concat();
        let sha256 = sha256.map_or(vec![0], |sha256| [&[1][..], &sha256].concat());
        let verification = verification(if verified { terms.into() } else { 0 });
        [&[FILE][..], &[terms; 32], &sha256, &[terms, 0, 0, 0], &term.repeat(terms.into()), &verification].concat()
    };
    let leaf = [&[6; 32][..], &[200, 0, 0, 0]].concat();
    let xorb = [&[XORB][..], &[8; 32], &[3, 0, 0, 0], &leaf.repeat(3)].concat();
    let recipe = |damage: &[u8], verified: bool, sha256: Option<[u8; 32]>| {
        let files = [file(sha256, 2, verified), file(None, 0, verified)].concat();
        [damage, &[verified.into()], &files, &xorb].concat()
    };
    let stored = |damage: &[u8], form: &[u8; 1], more: &[u8]| {
        let verified = form[0] & 1 == 1;
        [damage, form, more, &file(Some([7; 32]), 2, verified), &file(None, 0, verified), &xorb].concat()
    };
    vec![
        ("files_with_neither", recipe(&NO_DAMAGE, false, None)),
        ("files_with_verification", recipe(&NO_DAMAGE, true, None)),
        ("files_with_sha256", recipe(&NO_DAMAGE, false, Some([7; 32]))),
        ("files_with_both", recipe(&NO_DAMAGE, true, Some([7; 32]))),
        ("a_changed_byte", recipe(&CHANGED_BYTE, true, Some([7; 32]))),
        ("a_lost_end", recipe(&LOST_END, true, Some([7; 32]))),
        ("nothing", NO_DAMAGE.to_vec()),
        ("keyed_with_tables", stored(&NO_DAMAGE, &[0b0001_1110], &[9; 32])),
        ("marked_with_times", stored(&NO_DAMAGE, &[0b0110_0001], &[1; 16])),
        ("all_marked_with_a_changed_byte", stored(&CHANGED_BYTE, &[0b1100_1001], &[1; 16])),
        ("keyed_with_a_lost_end", stored(&LOST_END, &[0b0101_1110], &[9; 48])),
    ]
}

/// A file that is a run of a xorb, and one that is several. What they say of it, it says of itself.
fn reconstructions() -> Vec<Seed> {
    let xorb = build(CompressionPolicy::Auto, &chunks());
    let leaves = xorb.footer.leaves();
    let entry = |start: u32, end: u32| {
        let chunks = ChunkRange { start, end };
        let bytes = xorb.footer.byte_range(chunks).unwrap_or(ByteRange { start: 0, end: 1 });
        FetchEntry { xorb: xorb.hash(), chunks, bytes, url: "https://cas.test/x?signature=y".into() }
    };
    let term = |start: u32, end: u32| {
        let lengths = leaves[start as usize..end as usize].iter().map(|leaf| leaf.length);
        Term { xorb: xorb.hash(), chunks: ChunkRange { start, end }, unpacked_length: lengths.sum() }
    };
    let answer = |offset, terms: &[Term], entries: &[FetchEntry]| Reconstruction {
        offset_into_first_term: offset,
        terms: terms.to_vec(),
        entries: entries.to_vec(),
    };
    let whole = answer(0, &[term(0, 4)], &[entry(0, 4)]);
    let parts = answer(0, &[term(2, 4), term(0, 1), term(0, 1)], &[entry(0, 1), entry(2, 4)]);
    let overlapping = answer(7, &[term(1, 3)], &[entry(0, 2), entry(0, 3), entry(1, 4)]);
    let uncovered = answer(0, &[term(1, 4)], &[entry(0, 2)]);
    let reversed = String::from_utf8_lossy(&whole.to_json_v2()).replace("\"start\":0", "\"start\":9");
    vec![
        ("whole_v1", whole.to_json_v1()),
        ("whole_v2", whole.to_json_v2()),
        ("parts_v1", parts.to_json_v1()),
        ("parts_v2", parts.to_json_v2()),
        ("overlapping_v2", overlapping.to_json_v2()),
        ("uncovered_v2", uncovered.to_json_v2()),
        ("reversed_v2", reversed.into_bytes()),
        ("nothing_v1", Reconstruction::default().to_json_v1()),
        ("nothing_v2", Reconstruction::default().to_json_v2()),
        ("cut_v2", whole.to_json_v2()[..90].to_vec()),
    ]
}

fn subtrees() -> Vec<Seed> {
    let leaves: Vec<Leaf> =
        (0..60_u32).map(|i| Leaf { hash: ChunkHash::of(&i.to_le_bytes()), length: i + 1 }).collect();
    let json = |subtree: &MerkleHashSubtree| serde_json::to_vec(subtree).expect("JSON can hold it");
    let of =
        |count: usize, at_start: bool, at_end: bool| json(&MerkleHashSubtree::of(&leaves[..count], at_start, at_end));
    let text = String::from_utf8_lossy(&of(60, false, false)).into_owned();
    vec![
        ("whole", of(60, true, true)),
        ("start", of(60, true, false)),
        ("middle", of(60, false, false)),
        ("end", of(60, false, true)),
        ("few", of(3, false, false)),
        ("none", of(0, true, true)),
        ("more_levels_than_nodes", text.replace("\"levels\":[", "\"levels\":[[9,9],").into_bytes()),
        ("said_to_be_whole", text.replace("false", "true").into_bytes()),
    ]
}

/// Byte 0 is changed to itself and no end is lost.
const NO_DAMAGE: [u8; 6] = [0; 6];
const CHANGED_BYTE: [u8; 6] = [90, 0, 0, 0, 0x40, 0];
const LOST_END: [u8; 10] = [0, 0, 0, 0, 0, 1, 9, 0, 0, 0];
