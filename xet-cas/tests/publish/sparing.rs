//! What is not sent because it is there already.

use testkit::{Fault, Rule};
use xet_cas::client::{Error, PublishProgress, Way};
use xet_cas::shard::{LookupTables, Shard, ShardXorb, StoredShard};
use xet_cas::{Leaf, chunks};

use super::lab::{Lab, noise, origin};

#[tokio::test(flavor = "multi_thread")]
async fn given_files_of_all_kinds_when_published_then_downloaded_identical() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 40_000_000));
    lab.write("text.bin", b"some text \0".repeat(300_000));
    lab.write("sub/empty", "");
    lab.write("sub/one byte.bin", [0]);
    lab.write("sub/\u{fc} \u{6a21}.json", "{}");

    let published = lab.publish(&lab.options()).await.unwrap();

    assert_eq!(lab.commit("main").await.sha, published.commit);
    assert_eq!((5, 0), (published.files, published.unchanged_files));
    assert!(lab.sources() == lab.contents("main").await);
    assert!(published.unique_bytes >= 40_000_000 && published.sent_bytes >= 40_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_unchanged_folder_when_published_again_then_nothing_is_sent_and_no_commit_is_made() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 3_000_000));
    lab.write("small.json", "{}");
    let first = lab.publish(&lab.options()).await.unwrap();
    let (xorbs, commits) = (lab.seen("xorb").len(), lab.seen("/commit/").len());

    // Also without what was remembered.
    let mut forgetful = lab.options();
    forgetful.cache = None;
    let second = lab.publish(&forgetful).await.unwrap();

    assert_eq!(first.commit, second.commit);
    assert_eq!((2, 0, 0), (second.unchanged_files, second.sent_bytes, second.commit_bytes));
    assert_eq!((xorbs, commits), (lab.seen("xorb").len(), lab.seen("/commit/").len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_file_with_one_percent_changed_when_published_then_at_most_three_percent_are_sent() {
    let lab = Lab::new().await;
    let mut content = noise(1, 60_000_000);
    lab.write("large.bin", &content);
    lab.publish(&lab.options()).await.unwrap();

    content[20_000_000..20_600_000].copy_from_slice(&noise(2, 600_000));
    lab.write("large.bin", &content);
    let second = lab.publish(&lab.options()).await.unwrap();

    assert!(second.sent_bytes <= 60_000_000 * 3 / 100, "{}", second.sent_bytes);
    assert!(lab.sources() == lab.contents("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_publication_that_broke_off_when_run_again_then_stored_xorbs_are_not_sent_again() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 60_000_000));
    lab.faulty.add(Rule::path_contains("/shards", Fault::status(400)));
    lab.publish(&lab.options()).await.unwrap_err();
    let before = lab.seen("xorb-grants").len();
    assert!(before >= 4, "{before}");
    lab.faulty.clear();

    let second = lab.publish(&lab.options()).await.unwrap();

    assert_eq!(before, lab.seen("xorb-grants").len());
    assert!(second.sent_bytes < 200_000, "{}", second.sent_bytes);
    assert!(lab.sources() == lab.contents("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_server_that_lost_what_is_remembered_when_published_then_everything_is_sent_again() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 20_000_000));
    lab.publish(&lab.options()).await.unwrap();
    let (other, _servers) = origin("other").await;

    // The same address, as far as what is remembered is concerned.
    lab.faulty.set_upstream(&other.url()).unwrap();
    let published = lab.publish(&lab.options()).await.unwrap();

    assert!(published.sent_bytes > 20_000_000, "{}", published.sent_bytes);
    assert!(lab.sources() == lab.contents("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_content_that_another_client_stored_when_published_then_the_cas_tells_of_it() {
    let lab = Lab::new().await;
    let content = noise(1, 30_000_000);
    lab.write("first.bin", &content);
    let mut forgetful = lab.options();
    forgetful.cache = None;
    lab.publish(&forgetful).await.unwrap();

    std::fs::remove_file(lab.source().join("first.bin")).unwrap();
    let mut longer = content;
    longer.extend(noise(2, 1_000_000));
    lab.write("second.bin", &longer);
    let second = lab.publish(&forgetful).await.unwrap();

    assert!(!lab.seen("/v1/chunks/").is_empty());
    assert!(second.sent_bytes < 3_000_000, "{}", second.sent_bytes);
    assert_eq!(longer, lab.contents("main").await["second.bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_questions_that_fail_when_published_then_published_all_the_same_and_soon_without_questions() {
    let lab = Lab::new().await;
    for n in 0..200 {
        lab.write(&format!("{n}.bin"), noise(100 + n, 70_000));
    }
    lab.faulty.add(Rule::path_contains("/v1/chunks/", Fault::status(403)));

    lab.publish(&lab.options()).await.unwrap();

    let questions = lab.seen("/v1/chunks/").len();
    assert!((1..40).contains(&questions), "{questions}");
    assert!(lab.sources() == lab.contents("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_cas_that_tells_of_a_xorb_it_has_not_when_published_then_sent_without_asking_again() {
    let lab = Lab::new().await;
    let content = noise(1, 300_000);
    lab.write("large.bin", &content);
    let leaves: Vec<Leaf> = chunks(&content).map(Leaf::of).chain([Leaf::of(b"another")]).collect();
    let xorb = ShardXorb { hash: Leaf::xorb_hash(&leaves), leaves };
    let told = StoredShard::from(Shard { files: vec![], xorbs: vec![xorb] }).encode(LookupTables::NONE);
    let answer = Fault::Body { bytes: told.into(), content_type: "application/octet-stream".into() };
    lab.faulty.add(Rule::path_contains("/v1/chunks/", answer));

    let published = lab.publish(&lab.options()).await.unwrap();

    assert!(published.sent_bytes > 300_000, "{}", published.sent_bytes);
    assert!(lab.sources() == lab.contents("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_files_that_begin_alike_when_published_then_asked_about_once() {
    let lab = Lab::new().await;
    for n in 0..40 {
        lab.write(&format!("{n}.bin"), noise(1, 70_000));
    }

    lab.publish(&lab.options()).await.unwrap();

    let mut asked: Vec<_> = lab.seen("/v1/chunks/").into_iter().map(|seen| seen.target).collect();
    let all = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(all, asked.len());
    assert!(lab.sources() == lab.contents("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_what_the_hub_has_when_planned_then_each_file_goes_its_way() {
    let lab = Lab::new().await;
    lab.write("same.bin", noise(1, 100_000));
    lab.write("same.json", "{}");
    lab.write("other.json", "1");
    lab.publish(&lab.options()).await.unwrap();
    lab.write("other.json", "2");
    lab.write("new.bin", noise(2, 100_000));
    lab.progress.lock().unwrap().clear();

    lab.publish(&lab.options()).await.unwrap();

    let events = std::mem::take(&mut *lab.progress.lock().unwrap());
    let ways: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            PublishProgress::File { path, way, .. } => Some((path.as_str(), *way)),
            _ => None,
        })
        .collect();
    let expected = [
        ("new.bin", Way::Xet),
        ("other.json", Way::InCommit),
        ("same.bin", Way::Unchanged),
        ("same.json", Way::Unchanged),
    ];
    assert_eq!(expected[..], ways);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_repetitive_file_when_published_then_its_chunks_are_stored_once() {
    let lab = Lab::new().await;
    let block = noise(1, 1_000_000);
    lab.write("repeated.bin", block.repeat(40));

    let published = lab.publish(&lab.options()).await.unwrap();

    assert!(published.unique_bytes < 5_000_000, "{}", published.unique_bytes);
    assert!(lab.sources() == lab.contents("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_refusal_that_has_nothing_to_do_with_what_is_remembered_when_published_then_no_second_try() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 2_000_000));
    lab.faulty.add(Rule::path_contains("/shards", Fault::status(400)));

    let error = lab.publish(&lab.options()).await.unwrap_err();

    assert!(matches!(error, Error::Status { status: 400, .. }), "{error}");
    assert_eq!(1, lab.seen("/shards").len());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_the_same_folder_when_published_to_two_repositories_then_their_commits_differ() {
    let lab = Lab::new().await;
    lab.write("small.json", "{}");
    let publish = async |repo: &str| {
        let repo = repo.parse().unwrap();
        lab.hub.publish(&lab.source(), &repo, &lab.options(), |_| {}).await.unwrap().commit
    };

    // In the same second, most times: the time is part of a commit too.
    for pair in 0..3 {
        let (one, two) = (publish(&format!("lab/one-{pair}")).await, publish(&format!("lab/two-{pair}")).await);
        assert_ne!(one, two);
    }
}
