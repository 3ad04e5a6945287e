//! A folder that changes, a branch that moves, a server that misbehaves.

use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::Method;
use testkit::{Fault, Rule};
use xet_cas::client::{Error, PublishProgress};

use super::lab::{Lab, noise, repo};

#[tokio::test(flavor = "multi_thread")]
async fn given_a_file_that_changes_while_it_is_uploaded_when_published_then_nothing_is_committed() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 100_000_000));
    let path = lab.source().join("large.bin");
    let is_changed = AtomicBool::new(false);
    let change = |event| {
        if matches!(event, PublishProgress::XorbStored { .. }) && !is_changed.swap(true, Ordering::Relaxed) {
            let mut file = File::options().append(true).open(&path).unwrap();
            file.write_all(b"more").unwrap();
        }
    };

    let error = lab.hub.publish(&lab.source(), &repo(), &lab.options(), change).await.unwrap_err();

    assert!(is_changed.load(Ordering::Relaxed));
    assert!(matches!(error, Error::Unpublishable { .. }), "{error}");
    assert!(lab.contents("main").await.is_empty());
    lab.publish(&lab.options()).await.unwrap();
    assert!(lab.sources() == lab.contents("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_small_file_that_changes_after_it_was_listed_when_published_then_nothing_is_committed() {
    let lab = Lab::new().await;
    lab.write("small.json", "{}");
    let path = lab.source().join("small.json");
    let change = |event| {
        if matches!(event, PublishProgress::File { .. }) {
            std::fs::write(&path, "[]").unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }
    };

    let error = lab.hub.publish(&lab.source(), &repo(), &lab.options(), change).await.unwrap_err();

    assert!(matches!(error, Error::Unpublishable { .. }), "{error}");
    assert!(lab.contents("main").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_commit_of_somebody_else_meanwhile_when_published_then_a_conflict_and_theirs_stays() {
    let lab = Lab::new().await;
    lab.write("shared.json", "0");
    lab.publish(&lab.options()).await.unwrap();
    lab.write("shared.json", "mine");
    let theirs = tempfile::tempdir().unwrap();
    std::fs::write(theirs.path().join("shared.json"), "theirs").unwrap();
    let (other, runtime) = (lab.hub.clone(), tokio::runtime::Handle::current());
    let meanwhile = |event| {
        if matches!(event, PublishProgress::File { .. }) {
            let (other, theirs) = (other.clone(), theirs.path().to_owned());
            let publish = async move { other.publish(&theirs, &repo(), &Default::default(), |_| {}).await.unwrap() };
            tokio::task::block_in_place(|| runtime.block_on(publish));
        }
    };

    let error = lab.hub.publish(&lab.source(), &repo(), &lab.options(), meanwhile).await.unwrap_err();

    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert_eq!(b"theirs", &lab.contents("main").await["shared.json"][..]);
    lab.publish(&lab.options()).await.unwrap();
    assert_eq!(b"mine", &lab.contents("main").await["shared.json"][..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_commit_whose_answer_is_lost_when_tried_again_then_it_counts_as_published() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 2_000_000));
    lab.write("small.json", "{}");
    lab.faulty.add(Rule::path_contains("/commit/", Fault::TruncateAfter(1)).times(1));

    let published = lab.publish(&lab.options()).await.unwrap();

    assert_eq!(lab.commit("main").await.sha, published.commit);
    assert_eq!(2, lab.seen("/commit/").len());
    assert!(lab.sources() == lab.contents("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_server_that_fails_now_and_then_when_published_then_published() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 50_000_000));
    for path in ["/xorb-grants/", "/xorb-commits/", "/shards", "/preupload/", "/xet-write-token/"] {
        lab.faulty.add(Rule::path_contains(path, Fault::status(503)).times(1));
        lab.faulty.add(Rule::path_contains(path, Fault::Reset).skip(1).times(1));
    }

    lab.publish(&lab.options()).await.unwrap();

    assert!(lab.sources() == lab.contents("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_shard_answers_that_make_no_sense_when_published_then_nothing_is_committed() {
    let long = format!("{{\"type\":\"{}\"}}\n", "x".repeat(2_000_000));
    for answer in ["", "{\"type\":\"validating\",\"verified\":1,\"total\":1}\n", "<html>", &long] {
        let lab = Lab::new().await;
        lab.write("large.bin", noise(1, 100_000));
        lab.faulty.add(Rule::path_contains("/v2/shards", Fault::json(answer)));

        let error = lab.publish(&lab.options()).await.unwrap_err();

        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        assert!(lab.contents("main").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_shard_that_is_refused_for_now_when_published_then_sent_again_and_for_good_then_not() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 100_000));
    let busy = "{\"type\":\"error\",\"message\":\"busy\",\"retryable\":true}\n";
    lab.faulty.add(Rule::path_contains("/v2/shards", Fault::json(busy)).times(1));
    lab.publish(&lab.options()).await.unwrap();
    assert_eq!(2, lab.seen("/v2/shards").len());

    lab.write("other.bin", noise(2, 100_000));
    let wrong = "{\"type\":\"error\",\"message\":\"wrong range hash\"}\n";
    lab.faulty.add(Rule::path_contains("/v2/shards", Fault::json(wrong)));
    let error = lab.publish(&lab.options()).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { message, .. } if message == "wrong range hash"), "{error}");
    assert_eq!(3, lab.seen("/v2/shards").len());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_server_without_the_newer_ways_when_published_then_by_the_older_ones() {
    for code in [404, 501] {
        let lab = Lab::new().await;
        lab.write("large.bin", noise(1, 40_000_000));
        lab.faulty.add(Rule::path_contains("/xorb-grants/", Fault::status(404)));
        lab.faulty.add(Rule::path_contains("/v2/shards", Fault::status(code)));

        lab.publish(&lab.options()).await.unwrap();

        let direct = lab.faulty.requests().iter().filter(|seen| seen.target.contains("/v1/xorbs/")).count();
        assert!(direct >= 3 && lab.seen("/v1/shards").len() == 1, "{direct}");
        assert!(lab.seen("/xorb-grants/").len() <= 3, "it remembers that there are none");
        assert!(lab.sources() == lab.contents("main").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_token_that_goes_elsewhere_when_published_then_it_never_leaves_its_host() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 100_000));
    let elsewhere = super::lab::origin("elsewhere").await;
    let target = format!("{}/xorb", elsewhere.0.url());
    lab.faulty.add(Rule::path_contains("/xorb-grants/", Fault::redirect_to(target)).method(Method::POST));

    let error = lab.publish(&lab.options()).await.unwrap_err();

    assert!(matches!(error, Error::Redirect { .. }), "{error}");
    assert!(elsewhere.0.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_pull_request_whose_answer_is_lost_when_published_then_no_second_one_is_opened() {
    let lab = Lab::new().await;
    lab.write("small.json", "{}");
    lab.publish(&lab.options()).await.unwrap();
    lab.write("small.json", "[]");
    let mut options = lab.options();
    options.create_pr = true;
    lab.faulty.add(Rule::path_contains("create_pr=1", Fault::Reset).method(Method::POST).skip(1));

    lab.publish(&options).await.unwrap_err();

    assert_eq!(2, lab.seen("/commit/").len(), "one to the branch, one for the request");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_server_that_takes_no_shards_when_published_then_tried_as_often_as_the_policy_says() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 100_000));
    lab.faulty.add(Rule::path_contains("/v2/shards", Fault::status(503)));

    lab.publish(&lab.options()).await.unwrap_err();

    assert_eq!(3, lab.seen("/v2/shards").len());
}
