//! Xorbs and shards: nothing is kept before it was checked.

use bytes::Bytes;
use serde_json::{Value, json};
use xet_cas::shard::{Shard, ShardFile};
use xet_cas::{ChunkRange, FileHash, Leaf, RangeHash, Term, XorbHash};

use super::lab::{Lab, pieces};
use super::model::{Upload, random, range_hash};

const REPO: &str = "lab/tiny";

async fn lab() -> (Lab, String) {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let token = lab.cas_token(REPO, "write").await;
    (lab, token)
}

fn kept(lab: &Lab, kind: &str) -> usize {
    let folders = std::fs::read_dir(lab.folder.path().join(kind)).into_iter().flatten();
    folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

/// Nothing is left of an upload that was refused.
fn assert_nothing_kept(lab: &Lab) {
    assert_eq!((0, 0, 0), (kept(lab, "xorbs"), kept(lab, "files"), kept(lab, "sha256")));
    assert_eq!(0, std::fs::read_dir(lab.folder.path().join("incoming")).unwrap().count());
}

#[tokio::test]
async fn given_a_xorb_when_uploaded_twice_then_inserted_once() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 500_000);

    let first = upload.push_xorb(&lab, &token).await.ok().json();
    let second = upload.push_xorb(&lab, &token).await.ok().json();

    assert_eq!((json!({ "was_inserted": true }), json!({ "was_inserted": false })), (first, second));
}

#[tokio::test]
async fn given_the_same_xorb_from_many_clients_at_once_then_one_inserts_it() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 2_000_000);

    let answers = futures::future::join_all((0..8).map(|_| upload.push_xorb(&lab, &token))).await;

    let inserted = answers.into_iter().filter(|answer| answer.json()["was_inserted"] == true).count();
    assert_eq!(1, inserted);
    upload.push_shard(&lab, &token).await.ok();
}

#[tokio::test]
async fn given_a_xorb_with_its_footer_when_uploaded_then_taken_and_with_a_false_one_refused() {
    let (lab, token) = lab().await;
    let (upload, other) = (Upload::mixed(1, 300_000), Upload::mixed(2, 300_000));
    let with_footer = |footer: Vec<u8>| [upload.xorb.records.clone(), footer].concat();
    let push = |body: Vec<u8>| lab.post(&upload.xorb_target(), body).header("authorization", &token).send();

    push(with_footer(other.xorb.footer.encode())).await.refused(400, "BadRequest");
    push(with_footer(b"XETBLOB and nonsense".to_vec())).await.refused(400, "BadRequest");
    assert_nothing_kept(&lab);
    push(with_footer(upload.xorb.footer.encode())).await.ok();
}

#[tokio::test]
async fn given_a_flipped_bit_anywhere_when_uploaded_then_refused_and_nothing_kept() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 300_000);
    let length = upload.xorb.records.len();
    // Version, lengths and scheme of the first record, a stored payload, and one that is compressed.
    for at in [0, 1, 4, 5, 100, length / 2, length - 20] {
        let mut body = upload.xorb.records.clone();
        body[at] ^= 1;
        lab.post(&upload.xorb_target(), body).header("authorization", &token).send().await.refused(400, "BadRequest");
    }
    assert_nothing_kept(&lab);
    upload.push_xorb(&lab, &token).await.ok();
}

#[tokio::test]
async fn given_bodies_that_are_no_xorb_when_uploaded_then_refused() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 300_000);
    let records = &upload.xorb.records;
    let bodies = [
        Vec::new(),
        b"<html>".to_vec(),
        records[..records.len() - 1].to_vec(),
        [records.as_slice(), b"tail"].concat(),
        Upload::mixed(2, 300_000).xorb.records,
    ];
    for body in bodies {
        lab.post(&upload.xorb_target(), body).header("authorization", &token).send().await.refused(400, "BadRequest");
    }
    for name in ["..%2f..%2fx", "zz", &"0".repeat(63)] {
        let target = format!("/cas/v1/xorbs/default/{name}");
        lab.post(&target, records.clone()).header("authorization", &token).send().await.refused(400, "BadRequest");
    }
    let zero = format!("/cas/v1/xorbs/default/{}", XorbHash::ZERO);
    lab.post(&zero, "").header("authorization", &token).send().await.refused(400, "BadRequest");
    assert_nothing_kept(&lab);
}

#[tokio::test]
async fn given_a_body_over_the_limit_when_uploaded_then_refused_with_and_without_a_length() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 300_000);
    let too_large = Bytes::from(vec![0; 67_174_400 + 327_776 + 1]);

    let announced = lab.post(&upload.xorb_target(), too_large.clone()).header("authorization", &token).send().await;
    announced.refused(413, "PayloadTooLarge");
    let unannounced = lab.post(&upload.xorb_target(), "").body(pieces(vec![too_large.clone(); 2], false));
    unannounced.header("authorization", &token).send().await.refused(413, "PayloadTooLarge");
    for target in ["/cas/v1/shards", "/cas/v2/shards"] {
        lab.post(target, too_large.clone())
            .header("authorization", &token)
            .send()
            .await
            .refused(413, "PayloadTooLarge");
    }
    assert_nothing_kept(&lab);
}

#[tokio::test]
async fn given_a_shard_when_uploaded_twice_then_registered_once() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 500_000);
    upload.push_xorb(&lab, &token).await.ok();

    let first = upload.push_shard(&lab, &token).await.ok().json();
    let second = upload.push_shard(&lab, &token).await.ok().json();

    assert_eq!((1, 0), (first["result"].as_u64().unwrap(), second["result"].as_u64().unwrap()));
}

#[tokio::test]
async fn given_a_shard_over_v2_when_uploaded_then_frames_end_with_the_result() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 500_000);
    let push = || lab.post("/cas/v2/shards", upload.shard.encode_upload()).header("authorization", &token).send();
    let frames = |body: &Bytes| -> Vec<Value> {
        body.split(|c| *c == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    };

    let refused = push().await.ok();
    upload.push_xorb(&lab, &token).await.ok();
    let taken = push().await.ok();

    assert_eq!("application/x-ndjson", taken.header("content-type"));
    let last = frames(&refused.body).pop().unwrap();
    assert_eq!((json!("error"), json!(false)), (last["type"].clone(), last["retryable"].clone()));
    assert!(last["message"].as_str().unwrap().contains("has not been uploaded"));
    assert_eq!(json!({ "type": "result" }), frames(&taken.body).pop().unwrap());
}

#[tokio::test]
async fn given_a_shard_that_lies_when_uploaded_then_refused_and_nothing_kept() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 500_000);
    upload.push_xorb(&lab, &token).await.ok();
    let chunks = upload.shard.xorbs[0].leaves.len() as u32;
    let lie = |change: &dyn Fn(&mut Shard)| {
        let mut shard = upload.shard.clone();
        change(&mut shard);
        shard.encode_upload()
    };
    let lies: [(&str, Vec<u8>); 9] = [
        ("unpacked length", lie(&|shard| shard.files[0].terms[0].unpacked_length += 1)),
        ("last chunk", lie(&|shard| shard.files[0].terms[0].chunks.end = chunks + 1)),
        ("unpacked length", lie(&|shard| shard.files[0].terms[0].chunks.start = 1)),
        ("has not been uploaded", lie(&|shard| shard.files[0].terms[0].xorb = XorbHash::from_bytes([7; 32]))),
        ("range hash", lie(&|shard| shard.files[0].verification = Some(vec![RangeHash::from_bytes([7; 32])]))),
        ("chunks that hash to", lie(&|shard| shard.files[0].hash = FileHash::from_bytes([7; 32]))),
        (
            "chunks that hash to",
            lie(&|shard| {
                shard.files[0].terms.clear();
                shard.files[0].verification = Some(vec![]);
            }),
        ),
        ("lists other chunks", lie(&|shard| shard.xorbs[0].leaves[0] = Leaf::of(b"something else"))),
        ("has not been uploaded", lie(&|shard| shard.xorbs[0].hash = XorbHash::from_bytes([7; 32]))),
    ];
    for (reason, body) in lies {
        let answer = lab.post("/cas/v1/shards", body).header("authorization", &token).send().await;
        answer.refused(400, "BadRequest").because(reason);
    }
    for body in [Vec::new(), b"nonsense".to_vec(), upload.shard.encode_upload()[..200].to_vec()] {
        lab.post("/cas/v1/shards", body).header("authorization", &token).send().await.refused(400, "BadRequest");
    }
    assert_eq!((0, 0), (kept(&lab, "files"), kept(&lab, "sha256")));
}

#[tokio::test]
async fn given_a_small_shard_that_names_endless_chunks_when_uploaded_then_refused_in_time() {
    let (lab, token) = lab().await;
    let upload = Upload::of(vec![0; 131_072 * 512]);
    upload.push_xorb(&lab, &token).await.ok();
    let term = upload.shard.files[0].terms[0];
    let file = ShardFile { hash: upload.file, terms: vec![term; 140_000], verification: None, sha256: None };

    let body = Shard { files: vec![file], xorbs: vec![] }.encode_upload();

    let answer = lab.post("/cas/v1/shards", body).header("authorization", &token).send().await;
    answer.refused(400, "BadRequest").because("chunks named by a shard");
}

#[tokio::test]
async fn given_a_file_over_several_xorbs_with_repeated_terms_when_uploaded_then_read_back() {
    let (lab, token) = lab().await;
    let (a, b) = (Upload::of(random(1, 400_000)), Upload::of(random(2, 300_000)));
    for upload in [&a, &b] {
        upload.push_xorb(&lab, &token).await.ok();
    }
    let leaves = |upload: &Upload, range: std::ops::Range<usize>| upload.shard.xorbs[0].leaves[range].to_vec();
    let (all_a, all_b) = (a.shard.xorbs[0].leaves.len(), b.shard.xorbs[0].leaves.len());
    let plan = [(&b, 1..all_b), (&a, 0..all_a), (&b, 0..1), (&a, 0..2), (&b, 0..1)];
    let mut content = Vec::new();
    let (mut terms, mut hashes, mut list) = (Vec::new(), Vec::new(), Vec::new());
    for (upload, range) in plan {
        let run = leaves(upload, range.clone());
        let start: usize = leaves(upload, 0..range.start).iter().map(|leaf| leaf.length as usize).sum();
        let bytes: usize = run.iter().map(|leaf| leaf.length as usize).sum();
        content.extend_from_slice(&upload.content[start..start + bytes]);
        let chunks = ChunkRange { start: range.start as u32, end: range.end as u32 };
        terms.push(Term { xorb: upload.xorb.hash(), chunks, unpacked_length: bytes as u32 });
        hashes.push(range_hash(&run));
        list.extend(run);
    }
    let sha256: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(&content).into();
    let hash = Leaf::file_hash(&list);
    let file = ShardFile { hash, terms, verification: Some(hashes), sha256: Some(sha256) };
    let shard = Shard { files: vec![file], xorbs: vec![] };

    lab.post("/cas/v1/shards", shard.encode_upload()).header("authorization", &token).send().await.ok();

    let oid: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let value = json!({ "path": "woven.bin", "algo": "sha256", "oid": oid, "size": content.len() });
    lab.commit(REPO, &[json!({ "key": "lfsFile", "value": value })]).await.ok();
    let location = lab.get("/lab/tiny/resolve/main/woven.bin").send().await.header("location").to_owned();
    assert!(content == lab.get(&location).send().await.ok().body);
    for (first, last) in [(0, 0), (250_000, 350_000), (content.len() - 1, content.len() - 1), (299_999, 700_001)] {
        let part = lab.get(&location).header("range", format!("bytes={first}-{last}")).send().await.ok();
        assert!(content[first..=last.min(content.len() - 1)] == part.body, "{first}-{last}");
    }
}

#[tokio::test]
async fn given_two_claims_for_one_sha256_when_uploaded_then_the_true_one_stays() {
    let (lab, token) = lab().await;
    let (honest, liar) = (Upload::of(random(1, 200_000)), Upload::of(random(2, 200_000)));
    for upload in [&honest, &liar] {
        upload.push_xorb(&lab, &token).await.ok();
    }
    let mut lie = liar.shard.clone();
    lie.files[0].sha256 = honest.shard.files[0].sha256;
    let push = |shard: &Shard| lab.post("/cas/v1/shards", shard.encode_upload()).header("authorization", &token).send();

    // First come, first believed; then the truth shows.
    push(&lie).await.ok();
    push(&honest.shard).await.ok();
    push(&lie).await.refused(400, "BadRequest").because("does not have the SHA-256");

    lab.commit(REPO, &[honest.line("model.bin")]).await.ok();
    let tree = lab.json("/api/models/lab/tiny/tree/main").await;
    assert_eq!(json!(honest.file.to_string()), tree[0]["xetHash"]);
}

#[tokio::test]
async fn given_an_empty_file_in_a_shard_when_uploaded_then_taken_whatever_its_sha256() {
    let (lab, token) = lab().await;
    let never_hashed = Some([0; 32]);
    let empty = ShardFile { hash: FileHash::ZERO, terms: vec![], verification: Some(vec![]), sha256: never_hashed };

    let body = Shard { files: vec![empty], xorbs: vec![] }.encode_upload();

    lab.post("/cas/v1/shards", body).header("authorization", &token).send().await.ok();
    let oid = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let value = json!({ "path": "empty.bin", "algo": "sha256", "oid": oid, "size": 0 });
    lab.commit(REPO, &[json!({ "key": "lfsFile", "value": value })]).await.ok();
    let location = lab.get("/lab/tiny/resolve/main/empty.bin").send().await.header("location").to_owned();
    assert_eq!(0, lab.get(&location).send().await.ok().body.len());
}
