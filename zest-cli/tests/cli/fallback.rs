//! A CAS that cannot be used does not stop a pull.

use testkit::{Fault, FaultyPeer, PeerFault, Rule};
use xet_cas::{Leaf, chunks};

use crate::lab::{ENTRY_PATH, Lab, REPO};

#[tokio::test(flavor = "multi_thread")]
async fn given_a_cas_that_cannot_be_used_when_pulled_then_the_plain_files_verified_and_one_warning() {
    let elsewhere = Fault::rewrite(|body| {
        let mut answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        answer["casUrl"] = "http://127.0.0.1:1".into();
        answer.to_string().into()
    });
    for (path, fault) in [
        ("/xet-read-token/", Fault::status(404)),
        ("/xet-read-token/", Fault::Html),
        ("/xet-read-token/", elsewhere),
        ("/reconstructions/", Fault::status(404)),
        ("/reconstructions/", Fault::status(500)),
        ("/reconstructions/", Fault::Html),
        ("/reconstructions/", Fault::json("{\"terms\":[],\"xorbs\":{}}")),
    ] {
        let lab = Lab::new().await;

        let said = lab.pull_with(path, fault.clone()).await;

        let summary = said.summary();
        lab.assert_pulled();
        let bytes = lab.model_files().iter().map(|file| file.len() as u64).sum::<u64>();
        assert_eq!(Some(bytes), summary["file_bytes"]["cdn"].as_u64(), "{path}, {fault:?}: {summary}");
        let warnings: Vec<_> = said.events().into_iter().filter(|event| event["event"] == "warning").collect();
        assert_eq!(1, warnings.len(), "{path}, {fault:?}: {warnings:?}");
        assert!(warnings[0]["message"].as_str().unwrap().contains("the CAS cannot be used"), "{warnings:?}");
        assert!(!lab.faulty.requests().iter().any(|seen| seen.target.contains(ENTRY_PATH)));
        let again = lab.pull().await.summary();
        assert_eq!(Some(bytes), again["file_bytes"]["local"].as_u64(), "{path}, {fault:?}: {again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_one_file_that_the_cas_does_not_know_when_pulled_then_only_that_one_is_fetched_plain() {
    let lab = Lab::new().await;
    let model = std::fs::read(lab.model().join("model-00002-of-00002.safetensors")).unwrap();
    let hash = Leaf::file_hash(&chunks(&model).map(Leaf::of).collect::<Vec<_>>());
    lab.faulty.add(Rule::path_contains(format!("/reconstructions/{hash}"), Fault::status(404)));

    let said = lab.pull().await;

    said.assert_ok();
    lab.assert_pulled();
    let requests = lab.faulty.requests();
    let signed = requests.iter().filter(|seen| seen.target.contains("signature="));
    let (entries, plain): (Vec<_>, Vec<_>) = signed.partition(|seen| seen.target.contains(ENTRY_PATH));
    assert!(!entries.is_empty() && plain.len() == 1 && plain[0].target.contains("model-00002"), "{plain:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_wrong_plain_bytes_when_the_cas_cannot_be_used_then_they_are_not_put_in_place() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains("/reconstructions/", Fault::status(404)));
    lab.faulty.add(Rule::path_contains("signature=", Fault::FlipBit { offset: 50_000 }));

    let said = lab.pull().await;

    lab.assert_failed(&said, 6, "failed verification");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_refusal_when_pulled_then_exit_3_and_nothing_plain_is_fetched() {
    for (path, status) in [("/xet-read-token/", 401), ("/xet-read-token/", 403), ("/reconstructions/", 403)] {
        let lab = Lab::new().await;

        let said = lab.pull_with(path, Fault::status(status)).await;

        lab.assert_failed(&said, 3, "");
        assert!(said.stderr.contains(&format!("{}/{REPO}", lab.faulty.url())), "{}", said.stderr);
        assert!(!lab.faulty.requests().iter().any(|seen| seen.target.contains("signature=")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_peers_only_when_the_cas_cannot_be_used_then_the_origin_is_not_asked_for_the_files() {
    let lab = Lab::new().await;
    let peer = FaultyPeer::start(lab.model_files(), PeerFault::Honest).await.unwrap();
    lab.faulty.add(Rule::path_contains("/reconstructions/", Fault::status(404)));

    let address = peer.address().to_string();
    let args = ["pull", REPO, "--peer", &address, "--source", "peers-only"];
    let said = lab.zest(&args).await;

    assert_ne!(Some(0), said.code);
    assert!(!lab.faulty.requests().iter().any(|seen| seen.target.contains("signature=")));
}
