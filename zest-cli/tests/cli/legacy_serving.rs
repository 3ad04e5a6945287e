//! Clients of the legacy dialects of `ut_xet`, honest and hostile, at `zest serve`.

use testkit::{LegacyAnswer, LegacyClient, LegacyDialect};
use xet_cas::xorb::Records;
use xet_cas::{ChunkHash, Leaf, chunks};

use crate::lab::{Lab, finish};
use crate::serving::{Machine, content, swarm, within};

use LegacyDialect::{Base, Ranged};

/// Requests that a peer may have open: what is beyond is refused.
const OPEN_REQUESTS_MAX: usize = 256;
/// Code of the error that says so.
const BUSY: u32 = 2;

async fn connect(server: &Machine, dialect: LegacyDialect, swarm: [u8; 20]) -> LegacyClient {
    within(LegacyClient::connect(server.address, dialect, swarm)).await.unwrap()
}

fn hashes(content: &[u8]) -> Vec<[u8; 32]> {
    chunks(content).map(|chunk| *ChunkHash::of(chunk).as_bytes()).collect()
}

/// A repository of one file that is all of one xorb, pulled on the server's machine. Returns the file.
async fn published_solo(lab: &Lab) -> Vec<u8> {
    let folder = lab.folder.path().join("solo");
    let content: Vec<u8> = content(lab).into_iter().take(700_000).map(|byte| byte ^ 0x55).collect();
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("solo.bin"), &content).unwrap();
    lab.zest(&["publish", folder.to_str().unwrap(), "lab/solo"]).await.assert_ok();
    let server_home = lab.folder.path().join("server");
    finish(lab.command_at(&server_home, &["pull", "lab/solo"]).spawn().unwrap()).await.assert_ok();
    content
}

fn xorb_of(content: &[u8]) -> [u8; 32] {
    *Leaf::xorb_hash(&chunks(content).map(Leaf::of).collect::<Vec<_>>()).as_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_ranged_client_when_it_comes_under_a_xorb_or_a_repository_then_it_gets_the_whole_xorb() {
    let lab = Lab::new().await;
    let content = published_solo(&lab).await;
    let server = Machine::start(&lab, None).await;
    let xorb = xorb_of(&content);
    let repo = testkit::PeerClient::repo_swarm(&lab.faulty.address().to_string(), "model", "lab/solo");

    for swarm in [LegacyClient::xorb_swarm(xorb), repo] {
        let mut client = connect(&server, Ranged, swarm).await;
        for _ in 0..2 {
            let LegacyAnswer::Data(records) = within(client.get(xorb)).await.unwrap() else { panic!("no data") };
            let mut bytes = Vec::new();
            for record in Records::new(&records) {
                bytes.extend_from_slice(record.unwrap().decode(&mut Vec::new()).unwrap());
            }
            assert_eq!(content, bytes);
        }
        assert_eq!(LegacyAnswer::NotFound([9; 32]), within(client.get([9; 32])).await.unwrap());
    }

    assert!(server.stop().await["data_bytes"].as_u64().unwrap() >= 4 * content.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_base_client_when_it_asks_for_chunks_then_each_comes_as_it_is() {
    let lab = Lab::new().await;
    let server = Machine::start(&lab, None).await;
    let content = content(&lab);
    let mut client = connect(&server, Base, swarm(&lab)).await;

    for (chunk, hash) in chunks(&content).zip(hashes(&content)) {
        assert_eq!(LegacyAnswer::Data(chunk.to_vec()), within(client.get(hash)).await.unwrap());
    }
    assert_eq!(LegacyAnswer::NotFound([7; 32]), within(client.get([7; 32])).await.unwrap());

    lab.assert_served_by(server.address).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_another_swarm_when_a_legacy_client_asks_then_there_is_nothing() {
    let lab = Lab::new().await;
    let solo = published_solo(&lab).await;
    let server = Machine::start(&lab, None).await;
    let (xorb, chunk) = (xorb_of(&solo), hashes(&solo)[0]);

    for swarm in [swarm(&lab), LegacyClient::xorb_swarm([9; 32])] {
        let asked = [(Ranged, xorb), (Base, chunk)];
        for (dialect, hash) in asked {
            let mut client = connect(&server, dialect, swarm).await;
            assert_eq!(LegacyAnswer::NotFound(hash), within(client.get(hash)).await.unwrap());
        }
    }

    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_restricted_content_when_a_legacy_client_asks_then_nothing_is_learned() {
    const TOKEN: &str = "hf_secret_of_the_lab";
    let lab = Lab::with_token(Some(TOKEN)).await;
    let server = Machine::start(&lab, Some(TOKEN)).await;
    let content = content(&lab);
    let xorbs: Vec<[u8; 32]> = lab.xorbs().keys().copied().collect();
    assert!(!xorbs.is_empty());

    for xorb in xorbs {
        for swarm in [swarm(&lab), LegacyClient::xorb_swarm(xorb)] {
            let mut client = connect(&server, Ranged, swarm).await;
            assert_eq!(LegacyAnswer::NotFound(xorb), within(client.get(xorb)).await.unwrap());
            let mut client = connect(&server, Base, swarm).await;
            for hash in hashes(&content) {
                assert_eq!(LegacyAnswer::NotFound(hash), within(client.get(hash)).await.unwrap());
            }
        }
    }

    assert_eq!(0, server.stop().await["data_bytes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_thousand_requests_at_once_when_served_then_each_has_one_answer_and_others_are_served() {
    const REQUESTS: usize = 1_000;
    let lab = Lab::new().await;
    let server = Machine::start(&lab, None).await;
    let content = content(&lab);
    let (first, hash) = (chunks(&content).next().unwrap(), hashes(&content)[0]);
    let mut client = connect(&server, Base, swarm(&lab)).await;
    for _ in 0..REQUESTS {
        client.ask_only(hash).await.unwrap();
    }

    let (mut data, mut busy) = (0, 0);
    for _ in 0..REQUESTS {
        match within(client.next()).await.unwrap().1 {
            LegacyAnswer::Data(chunk) => {
                assert_eq!(first, chunk);
                data += 1;
            }
            LegacyAnswer::Error(BUSY) => busy += 1,
            other => panic!("{other:?}"),
        }
    }

    assert!(data >= OPEN_REQUESTS_MAX && data + busy == REQUESTS, "{data} with data, {busy} refused");
    lab.assert_served_by(server.address).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_legacy_clients_that_ask_and_do_not_read_when_served_then_others_are_in_bounded_memory() {
    let lab = Lab::new().await;
    let solo = published_solo(&lab).await;
    let server = Machine::start(&lab, None).await;
    let xorb = xorb_of(&solo);
    let mut idle = Vec::new();
    for _ in 0..60 {
        let mut client = connect(&server, Ranged, LegacyClient::xorb_swarm(xorb)).await;
        for _ in 0..100 {
            client.ask_only(xorb).await.unwrap();
        }
        idle.push(client);
    }

    lab.assert_served_by(server.address).await;

    drop(idle);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_broken_legacy_messages_when_sent_then_closed_and_unknown_ones_are_passed_over() {
    let lab = Lab::new().await;
    let server = Machine::start(&lab, None).await;
    let hash = hashes(&content(&lab))[0];
    for (what, payload) in [
        ("an empty message", &b""[..]),
        ("a short request", &[1, 0, 0, 0, 1, 9, 9]),
        ("data that was never asked for", &[2, 0, 0, 0, 1, 0, 0, 0, 1, 7]),
        ("an answer to nothing", &[3, 0, 0, 0, 9]),
    ] {
        let mut client = connect(&server, Base, swarm(&lab)).await;
        client.write_message(payload).await.unwrap();
        within(client.wait_for_end()).await;
        assert!(within(client.get(hash)).await.is_err(), "{what}");
    }

    let mut client = connect(&server, Base, swarm(&lab)).await;
    for kind in [0, 5, 0x10, 0x14, 0x18, 0x80, 0xff] {
        client.write_message(&[kind, 0, 0, 0, 9, 1, 2, 3]).await.unwrap();
    }
    assert!(matches!(within(client.get(hash)).await.unwrap(), LegacyAnswer::Data(_)));

    server.stop().await;
}
