//! What those who run an origin meet: health, metrics, names of requests, refusals of every kind, a proxy in front.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use xet_cas::server::{Access, Permission, Token};

use super::lab::{Lab, file_line};
use super::model::{Upload, random};

const REPO: &str = "lab/tiny";

#[tokio::test]
async fn given_an_origin_when_asked_for_its_health_then_well_without_a_token() {
    let lab = Lab::start_with(|config| config.access = Access::one_token("sesame")).await;
    assert_eq!(json!({ "status": "ok" }), lab.json("/health").await);
}

#[tokio::test]
async fn given_an_origin_that_stops_when_asked_then_503_until_the_last_answer_is_out() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let upload = Upload::of(random(1, 400_000));
    upload.publish(&lab, REPO, "model.bin").await;
    let mut lab = lab.restart_with(|config| config.limit_rate = Some(400_000)).await;
    let url = lab.head("/lab/tiny/resolve/main/model.bin").send().await.header("location").to_owned();
    let (_connection, answer) = lab.get(&url).begin().await;

    lab.begin_stop();

    // Whether it has heard of it is seen by the answer.
    while lab.get("/health").send().await.status == 200 {}
    let health = lab.get("/health").send().await.refused(503, "Stopping");
    assert_eq!("close", health.header("connection"));
    lab.get("/api/models/lab/tiny").send().await.refused(503, "Stopping");
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    assert!(upload.content == body);
    lab.stop().await;
}

#[tokio::test]
async fn given_requests_when_metrics_are_read_then_counted() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    Upload::of(random(1, 100_000)).publish(&lab, REPO, "model.bin").await;
    lab.get("/api/models/lab/none").send().await.refused(404, "RepoNotFound");

    let answer = lab.get("/metrics").send().await.ok();

    assert_eq!("text/plain; version=0.0.4", answer.header("content-type"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("zest_origin_{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse::<f64>().unwrap()
    };
    assert_eq!(1.0, value(r#"requests_total{route="api",status="404"}"#));
    assert_eq!((1.0, 1.0), (value("stored_xorbs"), value("repositories")));
    assert!(value("received_bytes_total") > 100_000.0 && value("sent_bytes_total") > 100.0);
    assert!(value("connections") >= 1.0 && value("stored_bytes") > 100_000.0);
    assert_eq!((0.0, 0.0), (value("errors_total"), value("uploads_staged")));
    // The format: each line is a comment or a name and a number.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, number) = line.rsplit_once(' ').unwrap();
        assert!(line.starts_with("zest_origin_") && number.parse::<f64>().is_ok(), "{line}");
    }
}

#[tokio::test]
async fn given_a_proxy_in_front_when_metrics_are_read_then_by_admins_alone() {
    let lab = Lab::start_with(|config| {
        config.public_url = Some("https://hub.example".into());
        config.access.tokens =
            vec![Token::new("admin", Permission::Admin), Token::new("bob", Permission::Write).of_user("bob")];
    })
    .await;
    let ask = |who: &'static str| lab.get("/metrics").as_(who).send();
    ask("").await.refused(401, "Unauthorized");
    ask("bob").await.refused(403, "Forbidden");
    ask("wrong").await.refused(401, "Unauthorized");
    ask("admin").await.ok();
}

#[tokio::test]
async fn given_a_public_url_when_answers_hold_urls_then_they_begin_with_it_whatever_the_client_says() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let upload = Upload::of(random(1, 100_000));
    upload.publish(&lab, REPO, "model.bin").await;
    lab.commit(REPO, &[file_line("a.txt", b"text"), file_line("b.txt", b"text")]).await.ok();
    let lab = lab
        .restart_with(|config| {
            config.public_url = Some("https://hub.example/".into());
            config.tree_page_entries = 1;
        })
        .await;
    let get = |target: &str| {
        let call = lab.get(target).header("host", "evil.example").header("x-forwarded-host", "evil.example");
        call.header("x-forwarded-proto", "gopher").header("forwarded", "host=evil.example").send()
    };
    let mut said = Vec::new();
    for target in [
        "/api/models/lab/tiny/xet-read-token/main",
        "/api/models/lab/tiny/tree/main",
        "/lab/tiny/resolve/main/model.bin",
    ] {
        let answer = get(target).await;
        assert!(answer.status < 400, "{target}");
        said.push(format!("{:?} {:?}", answer.headers, answer.body));
    }
    let token = lab.cas_token(REPO, "write").await;
    let target = format!("/cas/v2/reconstructions/{}", upload.file);
    let answer = lab.get(&target).header("host", "evil.example").header("authorization", &token).send().await.ok();
    said.push(format!("{:?}", answer.body));
    let grant = json!({ "length": 10, "checksum": { "algo": "crc64nvme", "value": "1" } }).to_string();
    let target = format!("/cas/v1/xorb-grants/default/{}", "0".repeat(64));
    let answer = lab.post(&target, grant).header("host", "evil.example").header("authorization", &token).send().await;
    said.push(format!("{:?}", answer.ok().body));
    for said in said {
        let urls = said.matches("://").count();
        assert!(urls > 0 && !said.contains("evil"), "{said}");
        assert_eq!(urls, said.matches("https://hub.example/").count(), "{said}");
    }
}

#[tokio::test]
async fn given_names_of_requests_when_answered_then_repeated_or_made_up() {
    let lab = Lab::start().await;
    let id = async |name: &str, value: &str| {
        lab.get("/api/models/lab/none").header(name, value).send().await.header("x-request-id").to_owned()
    };
    assert_eq!("abc-1", id("x-request-id", "abc-1").await);
    assert_eq!("Root=1-67891233-abcdef;x", id("x-amzn-trace-id", "Root=1-67891233-abcdef;x").await);
    assert_eq!("scriptalert1/script", id("x-request-id", "<script>alert(1)</script>").await);
    assert_eq!(128, id("x-request-id", &"a".repeat(4_000)).await.len());
    assert_eq!(32, id("x-unrelated", "x").await.len());
}

/// Every way to be refused that does not depend on what is stored.
#[tokio::test]
async fn given_requests_of_every_bad_kind_when_refused_then_each_says_why_in_the_same_form() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let zeros = "0".repeat(64);
    for (method, target, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/cas/nothing", 404),
        ("GET", "/%ff", 400),
        ("GET", "/api/models/%ff", 400),
        ("GET", "/api/models/lab/tiny/tree/main?limit=x", 400),
        ("GET", "/api/models/lab/tiny/tree/main?cursor=%ff", 400),
        ("GET", "/api/models/lab/tiny/xet-write-token/main?create_pr=maybe", 400),
        ("GET", "/cas/v2/reconstructions/%ff", 400),
        ("GET", "/cas/v1/chunks/%ff/%ff", 400),
        ("GET", "/cas/xorbs/%ff", 400),
        ("PUT", "/cas/grants/%ff", 400),
        ("POST", "/cas/v1/xorbs/%ff/%ff", 400),
        ("GET", "/cas/v1/reconstructions?=%ff&&", 401),
        ("GET", "/cas/v2/reconstructions/x", 401),
        ("DELETE", "/health", 405),
        ("POST", "/metrics", 405),
        ("PATCH", "/cas/v1/shards", 405),
        ("DELETE", "/api/repos/create/x", 404),
        ("BREW", "/api/models/lab/tiny", 405),
        ("OPTIONS", "/lab/tiny/resolve/main/a", 405),
        ("POST", "/api/repos/create", 400),
        ("POST", "/api/models/lab/tiny/commit/main?create_pr=2", 400),
        ("POST", "/api/models/lab/tiny/preupload/main", 400),
        ("GET", "/api/models/lab/tiny/revision/none", 404),
        ("GET", "/lab/tiny/resolve/main/none", 404),
        ("GET", "/cas/xorbs/0?bytes=0-1&expires=1&signature=1", 400),
        ("GET", &format!("/cas/xorbs/{zeros}?bytes=0-1&expires=1&signature={zeros}"), 403),
    ] {
        let answer = lab.call(method, target).send().await;
        assert_eq!(status, answer.status, "{method} {target}: {:?}", answer.body);
        let (code, message) = (answer.header("x-error-code"), answer.header("x-error-message"));
        assert!(!code.is_empty() && !message.is_empty(), "{method} {target}: {:?}", answer.headers);
        assert_eq!("application/json", answer.header("content-type"), "{method} {target}");
        assert!(answer.json()["error"].is_string(), "{method} {target}");
        assert!(!answer.header("x-request-id").is_empty());
    }
}

/// What is no request at all is answered below everything else, by status alone.
#[tokio::test]
async fn given_heads_that_are_too_long_or_malformed_when_sent_then_refused_by_status_and_closed() {
    let lab = Lab::start().await;
    let long = "x".repeat(70_000);
    for (head, status) in [
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), &["414", "431"][..]),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), &["431"]),
        ("GET / HTTP/1.1\r\n bad\r\n\r\n".into(), &["400"]),
    ] {
        let mut socket = TcpStream::connect(lab.address).await.unwrap();
        let _ = socket.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut answer)).await;
        let _ = read.expect("the connection stays open");
        let answer = String::from_utf8_lossy(&answer);
        assert!(status.iter().any(|status| answer.starts_with(&format!("HTTP/1.1 {status}"))), "{answer}");
    }
}
