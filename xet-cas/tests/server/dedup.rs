//! What the origin says about chunks that it has.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use xet_cas::dedup::Index;
use xet_cas::shard::{Shard, ShardFile, ShardXorb, StoredShard};
use xet_cas::{ChunkHash, ChunkRange, CompressionPolicy, Leaf, Term, xorb};

use super::lab::{Answer, Lab};
use super::model::{Upload, random};

const REPO: &str = "lab/tiny";

async fn lab() -> (Lab, String) {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let token = lab.cas_token(REPO, "write").await;
    (lab, token)
}

async fn ask(lab: &Lab, token: &str, chunk: impl std::fmt::Display) -> Answer {
    lab.get(&format!("/cas/v1/chunks/default/{chunk}")).header("authorization", token).send().await
}

fn leaves(upload: &Upload) -> &[Leaf] {
    &upload.shard.xorbs[0].leaves
}

#[expect(clippy::disallowed_methods, reason = "the expiry of an answer is a wall-clock time")]
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Pushes a file whose chunks are in several xorbs, however small.
async fn push_file(lab: &Lab, token: &str, xorbs: &[&[Vec<u8>]]) -> Vec<ShardXorb> {
    let (mut listed, mut terms) = (Vec::new(), Vec::new());
    for chunks in xorbs {
        let mut builder = xorb::Builder::new(CompressionPolicy::Auto);
        let leaves: Vec<Leaf> = chunks.iter().map(|chunk| Leaf::of(chunk)).collect();
        for (leaf, chunk) in leaves.iter().zip(*chunks) {
            builder.push(*leaf, chunk).unwrap();
        }
        let xorb = builder.finish();
        let target = format!("/cas/v1/xorbs/default/{}", xorb.hash());
        lab.post(&target, xorb.records.clone()).header("authorization", token).send().await.ok();
        let unpacked_length = leaves.iter().map(|leaf| leaf.length).sum();
        let chunks = ChunkRange { start: 0, end: leaves.len() as u32 };
        terms.push(Term { xorb: xorb.hash(), chunks, unpacked_length });
        listed.push(ShardXorb { hash: xorb.hash(), leaves });
    }
    let all: Vec<Leaf> = listed.iter().flat_map(|xorb| xorb.leaves.clone()).collect();
    let file = ShardFile { hash: Leaf::file_hash(&all), terms, verification: None, sha256: None };
    let body = Shard { files: vec![file], xorbs: vec![] }.encode_upload();
    lab.post("/cas/v1/shards", body).header("authorization", token).send().await.ok();
    listed
}

/// Small chunks, each with another text.
fn texts(name: &str, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("{name} {number}").into_bytes()).collect()
}

/// A small chunk that is in the index by its hash alone.
fn chosen(name: &str) -> Vec<u8> {
    let text = |number: u32| format!("{name} {number}").into_bytes();
    (0..).map(text).find(|text| ChunkHash::of(text).is_global_dedup_eligible()).unwrap()
}

#[tokio::test]
async fn given_the_first_chunk_of_a_file_when_asked_about_then_its_xorb_is_listed_under_a_key() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 500_000);
    upload.push_xorb(&lab, &token).await.ok();
    upload.push_shard(&lab, &token).await.ok();
    let first = leaves(&upload)[0].hash;

    let answer = ask(&lab, &token, first).await.ok();

    let shard = StoredShard::decode(&answer.body).unwrap();
    let key = shard.key.expect("a key");
    let now = unix_now();
    assert!(shard.files.is_empty() && shard.key_expiry > now && shard.key_expiry < now + 7 * 24 * 3600);
    assert!(shard.created.abs_diff(now) < 3600);
    let expected: Vec<Leaf> =
        leaves(&upload).iter().map(|leaf| Leaf { hash: leaf.hash.keyed(&key), length: leaf.length }).collect();
    assert_eq!(vec![ShardXorb { hash: upload.xorb.hash(), leaves: expected }], shard.clone().into_shard().xorbs);
    assert_eq!(upload.xorb.records.len(), shard.xorbs[0].serialized_bytes as usize);

    // And so it is of use to who has the chunks, whichever way it is asked for.
    let other = lab.get(&format!("/cas/v1/chunks/default-merkledb/{first}")).header("authorization", &token);
    let other = StoredShard::decode(&other.send().await.ok().body).unwrap();
    assert_eq!(shard.key, other.key);
    let mut index = Index::new();
    index.insert_shard(&other.into_shard(), Some(key));
    let hashes: Vec<ChunkHash> = leaves(&upload).iter().map(|leaf| leaf.hash).collect();
    let found = index.find(&hashes).unwrap();
    let all = ChunkRange { start: 0, end: hashes.len() as u32 };
    assert_eq!((upload.xorb.hash(), all), (found.xorb, found.chunks));
}

#[tokio::test]
async fn given_questions_without_an_answer_when_asked_then_404_and_bad_ones_refused() {
    let (lab, token) = lab().await;
    let upload = Upload::of(random(1, 500_000));
    upload.push_xorb(&lab, &token).await.ok();
    let first = leaves(&upload)[0].hash;
    // Not before a file begins with it.
    ask(&lab, &token, first).await.refused(404, "NotFound");
    upload.push_shard(&lab, &token).await.ok();
    ask(&lab, &token, first).await.ok();
    let second = leaves(&upload)[1].hash;
    assert!(!second.is_global_dedup_eligible());

    ask(&lab, &token, second).await.refused(404, "NotFound");
    ask(&lab, &token, ChunkHash::ZERO).await.refused(404, "NotFound");
    for bad in ["zz", "..%2f..%2forigin.json", &"f".repeat(65)] {
        ask(&lab, &token, bad).await.refused(400, "BadRequest");
    }
    let elsewhere = lab.get(&format!("/cas/v1/chunks/other/{first}")).header("authorization", &token).send().await;
    elsewhere.refused(404, "NotFound");
    lab.get(&format!("/cas/v1/chunks/default/{first}")).send().await.refused(401, "Unauthorized");
    let read = lab.cas_token(REPO, "read").await;
    ask(&lab, &read, first).await.ok();
}

#[tokio::test]
async fn given_a_file_of_several_xorbs_when_asked_about_its_beginning_then_all_are_listed() {
    let (lab, token) = lab().await;
    let (a, b, c) = (texts("a", 3), texts("b", 2), texts("c", 1));
    let mut xorbs = push_file(&lab, &token, &[&a, &b, &c]).await;

    let shard = StoredShard::decode(&ask(&lab, &token, ChunkHash::of(&a[0])).await.ok().body).unwrap();

    xorbs.sort_by_key(|xorb| xorb.hash);
    let hashes = |xorbs: &[ShardXorb]| xorbs.iter().map(|xorb| (xorb.hash, xorb.leaves.len())).collect::<Vec<_>>();
    assert_eq!(hashes(&xorbs), hashes(&shard.into_shard().xorbs));
}

#[tokio::test]
async fn given_a_chunk_chosen_by_its_hash_when_asked_about_then_its_xorb_and_those_behind_are_listed() {
    let (lab, token) = lab().await;
    let (mut a, b, c) = (texts("a", 3), texts("b", 2), texts("c", 1));
    let first = push_file(&lab, &token, &[&a]).await;
    let with_chosen = [texts("x", 2), vec![chosen("b")], b].concat();
    a.push(chosen("a"));
    let xorbs = push_file(&lab, &token, &[&a, &with_chosen, &c]).await;

    let shard = StoredShard::decode(&ask(&lab, &token, ChunkHash::of(&chosen("b"))).await.ok().body).unwrap();

    let mut told: Vec<_> = xorbs[1..].iter().map(|xorb| xorb.hash).collect();
    told.sort();
    assert_eq!(told, shard.xorbs.iter().map(|stored| stored.xorb.hash).collect::<Vec<_>>());
    let marked: Vec<_> = shard.xorbs.iter().map(|stored| stored.global_dedup_chunks.clone()).collect();
    assert!(marked.contains(&vec![2]), "{marked:?}");
    // Two files begin alike; either may be what the client has.
    let shard = StoredShard::decode(&ask(&lab, &token, ChunkHash::of(&a[0])).await.ok().body).unwrap();
    assert_eq!(4, shard.xorbs.len());
    assert!(shard.xorbs.iter().any(|stored| stored.xorb.hash == first[0].hash));
}

#[tokio::test]
async fn given_a_shard_that_was_refused_when_asked_then_nothing_was_remembered() {
    let (lab, token) = lab().await;
    let upload = Upload::of(random(1, 300_000));
    upload.push_xorb(&lab, &token).await.ok();
    let mut lie = upload.shard.clone();
    lie.files[0].hash = xet_cas::FileHash::from_bytes([7; 32]);

    let refused = lab.post("/cas/v1/shards", lie.encode_upload()).header("authorization", &token).send().await;

    refused.refused(400, "BadRequest");
    assert!(!lab.folder.path().join("chunks").exists());
}

#[tokio::test]
async fn given_a_damaged_xorb_when_asked_about_then_404_at_once_as_for_what_is_unknown() {
    let (lab, token) = lab().await;
    let upload = Upload::of(random(1, 300_000));
    upload.push_xorb(&lab, &token).await.ok();
    upload.push_shard(&lab, &token).await.ok();
    let name = upload.xorb.hash().to_string();
    std::fs::write(lab.folder.path().join("xorbs").join(&name[..2]).join(&name), b"damaged").unwrap();
    // It remembers what it has read of a xorb.
    let lab = lab.restart_with(|_| {}).await;

    ask(&lab, &token, leaves(&upload)[0].hash).await.refused(404, "NotFound");
    assert_eq!(json!("lab/tiny"), lab.json("/api/models/lab/tiny").await["id"]);
}
