//! What a pull does when all is well.

use testkit::{Fault, Rule};

use crate::lab::{ENTRY_PATH, Lab, REPO, files_below};

#[tokio::test(flavor = "multi_thread")]
async fn given_a_published_model_when_pulled_then_identical_and_bytes_add_up() {
    let lab = Lab::new().await;

    let summary = lab.pull().await.summary();

    lab.assert_pulled();
    let total: u64 =
        files_below(&lab.model()).iter().map(|path| lab.model().join(path).metadata().unwrap().len()).sum();
    let sources: u64 = summary["file_bytes"].as_object().unwrap().values().map(|bytes| bytes.as_u64().unwrap()).sum();
    assert_eq!(total, sources);
    assert_eq!(files_below(&lab.model()).len() as u64, summary["files"].as_u64().unwrap());
    assert!(summary["wire_bytes"]["cdn"].as_u64().unwrap() > 0);
    assert!(summary["peak_rss_bytes"].as_u64().unwrap() > 0);
    assert!(std::path::Path::new(summary["path"].as_str().unwrap()).is_dir());
    assert!(lab.home().join("hf/hub/CACHEDIR.TAG").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_finished_pull_when_pulled_again_then_no_data_is_fetched() {
    let lab = Lab::new().await;
    lab.pull().await.assert_ok();
    let before = lab.faulty.requests().len();

    let said = lab.pull().await;

    let summary = said.summary();
    assert!(
        !said.events().iter().any(|event| event["event"] == "warning" || event["event"] == "checking"),
        "{}",
        said.stdout
    );
    assert_eq!(0, summary["file_bytes"]["cdn"]);
    assert_eq!(0, summary["wire_bytes"]["cdn"]);
    let asked: Vec<String> = lab.faulty.requests().split_off(before).into_iter().map(|seen| seen.target).collect();
    assert!(asked.iter().all(|target| target.starts_with("/api/")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_lost_index_when_pulled_again_then_files_are_checked_and_not_fetched() {
    let lab = Lab::new().await;
    lab.pull().await.assert_ok();
    std::fs::remove_dir_all(lab.home().join("zest")).unwrap();

    let said = lab.pull().await;

    assert_eq!(0, said.summary()["wire_bytes"]["cdn"]);
    assert!(said.events().iter().any(|event| event["event"] == "checking"));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_damaged_file_in_the_cache_when_pulled_then_it_is_replaced() {
    let lab = Lab::new().await;
    let summary = lab.pull().await.summary();
    let damaged = std::path::Path::new(summary["path"].as_str().unwrap()).join("config.json");
    let mut content = std::fs::read(&damaged).unwrap();
    content[0] ^= 1;
    std::fs::write(&damaged, content).unwrap();

    let said = lab.pull().await;

    said.assert_ok();
    lab.assert_pulled();
    assert!(said.stdout.contains("is damaged"), "{}", said.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_one_cache_when_two_pulls_run_at_once_then_both_succeed() {
    let lab = Lab::new().await;

    let (one, two) = tokio::join!(lab.pull(), lab.pull());

    one.assert_ok();
    two.assert_ok();
    lab.assert_pulled();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_patterns_when_pulled_then_only_these_files() {
    let lab = Lab::new().await;

    let said = lab.zest(&["pull", REPO, "--include", "*.json", "--exclude", "tokenizer*", "--format", "json"]).await;

    let snapshot = said.summary()["path"].as_str().unwrap().to_owned();
    let pulled = files_below(std::path::Path::new(&snapshot));
    assert!(!pulled.is_empty());
    for path in pulled {
        let path = path.to_str().unwrap();
        assert!(path.ends_with(".json") && !path.starts_with("tokenizer"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_dry_run_when_pulled_then_nothing_is_fetched() {
    let lab = Lab::new().await;

    let said = lab.zest(&["pull", REPO, "--dry-run", "--format", "json"]).await;

    let summary = said.summary();
    assert_eq!(true, summary["dry_run"]);
    assert!(summary["file_bytes"]["cdn"].as_u64().unwrap() > 0);
    assert!(!lab.home().exists(), "a dry run wrote something");
    assert!(!lab.faulty.requests().iter().any(|seen| seen.target.starts_with(ENTRY_PATH)));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_content_under_two_names_in_a_folder_when_one_is_edited_then_a_dry_run_leaves_it_and_a_pull_mends_it() {
    let lab = Lab::new().await;
    let (model, repo) = (lab.folder.path().join("twins"), "lab/twins");
    std::fs::create_dir(&model).unwrap();
    for name in ["a.bin", "b.bin"] {
        std::fs::write(model.join(name), [0, 1, 2, 3].repeat(50_000)).unwrap();
    }
    lab.zest(&["publish", model.to_str().unwrap(), repo]).await.assert_ok();
    let target = lab.folder.path().join("target");
    let args = ["pull", repo, "--local-dir", target.to_str().unwrap(), "--format", "json"];
    lab.zest(&args).await.assert_ok();
    std::fs::write(target.join("b.bin"), "edited").unwrap();

    lab.zest(&[&args[..], &["--dry-run"]].concat()).await.assert_ok();
    assert_eq!("edited", std::fs::read_to_string(target.join("b.bin")).unwrap());
    let again = lab.zest(&args).await.summary();

    assert_eq!(0, again["wire_bytes"]["cdn"]);
    assert_eq!(std::fs::read(model.join("b.bin")).unwrap(), std::fs::read(target.join("b.bin")).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_hub_that_names_wrong_content_when_pulled_from_the_right_one_then_it_is_not_taken_over() {
    let lab = Lab::new().await;
    // Another Hub gives the first large file the content of the second, under the right SHA-256.
    lab.faulty.add(Rule::path_contains(
        "/tree/",
        Fault::rewrite(|body| {
            let mut entries: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
            let is_shard = |entry: &serde_json::Value| entry["path"].as_str().unwrap().starts_with("model-0000");
            let shards: Vec<usize> = (0..entries.len()).filter(|at| is_shard(&entries[*at])).collect();
            entries[shards[0]]["xetHash"] = entries[shards[1]]["xetHash"].clone();
            serde_json::to_vec(&entries).unwrap().into()
        }),
    ));
    lab.pull().await.assert_ok();
    lab.faulty.clear();

    lab.pull().await.assert_ok();

    lab.assert_pulled();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_finished_pull_on_a_disk_that_cannot_be_written_when_pulled_then_it_succeeds() {
    let lab = Lab::new().await;
    lab.pull().await.assert_ok();
    let script =
        r#"mount --bind "$HF_HOME" "$HF_HOME" && mount -o remount,ro,bind "$HF_HOME" && exec "$0" pull lab/model"#;

    let Some(said) = lab.in_namespace(script, "").await else { return };

    said.assert_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_local_dir_when_pulled_twice_then_files_lie_there_and_are_fetched_once() {
    let lab = Lab::new().await;
    let target = lab.folder.path().join("target");
    let args = ["pull", REPO, "--local-dir", target.to_str().unwrap(), "--format", "json"];

    lab.zest(&args).await.assert_ok();
    let again = lab.zest(&args).await.summary();

    lab.assert_identical(&target);
    assert_eq!(0, again["wire_bytes"]["cdn"]);
    assert!(target.join(".cache/huggingface/download/config.json.metadata").exists());
    assert!(!lab.home().join("hf/hub").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_quiet_and_human_when_pulled_then_stdout_is_only_the_path() {
    let lab = Lab::new().await;

    let quiet = lab.zest(&["pull", REPO, "--format", "quiet"]).await;
    let human = lab.zest(&["pull", REPO]).await;

    for said in [&quiet, &human] {
        said.assert_ok();
        assert!(std::path::Path::new(said.stdout.trim_end()).is_dir(), "{}", said.stdout);
    }
    assert!(quiet.stderr.is_empty(), "{}", quiet.stderr);
    assert!(human.stderr.contains("files verified"), "{}", human.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_full_commit_when_pulled_then_no_ref_is_written() {
    let lab = Lab::new().await;
    let commit = lab.pull().await.summary()["commit"].as_str().unwrap().to_owned();
    std::fs::remove_dir_all(lab.home()).unwrap();

    let said = lab.zest(&["pull", REPO, "--revision", &commit, "--format", "json"]).await;

    assert_eq!(commit, said.summary()["commit"].as_str().unwrap());
    assert!(!lab.repo_folder().join("refs").exists());
}
