//! Files as a client uploads them.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use xet_cas::shard::{Shard, ShardFile, ShardXorb};
use xet_cas::{ChunkHash, ChunkRange, CompressionPolicy, FileHash, Leaf, RangeHash, Term, chunks, xorb};

use super::lab::{Answer, Lab};

/// A file, its chunks in one xorb, and the shard that says so.
pub(crate) struct Upload {
    pub(crate) content: Vec<u8>,
    pub(crate) xorb: xorb::Serialized,
    pub(crate) shard: Shard,
    pub(crate) file: FileHash,
    pub(crate) sha256: String,
}

impl Upload {
    pub(crate) fn of(content: Vec<u8>) -> Self {
        let mut builder = xorb::Builder::new(CompressionPolicy::Auto);
        let mut leaves = Vec::new();
        for chunk in chunks(&content) {
            let leaf = Leaf::of(chunk);
            builder.push(leaf, chunk).unwrap();
            leaves.push(leaf);
        }
        let xorb = builder.finish();
        let file = Leaf::file_hash(&leaves);
        let term = Term {
            xorb: xorb.hash(),
            chunks: ChunkRange { start: 0, end: leaves.len() as u32 },
            unpacked_length: content.len() as u32,
        };
        let sha256: [u8; 32] = Sha256::digest(&content).into();
        let described = ShardFile {
            hash: file,
            terms: vec![term],
            verification: Some(vec![range_hash(&leaves)]),
            sha256: Some(sha256),
        };
        let shard = Shard { files: vec![described], xorbs: vec![ShardXorb { hash: xorb.hash(), leaves }] };
        let sha256 = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { content, xorb, shard, file, sha256 }
    }

    /// Random bytes, then zeros, then text: every compression scheme, and a chunk that repeats.
    pub(crate) fn mixed(seed: u64, length: usize) -> Self {
        let mut content = random(seed, length / 2);
        content.resize(length * 3 / 4, 0);
        content.extend(b"some text that compresses ".iter().cycle().take(length - length * 3 / 4));
        Self::of(content)
    }

    pub(crate) fn xorb_target(&self) -> String {
        format!("/cas/v1/xorbs/default/{}", self.xorb.hash())
    }

    pub(crate) async fn push_xorb(&self, lab: &Lab, token: &str) -> Answer {
        lab.post(&self.xorb_target(), self.xorb.records.clone()).header("authorization", token).send().await
    }

    pub(crate) async fn push_shard(&self, lab: &Lab, token: &str) -> Answer {
        lab.post("/cas/v1/shards", self.shard.encode_upload()).header("authorization", token).send().await
    }

    /// The line of a commit that names this file.
    pub(crate) fn line(&self, path: &str) -> Value {
        let value = json!({ "path": path, "algo": "sha256", "oid": self.sha256, "size": self.content.len() });
        json!({ "key": "lfsFile", "value": value })
    }

    /// The whole way: repository, xorb, shard, commit.
    pub(crate) async fn publish(&self, lab: &Lab, repo: &str, path: &str) -> String {
        let token = lab.cas_token(repo, "write").await;
        self.push_xorb(lab, &token).await.ok();
        self.push_shard(lab, &token).await.ok();
        let answer = lab.commit(repo, &[self.line(path)]).await.ok().json();
        answer["commitOid"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn range_hash(leaves: &[Leaf]) -> RangeHash {
    let hashes: Vec<ChunkHash> = leaves.iter().map(|leaf| leaf.hash).collect();
    RangeHash::of(&hashes)
}

/// SplitMix64: the same bytes for the same seed.
pub(crate) fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    });
    words.flatten().take(length).collect()
}
