//! The client against the origin of this crate, with a proxy between them that misbehaves.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Fault, FaultyOrigin, Rule, SeenRequest};
use tokio::task::JoinSet;
use xet_cas::client::{Commit, Config, Content, Error, ErrorKind, Hub, PublishOptions, Secret, TreeFile};
use xet_cas::server::{self, Origin};
use xet_cas::{ByteRange, FileHash, Leaf, RepoId, RepoType, chunks};

const HUB_TOKEN: &str = "hf_test";

/// A guarded origin that holds one large and several small files.
struct Lab {
    folder: TempDir,
    faulty: FaultyOrigin,
    hub: Hub,
    large: Vec<u8>,
    _servers: JoinSet<()>,
}

impl Lab {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir_all(source.join("sub")).unwrap();
        let large: Vec<u8> = (0..500_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        std::fs::write(source.join("large.bin"), &large).unwrap();
        std::fs::write(source.join("empty"), "").unwrap();
        for i in 0..7 {
            std::fs::write(source.join(format!("sub/{i}.txt")), format!("file {i}")).unwrap();
        }
        let mut config = server::Config::new(folder.path().join("origin"));
        config.access = server::Access::one_token(HUB_TOKEN);
        config.tree_page_entries = 2;
        let origin = Origin::bind(config, ([127, 0, 0, 1], 0).into()).await.unwrap();
        let faulty = FaultyOrigin::start(&origin.url()).await.unwrap();
        let mut servers = JoinSet::new();
        servers.spawn(async move { origin.serve(std::future::pending()).await.unwrap() });
        let hub = hub(&faulty.url());
        hub.publish(&source, &repo(), &PublishOptions::default(), |_| {}).await.unwrap();
        Self { folder, faulty, hub, large, _servers: servers }
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    async fn commit(&self) -> Commit {
        self.hub.resolve(RepoType::Model, &repo(), "main").await.unwrap()
    }

    async fn large_file(&self) -> TreeFile {
        let files = self.hub.list(&self.commit().await).await.unwrap();
        files.into_iter().find(|file| file.path == "large.bin").unwrap()
    }

    fn seen(&self, path: &str) -> Vec<SeenRequest> {
        self.faulty.requests().into_iter().filter(|seen| seen.target.contains(path)).collect()
    }
}

fn repo() -> RepoId {
    "lab/files".parse().unwrap()
}

fn hub(url: &str) -> Hub {
    let mut config = Config::new(url).unwrap();
    config.token = Secret::new(HUB_TOKEN);
    config.retry.attempts = 3;
    config.retry.delay = Duration::from_millis(1);
    config.deadlines.stall = Duration::from_millis(500);
    config.deadlines.answer = Duration::from_millis(500);
    Hub::new(&config).unwrap()
}

fn xet_hash(file: &TreeFile) -> FileHash {
    match &file.content {
        Content::Xet { hash, .. } => *hash,
        other => panic!("{other:?}"),
    }
}

fn with_json(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Fault {
    Fault::rewrite(move |body| {
        let mut value: Value = serde_json::from_slice(&body).unwrap();
        change(&mut value);
        serde_json::to_vec(&value).unwrap().into()
    })
}

#[expect(clippy::disallowed_methods, reason = "tokens expire by the wall clock")]
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_listing_of_many_pages_when_listed_then_all_files_with_their_names() {
    let lab = Lab::new().await;

    let files = lab.hub.list(&lab.commit().await).await.unwrap();

    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(9, paths.len(), "{paths:?}");
    assert!(lab.seen("/tree/").len() > 3, "there was only one page");
    let leaves: Vec<Leaf> = chunks(&lab.large).map(Leaf::of).collect();
    assert_eq!(Leaf::file_hash(&leaves), xet_hash(&lab.large_file().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_entry_when_opened_then_exactly_its_bytes_and_no_token_in_the_request() {
    let lab = Lab::new().await;
    let (commit, file) = (lab.commit().await, lab.large_file().await);
    let cas = lab.hub.cas(&commit).unwrap();

    let reconstruction = cas.reconstruct(xet_hash(&file), file.size).await.unwrap();
    reconstruction.check_whole_file(file.size).unwrap();
    let mut received = 0;
    for entry in &reconstruction.entries {
        let mut body = cas.open(entry).await.unwrap();
        while let Some(piece) = body.next().await.unwrap() {
            received += piece.len() as u64;
        }
    }

    assert_eq!(reconstruction.entries.iter().map(|entry| entry.bytes.length()).sum::<u64>(), received);
    assert!(lab.seen("/cas/xorbs/").iter().all(|seen| seen.header("authorization").is_none()));
    let hub_token = format!("Bearer {HUB_TOKEN}");
    assert!(lab.seen("/cas/").iter().all(|seen| seen.header("authorization") != Some(&hub_token)));
    assert!(lab.seen("/api/").iter().all(|seen| seen.header("authorization") == Some(&hub_token)));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_token_that_expires_soon_when_used_then_renewed_by_the_clock() {
    for (lifetime, expected) in [(3_600, 1), (59, 3)] {
        let lab = Lab::new().await;
        let expires = unix_now() + lifetime;
        lab.faulty
            .add(Rule::path_contains("/xet-read-token/", with_json(move |answer| answer["exp"] = expires.into())));
        let (commit, file) = (lab.commit().await, lab.large_file().await);
        let cas = lab.hub.cas(&commit).unwrap();

        for _ in 0..3 {
            cas.reconstruct(xet_hash(&file), file.size).await.unwrap();
        }

        assert_eq!(expected, lab.seen("/xet-read-token/").len(), "of {lifetime} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_token_in_headers_alone_when_asked_then_taken() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains("/xet-read-token/", Fault::rewrite(|_| "moved to the headers".into())));
    let (commit, file) = (lab.commit().await, lab.large_file().await);

    let reconstruction = lab.hub.cas(&commit).unwrap().reconstruct(xet_hash(&file), file.size).await;

    assert!(reconstruction.is_ok(), "{reconstruction:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_server_that_rejects_the_token_when_asked_then_renewed_once() {
    let lab = Lab::new().await;
    let (commit, file) = (lab.commit().await, lab.large_file().await);
    let cas = lab.hub.cas(&commit).unwrap();
    lab.faulty.add(Rule::path_contains("/reconstructions/", Fault::status(401)).times(1));
    cas.reconstruct(xet_hash(&file), file.size).await.unwrap();

    lab.faulty.add(Rule::path_contains("/reconstructions/", Fault::status(401)));
    let refused = cas.reconstruct(xet_hash(&file), file.size).await.unwrap_err();

    assert!(matches!(refused, Error::Unauthorized { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_only_version_1_when_asked_twice_then_version_2_is_tried_once() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains("/v2/reconstructions/", Fault::status(404)));
    let (commit, file) = (lab.commit().await, lab.large_file().await);
    let cas = lab.hub.cas(&commit).unwrap();

    let one = cas.reconstruct(xet_hash(&file), file.size).await.unwrap();
    let two = cas.reconstruct(xet_hash(&file), file.size).await.unwrap();

    assert_eq!(one.terms, two.terms);
    assert_eq!(1, lab.seen("/v2/reconstructions/").len());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_false_reconstruction_when_checked_then_refused() {
    let lies: [fn(&mut Value); 5] = [
        |answer| answer["terms"][0]["unpacked_length"] = 1.into(),
        |answer| answer["terms"][0]["range"] = json!({ "start": 5, "end": 2 }),
        |answer| answer["terms"][0]["range"]["end"] = 4_000_000_000_u64.into(),
        |answer| answer["xorbs"] = json!({}),
        |answer| answer["offset_into_first_range"] = 9.into(),
    ];
    for lie in lies {
        let lab = Lab::new().await;
        lab.faulty.add(Rule::path_contains("/reconstructions/", with_json(lie)));
        let (commit, file) = (lab.commit().await, lab.large_file().await);

        let answer = lab.hub.cas(&commit).unwrap().reconstruct(xet_hash(&file), file.size).await;

        let checked = answer.map(|reconstruction| reconstruction.check_whole_file(file.size));
        assert!(!matches!(checked, Ok(Ok(_))), "{checked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_redirect_ring_when_asked_then_given_up() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains(
        "/revision/",
        Fault::redirect_to(format!("{}/api/models/lab/files/revision/main", lab.faulty.url())),
    ));

    let error = lab.hub.resolve(RepoType::Model, &repo(), "main").await.unwrap_err();

    assert!(matches!(error, Error::Redirect { .. }), "{error}");
    assert!(lab.seen("/revision/").len() < 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_error_when_printed_then_no_signed_url() {
    let lab = Lab::new().await;
    let (commit, file) = (lab.commit().await, lab.large_file().await);
    let cas = lab.hub.cas(&commit).unwrap();
    let entry = cas.reconstruct(xet_hash(&file), file.size).await.unwrap().entries.remove(0);
    let secret = entry.url.split_once('?').map(|(_, query)| query.to_owned()).unwrap();

    for fault in [Fault::Reset, Fault::NeverAnswer, Fault::status(500), Fault::status(403)] {
        lab.faulty.clear();
        lab.faulty.add(Rule::path_contains("/cas/xorbs/", fault));
        let error = cas.open(&entry).await.unwrap_err();
        assert!(!format!("{error} {error:?} {entry:?}").contains(&secret), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_the_same_folder_when_published_again_then_no_xorb_is_sent_twice() {
    let lab = Lab::new().await;

    let again = lab.hub.publish(&lab.source(), &repo(), &PublishOptions::default(), |_| {}).await.unwrap();

    assert_eq!(0, again.sent_bytes);
    assert_eq!(9, again.files);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_nothing_to_publish_when_published_then_said_so() {
    let lab = Lab::new().await;
    let empty = lab.folder.path().join("nothing");
    std::fs::create_dir(&empty).unwrap();

    for folder in [empty, lab.folder.path().join("not there")] {
        let error = lab.hub.publish(&folder, &repo(), &PublishOptions::default(), |_| {}).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Usage | ErrorKind::Disk), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_failing_upload_when_published_then_nothing_is_committed() {
    let lab = Lab::new().await;
    std::fs::write(lab.source().join("more.bin"), [0, 1, 2].repeat(10_000)).unwrap();
    let before = lab.commit().await;
    lab.faulty.add(Rule::path_contains("/shards", Fault::status(400)));

    let error = lab.hub.publish(&lab.source(), &repo(), &PublishOptions::default(), |_| {}).await.unwrap_err();

    assert!(matches!(error, Error::Status { status: 400, .. }), "{error}");
    assert_eq!(before, lab.commit().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_no_token_to_be_had_when_many_ask_at_once_then_all_fail_after_one_schedule() {
    for fault in [Fault::status(503), Fault::NeverAnswer] {
        let lab = Lab::new().await;
        lab.faulty.add(Rule::path_contains("/xet-read-token/", fault));
        let (commit, file) = (lab.commit().await, lab.large_file().await);
        let cas = lab.hub.cas(&commit).unwrap();

        let all = join_all((0..16).map(|_| cas.reconstruct(xet_hash(&file), file.size))).await;

        assert!(all.iter().all(|one| matches!(one, Err(error) if error.kind() == ErrorKind::Network)), "{all:?}");
        assert_eq!(3, lab.seen("/xet-read-token/").len());
        // Whoever comes later asks again.
        lab.faulty.clear();
        cas.reconstruct(xet_hash(&file), file.size).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_rejected_or_short_lived_token_when_many_need_another_then_one_asks() {
    for (lifetime, rejections, expected) in [(3_600, 16, 2), (5, 0, 1)] {
        let lab = Lab::new().await;
        let expires = unix_now() + lifetime;
        lab.faulty
            .add(Rule::path_contains("/xet-read-token/", with_json(move |answer| answer["exp"] = expires.into())));
        let (commit, file) = (lab.commit().await, lab.large_file().await);
        let cas = lab.hub.cas(&commit).unwrap();
        lab.faulty.add(Rule::path_contains("/reconstructions/", Fault::status(401)).times(rejections));

        let all = join_all((0..16).map(|_| cas.reconstruct(xet_hash(&file), file.size))).await;

        // A quick task may meet two of the rejections, and gives up then.
        let is_expected = |one: &Result<_, _>| matches!(one, Ok(_) | Err(Error::Unauthorized { .. }));
        assert!(all.iter().all(is_expected), "{all:?}");
        assert_eq!(expected, lab.seen("/xet-read-token/").len(), "of {lifetime} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_false_token_answer_when_used_then_the_server_is_to_blame() {
    for url in ["nonsense", "ftp://host", "http://host/?x=1", "http://me:secret@host", "http://host/#x"] {
        let lab = Lab::new().await;
        lab.faulty.add(Rule::path_contains("/xet-read-token/", with_json(move |answer| answer["casUrl"] = url.into())));
        let (commit, file) = (lab.commit().await, lab.large_file().await);

        let error = lab.hub.cas(&commit).unwrap().reconstruct(xet_hash(&file), file.size).await.unwrap_err();

        assert!(matches!(error, Error::Malformed { .. }), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_reconstruction_that_is_nonsense_when_asked_then_trouble_with_the_network() {
    let nonsense: [fn(&mut Value); 3] = [
        |answer| answer["terms"][0]["hash"] = "no hash".into(),
        |answer| answer["terms"][0]["range"]["end"] = u64::MAX.into(),
        |answer| answer["xorbs"] = json!({ "no hash": [] }),
    ];
    for change in nonsense {
        let lab = Lab::new().await;
        lab.faulty.add(Rule::path_contains("/reconstructions/", with_json(change)));
        let (commit, file) = (lab.commit().await, lab.large_file().await);

        let error = lab.hub.cas(&commit).unwrap().reconstruct(xet_hash(&file), file.size).await.unwrap_err();

        assert_eq!(ErrorKind::Network, error.kind(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_ranges_of_a_file_when_asked_one_by_one_then_they_add_up_to_the_whole() {
    let lab = Lab::new().await;
    let (commit, file) = (lab.commit().await, lab.large_file().await);
    let (cas, hash) = (lab.hub.cas(&commit).unwrap(), xet_hash(&file));
    const WINDOW: u64 = 300_000;

    for start in (0..file.size).step_by(WINDOW as usize) {
        let range = ByteRange { start, end: file.size.min(start + WINDOW) };
        let part = cas.reconstruct_range(hash, range).await.unwrap();
        let held: u64 = part.terms.iter().map(|term| u64::from(term.unpacked_length)).sum();
        assert!(part.offset_into_first_term + range.length() <= held, "{range:?}: {part:?}");
        assert!(held < range.length() + 2 * 131_072, "{range:?}: {part:?}");
    }
    let asked = lab.seen("/reconstructions/");
    assert_eq!(Some("bytes=300000-599999"), asked[1].header("range"));
    let whole = cas.reconstruct_range(hash, ByteRange { start: 0, end: file.size }).await.unwrap();
    assert_eq!(cas.reconstruct(hash, file.size).await.unwrap().terms, whole.terms);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_range_without_bytes_when_asked_then_empty() {
    let lab = Lab::new().await;
    let (commit, file) = (lab.commit().await, lab.large_file().await);
    let (cas, hash) = (lab.hub.cas(&commit).unwrap(), xet_hash(&file));

    for range in [(file.size, file.size + 9), (5, 5), (9, 2)] {
        let part = cas.reconstruct_range(hash, ByteRange { start: range.0, end: range.1 }).await.unwrap();
        assert!(part.terms.is_empty() && part.entries.is_empty(), "{range:?}: {part:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_listing_of_another_host_when_listed_then_the_next_page_is_asked_of_the_endpoint() {
    let lab = Lab::new().await;
    let commit = lab.commit().await;
    let target = format!("/api/models/lab/files/tree/{}?recursive=true&cursor=a,b", commit.sha);
    let link = format!("<https://huggingface.co{target}>; rel=\"next\"");
    let page = |headers| Fault::Status { code: 200, headers, body: "[]".into() };
    lab.faulty.add(Rule::path_contains("cursor=a,b", page(Vec::new())));
    lab.faulty.add(Rule::path_contains("/tree/", page(vec![("link".into(), link)])));

    let files = lab.hub.list(&commit).await.unwrap();

    assert!(files.is_empty());
    assert_eq!(1, lab.seen(&target).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_paths_of_git_when_published_then_left_out_or_refused() {
    let lab = Lab::new().await;
    let source = lab.source();
    std::fs::create_dir_all(source.join(".GIT")).unwrap();
    std::fs::write(source.join(".GIT/config"), "x").unwrap();
    std::fs::write(source.join("sub/.git"), "gitdir: elsewhere").unwrap();

    let published = lab.hub.publish(&source, &repo(), &PublishOptions::default(), |_| {}).await.unwrap();

    assert_eq!(9, published.files);
    std::fs::create_dir_all(source.join(".Cache/huggingface")).unwrap();
    std::fs::write(source.join(".Cache/huggingface/notes"), "x").unwrap();
    let error = lab.hub.publish(&source, &repo(), &PublishOptions::default(), |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Unpublishable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_commit_whose_name_is_no_hash_when_published_then_malformed() {
    let lab = Lab::new().await;
    std::fs::write(lab.source().join("more.txt"), "more").unwrap();
    lab.faulty.add(Rule::path_contains("/commit/", with_json(|answer| answer["commitOid"] = "\u{1b}[31m".into())));

    let error = lab.hub.publish(&lab.source(), &repo(), &PublishOptions::default(), |_| {}).await.unwrap_err();

    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

/// A client whose deadlines are an hour but for those that are set: a test that waits for another one hangs.
fn patient_hub(url: &str, set: impl FnOnce(&mut Config)) -> Hub {
    const HOUR: Duration = Duration::from_secs(3_600);
    let mut config = Config::new(url).unwrap();
    config.token = Secret::new(HUB_TOKEN);
    config.retry.attempts = 1;
    let deadlines = &mut config.deadlines;
    (deadlines.connect, deadlines.answer, deadlines.stall) = (HOUR, HOUR, HOUR);
    (deadlines.metadata_body, deadlines.upload_answer) = (HOUR, HOUR);
    set(&mut config);
    Hub::new(&config).unwrap()
}

/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

/// That asking for a commit ends by itself, for this wait.
async fn assert_late(hub: &Hub, expected: &str) {
    let resolve = async { hub.resolve(RepoType::Model, &repo(), "main").await.map(drop).unwrap_err() };
    let error = tokio::time::timeout(SOON, resolve).await.expect("it hangs");
    assert_eq!(ErrorKind::Network, error.kind(), "{error}");
    assert!(error.to_string().contains(expected), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_answer_that_never_begins_when_its_deadline_passes_then_given_up() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains("/revision/", Fault::NeverAnswer));

    assert_late(&patient_hub(&lab.faulty.url(), |config| config.deadlines.answer = SHORT), "the answer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_metadata_that_stalls_when_the_stall_deadline_passes_then_given_up() {
    let lab = Lab::new().await;
    for fault in [Fault::StallAfter(5), Fault::Trickle { bytes_per_second: 20 }] {
        lab.faulty.clear();
        lab.faulty.add(Rule::path_contains("/revision/", fault));

        assert_late(&patient_hub(&lab.faulty.url(), |config| config.deadlines.stall = SHORT), "more of the body").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_metadata_that_trickles_when_its_deadline_passes_then_given_up() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains("/revision/", Fault::Trickle { bytes_per_second: 20 }));

    assert_late(&patient_hub(&lab.faulty.url(), |config| config.deadlines.metadata_body = SHORT), "the body").await;
}

/// A listener whose queue is full lets the system answer no connection more.
#[tokio::test(flavor = "multi_thread")]
async fn given_a_connection_that_never_comes_when_its_deadline_passes_then_given_up() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await {
        queue.push(stream);
    }

    let hub = patient_hub(&format!("http://{address}"), |config| config.deadlines.connect = SHORT);

    assert_late(&hub, "connect").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_upload_that_is_not_answered_when_its_deadline_passes_then_given_up() {
    let lab = Lab::new().await;
    let hub = patient_hub(&lab.faulty.url(), |config| config.deadlines.upload_answer = SHORT);
    lab.faulty.add(Rule::path_contains("/xorb-grants/", Fault::status(404)));
    lab.faulty.add(Rule::path_contains("/v1/xorbs/", Fault::NeverAnswer));
    let other: Vec<u8> = lab.large.iter().map(|byte| byte ^ 1).collect();
    std::fs::write(lab.source().join("other.bin"), other).unwrap();

    let (source, repo, options) = (lab.source(), repo(), PublishOptions::default());
    let publish = hub.publish(&source, &repo, &options, |_| {});
    let error = tokio::time::timeout(SOON, publish).await.expect("it hangs").unwrap_err();

    assert!(error.to_string().contains("the answer"), "{error}");
}
