//! What peers do wrong: beside the origin, beside an honest peer, and alone.

use std::net::SocketAddr;
use std::time::Duration;

use testkit::model::small_chunks;
use testkit::{Asked, Fault, FaultyPeer, PeerFault, Rule};

use crate::lab::{ENTRY_PATH, Lab, REPO, Said};

/// For a peer to do anything. The faulty ones take all of it.
pub(crate) const PEER_DEADLINE: Duration = Duration::from_millis(500);
/// How much later the honest peer comes, so that the faulty one is asked first.
pub(crate) const HEAD_START: Duration = Duration::from_millis(150);
/// A file with several inner levels that could be taken for chunks.
const SMALL_CHUNKS: usize = 60;

/// What becomes of the faulty peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// It is proved to lie, or to break the protocol.
    Banned,
    /// It may be the network's fault.
    Lost,
}

/// What a pull can do with the faulty peer and no other source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    Fails,
    /// The fault does not keep data from coming.
    Succeeds,
    /// It depends on what came before the fault showed.
    Either,
}

use Alone::{Either, Fails, Succeeds};
use Blame::{Banned, Lost};

/// Tries one fault beside each kind of honest source, and alone. Returns what the peer was asked when it was alone.
async fn check(fault: PeerFault, blame: Blame, alone: Alone) -> Asked {
    let lab = Lab::with(None, &[("small-chunks.safetensors", &small_chunks(SMALL_CHUNKS, 1))]).await;
    let peer = FaultyPeer::start(lab.model_files(), fault).await.unwrap();

    let said = lab.pull_from(&[peer.address()]).await;
    assert_eq!(Some(0), said.code, "beside the origin, {fault:?}: {}", said.stderr);
    lab.assert_pulled();
    if blame == Lost {
        assert_eq!(banned(&said), Vec::<String>::new(), "beside the origin, {fault:?}");
    }
    lab.forget();

    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::status(503)));
    let late = PeerFault::LateExtensionHandshake { after: HEAD_START };
    let honest = FaultyPeer::start(lab.model_files(), late).await.unwrap();
    let said = lab.pull_from(&[peer.address(), honest.address()]).await;
    assert_eq!(Some(0), said.code, "beside an honest peer, {fault:?}: {}\n{}", said.stderr, said.stdout);
    lab.assert_pulled();
    check_blame("beside an honest peer", peer.address(), fault, blame, &banned(&said));
    lab.forget();
    drop(honest);

    let peer = FaultyPeer::start(lab.model_files(), fault).await.unwrap();
    let said = lab.pull_from(&[peer.address()]).await;
    let expected: &[i32] = match alone {
        Fails => &[5, 6],
        Succeeds => &[0],
        Either => &[0, 5, 6],
    };
    let code = said.code.unwrap_or(-1);
    assert!(expected.contains(&code), "alone, {fault:?}: exit {code}\n{}\n{}", said.stderr, said.stdout);
    if code == 0 {
        lab.assert_pulled();
    } else {
        lab.assert_failed(&said, code, "");
    }
    check_blame("alone", peer.address(), fault, blame, &banned(&said));
    peer.asked()
}

fn check_blame(place: &str, peer: SocketAddr, fault: PeerFault, blame: Blame, banned: &[String]) {
    match blame {
        Banned => assert_eq!([peer.to_string()], banned, "{place}, {fault:?}"),
        Lost => assert!(banned.is_empty(), "{place}, {fault:?}: {banned:?}"),
    }
}

/// The peers that a pull told to have banned. It must not contradict itself in its summary.
pub(crate) fn banned(said: &Said) -> Vec<String> {
    let events = said.events();
    let lost = events.iter().filter(|event| event["event"] == "peer_lost" && event["is_banned"] == true);
    let banned: Vec<String> = lost.map(|event| event["peer"].as_str().unwrap().to_owned()).collect();
    if let Some(summary) = events.last().filter(|event| event["event"] == "summary") {
        let named: Vec<_> = summary["banned"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        assert_eq!(banned.len(), named.len(), "{summary}");
        assert!(banned.iter().zip(&named).all(|(peer, text)| text.starts_with(peer.as_str())), "{summary}");
    }
    banned
}

impl Lab {
    /// A pull from these peers as well.
    pub(crate) async fn pull_from(&self, peers: &[SocketAddr]) -> Said {
        let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
        self.pull_from_named(&peers.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    async fn pull_from_named(&self, peers: &[&str]) -> Said {
        let mut args = vec!["pull", REPO, "--format", "json"];
        args.extend(peers.iter().flat_map(|peer| ["--peer", peer]));
        let mut command = self.command(&args);
        command.env("ZEST_PEER_TIMEOUT", PEER_DEADLINE.as_secs_f64().to_string());
        crate::lab::finish(command.spawn().unwrap()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_honest_peer_when_pulled_alone_then_all_file_data_comes_from_it() {
    let asked = check(PeerFault::Honest, Lost, Succeeds).await;

    assert!(asked.lists > 0 && asked.ranges > 0 && asked.chunks_sent > 0, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_no_peer_at_the_address_when_pulled_then_said_so_and_the_origin_serves() {
    let lab = Lab::new().await;
    let gone = FaultyPeer::start(lab.model_files(), PeerFault::Honest).await.unwrap().address().to_string();
    // Longer than a label of a name may be: no resolver asks anybody for it.
    let unknown = format!("{}:6881", "a".repeat(64));
    for name in [&gone, &unknown, "127.0.0.1", "127.0.0.1:port"] {
        let said = lab.pull_from_named(&[name]).await;

        let summary = said.summary();
        assert!(summary["why_no_peers"].as_str().unwrap().contains(name), "{name}: {summary}");
        assert_eq!(0, summary["banned"].as_array().unwrap().len(), "{summary}");
        lab.assert_pulled();
        lab.forget();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_garbage_for_a_handshake_when_pulled_then_replaced() {
    check(PeerFault::Garbage, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_wrong_handshake_when_pulled_then_replaced() {
    check(PeerFault::WrongHandshake, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_peer_of_another_swarm_when_pulled_then_replaced() {
    check(PeerFault::OtherSwarm, Lost, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_no_extension_handshake_when_pulled_then_replaced() {
    check(PeerFault::NoExtensionHandshake, Lost, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_late_extension_handshake_when_pulled_then_replaced_or_waited_for() {
    check(PeerFault::LateExtensionHandshake { after: PEER_DEADLINE / 3 }, Lost, Succeeds).await;
    check(PeerFault::LateExtensionHandshake { after: PEER_DEADLINE * 3 }, Lost, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_two_extension_handshakes_when_pulled_then_the_later_one_counts() {
    check(PeerFault::TwoExtensionHandshakes, Lost, Succeeds).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_extension_handshakes_without_end_when_pulled_then_banned() {
    check(PeerFault::EndlessExtensionHandshakes, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_huge_extension_handshake_when_pulled_then_banned() {
    check(PeerFault::HugeExtensionHandshake, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_silence_after_the_handshake_when_pulled_then_replaced() {
    check(PeerFault::SilentAfterHandshake, Lost, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_silence_in_a_chunk_when_pulled_then_replaced() {
    check(PeerFault::SilentMidChunk, Lost, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_slow_peer_when_pulled_then_replaced() {
    check(PeerFault::Slow { bytes_per_second: 1_000 }, Lost, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_flipped_bit_when_pulled_then_banned() {
    check(PeerFault::FlipsABit, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_two_swapped_chunks_when_pulled_then_banned() {
    check(PeerFault::SwapsChunks, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_the_proof_of_another_file_when_pulled_then_banned() {
    check(PeerFault::ProvesAnotherFile, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_inner_level_for_a_list_when_pulled_then_banned() {
    for level in 1..=4 {
        check(PeerFault::ListsInnerLevel(level), Banned, Fails).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_unasked_chunks_when_pulled_then_banned() {
    check(PeerFault::UnaskedChunks, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_chunks_beyond_the_range_when_pulled_then_banned() {
    check(PeerFault::ChunksBeyondTheRange, Banned, Either).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_repeated_chunks_when_pulled_then_banned() {
    check(PeerFault::RepeatsChunks, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_chunks_in_another_order_when_pulled_then_banned() {
    check(PeerFault::ReordersChunks, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_answer_without_its_last_chunk_when_pulled_then_banned() {
    check(PeerFault::LeavesOutTheLastChunk, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_lz4_bomb_when_pulled_then_banned() {
    check(PeerFault::Lz4Bomb, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_no_end_when_pulled_then_what_came_counts() {
    check(PeerFault::NeverEnds, Lost, Either).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_two_ends_when_pulled_then_banned() {
    check(PeerFault::EndsTwice, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_absurd_wish_to_wait_when_pulled_then_others_are_asked() {
    check(PeerFault::AbsurdRetry, Lost, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_claim_of_everything_and_nothing_there_when_pulled_then_others_are_asked() {
    check(PeerFault::HasNothing, Lost, Fails).await;
    check(PeerFault::HasNoChunks, Lost, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_frame_of_four_gibibytes_when_pulled_then_banned() {
    check(PeerFault::HugeFrame, Banned, Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_peer_that_disconnects_when_pulled_then_replaced_at_every_message() {
    for messages in 0..12 {
        check(PeerFault::DisconnectsAfter { messages }, Lost, Fails).await;
    }
}
