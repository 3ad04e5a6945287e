//! Peers of the legacy dialects of `ut_xet`, honest and hostile, as sources of `zest pull`.

use std::collections::BTreeMap;
use std::path::Path;

use testkit::{Fault, FaultyPeer, LegacyDialect, LegacyFault, LegacyPeer, PeerFault, Rule};
use xet_cas::XorbHash;

use crate::lab::{ENTRY_PATH, Lab, files_below};
use crate::peers::{HEAD_START, PEER_DEADLINE, banned};

use LegacyDialect::{Base, Ranged};

/// What becomes of the peer where it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// It is banned if it got that far.
    MaybeBanned,
    /// It may be the network's fault.
    Never,
}

use Blame::{MaybeBanned, Never};

impl Lab {
    /// All xorbs of the origin as it stores them.
    pub(crate) fn xorbs(&self) -> BTreeMap<[u8; 32], Vec<u8>> {
        let folder = self.folder.path().join("origin/xorbs");
        let xorb = |path: &Path| {
            let hash: XorbHash = path.file_name()?.to_str()?.parse().ok()?;
            Some((*hash.as_bytes(), std::fs::read(folder.join(path)).unwrap()))
        };
        files_below(&folder).iter().filter_map(|path| xorb(path)).collect()
    }

    async fn legacy_peer(&self, dialect: LegacyDialect, fault: LegacyFault) -> LegacyPeer {
        LegacyPeer::start(dialect, self.xorbs().into_values(), fault).await.unwrap()
    }
}

/// Tries one fault beside each kind of honest source. With either the pull succeeds.
async fn check(dialect: LegacyDialect, fault: LegacyFault, blame: Blame) {
    let lab = Lab::new().await;
    let peer = lab.legacy_peer(dialect, fault).await;
    let said = lab.pull_from(&[peer.address()]).await;
    assert_eq!(Some(0), said.code, "beside the origin, {dialect:?}, {fault:?}: {}", said.stderr);
    lab.assert_pulled();
    if blame == Never {
        assert_eq!(Vec::<String>::new(), banned(&said), "beside the origin, {dialect:?}, {fault:?}");
    }
    lab.forget();

    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::status(503)));
    let late = PeerFault::LateExtensionHandshake { after: HEAD_START };
    let honest = FaultyPeer::start(lab.model_files(), late).await.unwrap();
    let said = lab.pull_from(&[peer.address(), honest.address()]).await;
    assert_eq!(Some(0), said.code, "beside a peer, {dialect:?}, {fault:?}: {}\n{}", said.stderr, said.stdout);
    lab.assert_pulled();
    let may_be_banned = [peer.address().to_string()];
    let banned = banned(&said);
    match blame {
        Never => assert!(banned.is_empty(), "beside a peer, {dialect:?}, {fault:?}: {banned:?}"),
        MaybeBanned => assert!(banned.is_empty() || banned == may_be_banned, "{dialect:?}, {fault:?}: {banned:?}"),
    }
    assert!(peer.asked().handshakes >= 1, "{dialect:?}, {fault:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_ranged_peer_when_pulled_alone_then_all_file_data_comes_from_it() {
    for fault in [LegacyFault::Honest, LegacyFault::SaysUnknownThings] {
        let lab = Lab::new().await;
        let peer = lab.legacy_peer(Ranged, fault).await;
        lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::status(503)));

        let said = lab.pull_from(&[peer.address()]).await;

        let summary = said.summary();
        assert!(summary["file_bytes"]["lan"].as_u64().unwrap() > 0, "{summary}");
        lab.assert_pulled();
        // Once, or again for a file that was not planned yet when it came.
        let (xorbs, files) = (lab.xorbs().len() as u64, lab.model_files().len() as u64);
        assert!((xorbs..=xorbs * files).contains(&peer.asked().requests), "{} requests", peer.asked().requests);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_base_peer_when_another_proves_lists_then_the_pull_succeeds_without_the_origin() {
    let lab = Lab::new().await;
    let peer = lab.legacy_peer(Base, LegacyFault::Honest).await;
    let lists = FaultyPeer::start(lab.model_files(), PeerFault::HasNoChunks).await.unwrap();
    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::status(503)));

    let said = lab.pull_from(&[peer.address(), lists.address()]).await;

    // The other one is left as soon as it has no chunks, so lists may be missing.
    assert!(said.code == Some(0) || said.code.is_some_and(|code| [5, 6].contains(&code)), "{}", said.stderr);
    assert!(peer.asked().requests > 0, "{}", said.stdout);
    assert_eq!(Vec::<String>::new(), banned(&said));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_restricted_content_when_pulled_then_no_legacy_peer_is_asked_for_it() {
    const TOKEN: &str = "hf_secret_of_the_lab";
    let lab = Lab::with_token(Some(TOKEN)).await;
    let peer = lab.legacy_peer(Ranged, LegacyFault::Honest).await;

    let address = peer.address().to_string();
    let mut command = lab.command(&["pull", crate::lab::REPO, "--format", "json", "--peer", &address]);
    crate::lab::finish(command.env("HF_TOKEN", TOKEN).spawn().unwrap()).await.assert_ok();

    lab.assert_pulled();
    assert_eq!((0, 0), (peer.asked().handshakes, peer.asked().requests));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_honest_legacy_peers_beside_others_when_pulled_then_nobody_is_blamed() {
    for dialect in [Ranged, Base] {
        check(dialect, LegacyFault::Honest, Never).await;
        check(dialect, LegacyFault::HasNothing, Never).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_lies_in_legacy_data_when_pulled_then_others_bring_it() {
    for dialect in [Ranged, Base] {
        check(dialect, LegacyFault::FlipsABit, MaybeBanned).await;
        check(dialect, LegacyFault::AnswersAnother, MaybeBanned).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_wrong_lengths_when_pulled_then_others_bring_it() {
    for dialect in [Ranged, Base] {
        check(dialect, LegacyFault::SendsHalf, MaybeBanned).await;
        check(dialect, LegacyFault::LengthBeyondTheFrame, MaybeBanned).await;
        check(dialect, LegacyFault::HugeFrame, MaybeBanned).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_legacy_silence_when_pulled_then_replaced_without_blame() {
    for dialect in [Ranged, Base] {
        check(dialect, LegacyFault::Silent, Never).await;
        check(dialect, LegacyFault::SilentMidAnswer, Never).await;
        check(dialect, LegacyFault::HangsUpMidAnswer, Never).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_endless_response_when_pulled_then_replaced() {
    let fault = LegacyFault::Drips { every: PEER_DEADLINE / 5 };
    check(Ranged, fault, MaybeBanned).await;
    check(Base, fault, MaybeBanned).await;
}
