//! Repositories that are copied with their history.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};
use testkit::{Fault, Rule};
use xet_cas::client::{Error, Hub};
use xet_cas::server::{Config, ImportError, ImportEvent, ImportOptions, Imported, import};

use super::lab::{Lab, file_line};
use super::pair::{DATA, Pair, REPO, branch, contents, hub, random, read_all, repo};

/// A data folder that is imported into.
struct Target {
    folder: tempfile::TempDir,
}

impl Target {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    async fn import(&self, from: &Hub, options: &ImportOptions) -> Result<Imported, ImportError> {
        self.import_telling(from, options, |_| {}).await
    }

    async fn import_telling(
        &self,
        from: &Hub,
        options: &ImportOptions,
        on_event: impl Fn(ImportEvent),
    ) -> Result<Imported, ImportError> {
        import(&Config::new(self.folder.path()), from, &repo(), options, on_event).await
    }

    async fn serve(self) -> Lab {
        Lab::over(self.folder, |_| {}).await
    }
}

/// Tells other than the truth: of these commits, oldest first, as the Hub does, page by page.
fn tell_history(pair: &Pair, name: &str, commits: &[String]) {
    let told: Vec<Value> = commits.iter().enumerate().rev().map(|(at, sha)| {
        json!({ "id": sha, "title": format!("commit {at}"), "message": "because", "date": "2024-02-29T23:59:59.000Z",
                "authors": [{ "user": "someone" }] })
    }).collect();
    let path = format!("/commits/{name}");
    pair.faulty.add(Rule::path_contains(path, Fault::json(Value::from(told).to_string())));
}

fn tell_refs(pair: &Pair, branches: &[(&str, &str)], tags: &[(&str, &str)]) {
    let told = |prefix: &str, refs: &[(&str, &str)]| -> Vec<Value> {
        let one =
            |(name, sha): &(&str, &str)| json!({ "name": name, "ref": format!("{prefix}{name}"), "targetCommit": sha });
        refs.iter().map(one).collect()
    };
    let refs = json!({ "branches": told("refs/heads/", branches), "converts": [], "tags": told("refs/tags/", tags) });
    pair.faulty.add(Rule::path_contains(format!("/{REPO}/refs"), Fault::json(refs.to_string())));
}

/// Three commits: a large file, a second one, and the first one changed in the middle.
async fn three(pair: &Pair) -> (Vec<String>, [Vec<u8>; 3]) {
    let (a, b) = (random(1, 3 << 20), random(2, 300_000));
    let mut c = a.clone();
    c[1_500_000] ^= 1;
    let mut commits = Vec::new();
    commits.push(pair.publish(&[("a.bin", a.clone()), ("config.json", b"{}".to_vec()), ("empty", vec![])]).await);
    commits.push(pair.publish(&[("sub/b.bin", b.clone())]).await);
    commits.push(pair.publish(&[("a.bin", c.clone())]).await);
    (commits, [a, b, c])
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_repository_with_history_when_imported_then_every_commit_is_here_under_its_name() {
    let pair = Pair::new().await;
    let (commits, [a, b, c]) = three(&pair).await;
    let target = Target::new();
    let events = Mutex::new(Vec::new());

    let from = hub(&pair.faulty.url());
    let options = ImportOptions::default();
    let imported = target.import_telling(&from, &options, |event| events.lock().unwrap().push(event)).await.unwrap();

    // The first one is that of the repository itself.
    assert_eq!((4, 0), (imported.commits, imported.known_commits));
    assert_eq!(vec![("refs/heads/main".to_owned(), commits[2].clone())], imported.refs);
    assert_eq!(Some(&ImportEvent::Begun { commits: 4, known_commits: 0 }), events.lock().unwrap().first());
    let again = target.import(&from, &options).await.unwrap();
    assert_eq!((0, 4, 0, 0), (again.commits, again.known_commits, again.files, again.bytes));
    let here = target.serve().await;
    // The history is told as it is told there.
    let history = format!("/api/models/{REPO}/commits/main");
    assert_eq!(pair.upstream.as_ref().unwrap().json(&history).await, here.json(&history).await);
    let hub = hub(&here.url());
    let config = || ("config.json", b"{}".to_vec());
    let first = contents(&[("a.bin", a.clone()), config(), ("empty", vec![])]);
    assert_eq!(first, read_all(&hub, &commits[0]).await);
    assert_eq!(4, read_all(&hub, &commits[1]).await.len());
    let last = contents(&[("a.bin", c), config(), ("empty", vec![]), ("sub/b.bin", b)]);
    assert_eq!(last, read_all(&hub, "main").await);
    // It is this origin's own from here on.
    here.commit(REPO, &[file_line("config.json", b"[]")]).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_import_that_was_cut_short_when_made_again_then_it_goes_on_where_it_was() {
    let pair = Pair::new().await;
    let (commits, _) = three(&pair).await;
    let target = Target::new();
    let from = hub(&pair.faulty.url());
    // The second commit that was published cannot be listed.
    pair.faulty.add(Rule::path_contains(format!("/tree/{}", commits[1]), Fault::status(500)).times(1));

    target.import(&from, &ImportOptions::default()).await.unwrap_err();
    let fetched = pair.seen(DATA).len();
    assert!(fetched > 0);
    let imported = target.import(&from, &ImportOptions::default()).await.unwrap();

    assert_eq!((2, 2), (imported.commits, imported.known_commits));
    let again = pair.seen(DATA).into_iter().skip(fetched).collect::<Vec<_>>();
    assert!(!again.is_empty());
    let here = target.serve().await;
    assert_eq!(4, read_all(&hub(&here.url()), "main").await.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_future_that_is_dropped_when_imported_again_then_the_files_that_came_are_not_fetched_again() {
    let pair = Pair::new().await;
    pair.publish(&[("a.bin", random(1, 300_000)), ("b.bin", random(2, 300_000))]).await;
    let target = Target::new();
    let from = hub(&pair.faulty.url());
    let mut options = ImportOptions::default();
    options.files_at_once = 1;
    let (arrived, mut first) = tokio::sync::watch::channel(false);

    let importing = target.import_telling(&from, &options, |event| {
        if matches!(event, ImportEvent::File { .. }) {
            arrived.send_replace(true);
        }
    });
    tokio::select! {
        biased;
        _ = first.wait_for(|there| *there) => {}
        imported = importing => panic!("{imported:?}"),
    }
    let imported = loop {
        match target.import(&from, &options).await {
            // What the first one had begun on a thread is not over.
            Err(ImportError::Data(xet_cas::server::Error::InUse { .. })) => tokio::task::yield_now().await,
            imported => break imported.unwrap(),
        }
    };

    assert!(imported.bytes <= 300_000, "{imported:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_branches_and_tags_when_all_are_imported_then_each_has_its_history() {
    let pair = Pair::new().await;
    let (commits, _) = three(&pair).await;
    let upstream = pair.upstream.as_ref().unwrap();
    branch(upstream, "dev", &commits[1]).await;
    let tag = json!({ "tag": "v1" }).to_string();
    upstream.post(&format!("/api/models/{REPO}/tag/{}", commits[0]), tag).send().await.ok();
    let target = Target::new();
    let mut options = ImportOptions::default();
    options.all_refs = true;
    options.revisions = vec![commits[1].clone()];

    let imported = target.import(&hub(&pair.faulty.url()), &options).await.unwrap();

    assert_eq!(4, imported.commits);
    let refs: BTreeMap<String, String> = imported.refs.into_iter().collect();
    let expected = [
        ("refs/heads/dev".to_owned(), commits[1].clone()),
        ("refs/heads/main".to_owned(), commits[2].clone()),
        // A commit that was asked for by its name.
        (format!("refs/tags/{}", commits[1]), commits[1].clone()),
        ("refs/tags/v1".to_owned(), commits[0].clone()),
    ];
    assert_eq!(BTreeMap::from(expected), refs);
    let here = target.serve().await;
    let hub = hub(&here.url());
    assert_eq!(3, read_all(&hub, "v1").await.len());
    assert_eq!(4, read_all(&hub, "dev").await.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_source_that_lies_when_imported_then_no_commit_is_visible() {
    for (part, fault) in [(DATA, Fault::FlipBit { offset: 100_000 }), ("/config.json", Fault::FlipBit { offset: 0 })] {
        let pair = Pair::new().await;
        let commit = pair.publish(&[("a.bin", random(1, 300_000)), ("config.json", b"{}".to_vec())]).await;
        tell_history(&pair, &commit, std::slice::from_ref(&commit));
        tell_refs(&pair, &[("main", &commit)], &[]);
        pair.faulty.add(Rule::path_contains(part, fault));
        let target = Target::new();

        let error = target.import(&hub(&pair.faulty.url()), &ImportOptions::default()).await.unwrap_err();

        assert!(matches!(error, ImportError::Upstream(Error::Format { .. })), "{part}: {error:?}");
        let here = target.serve().await;
        here.get(&format!("/api/models/{REPO}/revision/{commit}")).send().await.refused(404, "RepoNotFound");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_wrong_sha_256_elsewhere_when_imported_then_refused() {
    let pair = Pair::new().await;
    let commit = pair.publish(&[("a.bin", random(1, 300_000))]).await;
    tell_history(&pair, &commit, std::slice::from_ref(&commit));
    tell_refs(&pair, &[("main", &commit)], &[]);
    pair.faulty.add(Rule::path_contains(
        "/tree/",
        Fault::rewrite(|body| {
            let mut tree: Value = serde_json::from_slice(&body).unwrap();
            tree[0]["lfs"]["oid"] = "0".repeat(64).into();
            serde_json::to_vec(&tree).unwrap().into()
        }),
    ));

    let error = Target::new().import(&hub(&pair.faulty.url()), &ImportOptions::default()).await.unwrap_err();

    assert!(matches!(&error, ImportError::Wrong { path, .. } if path == "a.bin"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_commits_of_its_own_when_imported_over_them_then_refused() {
    let pair = Pair::new().await;
    let commit = pair.publish(&[("a.txt", b"theirs".to_vec())]).await;
    tell_history(&pair, &commit, std::slice::from_ref(&commit));
    tell_refs(&pair, &[("main", &commit)], &[]);
    let target = Target::new();
    let mut here = Lab::over(target.folder, |_| {}).await;
    here.create(REPO).await;
    here.commit(REPO, &[file_line("a.txt", b"ours")]).await.ok();
    here.stop().await;
    let target = Target { folder: here.folder };

    let error = target.import(&hub(&pair.faulty.url()), &ImportOptions::default()).await.unwrap_err();

    assert!(matches!(error, ImportError::Diverged { .. }), "{error:?}");
    let here = target.serve().await;
    assert_eq!(contents(&[("a.txt", b"ours".to_vec())]), read_all(&hub(&here.url()), "main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_histories_that_cannot_be_when_imported_then_refused() {
    let pair = Pair::new().await;
    let commit = pair.publish(&[("a.txt", b"a".to_vec())]).await;
    let other = "0123456789012345678901234567890123456789";
    for told in [
        json!([]),
        json!([{ "id": other }]),
        json!([{ "id": commit }, { "id": other }, { "id": other }]),
        json!([{ "id": "../x" }]),
    ] {
        pair.faulty.clear();
        tell_refs(&pair, &[("main", &commit)], &[]);
        pair.faulty.add(Rule::path_contains("/commits/", Fault::json(told.to_string())));
        let error = Target::new().import(&hub(&pair.faulty.url()), &ImportOptions::default()).await.unwrap_err();
        assert!(matches!(error, ImportError::Upstream(Error::Listing { .. } | Error::Malformed { .. })), "{error:?}");
    }
    pair.faulty.clear();
    tell_refs(&pair, &[("../../main", &commit)], &[]);
    let error = Target::new().import(&hub(&pair.faulty.url()), &ImportOptions::default()).await.unwrap_err();
    assert!(matches!(error, ImportError::Upstream(Error::Listing { .. })), "{error:?}");
}
