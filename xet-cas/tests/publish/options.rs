//! What the options do.

use xet_cas::RepoType;
use xet_cas::client::{Error, Patterns, PublishProgress, Way};

use super::lab::{Lab, noise, repo};

fn owned(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|pattern| (*pattern).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn given_patterns_when_published_then_only_what_matches() {
    let lab = Lab::new().await;
    for path in ["a.bin", "b.json", "sub/c.bin", "sub/d.json", "old/e.bin"] {
        lab.write(path, path);
    }
    let mut options = lab.options();
    options.patterns = Patterns::new(&owned(&["*.bin", "b.json"]), &owned(&["old/"])).unwrap();

    lab.publish(&options).await.unwrap();

    let paths: Vec<String> = lab.contents("main").await.into_keys().collect();
    assert_eq!(["a.bin", "b.json", "sub/c.bin"], paths[..]);
    options.patterns = Patterns::new(&owned(&["nothing*"]), &[]).unwrap();
    let error = lab.publish(&options).await.unwrap_err();
    assert!(matches!(error, Error::Unpublishable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_branch_that_is_not_there_when_published_then_it_begins_at_main() {
    let lab = Lab::new().await;
    lab.write("first.json", "1");
    let main = lab.publish(&lab.options()).await.unwrap();
    lab.write("second.json", "2");
    let mut options = lab.options();
    options.revision = "dev/next".into();

    lab.publish(&options).await.unwrap();

    assert_eq!(main.commit, lab.commit("main").await.sha);
    assert_eq!(2, lab.contents("dev/next").await.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_pull_request_when_published_then_the_branch_stays_and_the_request_has_the_files() {
    let lab = Lab::new().await;
    lab.write("first.json", "1");
    let main = lab.publish(&lab.options()).await.unwrap();
    lab.write("large.bin", noise(1, 2_000_000));
    let mut options = lab.options();
    options.create_pr = true;

    let published = lab.publish(&options).await.unwrap();

    assert_eq!(Some("refs/pr/1"), published.pull_request.as_deref());
    assert_eq!(main.commit, lab.commit("main").await.sha);
    assert!(lab.sources() == lab.contents("refs/pr/1").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_dry_run_when_published_then_nothing_is_changed_and_the_bytes_are_those_of_the_real_run() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 30_000_000));
    lab.write("small.json", "{}");
    let mut dry = lab.options();
    dry.dry_run = true;

    let without_repo = lab.publish(&dry).await.unwrap();

    assert!(matches!(lab.hub.resolve(RepoType::Model, &repo(), "main").await, Err(Error::RepoNotFound { .. })));
    assert_eq!("", without_repo.commit);
    let real = lab.publish(&lab.options()).await.unwrap();
    assert_eq!((real.unique_bytes, real.sent_bytes), (without_repo.unique_bytes, without_repo.sent_bytes));

    let mut longer = noise(1, 30_000_000);
    longer.extend(noise(2, 5_000_000));
    lab.write("more.bin", longer);
    lab.progress.lock().unwrap().clear();
    let would = lab.publish(&dry).await.unwrap();
    let written: Vec<_> = lab.faulty.requests().into_iter().filter(|seen| seen.target.contains("/commit/")).collect();
    assert_eq!((1, &real.commit), (written.len(), &lab.commit("main").await.sha));
    let said = lab.progress.lock().unwrap().clone();
    let is_new = |event: &PublishProgress| matches!(event, PublishProgress::File { path, way: Way::Xet, .. } if path == "more.bin");
    assert!(said.iter().any(is_new), "{said:?}");
    assert!((5_000_000..8_000_000).contains(&would.sent_bytes), "what is stored counts: {}", would.sent_bytes);
    let does = lab.publish(&lab.options()).await.unwrap();
    assert_eq!((does.unchanged_files, does.sent_bytes), (would.unchanged_files, would.sent_bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_origin_open_to_all_when_published_privately_then_refused_before_anything_is_sent() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 2_000_000));
    let mut options = lab.options();
    options.private = true;

    let error = lab.publish(&options).await.unwrap_err();

    assert!(matches!(error, Error::Forbidden { .. }), "{error}");
    assert!(lab.seen("xorb").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_small_files_in_the_commit_when_sent_then_its_length_is_told_and_right() {
    let lab = Lab::new().await;
    for length in 0..7 {
        lab.write(&format!("{length} \"quoted\" \u{fc}.txt"), "x".repeat(length));
    }
    lab.write("megabytes.txt", "text ".repeat(1_000_000));

    lab.publish(&lab.options()).await.unwrap();

    let commit = lab.seen("/commit/").pop().unwrap();
    assert!(commit.header("content-length").is_some() && commit.header("transfer-encoding").is_none());
    assert!(lab.sources() == lab.contents("main").await);
}
