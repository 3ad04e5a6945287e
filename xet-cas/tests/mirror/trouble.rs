//! The other Hub lies, stalls, refuses, or is gone.

use testkit::{Fault, Rule};
use xet_cas::client::{Error, ErrorKind};
use xet_cas::server::Access;

use super::pair::{DATA, Pair, REPO, contents, files, random, read, read_all, resolve};

fn status(error: &Error) -> u16 {
    match error {
        Error::Status { status, .. } => *status,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_data_that_is_not_what_it_should_be_when_asked_for_then_refused_and_not_kept() {
    let pair = Pair::new().await;
    let content = [("large.bin", random(1, 3 << 20))];
    pair.publish(&content).await;
    pair.faulty.add(Rule::path_contains(DATA, Fault::FlipBit { offset: 1_000_000 }));
    let hub = pair.hub();
    let commit = resolve(&hub, "main").await.unwrap();
    let file = files(&hub, &commit).await["large.bin"].clone();

    let error = read(&hub, &commit, &file).await.unwrap_err();
    assert_eq!(502, status(&error));
    // It is not tried again for everybody who asks.
    let fetched = pair.seen(DATA).len();
    assert_eq!(502, status(&read(&hub, &commit, &file).await.unwrap_err()));
    assert_eq!(fetched, pair.seen(DATA).len());

    pair.faulty.clear();
    let pair = pair.restart().await;
    assert_eq!(contents(&content), read_all(&pair.hub(), "main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_plain_file_that_is_not_what_it_should_be_when_asked_for_then_its_end_never_comes() {
    let pair = Pair::new().await;
    pair.publish(&[("large.bin", random(2, 3 << 20)), ("config.json", vec![b' '; 5_000])]).await;
    pair.faulty.add(Rule::path_contains("/reconstructions/", Fault::status(404)));
    pair.faulty.add(Rule::path_contains("signature=", Fault::FlipBit { offset: 2_000_000 }));
    pair.faulty.add(Rule::path_contains("/config.json", Fault::FlipBit { offset: 4_000 }));

    let redirect = pair.mirror.get(&format!("/{REPO}/resolve/main/large.bin")).send().await;
    assert_eq!(302, redirect.status);
    let plain = pair.mirror.get(redirect.header("location")).send().await;
    assert_eq!(200, plain.status);
    assert!(!plain.is_complete);
    pair.mirror.get(&format!("/{REPO}/resolve/main/config.json")).send().await.refused(502, "UpstreamUnavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_listings_that_are_not_to_be_acted_upon_when_asked_for_then_refused() {
    for (part, answer) in [
        ("/tree/", r#"[{"type":"file","oid":"0123456789012345678901234567890123456789","size":1,"path":"../x"}]"#),
        ("/revision/", r#"{"sha":"../../x"}"#),
        ("/revision/", "<html>"),
    ] {
        let pair = Pair::new().await;
        pair.publish(&[("a.txt", b"a".to_vec())]).await;
        pair.faulty.add(Rule::path_contains(part, Fault::json(answer)));

        let answer = pair.mirror.get(&format!("/api/models/{REPO}/revision/main")).send().await;
        answer.refused(502, "UpstreamUnavailable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_nothing_of_that_name_elsewhere_when_asked_for_then_it_is_said_so_only_if_the_other_hub_says_so() {
    let mut pair = Pair::new().await;
    pair.publish(&[("a.txt", b"a".to_vec())]).await;
    let get = |target: &str| pair.mirror.get(target).send();

    get("/api/models/lab/none/revision/main").await.refused(404, "RepoNotFound");
    get(&format!("/api/models/{REPO}/revision/none")).await.refused(404, "RevisionNotFound");
    get(&format!("/{REPO}/resolve/main/none")).await.refused(404, "EntryNotFound");
    // And not asked again at once.
    get("/api/models/lab/none/revision/main").await.refused(404, "RepoNotFound");
    assert_eq!(1, pair.seen("/lab/none/").len());

    pair.lose_upstream().await;
    let get = |target: &str| pair.mirror.get(target).send();
    get("/api/models/lab/other/revision/main").await.refused(502, "UpstreamUnavailable");
    get(&format!("/api/models/{REPO}/revision/other")).await.refused(502, "UpstreamUnavailable");
    assert_eq!(200, get(&format!("/api/models/{REPO}/revision/main")).await.status);
    // The listing is here, the bytes are not.
    get(&format!("/{REPO}/resolve/main/a.txt")).await.refused(502, "UpstreamUnavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_the_other_hub_answers_too_late_when_what_is_here_is_asked_for_then_it_is_given_as_it_is() {
    let pair = Pair::with(|_| {}, |config| config.mirror.as_mut().unwrap().refresh = std::time::Duration::ZERO).await;
    let content = [("a.txt", b"a".to_vec())];
    pair.publish(&content).await;
    let hub = pair.hub();
    assert_eq!(contents(&content), read_all(&hub, "main").await);
    pair.publish(&[("a.txt", b"b".to_vec())]).await;

    pair.faulty.add(Rule::any(Fault::NeverAnswer));
    assert_eq!(contents(&content), read_all(&hub, "main").await);
    pair.faulty.clear();
    pair.faulty.add(Rule::any(Fault::status(500)));
    assert_eq!(contents(&content), read_all(&hub, "main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_repository_that_needs_a_token_when_there_is_none_then_not_mirrored_and_with_one_private_here_too() {
    let guarded = |config: &mut xet_cas::server::Config| config.access = Access::one_token("theirs");
    let pair = Pair::with(guarded, |config| config.access = Access::one_token("ours")).await;
    let upstream = pair.upstream.as_ref().unwrap();
    let create =
        serde_json::json!({ "name": "model", "organization": "lab", "type": "model", "private": true }).to_string();
    let authorized = |call: super::lab::Call| call.header("authorization", "Bearer theirs").send();
    authorized(upstream.post("/api/repos/create", create)).await.ok();
    let target = format!("/api/models/{REPO}/revision/main");

    let ours = |call: super::lab::Call| call.header("authorization", "Bearer ours").send();
    ours(pair.mirror.get(&target)).await.refused(403, "Forbidden");
    // What a client of ours shows is nobody else's business.
    assert!(pair.faulty.requests().iter().all(|seen| seen.header("authorization").is_none()));

    let pair = pair.restart_with(|config| {
        config.access = Access::one_token("ours");
        config.mirror.as_mut().unwrap().token = Some("theirs".into());
    });
    let pair = pair.await;
    let info = pair.mirror.get(&target).header("authorization", "Bearer ours").send().await.ok().json();
    assert_eq!(Some(true), info["private"].as_bool());
    pair.mirror.get(&target).send().await.refused(401, "Unauthorized");
    let shown: Vec<_> =
        pair.faulty.requests().into_iter().filter(|seen| seen.header("authorization").is_some()).collect();
    assert!(shown.iter().all(|seen| seen.header("authorization") == Some("Bearer theirs")) && !shown.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_source_that_stalls_when_a_file_is_asked_for_then_it_comes_once_it_goes_on() {
    let pair = Pair::new().await;
    let content = [("large.bin", random(3, 3 << 20))];
    pair.publish(&content).await;
    pair.faulty.add(Rule::path_contains(DATA, Fault::StallAfter(500_000)).times(1));

    assert_eq!(contents(&content), read_all(&pair.hub(), "main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_mirror_of_nowhere_when_started_then_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = xet_cas::server::Config::new(folder.path());
    config.mirror = Some(xet_cas::server::Mirror::of("ftp://elsewhere"));

    let error = xet_cas::server::Origin::bind(config, ([127, 0, 0, 1], 0).into()).await.unwrap_err();

    assert!(matches!(error, xet_cas::server::Error::Mirror { .. }), "{error}");
    assert_eq!(ErrorKind::Usage, xet_cas::client::Config::new("ftp://elsewhere").unwrap_err().kind());
}
