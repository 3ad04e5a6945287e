//! What the user can get wrong, and a disk that is full.

use testkit::{Fault, FaultyOrigin, Rule};

use crate::lab::{Lab, REPO, finish};

#[tokio::test(flavor = "multi_thread")]
async fn given_an_unknown_name_when_pulled_then_not_found() {
    let lab = Lab::new().await;

    lab.zest(&["pull", "lab/unknown"]).await.assert_failed(4, "repository lab/unknown was not found");
    lab.zest(&["pull", REPO, "--revision", "v9"]).await.assert_failed(4, "has no revision `v9`");
    lab.zest(&["pull", REPO, "--include", "*.gguf"]).await.assert_failed(4, "*.gguf");
    let commit = "0123456789012345678901234567890123456789";
    lab.zest(&["pull", REPO, "--revision", commit]).await.assert_failed(4, commit);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_nonsense_when_typed_then_a_usage_error() {
    let lab = Lab::new().await;

    for args in [
        &["pull", "../../etc"][..],
        &["pull"],
        &["pull", REPO, "--repo-type", "image"],
        &["pull", REPO, "--revision", "../../x"],
        &["pull", REPO, "--include", "["],
        &["pull", REPO, "--endpoint", "nowhere"],
        &["pull", REPO, "--stall-timeout", "-1"],
        &["frobnicate"],
    ] {
        let said = lab.zest(args).await;
        assert_eq!(Some(2), said.code, "{args:?}: {}", said.stderr);
        assert!(said.stderr.contains("error: "), "{args:?}: {}", said.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_guarded_origin_when_pulled_without_its_token_then_not_authorised() {
    let lab = Lab::with_token(Some("hf_right")).await;

    lab.pull().await.assert_failed(3, "not authorised");
    let mut command = lab.command(&["pull", REPO]);
    finish(command.env("HF_TOKEN", "hf_wrong").spawn().unwrap()).await.assert_failed(3, "not authorised");
    let mut command = lab.command(&["pull", REPO]);
    finish(command.env("HF_TOKEN", "hf_right").spawn().unwrap()).await.assert_ok();

    lab.assert_pulled();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_gated_repository_when_pulled_then_the_hint_says_where_to_ask() {
    let lab = Lab::new().await;

    let said = lab.pull_with("/tree/", Fault::status_with(403, &[("X-Error-Code", "GatedRepo")])).await;

    lab.assert_failed(&said, 3, "repository lab/model is gated");
    let page = format!("{}/{REPO}", lab.faulty.url());
    assert!(said.stderr.contains(&format!("ask for access on {page}")), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_token_when_anything_is_printed_then_it_is_not() {
    let lab = Lab::with_token(Some("hf_right")).await;

    let mut command = lab.command(&["-vv", "pull", REPO]);
    let said = finish(command.env("HF_TOKEN", "hf_right").spawn().unwrap()).await;

    said.assert_ok();
    assert!(!said.stderr.contains("hf_right") && !said.stdout.contains("hf_right"));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_redirect_to_another_host_when_pulled_then_no_token_goes_there() {
    let lab = Lab::with_token(Some("hf_right")).await;
    let elsewhere = testkit::Sink::start().await.unwrap();
    lab.faulty.add(Rule::path_contains("/resolve/", Fault::redirect_to(format!("{}/x", elsewhere.url()))));

    let mut command = lab.command(&["pull", REPO]);
    let said = finish(command.env("HF_TOKEN", "hf_right").spawn().unwrap()).await;

    assert_ne!(Some(0), said.code);
    let seen = elsewhere.requests();
    assert!(!seen.is_empty());
    assert!(seen.iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_next_page_on_another_host_when_listed_then_refused() {
    let lab = Lab::new().await;
    let elsewhere = FaultyOrigin::start(&lab.faulty.url()).await.unwrap();
    let link = format!("<{}/api/models/x/tree/y>; rel=\"next\"", elsewhere.url());
    let fault = Fault::Status { code: 200, headers: vec![("link".into(), link)], body: "[]".into() };

    let said = lab.pull_with("/tree/", fault).await;

    lab.assert_failed(&said, 5, "another host");
    assert!(elsewhere.requests().is_empty());
}

/// A disk that is full: once so small that this shows before the first byte; once with room for bytes but for
/// few files, which only shows in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn given_a_full_disk_when_pulled_then_exit_7_and_nothing_exposed_and_with_room_it_goes_on() {
    let lab = Lab::new().await;
    let script = r#"
        set -e
        mkdir -p "$HF_HOME" "$ZEST_HOME"
        mount -t tmpfs -o "$1" none "$HF_HOME"
        code=0; "$0" pull lab/model || code=$?
        find "$HF_HOME" -path '*refs/main' -o -name '*.tmp' | sed 's/^/left: /' >&2
        mount -o remount,size=64m,nr_inodes=100000 "$HF_HOME"
        "$0" pull lab/model >&2
        find "$HF_HOME" -name '*.zest*' -o -name '*.tmp' | sed 's/^/left: /' >&2
        exit $code
    "#;
    for (options, cause) in [("size=4m", "bytes free"), ("size=64m,nr_inodes=20", "No space left on device")] {
        let Some(said) = lab.in_namespace(script, options).await else { return };

        said.assert_failed(7, cause);
        assert!(!said.stderr.contains("left: "), "{}", said.stderr);
    }
}
