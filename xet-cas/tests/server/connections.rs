//! Clients that are slow or vanish, limited rates, and shutting down.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::lab::{Lab, pieces};
use super::model::{Upload, random};

const REPO: &str = "lab/tiny";

async fn published(length: usize) -> (Lab, Upload) {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let upload = Upload::of(random(1, length));
    upload.publish(&lab, REPO, "model.bin").await;
    (lab, upload)
}

async fn plain_url(lab: &Lab) -> String {
    lab.head("/lab/tiny/resolve/main/model.bin").send().await.header("location").to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a rate is measured against the clock")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn given_an_upload_that_stalls_when_the_deadline_passes_then_408_and_nothing_is_left() {
    let lab = Lab::start_with(|config| config.stall = Duration::from_millis(100)).await;
    lab.create(REPO).await;
    let token = lab.cas_token(REPO, "write").await;
    let upload = Upload::of(random(1, 300_000));
    let half = Bytes::from(upload.xorb.records[..150_000].to_vec());

    for target in [&upload.xorb_target(), "/cas/v1/shards", "/cas/v2/shards", "/api/models/lab/tiny/commit/main"] {
        let call = lab.post(target, "").body(pieces(vec![half.clone()], true)).header("authorization", &token);
        // The client has not sent its body yet and sees the answer all the same.
        let (_connection, answer) = call.begin().await;
        assert_eq!(408, answer.status(), "{target}");
    }
    assert_eq!(0, std::fs::read_dir(lab.folder.path().join("incoming")).unwrap().count());
    upload.push_xorb(&lab, &token).await.ok();
}

#[tokio::test]
async fn given_a_client_that_vanishes_while_uploading_when_another_comes_then_served_and_nothing_is_left() {
    let mut lab = Lab::start().await;
    lab.create(REPO).await;
    let token = lab.cas_token(REPO, "write").await;
    let upload = Upload::of(random(1, 300_000));
    let mut socket = TcpStream::connect(lab.address).await.unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nauthorization: {token}\r\ncontent-length: 300000\r\n\r\nabc",
        upload.xorb_target(),
        lab.address
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    drop(socket);

    upload.push_xorb(&lab, &token).await.ok();

    lab.stop().await;
    assert_eq!(0, std::fs::read_dir(lab.folder.path().join("incoming")).unwrap().count());
}

#[tokio::test]
async fn given_a_client_that_takes_no_data_when_the_deadline_passes_then_dropped() {
    // More than the sockets between the two hold.
    let (lab, upload) = published(32 << 20).await;
    let mut lab = lab
        .restart_with(|config| {
            config.stall = Duration::from_millis(200);
            config.drain = Duration::from_secs(3_600);
        })
        .await;
    let url = plain_url(&lab).await;
    let (_connection, stuck) = lab.get(&url).begin().await;
    let mut stuck = stuck.into_body();
    stuck.frame().await.unwrap().unwrap();

    // Others are served meanwhile, and shutting down would wait for the stuck one for an hour.
    assert!(upload.content == lab.get(&url).send().await.ok().body);
    tokio::time::timeout(Duration::from_secs(20), lab.stop()).await.unwrap();

    assert!(stuck.collect().await.is_err());
}

#[tokio::test]
async fn given_a_limited_rate_when_data_is_sent_then_not_faster_together_than_it() {
    let (lab, _) = published(200_000).await;
    let lab = lab.restart_with(|config| config.limit_rate = Some(1_000_000)).await;
    let url = plain_url(&lab).await;
    let start = now();

    let answers = futures::future::join_all((0..3).map(|_| lab.get(&url).send())).await;

    assert!(answers.into_iter().all(|answer| answer.ok().body.len() == 200_000));
    // 600,000 bytes take 0.6 s, less the first piece of each stretch of idleness.
    assert!(start.elapsed() > Duration::from_millis(400), "{:?}", start.elapsed());
    assert_eq!(600_000, lab.counters.data_bytes_sent());
}

#[tokio::test]
async fn given_a_download_under_way_when_stopped_then_it_finishes() {
    let (lab, upload) = published(400_000).await;
    let mut lab = lab.restart_with(|config| config.limit_rate = Some(1_000_000)).await;
    let url = plain_url(&lab).await;
    let (_connection, answer) = lab.get(&url).begin().await;

    lab.begin_stop();

    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(upload.content == body);
    lab.stop().await;
    assert!(TcpStream::connect(lab.address).await.is_err());
}

#[tokio::test]
async fn given_a_download_that_takes_too_long_when_stopped_then_cut_at_the_deadline() {
    let (lab, _) = published(400_000).await;
    let mut lab = lab
        .restart_with(|config| {
            config.limit_rate = Some(10_000);
            config.drain = Duration::from_millis(100);
        })
        .await;
    let url = plain_url(&lab).await;
    let (_connection, answer) = lab.get(&url).begin().await;

    lab.stop().await;

    assert!(answer.into_body().collect().await.is_err());
}

#[tokio::test]
async fn given_an_idle_connection_when_stopped_then_nobody_waits_for_it() {
    let mut lab = Lab::start().await;
    let mut idle = TcpStream::connect(lab.address).await.unwrap();
    lab.json("/origin/stats").await;

    lab.stop().await;

    assert_eq!(0, idle.read(&mut [0; 1]).await.unwrap_or(0));
}

#[tokio::test]
async fn given_no_http_when_received_then_that_connection_alone_ends() {
    let lab = Lab::start().await;
    for text in ["\u{13}BitTorrent protocol", "GET / HTTP/1.1\r\nhost", "\r\n\r\n", "GET / HTTP/9\r\n\r\n"] {
        let mut socket = TcpStream::connect(lab.address).await.unwrap();
        socket.write_all(text.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }
    let mut socket = TcpStream::connect(lab.address).await.unwrap();
    let endless = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    socket.write_all(endless.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));

    lab.json("/origin/stats").await;
}

/// With nothing else to do the paused clock jumps to the deadline.
#[tokio::test]
async fn given_a_connection_that_asks_for_nothing_when_its_time_is_over_then_it_is_closed() {
    let lab = Lab::start().await;
    for half in ["", "GET /origin/stats HTTP/1.1\r\nhost:"] {
        let mut socket = TcpStream::connect(lab.address).await.unwrap();
        socket.write_all(half.as_bytes()).await.unwrap();
        // The server has read it: a later connection was answered.
        lab.json("/origin/stats").await;
        tokio::time::pause();

        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;

        tokio::time::resume();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    }
}
