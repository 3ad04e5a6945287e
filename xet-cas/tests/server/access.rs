//! Who may do what: the Hub's token, the CAS's tokens, and what an origin without data still gives.

use std::time::Duration;

use serde_json::json;
use xet_cas::server::Access;

use super::lab::{Lab, file_line};
use super::model::{Upload, random};

const REPO: &str = "lab/tiny";

#[tokio::test]
async fn given_a_token_when_configured_then_every_hub_call_needs_it() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let upload = Upload::of(random(1, 100_000));
    upload.publish(&lab, REPO, "model.bin").await;
    let lab = lab.restart_with(|config| config.access = Access::one_token("sesame")).await;
    let calls = [
        ("GET", "/api/models/lab/tiny"),
        ("GET", "/api/models/lab/none"),
        ("GET", "/api/models/lab/tiny/revision/main"),
        ("GET", "/api/models/lab/tiny/tree/main"),
        ("GET", "/api/models/lab/tiny/xet-read-token/main"),
        ("GET", "/api/models/lab/tiny/xet-write-token/main"),
        ("GET", "/lab/tiny/resolve/main/model.bin"),
        ("HEAD", "/lab/tiny/resolve/main/model.bin"),
        ("POST", "/api/models/lab/tiny/preupload/main"),
        ("POST", "/api/models/lab/tiny/commit/main"),
        ("POST", "/api/repos/create"),
        ("POST", "/api/validate-yaml"),
    ];
    for (method, target) in calls {
        let call = || lab.call(method, target);
        call().send().await.refused(401, "Unauthorized");
        for wrong in ["Bearer wrong", "Bearer sesam", "Bearer ", "sesame", "Basic sesame"] {
            call().header("authorization", wrong).send().await.refused(401, "Unauthorized");
        }
        let wrong = call().header("authorization", "Bearer wrong").send().await;
        wrong.refused(401, "Unauthorized").because("Invalid credentials in Authorization header");
        assert_ne!(401, call().header("authorization", "Bearer sesame").send().await.status, "{target}");
    }

    // A signed URL is permission enough: the client that follows it may be another one.
    let resolved = lab.get("/lab/tiny/resolve/main/model.bin").header("authorization", "Bearer sesame").send().await;
    assert!(upload.content == lab.get(resolved.header("location")).send().await.ok().body);
    let private = json!({ "name": "p", "organization": "lab", "visibility": "private" }).to_string();
    lab.post("/api/repos/create", private).header("authorization", "Bearer sesame").send().await.ok();
    for (name, is_private) in [("p", true), ("tiny", false)] {
        let call = lab.get(&format!("/api/models/lab/{name}")).header("authorization", "Bearer sesame");
        assert_eq!(json!(is_private), call.send().await.ok().json()["private"], "{name}");
    }
}

#[tokio::test]
async fn given_a_cas_token_when_asked_for_then_the_same_in_body_and_headers() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    for scope in ["read", "write"] {
        let answer = lab.get(&format!("/api/models/lab/tiny/xet-{scope}-token/main")).send().await.ok();

        let body = answer.json();
        assert_eq!(json!(format!("{}/cas", lab.url())), body["casUrl"]);
        assert_eq!(body["casUrl"], answer.header("x-xet-cas-url"));
        assert_eq!(body["accessToken"], answer.header("x-xet-access-token"));
        assert_eq!(body["exp"].to_string(), answer.header("x-xet-token-expiration"));
    }
    let get = |target: &str| lab.get(target).send();
    get("/api/models/lab/none/xet-read-token/main").await.refused(404, "RepoNotFound");
    get("/api/models/lab/tiny/xet-read-token/dev").await.refused(404, "RevisionNotFound");
    get("/api/models/lab/tiny/xet-write-token/None?create_pr=1").await.ok();
    get("/api/models/lab/tiny/xet-write-token/None").await.ok();
}

#[tokio::test]
async fn given_cas_calls_when_made_then_scope_and_expiry_of_the_token_count() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let upload = Upload::of(random(1, 100_000));
    upload.publish(&lab, REPO, "model.bin").await;
    let (read, write) = (lab.cas_token(REPO, "read").await, lab.cas_token(REPO, "write").await);
    let file = format!("/cas/v2/reconstructions/{}", upload.file);
    let batch = format!("/cas/v1/reconstructions?file_id={}", upload.file);

    for target in [&file, &batch] {
        for token in [&read, &write] {
            lab.get(target).header("authorization", token).send().await.ok();
        }
        lab.get(target).send().await.refused(401, "Unauthorized");
        lab.get(target).header("authorization", "Bearer read.9999999999.00").send().await.refused(401, "Unauthorized");
        let forged = read.replace("read.", "read.9");
        lab.get(target).header("authorization", &forged).send().await.refused(401, "Unauthorized");
    }
    upload.push_xorb(&lab, &read).await.refused(403, "Forbidden");
    upload.push_shard(&lab, &read).await.refused(403, "Forbidden");
    upload.push_xorb(&lab, &read.replace("read", "write")).await.refused(401, "Unauthorized");
    lab.post("/cas/v2/shards", upload.shard.encode_upload()).send().await.refused(401, "Unauthorized");

    // A transfer that is under way goes on after a restart.
    let lab = lab.restart_with(|config| config.token_lifetime = Duration::ZERO).await;
    lab.get(&file).header("authorization", &read).send().await.ok();
    let expired = lab.cas_token(REPO, "read").await;
    lab.get(&file).header("authorization", &expired).send().await.refused(401, "Unauthorized");
}

#[tokio::test]
async fn given_no_data_when_asked_for_data_then_503_and_everything_else_stays() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let upload = Upload::of(random(1, 100_000));
    upload.publish(&lab, REPO, "model.bin").await;
    lab.commit(REPO, &[file_line("a.txt", b"text")]).await.ok();
    let lab = lab.restart_with(|config| config.no_data = true).await;
    let token = lab.cas_token(REPO, "read").await;

    let target = format!("/cas/v2/reconstructions/{}", upload.file);
    let answer = lab.get(&target).header("authorization", &token).send().await.ok().json();
    let entry = &answer["xorbs"][upload.xorb.hash().to_string()][0];
    let range = format!("bytes=0-{}", entry["ranges"][0]["bytes"]["end"]);
    lab.get(entry["url"].as_str().unwrap()).header("range", range).send().await.refused(503, "NoData");
    let location = lab.head("/lab/tiny/resolve/main/model.bin").send().await.header("location").to_owned();
    lab.get(&location).send().await.refused(503, "NoData");

    lab.head(&location).send().await.ok();
    assert_eq!("text", lab.get("/lab/tiny/resolve/main/a.txt").send().await.ok().body);
    lab.json("/api/models/lab/tiny/tree/main").await;
    assert_eq!(0, lab.counters.data_bytes_sent());
}

#[tokio::test]
async fn given_urls_in_answers_when_asked_through_another_name_then_under_that_name() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let target = "/api/models/lab/tiny/xet-read-token/main";

    let answer = lab.get(target).header("host", "origin.example:8080").send().await.ok().json();

    assert_eq!(json!("http://origin.example:8080/cas"), answer["casUrl"]);
    for host in ["", "a b", "a/b", "x\">", "a@b", &"x".repeat(300)] {
        lab.get(target).header("host", host).send().await.refused(400, "BadRequest");
    }
}

#[tokio::test]
async fn given_what_is_not_offered_when_asked_for_then_404_at_once() {
    let lab = Lab::start().await;
    for target in ["/", "/api/agent-harnesses", "/api/kernels", "/cas", "/cas/v3/x", "/origin.json"] {
        lab.get(target).send().await.refused(404, "NotFound");
    }
    for (method, target) in
        [("PUT", "/api/repos/create"), ("DELETE", "/api/models/lab/tiny"), ("GET", "/cas/v1/shards")]
    {
        lab.call(method, target).send().await.refused(405, "MethodNotAllowed");
    }
    for target in ["/v1/telemetry", "/cas/v1/telemetry"] {
        lab.post(target, r#"{"event":"xet_download_summary"}"#).send().await.ok();
    }
    let yaml =
        lab.post("/api/validate-yaml", r#"{"content":"---\na: b\n---\n","repoType":"model"}"#).send().await.ok().json();
    assert_eq!(json!({ "errors": [], "warnings": [] }), yaml);
}
