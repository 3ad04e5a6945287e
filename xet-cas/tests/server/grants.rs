//! Xorbs that come by a grant: three steps, each of which may go wrong.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use xet_cas::XorbHash;
use xet_cas::xorb::SERIALIZED_BYTES_MAX;

use super::lab::{Answer, Body, Lab, full, pieces};
use super::model::{Upload, random};

const REPO: &str = "lab/tiny";

async fn lab() -> (Lab, String) {
    lab_with(|_| {}).await
}

async fn lab_with(adjust: impl FnOnce(&mut xet_cas::server::Config)) -> (Lab, String) {
    let lab = Lab::start_with(adjust).await;
    lab.create(REPO).await;
    let token = lab.cas_token(REPO, "write").await;
    (lab, token)
}

fn crc(data: &[u8]) -> u64 {
    let mut digest = crc64fast_nvme::Digest::new();
    digest.write(data);
    digest.sum64()
}

fn request_for(body: &[u8]) -> Value {
    let checksum = json!({ "algo": "crc64nvme", "value": crc(body).to_string() });
    json!({ "length": body.len(), "checksum": checksum })
}

async fn ask(lab: &Lab, token: &str, xorb: XorbHash, request: &str) -> Answer {
    let target = format!("/cas/v1/xorb-grants/default/{xorb}");
    let call = lab.post(&target, request.to_owned()).header("content-type", "application/json");
    call.header("authorization", token).send().await
}

/// A grant for these bytes, whatever they are.
async fn grant(lab: &Lab, token: &str, xorb: XorbHash, body: &[u8]) -> (String, String) {
    let answer = ask(lab, token, xorb, &request_for(body).to_string()).await;
    assert_eq!(201, answer.status, "{answer:?}");
    let answer = answer.json();
    assert_eq!((&json!("PUT"), &json!({ "if-none-match": "*" })), (&answer["method"], &answer["headers"]));
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("id"), text("url"))
}

async fn send(lab: &Lab, url: &str, body: Body) -> Answer {
    lab.call("PUT", url).header("if-none-match", "*").body(body).send().await
}

async fn commit(lab: &Lab, token: &str, xorb: XorbHash, id: &str) -> Answer {
    let target = format!("/cas/v1/xorb-commits/default/{xorb}/grant/{id}");
    lab.post(&target, "").header("authorization", token).send().await
}

fn records(upload: &Upload) -> Bytes {
    upload.xorb.records.clone().into()
}

fn staged(lab: &Lab) -> usize {
    std::fs::read_dir(lab.folder.path().join("incoming")).unwrap().count()
}

fn is_kept(lab: &Lab, xorb: XorbHash) -> bool {
    let name = xorb.to_string();
    lab.folder.path().join("xorbs").join(&name[..2]).join(name).exists()
}

#[tokio::test]
async fn given_a_grant_when_used_and_committed_then_the_xorb_is_kept_and_needs_no_other() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 500_000);
    let xorb = upload.xorb.hash();
    let (id, url) = grant(&lab, &token, xorb, &records(&upload)).await;

    send(&lab, &url, full(records(&upload))).await.ok();
    assert!(!is_kept(&lab, xorb));
    commit(&lab, &token, xorb, &id).await.ok();

    assert!(is_kept(&lab, xorb));
    assert_eq!(0, staged(&lab));
    upload.push_shard(&lab, &token).await.ok();
    lab.commit(REPO, &[upload.line("model.bin")]).await.ok();
    let location = lab.get("/lab/tiny/resolve/main/model.bin").send().await.header("location").to_owned();
    assert!(upload.content == lab.get(&location).send().await.ok().body);

    assert_eq!(200, ask(&lab, &token, xorb, &request_for(&records(&upload)).to_string()).await.status);
    send(&lab, &url, full(records(&upload))).await.refused(412, "PreconditionFailed");
    // The answer may have been lost.
    commit(&lab, &token, xorb, &id).await.ok();
}

#[tokio::test]
async fn given_the_known_answer_when_summed_then_it_is_the_clients_checksum() {
    // From the deployed client: CRC-64/NVME of "123456789".
    assert_eq!(0xae8b_1486_0a79_9888, crc(b"123456789"));
}

#[tokio::test]
async fn given_questions_that_are_none_when_asked_then_refused() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 100_000);
    let xorb = upload.xorb.hash();
    let with = |length: Value, algo: &str, value: Value| {
        json!({ "length": length, "checksum": { "algo": algo, "value": value } }).to_string()
    };
    let bad = [
        String::new(),
        "<html>".into(),
        "{}".into(),
        with(json!(0), "crc64nvme", json!("1")),
        with(json!(-1), "crc64nvme", json!("1")),
        with(json!(SERIALIZED_BYTES_MAX + 1), "crc64nvme", json!("1")),
        with(json!(1), "crc32", json!("1")),
        with(json!(1), "crc64nvme", json!(1)),
        with(json!(1), "crc64nvme", json!("0x1")),
        with(json!(1), "crc64nvme", json!("-1")),
        with(json!(1), "crc64nvme", json!("18446744073709551616")),
    ];
    for request in bad {
        ask(&lab, &token, xorb, &request).await.refused(400, "BadRequest");
    }
    ask(&lab, &token, xorb, &" ".repeat(4097)).await.refused(413, "PayloadTooLarge");
    ask(&lab, &with(json!(SERIALIZED_BYTES_MAX), "crc64nvme", json!("1")), xorb, "").await.refused(401, "Unauthorized");
    let read = lab.cas_token(REPO, "read").await;
    ask(&lab, &read, xorb, &request_for(b"x").to_string()).await.refused(403, "Forbidden");
    commit(&lab, &read, xorb, &"0".repeat(32)).await.refused(403, "Forbidden");
    commit(&lab, "Bearer none", xorb, &"0".repeat(32)).await.refused(401, "Unauthorized");
    let named_otherwise = lab.post("/cas/v1/xorb-grants/default/zz", "{}").header("authorization", &token).send().await;
    named_otherwise.refused(400, "BadRequest");
}

#[tokio::test]
async fn given_a_url_that_was_changed_when_used_then_refused() {
    let (lab, token) = lab().await;
    let (upload, other) = (Upload::mixed(1, 100_000), Upload::mixed(2, 100_000));
    let xorb = upload.xorb.hash();
    let (id, url) = grant(&lab, &token, xorb, &records(&upload)).await;
    let (other_id, other_url) = grant(&lab, &token, xorb, &records(&upload)).await;
    let signature = |url: &str| url.split_once("signature=").unwrap().1.to_owned();
    let checksum = crc(&records(&upload));
    let expires = url.split_once("expires=").unwrap().1.split_once('&').unwrap().0;
    let length = format!("length={}", upload.xorb.records.len());
    let forged = [
        url.replace(&id, &other_id),
        url.replace(&id, "none"),
        url.replace(&xorb.to_string(), &other.xorb.hash().to_string()),
        url.replace(&length, &format!("{length}0")),
        url.replace(&format!("checksum={checksum}"), "checksum=1"),
        url.replace(&format!("expires={expires}"), &format!("expires={expires}0")),
        url.replace(&signature(&url), &signature(&other_url)),
        url.replace(&signature(&url), ""),
        url.split_once('?').unwrap().0.to_owned(),
    ];
    for forged in forged {
        assert_ne!(url, forged);
        send(&lab, &forged, full(records(&upload))).await.refused(403, "Forbidden");
    }
    assert_eq!(0, staged(&lab));
    send(&lab, &url, full(records(&upload))).await.ok();
}

#[tokio::test]
async fn given_an_expired_url_when_used_then_refused() {
    let (lab, token) = lab_with(|config| config.url_lifetime = Duration::ZERO).await;
    let upload = Upload::mixed(1, 100_000);
    let (_, url) = grant(&lab, &token, upload.xorb.hash(), &records(&upload)).await;

    send(&lab, &url, full(records(&upload))).await.refused(403, "Forbidden").because("has expired");
}

#[tokio::test]
async fn given_other_bytes_than_granted_when_sent_then_refused_and_the_grant_stays_good() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 300_000);
    let (xorb, body) = (upload.xorb.hash(), records(&upload));
    let (id, url) = grant(&lab, &token, xorb, &body).await;
    let mut flipped = body.to_vec();
    flipped[body.len() / 2] ^= 1;
    let longer = Bytes::from([&body[..], b"x"].concat());
    let shorter = body.slice(1..);
    let halves = || vec![body.slice(..body.len() / 2), body.slice(body.len() / 2..)];

    send(&lab, &url, full(flipped)).await.refused(400, "BadRequest").because("checksum");
    for wrong in [longer.clone(), shorter.clone(), Bytes::new()] {
        send(&lab, &url, full(wrong.clone())).await.refused(400, "BadRequest").because("length");
        send(&lab, &url, pieces(vec![wrong], false)).await.refused(400, "BadRequest").because("length");
    }
    // One that never ends is refused as soon as it is too long.
    send(&lab, &url, pieces([halves(), halves()].concat(), true)).await.refused(400, "BadRequest").because("length");
    assert_eq!(0, staged(&lab));
    commit(&lab, &token, xorb, &id).await.refused(404, "NotFound");

    send(&lab, &url, pieces(halves(), false)).await.ok();
    send(&lab, &url, full(body.clone())).await.refused(412, "PreconditionFailed");
    commit(&lab, &token, xorb, &id).await.ok();
}

#[tokio::test]
async fn given_a_client_that_stops_sending_when_it_tries_again_then_there_is_a_place() {
    let (lab, token) = lab_with(|config| config.stall = Duration::from_millis(300)).await;
    let upload = Upload::mixed(1, 300_000);
    let (xorb, body) = (upload.xorb.hash(), records(&upload));
    let (id, url) = grant(&lab, &token, xorb, &body).await;

    let stalled = send(&lab, &url, pieces(vec![body.slice(..1_000)], true)).await;

    stalled.refused(408, "RequestTimeout");
    assert_eq!(0, staged(&lab));
    send(&lab, &url, full(body)).await.ok();
    commit(&lab, &token, xorb, &id).await.ok();
}

#[tokio::test]
async fn given_a_client_that_vanishes_when_sending_then_nothing_stays_and_it_may_try_again() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 300_000);
    let (xorb, body) = (upload.xorb.hash(), records(&upload));
    let (id, url) = grant(&lab, &token, xorb, &body).await;
    let vanishing = lab.call("PUT", &url).body(pieces(vec![body.slice(..body.len() / 2)], true));
    let mut sending = tokio::task::JoinSet::new();
    sending.spawn(vanishing.send());
    eventually(|| staged(&lab) == 1).await;
    // Only one at a time.
    send(&lab, &url, full(body.clone())).await.refused(409, "Conflict");

    sending.abort_all();

    eventually(|| staged(&lab) == 0).await;
    send(&lab, &url, full(body)).await.ok();
    commit(&lab, &token, xorb, &id).await.ok();
}

#[tokio::test]
async fn given_a_grant_for_another_xorb_when_committed_then_there_is_nothing() {
    let (lab, token) = lab().await;
    let (upload, other) = (Upload::mixed(1, 300_000), Upload::mixed(2, 300_000));
    let (id, url) = grant(&lab, &token, upload.xorb.hash(), &records(&upload)).await;
    let (other_id, _) = grant(&lab, &token, other.xorb.hash(), &records(&other)).await;
    send(&lab, &url, full(records(&upload))).await.ok();

    commit(&lab, &token, other.xorb.hash(), &id).await.refused(404, "NotFound");
    commit(&lab, &token, upload.xorb.hash(), &other_id).await.refused(404, "NotFound");
    for id in ["none", "0", "%2e%2e", "..%2f..", &"f".repeat(33)] {
        commit(&lab, &token, upload.xorb.hash(), id).await.refused(404, "NotFound");
    }
    commit(&lab, &token, upload.xorb.hash(), &id).await.ok();
    assert!(is_kept(&lab, upload.xorb.hash()) && !is_kept(&lab, other.xorb.hash()));
}

#[tokio::test]
async fn given_bytes_that_are_not_the_xorb_when_committed_then_refused_and_nothing_kept() {
    let (lab, token) = lab().await;
    let (upload, other) = (Upload::mixed(1, 300_000), Upload::mixed(2, 300_000));
    let (xorb, body) = (upload.xorb.hash(), records(&upload));
    let bodies = [
        random(3, 100_000),
        other.xorb.records.clone(),
        body[..body.len() - 1].to_vec(),
        [&body[..], b"tail"].concat(),
        // Directly it would be taken with its footer.
        [&body[..], &upload.xorb.footer.encode()].concat(),
    ];
    for wrong in bodies {
        let (id, url) = grant(&lab, &token, xorb, &wrong).await;
        send(&lab, &url, full(wrong)).await.ok();
        commit(&lab, &token, xorb, &id).await.refused(400, "BadRequest");
        commit(&lab, &token, xorb, &id).await.refused(404, "NotFound");
        assert!(staged(&lab) == 0 && !is_kept(&lab, xorb));
    }
}

#[tokio::test]
async fn given_one_xorb_by_many_grants_when_committed_then_each_succeeds_and_nothing_stays() {
    let (lab, token) = lab().await;
    let upload = Upload::mixed(1, 500_000);
    let xorb = upload.xorb.hash();

    let one = || async {
        let (id, url) = grant(&lab, &token, xorb, &records(&upload)).await;
        send(&lab, &url, full(records(&upload))).await.ok();
        id
    };
    let ids = futures::future::join_all((0..4).map(|_| one())).await;
    assert_eq!(4, staged(&lab));
    futures::future::join_all(ids.iter().map(|id| async { commit(&lab, &token, xorb, id).await.ok() })).await;

    assert!(is_kept(&lab, xorb));
    assert_eq!(0, staged(&lab));
}

#[tokio::test]
async fn given_an_upload_that_nobody_commits_when_its_grant_expires_then_deleted() {
    let (lab, token) = lab_with(|config| config.url_lifetime = Duration::from_secs(2)).await;
    let upload = Upload::mixed(1, 100_000);
    let (_, url) = grant(&lab, &token, upload.xorb.hash(), &records(&upload)).await;
    send(&lab, &url, full(records(&upload))).await.ok();
    assert_eq!(1, staged(&lab));

    eventually(|| staged(&lab) == 0).await;
}

/// Waits until something that nobody reports has happened.
async fn eventually(holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.expect("it happens in time");
}
