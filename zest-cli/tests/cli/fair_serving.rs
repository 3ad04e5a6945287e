//! Many peers of one `zest serve`: what a limit lets through, who gets it, and what is compressed.

#![expect(clippy::disallowed_methods, reason = "how long a server takes for what it sends")]

use std::time::Instant;

use testkit::{Fault, Rule, Status};

use crate::lab::{ENTRY_PATH, Lab, REPO, finish};
use crate::serving::{Machine, content, hash, within};

#[tokio::test(flavor = "multi_thread")]
async fn given_a_peer_that_does_not_read_when_another_does_then_that_one_has_all_of_the_limit() {
    const LIMIT: u64 = 4_000_000;
    /// More than the buffers of a connection hold that nobody reads.
    const SENT_BYTES: usize = 12_000_000;
    let lab = Lab::new().await;
    let limit = LIMIT.to_string();
    let server = Machine::start_with(&lab, None, &["--limit-up", &limit, "--peer-timeout", "60"]).await;
    let content = content(&lab);
    let (file, bytes) = (hash(&content), content.len() as u64);
    let start = Instant::now();
    let mut silent = server.client(&lab).await;
    for _ in 0..30 {
        silent.ask_only(file, 0, bytes).await.unwrap();
    }

    let mut client = server.client(&lab).await;
    for _ in 0..SENT_BYTES.div_ceil(content.len()) {
        let answer = within(client.file_bytes(file, 0, bytes)).await.unwrap();
        assert_eq!((Status::Done, &content), (answer.status, &answer.bytes()));
    }

    let took = start.elapsed().as_secs_f64();
    drop((silent, client));
    let sent = server.stop().await["data_bytes"].as_u64().unwrap() as f64;
    let at_the_limit = sent / LIMIT as f64;
    assert!(took > 0.9 * at_the_limit, "{sent} bytes in {took:.1} s are more than {LIMIT} a second");
    assert!(took < 1.5 * at_the_limit, "{sent} bytes in {took:.1} s are far less than {LIMIT} a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_peers_that_cancel_while_they_wait_for_their_turn_when_another_asks_then_it_is_served() {
    /// More than may read at once.
    const CLIENTS: usize = 64;
    const CANCEL: u8 = 0x17;
    /// Of the first request of a client.
    const ID: [u8; 4] = [0, 0, 0, 2];
    let lab = Lab::new().await;
    let server = Machine::start_with(&lab, None, &["--limit-up", "4MB"]).await;
    let content = content(&lab);
    let (file, bytes) = (hash(&content), content.len() as u64);
    let mut fickle = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = server.client(&lab).await;
        // That it answers shows that it has taken the request and what stands behind it.
        client.ask_only(file, 0, bytes).await.unwrap();
        client.write_message(&[&[CANCEL], &ID[..]].concat()).await.unwrap();
        assert!(within(client.has(file)).await.unwrap());
        fickle.push(client);
    }

    let mut client = server.client(&lab).await;
    let answer = within(client.file_bytes(file, 0, bytes)).await.unwrap();

    assert_eq!((Status::Done, &content), (answer.status, &answer.bytes()));
    drop(fickle);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_chunks_that_compress_when_served_under_a_limit_then_fewer_bytes_travel_and_else_they_go_as_they_are() {
    let floats: Vec<u8> = (0..500_000).flat_map(|n| (1.0 + n as f32 / 1e7).to_le_bytes()).collect();
    let lab = Lab::with(None, &[("floats.bin", &floats)]).await;
    let pull = async |more: &[&str]| {
        let server = Machine::start_with(&lab, None, more).await;
        let peer = server.address.to_string();
        let args = ["pull", REPO, "--include", "floats.bin", "--format", "json", "--peer", &peer];
        lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::status(503)));
        let summary = finish(lab.command(&args).spawn().unwrap()).await.summary();
        lab.faulty.clear();
        lab.forget();
        let sent = server.stop().await["data_bytes"].as_u64().unwrap();
        assert_eq!(floats.len() as u64, summary["file_bytes"]["lan"], "{summary}");
        (summary["wire_bytes"]["lan"].as_u64().unwrap(), sent)
    };

    let (raw, raw_sent) = pull(&[]).await;
    // So slow that compressing is faster on any machine.
    let (compressed, compressed_sent) = pull(&["--limit-up", "1MB/s"]).await;

    assert!(raw >= floats.len() as u64 && raw_sent == floats.len() as u64, "{raw} {raw_sent}");
    assert!(compressed < raw * 3 / 4, "{compressed} of {raw}");
    assert!(compressed_sent < compressed, "{compressed_sent} {compressed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_limit_that_is_none_when_typed_then_a_usage_error_with_a_hint() {
    let lab = Lab::new().await;

    for command in ["serve", "seed"] {
        let said = lab.zest(&[command, "--listen", "127.0.0.1:0", "--limit-up", "0"]).await;
        said.assert_failed(2, "--limit-up");
        let said = lab.zest(&[command, "--listen", "127.0.0.1:0", "--limit-up", "5 apples"]).await;
        said.assert_failed(2, "5 apples");
    }
}
