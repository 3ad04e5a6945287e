//! Which sources a pull asks, and how fast it may be.

use std::net::SocketAddr;

use testkit::{Fault, FaultyPeer, PeerFault, Rule};

use crate::lab::{ENTRY_PATH, Lab, REPO, Said, finish};

/// So much that without a limit it comes in a small part of the time that it takes with one.
const NOISE_BYTES: u32 = 24_000_000;
/// Bytes a second.
const LIMIT: u32 = 3_000_000;

impl Lab {
    async fn pull_as(&self, peers: &[SocketAddr], more: &[&str]) -> Said {
        let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
        let mut args = vec!["pull", REPO, "--format", "json"];
        args.extend(peers.iter().flat_map(|peer| ["--peer", peer]));
        args.extend(more);
        let mut command = self.command(&args);
        command.env("ZEST_PEER_TIMEOUT", "1");
        finish(command.spawn().unwrap()).await
    }

    async fn peer(&self, fault: PeerFault) -> FaultyPeer {
        FaultyPeer::start(self.model_files(), fault).await.unwrap()
    }

    /// How often the origin was asked for data of the CAS.
    fn entries(&self) -> usize {
        self.faulty.requests().iter().filter(|seen| seen.target.contains(ENTRY_PATH)).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_peer_with_everything_when_peers_come_first_or_alone_then_the_origin_is_not_asked_for_data() {
    for mode in ["peers-first", "peers-only"] {
        let lab = Lab::new().await;
        let peer = lab.peer(PeerFault::Honest).await;

        let said = lab.pull_as(&[peer.address()], &["--source", mode]).await;

        said.assert_ok();
        lab.assert_pulled();
        assert_eq!(0, lab.entries(), "{mode}");
        assert!(said.summary()["file_bytes"]["lan"].as_u64().unwrap() > 0, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_peer_without_anything_when_peers_come_first_then_the_origin_gives_all_and_alone_it_fails() {
    let lab = Lab::new().await;
    let peer = lab.peer(PeerFault::HasNothing).await;

    let said = lab.pull_as(&[peer.address()], &["--source", "peers-first"]).await;
    said.assert_ok();
    lab.assert_pulled();
    assert!(lab.entries() > 0);
    lab.forget();
    let before = lab.entries();

    let said = lab.pull_as(&[peer.address()], &["--source", "peers-only"]).await;
    lab.assert_failed(&said, 5, "only peers may be asked");
    assert_eq!(before, lab.entries());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_peer_that_sends_nothing_when_peers_come_first_then_the_origin_is_asked_after_a_while() {
    let lab = Lab::new().await;
    let peer = lab.peer(PeerFault::SilentMidChunk).await;

    let said = lab.pull_as(&[peer.address()], &["--source", "peers-first"]).await;

    said.assert_ok();
    lab.assert_pulled();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_named_peer_when_pulled_without_peers_then_it_is_not_even_dialled() {
    for more in [&["--source", "cdn-only"][..], &["--no-p2p"]] {
        let lab = Lab::new().await;
        let peer = lab.peer(PeerFault::Honest).await;

        let said = lab.pull_as(&[peer.address()], more).await;

        said.assert_ok();
        lab.assert_pulled();
        assert_eq!(0, peer.asked().connections, "{more:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_modes_and_limits_that_cannot_be_when_pulled_then_usage_and_a_hint() {
    let lab = Lab::new().await;
    for (more, cause) in [
        (&["--source", "peers-only"][..], "needs a peer"),
        (&["--source", "peers"], "peers-first"),
        (&["--no-p2p", "--source", "peers-first"], "cannot be used with"),
        (&["--limit-down", "0"], "would let nothing through"),
        (&["--limit-down", "fast"], "bytes a second"),
    ] {
        let said = lab.pull_as(&[], more).await;

        assert_eq!(Some(2), said.code, "{more:?}: {}", said.stderr);
        assert!(said.stderr.contains(cause), "{more:?}: {}", said.stderr);
    }
    assert!(lab.faulty.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_limit_when_pulled_then_no_faster_from_whomever_it_comes() {
    let noise: Vec<u8> =
        (0..NOISE_BYTES / 4).flat_map(|at| (at.wrapping_mul(0x9e37_79b9) ^ (at >> 7)).to_le_bytes()).collect();
    let lab = Lab::with(None, &[("noise.safetensors", &noise)]).await;
    let peer = lab.peer(PeerFault::Honest).await;
    let limit = LIMIT.to_string();
    for (peers, mode) in [(&[][..], "cdn-only"), (&[peer.address()], "peers-only")] {
        let more = ["--limit-down", &limit, "--source", mode, "--include", "noise.safetensors"];
        let said = lab.pull_as(peers, &more).await;

        said.assert_ok();
        let summary = said.summary();
        let came: u64 = ["lan", "cdn"].iter().map(|source| summary["wire_bytes"][source].as_u64().unwrap()).sum();
        let seconds = summary["seconds"].as_f64().unwrap();
        // A second's worth at once, and the last thing read or asked for before nothing is left: a block.
        let most = f64::from(LIMIT) * (seconds + 1.0) + 2_097_152.0;
        assert!(came >= u64::from(NOISE_BYTES) / 2, "{came} bytes came: too few to tell");
        assert!((came as f64) < most, "{mode}: {came} bytes in {seconds} s, at {limit} a second");
        lab.forget();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_byte_a_second_when_small_files_are_pulled_then_they_come_with_the_first_burst() {
    let lab = Lab::with(None, &[("one-byte.bin", b"x")]).await;

    let said = lab.pull_as(&[], &["--limit-down", "1", "--include", "one-byte.bin", "--include", "*.json"]).await;

    said.assert_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_origin_that_has_too_much_to_do_when_pulled_then_all_of_it_comes_after_retries() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::status(429)).times(1).every(3));

    let mut command = lab.command(&["pull", REPO, "--format", "json"]);
    command.env("ZEST_ATTEMPTS", "9");
    let said = finish(command.spawn().unwrap()).await;

    said.assert_ok();
    lab.assert_pulled();
    assert!(said.events().iter().any(|event| event["event"] == "retry"), "{}", said.stdout);
}
