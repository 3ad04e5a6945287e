//! Large files as git-lfs moves them.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use xet_cas::server::Access;
use xet_cas::{Leaf, chunks};

use super::lab::{Answer, Lab, full, pieces};
use super::model::random;

const REPO: &str = "lab/tiny";
/// More than a xorb holds that is packed here.
const LARGE: usize = 18 << 20;

async fn lab() -> Lab {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    lab
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn ask(lab: &Lab, operation: &str, objects: Value) -> Answer {
    let body = json!({ "operation": operation, "transfers": ["basic", "multipart"], "objects": objects });
    lab.post(&format!("/{REPO}.git/info/lfs/objects/batch"), body.to_string()).send().await
}

/// The answer about one object.
async fn ask_for(lab: &Lab, operation: &str, oid: &str, size: usize) -> Value {
    let answer = ask(lab, operation, json!([{ "oid": oid, "size": size }])).await.ok();
    assert_eq!("application/vnd.git-lfs+json", answer.header("content-type"));
    let answer = answer.json();
    assert_eq!(Some("basic"), answer["transfer"].as_str());
    assert_eq!(Some(oid), answer["objects"][0]["oid"].as_str());
    answer["objects"][0].clone()
}

fn href<'a>(object: &'a Value, action: &str) -> &'a str {
    object["actions"][action]["href"].as_str().unwrap_or_else(|| panic!("{object}"))
}

async fn upload(lab: &Lab, content: &[u8]) -> String {
    let oid = sha256(content);
    let object = ask_for(lab, "upload", &oid, content.len()).await;
    lab.call("PUT", href(&object, "upload")).body(full(content.to_vec())).send().await.ok();
    let verify = json!({ "oid": oid, "size": content.len() }).to_string();
    lab.post(href(&object, "verify"), verify).send().await.ok();
    oid
}

async fn commit(lab: &Lab, path: &str, oid: &str, size: usize) -> Answer {
    let value = json!({ "path": path, "algo": "sha256", "oid": oid, "size": size });
    lab.commit(REPO, &[json!({ "key": "lfsFile", "value": value })]).await
}

/// Bytes of all xorbs.
fn stored_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let bytes = entries.map(|entry| {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() { stored_bytes(&entry.path()) } else { metadata.len() }
    });
    bytes.sum()
}

fn xorb_bytes(lab: &Lab) -> u64 {
    stored_bytes(&lab.folder.path().join("xorbs"))
}

#[tokio::test]
async fn given_a_large_file_when_uploaded_as_it_is_then_it_is_in_xorbs_and_comes_back_every_way() {
    let lab = lab().await;
    let content = random(1, LARGE);

    let oid = upload(&lab, &content).await;
    commit(&lab, "model.bin", &oid, content.len()).await.ok();

    let tree = lab.json(&format!("/api/models/{REPO}/tree/main")).await;
    let leaves: Vec<Leaf> = chunks(&content).map(Leaf::of).collect();
    assert_eq!(Leaf::file_hash(&leaves).to_string(), tree[0]["xetHash"]);
    assert_eq!(oid, tree[0]["lfs"]["oid"]);
    let token = lab.cas_token(REPO, "read").await;
    let reconstruction = format!("/cas/v2/reconstructions/{}", Leaf::file_hash(&leaves));
    let reconstruction = lab.get(&reconstruction).header("authorization", token).send().await.ok().json();
    assert_eq!(2, reconstruction["terms"].as_array().unwrap().len());
    let redirect = lab.get(&format!("/{REPO}/resolve/main/model.bin")).send().await;
    let plain = lab.get(redirect.header("location")).send().await.ok();
    assert!(plain.body == content);

    let object = ask_for(&lab, "download", &oid, content.len()).await;
    let url = href(&object, "download");
    assert!(lab.get(url).send().await.ok().body == content);
    let part = lab.get(url).header("range", "bytes=16777000-16777999").send().await.ok();
    assert_eq!(206, part.status);
    assert!(part.body == content[16_777_000..16_778_000]);
}

#[tokio::test]
async fn given_an_object_that_is_here_when_asked_to_upload_it_then_there_is_nothing_to_do() {
    let lab = lab().await;
    let content = random(2, 300_000);
    let oid = sha256(&content);
    let before = ask_for(&lab, "upload", &oid, content.len()).await;
    upload(&lab, &content).await;
    let stored = xorb_bytes(&lab);

    let object = ask_for(&lab, "upload", &oid, content.len()).await;

    assert!(object.get("actions").is_none() && object.get("error").is_none(), "{object}");
    // A client that asked before somebody else brought it may send it all the same.
    lab.call("PUT", href(&before, "upload")).body(full(content.clone())).send().await.ok();
    assert_eq!(stored, xorb_bytes(&lab));
    // The empty file needs no upload.
    let empty = ask_for(&lab, "upload", &sha256(b""), 0).await;
    assert!(empty.get("actions").is_none(), "{empty}");
}

#[tokio::test]
async fn given_a_client_that_knows_xet_when_asked_how_to_upload_then_that_way() {
    let lab = lab().await;
    let object = json!({ "oid": sha256(b"x"), "size": 1 });
    let ask = |operation: &str| {
        let transfers = ["basic", "multipart", "xet"];
        let body = json!({ "operation": operation, "transfers": transfers, "objects": [object] }).to_string();
        lab.post(&format!("/{REPO}.git/info/lfs/objects/batch"), body).send()
    };

    let upload = ask("upload").await.ok().json();

    assert_eq!((json!("xet"), json!([object])), (upload["transfer"].clone(), upload["objects"].clone()));
    assert_eq!(json!("basic"), ask("download").await.ok().json()["transfer"]);
}

#[tokio::test]
async fn given_a_file_that_shares_half_with_another_when_uploaded_then_that_half_is_not_stored_again() {
    let lab = lab().await;
    let first = random(3, 8 << 20);
    upload(&lab, &first).await;
    let before = xorb_bytes(&lab);
    let mut second = first[..4 << 20].to_vec();
    second.extend(random(4, 4 << 20));

    let oid = upload(&lab, &second).await;

    let added = xorb_bytes(&lab) - before;
    assert!(added < (4 << 20) + 600_000, "{added}");
    commit(&lab, "second.bin", &oid, second.len()).await.ok();
    let redirect = lab.get(&format!("/{REPO}/resolve/main/second.bin")).send().await;
    assert!(lab.get(redirect.header("location")).send().await.ok().body == second);
}

#[tokio::test]
async fn given_zeros_that_fill_no_xorb_when_uploaded_then_stored_once() {
    let lab = lab().await;
    let content = vec![0; 40 << 20];

    let oid = upload(&lab, &content).await;

    assert!(xorb_bytes(&lab) < 10_000);
    let object = ask_for(&lab, "download", &oid, content.len()).await;
    assert!(lab.get(href(&object, "download")).send().await.ok().body == content);
}

#[tokio::test]
async fn given_other_bytes_than_announced_when_uploaded_then_refused_and_not_kept() {
    let lab = lab().await;
    let content = random(5, 200_000);
    let oid = sha256(&content);
    let object = ask_for(&lab, "upload", &oid, content.len()).await;
    let put = |body| lab.call("PUT", href(&object, "upload")).body(body).send();
    let mut flipped = content.clone();
    flipped[100_000] ^= 1;

    put(full(flipped)).await.refused(400, "BadRequest").because("SHA-256");
    put(full(content[1..].to_vec())).await.refused(400, "BadRequest").because("size");
    put(full([&content[..], b"x"].concat())).await.refused(400, "BadRequest").because("size");
    // Without a length that is announced.
    let endless = vec![Bytes::from(content.clone()), Bytes::from(content.clone())];
    put(pieces(endless, true)).await.refused(400, "BadRequest").because("size");
    put(pieces(vec![content.clone().into()], false)).await.ok();

    let known = ask_for(&lab, "download", &oid, content.len()).await;
    assert!(known["actions"]["download"].is_object(), "{known}");
}

#[tokio::test]
async fn given_a_client_that_stops_when_uploading_then_nothing_can_be_committed_and_it_can_be_tried_again() {
    let lab = Lab::start_with(|config| config.stall = Duration::from_millis(200)).await;
    lab.create(REPO).await;
    let content = random(6, 5 << 20);
    let oid = sha256(&content);
    let object = ask_for(&lab, "upload", &oid, content.len()).await;
    let url = href(&object, "upload");

    for _ in 0..20 {
        let stopped = pieces(vec![content[..3 << 20].to_vec().into()], true);
        lab.call("PUT", url).body(stopped).send().await.refused(408, "RequestTimeout");
    }

    commit(&lab, "model.bin", &oid, content.len()).await.refused(400, "BadRequest");
    lab.call("PUT", url).body(full(content.clone())).send().await.ok();
    commit(&lab, "model.bin", &oid, content.len()).await.ok();
}

#[tokio::test]
async fn given_urls_that_are_forged_or_for_something_else_when_used_then_refused() {
    let lab = lab().await;
    let content = random(7, 100_000);
    let oid = sha256(&content);
    let object = ask_for(&lab, "upload", &oid, content.len()).await;
    let url = href(&object, "upload").to_owned();
    let bare = url.split('?').next().unwrap().to_owned();
    let other = url.replace(&oid, &sha256(b"other"));
    let longer = url.replace("size=100000", "size=200000");
    assert_ne!(url, longer);

    for forged in [bare, other, longer] {
        let put = lab.call("PUT", &forged).body(full(content.clone())).send().await;
        put.refused(403, "Forbidden");
    }
    lab.get(&url).send().await.refused(403, "Forbidden");
    lab.post(&url, "").send().await.refused(405, "MethodNotAllowed");
    upload(&lab, &content).await;
    let object = ask_for(&lab, "download", &oid, content.len()).await;
    lab.call("PUT", href(&object, "download")).body(full(content)).send().await.refused(403, "Forbidden");
}

#[tokio::test]
async fn given_objects_that_cannot_be_when_asked_about_then_each_has_its_error_and_bad_batches_are_refused() {
    let lab = lab().await;
    let content = random(8, 100_000);
    let oid = upload(&lab, &content).await;
    let error = async |operation: &str, oid: &str, size: u64| {
        let answer = ask(&lab, operation, json!([{ "oid": oid, "size": size }])).await.ok().json();
        answer["objects"][0]["error"]["code"].as_u64()
    };

    assert_eq!(Some(404), error("download", &sha256(b"unknown"), 7).await);
    assert_eq!(Some(422), error("upload", "../../etc/passwd", 7).await);
    assert_eq!(Some(422), error("upload", &oid.to_uppercase(), 100_000).await);
    assert_eq!(Some(422), error("upload", &oid, 99_999).await);
    assert_eq!(Some(422), error("download", &oid, 99_999).await);
    assert_eq!(Some(422), error("upload", &sha256(b"huge"), u64::MAX).await);

    ask(&lab, "delete", json!([])).await.refused(400, "BadRequest");
    ask(&lab, "upload", json!([{ "oid": oid, "size": -1 }])).await.refused(400, "BadRequest");
    let many: Vec<Value> = (0..1_001).map(|n| json!({ "oid": sha256(&[n as u8]), "size": 1 })).collect();
    ask(&lab, "upload", many.into()).await.refused(400, "BadRequest");
    let target = format!("/{REPO}.git/info/lfs/objects/batch");
    for body in [
        json!({ "operation": "upload", "transfers": ["tus"], "objects": [] }),
        json!({ "operation": "upload", "objects": [], "hash_algo": "sha512" }),
    ] {
        lab.post(&target, body.to_string()).send().await.refused(400, "BadRequest");
    }
    let missing = json!({ "operation": "upload", "objects": [] }).to_string();
    lab.post("/lab/other.git/info/lfs/objects/batch", missing).send().await.refused(404, "RepoNotFound");
    let verify = json!({ "oid": sha256(b"unknown"), "size": 7 }).to_string();
    lab.post(&format!("/{REPO}.git/info/lfs/verify"), verify).send().await.refused(404, "NotFound");
}

#[tokio::test]
async fn given_a_guarded_origin_when_asked_without_its_token_then_refused_and_urls_need_none() {
    let lab = Lab::start_with(|config| config.access = Access::one_token("secret")).await;
    let authorized = |call: super::lab::Call| call.header("authorization", "Bearer secret").send();
    let create = json!({ "name": "tiny", "organization": "lab", "type": "model" }).to_string();
    authorized(lab.post("/api/repos/create", create)).await.ok();
    let content = random(9, 100_000);
    let batch = json!({ "operation": "upload", "objects": [{ "oid": sha256(&content), "size": content.len() }] });
    let target = format!("/{REPO}.git/info/lfs/objects/batch");

    lab.post(&target, batch.to_string()).send().await.refused(401, "Unauthorized");
    let answer = authorized(lab.post(&target, batch.to_string())).await.ok().json();

    let object = &answer["objects"][0];
    lab.call("PUT", href(object, "upload")).body(full(content.clone())).send().await.ok();
    let verify = json!({ "oid": sha256(&content), "size": content.len() }).to_string();
    lab.post(href(object, "verify"), verify.clone()).send().await.refused(401, "Unauthorized");
    authorized(lab.post(href(object, "verify"), verify)).await.ok();
}
