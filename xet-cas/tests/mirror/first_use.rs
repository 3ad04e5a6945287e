//! What is asked for the first time, and afterwards.

use std::time::Duration;

use futures::future::join_all;
use xet_cas::client::Content;

use super::lab::file_line;
use super::pair::{DATA, Pair, REPO, branch, contents, files, hub, random, read, read_all, resolve};

#[tokio::test(flavor = "multi_thread")]
async fn given_a_repository_elsewhere_when_asked_for_then_the_same_here_and_without_the_other_afterwards() {
    let mut pair = Pair::new().await;
    let content = [
        ("config.json", b"{\"a\": 1}".to_vec()),
        ("empty", Vec::new()),
        ("large.bin", random(1, 20 << 20)),
        ("sub/zeros.bin", vec![0; 3 << 20]),
    ];
    let sha = pair.publish(&content).await;
    let there = hub(&pair.upstream.as_ref().unwrap().url());
    let listed = files(&there, &resolve(&there, "main").await.unwrap()).await;

    let hub = pair.hub();
    let commit = resolve(&hub, "main").await.unwrap();

    assert_eq!(sha, commit.sha);
    assert_eq!(listed, files(&hub, &commit).await);
    assert_eq!(contents(&content), read_all(&hub, "main").await);
    let asked = pair.faulty.requests().len();

    pair.lose_upstream().await;
    assert_eq!(contents(&content), read_all(&hub, "main").await);
    assert_eq!(contents(&content), read_all(&hub, &sha).await);
    assert_eq!(asked, pair.faulty.requests().len());
    // And by somebody who comes later, from what is on disk alone.
    let pair = pair.restart().await;
    assert_eq!(contents(&content), read_all(&pair.hub(), "main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_many_at_once_when_they_ask_for_the_first_time_then_everything_is_fetched_once() {
    let pair = Pair::new().await;
    let content = [("large.bin", random(2, 6 << 20)), ("config.json", b"{}".to_vec())];
    pair.publish(&content).await;

    let all = join_all((0..8).map(|_| async { read_all(&pair.hub(), "main").await })).await;

    assert!(all.iter().all(|read| *read == contents(&content)));
    assert_eq!(1, pair.seen("/revision/main").len());
    assert_eq!(1, pair.seen("/tree/").len());
    assert_eq!(1, pair.seen("/resolve/").len());
    let data: std::collections::HashSet<String> = pair.seen(DATA).into_iter().map(|seen| seen.target).collect();
    assert_eq!(pair.seen(DATA).len(), data.len(), "a range was fetched twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_branch_that_moves_when_asked_for_then_followed_after_a_while_and_the_old_commit_stays() {
    for (refresh, is_followed) in [(Duration::ZERO, true), (Duration::from_secs(3_600), false)] {
        let pair = Pair::with(|_| {}, move |config| config.mirror.as_mut().unwrap().refresh = refresh).await;
        let first = pair.publish(&[("a.bin", random(3, 100_000))]).await;
        let hub = pair.hub();
        assert_eq!(first, resolve(&hub, "main").await.unwrap().sha);

        let second = pair.publish(&[("a.bin", random(4, 100_000)), ("b.txt", b"b".to_vec())]).await;

        let expected = if is_followed { &second } else { &first };
        assert_eq!(*expected, resolve(&hub, "main").await.unwrap().sha);
        assert_eq!(contents(&[("a.bin", random(3, 100_000))]), read_all(&hub, &first).await);
        // A commit by its name is looked for whenever it is not here.
        assert_eq!(2, read_all(&hub, &second).await.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_branches_when_asked_for_then_each_is_kept_under_its_name() {
    let mut pair = Pair::new().await;
    let first = pair.publish(&[("a.txt", b"first".to_vec())]).await;
    branch(pair.upstream.as_ref().unwrap(), "dev%2Fx", &first).await;
    pair.publish(&[("a.txt", b"second".to_vec())]).await;
    let hub = pair.hub();

    assert_eq!(contents(&[("a.txt", b"first".to_vec())]), read_all(&hub, "dev/x").await);
    assert_eq!(contents(&[("a.txt", b"second".to_vec())]), read_all(&hub, "main").await);

    pair.lose_upstream().await;
    assert_eq!(contents(&[("a.txt", b"first".to_vec())]), read_all(&hub, "dev/x").await);
    assert_eq!(contents(&[("a.txt", b"second".to_vec())]), read_all(&hub, "main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_repository_of_its_own_when_there_is_one_of_that_name_elsewhere_then_it_stays_as_it_is() {
    let pair = Pair::new().await;
    pair.publish(&[("a.txt", b"theirs".to_vec())]).await;
    pair.mirror.create(REPO).await;
    pair.mirror.commit(REPO, &[file_line("a.txt", b"ours")]).await.ok();

    assert_eq!(contents(&[("a.txt", b"ours".to_vec())]), read_all(&pair.hub(), "main").await);
    assert!(pair.faulty.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_mirrored_repository_when_somebody_changes_it_then_refused() {
    let pair = Pair::new().await;
    pair.publish(&[("a.txt", b"theirs".to_vec())]).await;
    read_all(&pair.hub(), "main").await;

    pair.mirror.commit(REPO, &[file_line("a.txt", b"ours")]).await.refused(403, "Forbidden").because("mirror");
    let api = format!("/api/models/{REPO}");
    pair.mirror.get(&format!("{api}/xet-write-token/main")).send().await.refused(403, "Forbidden");
    pair.mirror.post(&format!("{api}/super-squash/main"), "{}").send().await.refused(403, "Forbidden");
    pair.mirror.post(&format!("{api}/branch/dev"), "{}").send().await.refused(403, "Forbidden");
    let batch = serde_json::json!({ "operation": "upload", "objects": [] }).to_string();
    pair.mirror.post(&format!("/{REPO}.git/info/lfs/objects/batch"), batch).send().await.refused(403, "Forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_file_without_xet_elsewhere_when_asked_for_then_it_comes_as_it_is_and_is_kept() {
    let mut pair = Pair::new().await;
    let content = random(5, 3 << 20);
    pair.publish(&[("old.bin", content.clone())]).await;
    pair.faulty.add(testkit::Rule::path_contains(
        "/tree/",
        testkit::Fault::rewrite(|body| {
            let mut tree: serde_json::Value = serde_json::from_slice(&body).unwrap();
            for entry in tree.as_array_mut().unwrap() {
                entry.as_object_mut().unwrap().remove("xetHash");
            }
            serde_json::to_vec(&tree).unwrap().into()
        }),
    ));
    let hub = pair.hub();
    let commit = resolve(&hub, "main").await.unwrap();
    let file = files(&hub, &commit).await["old.bin"].clone();
    assert!(matches!(file.content, Content::Lfs { .. }));

    assert!(content == read(&hub, &commit, &file).await.unwrap());

    assert!(pair.seen(DATA).is_empty());
    pair.lose_upstream().await;
    assert!(content == read(&hub, &commit, &file).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_the_cas_elsewhere_out_of_order_when_asked_for_then_the_plain_file_comes() {
    let pair = Pair::new().await;
    let content = [("large.bin", random(6, 2 << 20))];
    pair.publish(&content).await;
    pair.faulty.add(testkit::Rule::path_contains("/reconstructions/", testkit::Fault::status(404)));

    assert_eq!(contents(&content), read_all(&pair.hub(), "main").await);
}
