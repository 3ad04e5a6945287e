use xet_cas::shard::{LookupTables, Shard, ShardFile, ShardXorb, StoredShard};
use xet_cas::{CHUNK_BYTES_MAX, ChunkHash, ChunkRange, FileHash, Leaf, RangeHash, Term, XorbHash, xorb};

use crate::Recipe;
use crate::xorb::Damage;

/// What a recipe builds at most.
const FILES_BUILT_MAX: usize = 100;
const XORBS_BUILT_MAX: usize = 100;
/// 512 chunks of the greatest length fill a xorb.
const LEAVES_BUILT_MAX: u32 = 512;
const TERMS_BUILT_MAX: u32 = 512;
/// Closes a section, so nothing can be called this.
const BOOKEND: [u8; 32] = [0xff; 32];

/// The bytes are a shard, in any form.
pub fn shard(data: &[u8]) {
    stored_shard(data);
    let Ok(shard) = Shard::decode_upload(data) else { return };
    let encoded = shard.encode_upload();
    assert_eq!(encoded.len(), shard.upload_bytes());
    assert!(encoded.len() <= data.len(), "nothing was read twice");
    assert_eq!(Ok(in_hash_order(shard.clone())), Shard::decode_upload(&encoded));
    check_merged(shard);
}

fn stored_shard(data: &[u8]) {
    let Ok(stored) = StoredShard::decode(data) else { return };
    let encoded = stored.encode(LookupTables::NONE);
    assert!(encoded.len() <= data.len(), "nothing was read twice");
    let stored = stored_in_hash_order(stored);
    for encoded in [encoded, stored.encode(LookupTables::ALL)] {
        assert_eq!(Ok(&stored), StoredShard::decode(&encoded).as_ref());
    }
}

/// A shard that is merged with itself holds everything once, in order.
fn check_merged(shard: Shard) {
    let once = shard.clone().merge(Shard::default());
    assert!(once.files.is_sorted_by(|a, b| a.hash < b.hash) && once.xorbs.is_sorted_by(|a, b| a.hash < b.hash));
    assert_eq!(once, shard.clone().merge(shard));
}

/// The bytes are a recipe for a shard and for what happens to it on the way.
pub fn shard_there_and_back(data: &[u8]) {
    let ShardRecipe { shard, stored, tables, damage } = ShardRecipe::read(data);
    let encoded = shard.encode_upload();
    let decoded = Shard::decode_upload(&encoded);

    assert_eq!(encoded.len(), shard.upload_bytes());
    assert_eq!(Ok(in_hash_order(shard)), decoded);
    assert!(Shard::decode_upload(&encoded[..encoded.len() - 1]).is_err(), "the last bookend is cut short");
    self::shard(&damage.apply(encoded));

    let encoded = stored.encode(tables);
    assert_eq!(Ok(stored_in_hash_order(stored)), StoredShard::decode(&encoded));
    assert!(StoredShard::decode(&encoded[..encoded.len() - 1]).is_err(), "the footer is cut short");
    self::shard(&damage.apply(encoded));
}

fn stored_in_hash_order(mut stored: StoredShard) -> StoredShard {
    stored.files.sort_by_key(|file| file.hash);
    stored.xorbs.sort_by_key(|stored| stored.xorb.hash);
    stored
}

fn in_hash_order(mut shard: Shard) -> Shard {
    shard.files.sort_by_key(|file| file.hash);
    shard.xorbs.sort_by_key(|xorb| xorb.hash);
    shard
}

/// A shard to build, and what happens to it on the way.
#[derive(Debug)]
pub struct ShardRecipe {
    /// What to build.
    pub shard: Shard,
    /// The same with a footer.
    pub stored: StoredShard,
    /// What else goes behind it.
    pub tables: LookupTables,
    damage: Damage,
}

impl ShardRecipe {
    /// Damage and form, then files and xorbs until all bytes are read or the shard is as large as may be.
    ///
    /// The form is a byte of flags: files are verified; a key follows; three for the tables; chunks that begin files are
    /// marked; two times follow; all chunks are marked.
    pub fn read(bytes: &[u8]) -> Self {
        let mut recipe = Recipe::new(bytes);
        let damage = Damage::read(&mut recipe);
        let form = recipe.byte();
        let has = |bit: u32| form >> bit & 1 == 1;
        let key = if has(1) { recipe.array() } else { [0; 32] };
        let times = if has(6) { [recipe.array(), recipe.array()].map(u64::from_le_bytes) } else { [0; 2] };
        let mut shard = Shard::default();
        while !recipe.is_done() && shard.files.len() < FILES_BUILT_MAX && shard.xorbs.len() < XORBS_BUILT_MAX {
            if recipe.flag() {
                shard.xorbs.push(read_xorb(&mut recipe));
            } else {
                shard.files.push(read_file(&mut recipe, has(0)));
            }
        }
        let mut stored = StoredShard::from(shard.clone());
        [stored.created, stored.key_expiry] = times;
        if has(5) {
            stored.mark_file_starts();
        }
        for stored in stored.xorbs.iter_mut().filter(|_| has(7)) {
            stored.serialized_bytes = times[0] as u32;
            stored.global_dedup_chunks = (0..stored.xorb.leaves.len() as u32).collect();
        }
        assert_eq!(Ok(()), stored.apply_key(key));
        let tables = LookupTables { files: has(2), xorbs: has(3), chunks: has(4) };
        Self { shard, stored, tables, damage }
    }
}

fn read_file(recipe: &mut Recipe<'_>, verified: bool) -> ShardFile {
    let hash = FileHash::from_bytes(read_name(recipe));
    let sha256 = recipe.flag().then(|| recipe.array());
    let terms = read_list(recipe, TERMS_BUILT_MAX, read_term);
    let verification = verified.then(|| terms.iter().map(|_| RangeHash::from_bytes(recipe.array())).collect());
    ShardFile { hash, terms, verification, sha256 }
}

fn read_term(recipe: &mut Recipe<'_>) -> Term {
    let xorb = XorbHash::from_bytes(recipe.array());
    let start = recipe.up_to(xorb::CHUNKS_MAX as u32 - 1);
    let end = start + 1 + recipe.up_to(xorb::CHUNKS_MAX as u32 - 1 - start);
    Term { xorb, chunks: ChunkRange { start, end }, unpacked_length: 1 + recipe.up_to(xorb::RAW_BYTES_MAX as u32 - 1) }
}

fn read_xorb(recipe: &mut Recipe<'_>) -> ShardXorb {
    let hash = XorbHash::from_bytes(read_name(recipe));
    let leaf = |recipe: &mut Recipe<'_>| Leaf {
        hash: ChunkHash::from_bytes(recipe.array()),
        length: 1 + recipe.up_to(CHUNK_BYTES_MAX as u32 - 1),
    };
    ShardXorb { hash, leaves: read_list(recipe, LEAVES_BUILT_MAX, leaf) }
}

/// A count, and as many items as that or as there are bytes for.
fn read_list<T>(recipe: &mut Recipe<'_>, max: u32, read: impl Fn(&mut Recipe<'_>) -> T) -> Vec<T> {
    (0..recipe.up_to(max)).map_while(|_| (!recipe.is_done()).then(|| read(recipe))).collect()
}

fn read_name(recipe: &mut Recipe<'_>) -> [u8; 32] {
    match recipe.array() {
        BOOKEND => [0; 32],
        name => name,
    }
}
