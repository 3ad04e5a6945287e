//! `zest publish`: what it says, what it remembers between runs, and how it ends.

use serde_json::Value;
use testkit::{Fault, Rule};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::lab::{Lab, REPO, finish};

fn events(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Bytes without a pattern, a multiple of four.
fn noise(length: u32) -> Vec<u8> {
    (0..length / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).rotate_left(n % 31).to_le_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_dry_run_when_published_then_each_file_is_told_and_nothing_is_sent() {
    let lab = Lab::new().await;
    std::fs::write(lab.model().join("new.bin"), noise(1_000_000)).unwrap();
    let model = lab.model();
    let model = model.to_str().unwrap();

    let said = lab.zest(&["publish", model, REPO, "--dry-run", "--format", "json"]).await;

    said.assert_ok();
    let events = events(&said.stdout);
    let way = |path: &str| events.iter().find(|event| event["path"] == path).unwrap()["way"].clone();
    assert_eq!(("xet", "unchanged"), (way("new.bin").as_str().unwrap(), way("config.json").as_str().unwrap()));
    let last = events.last().unwrap();
    assert_eq!("would_publish", last["event"]);
    assert!(last["sent_bytes"].as_u64().unwrap() > 900_000, "{last}");
    let is_written = |method: &str| matches!(method, "PUT" | "POST");
    let written: Vec<_> = lab.faulty.requests().into_iter().filter(|seen| is_written(seen.method.as_str())).collect();
    assert!(written.iter().all(|seen| seen.target.contains("/preupload/")), "{written:?}");

    let said = lab.zest(&["publish", model, "lab/none", "--dry-run"]).await;
    said.assert_ok();
    assert!(said.stderr.contains("new.bin") && said.stderr.contains("would be sent"), "{}", said.stderr);
    lab.zest(&["pull", "lab/none"]).await.assert_failed(4, "lab/none");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_patterns_when_published_then_only_what_matches_and_pulled_identical() {
    let lab = Lab::new().await;
    let model = lab.model();
    let argv = ["publish", model.to_str().unwrap(), "lab/part", "--include", "*.json", "--exclude", "tokenizer*"];

    lab.zest(&argv).await.assert_ok();

    let said = lab.zest(&["pull", "lab/part", "--format", "json"]).await;
    let path = said.summary()["path"].as_str().unwrap().to_owned();
    let mut names: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert!(names.iter().any(|name| name == "config.json"), "{names:?}");
    // `*` matches `/` too: the folder has a `config.json`.
    let is_wanted = |name: &str| name == "1_Pooling" || (name.ends_with(".json") && !name.starts_with("tokenizer"));
    assert!(names.iter().all(|name| is_wanted(name.to_str().unwrap())), "{names:?}");
    lab.zest(&["publish", model.to_str().unwrap(), "lab/part", "--include", "["]).await.assert_failed(2, "[");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_publication_that_is_killed_when_run_again_then_it_goes_on_where_it_was() {
    let lab = Lab::new().await;
    let folder = lab.folder.path().join("large");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("large.bin"), noise(80_000_000)).unwrap();
    let argv = ["publish", folder.to_str().unwrap(), "lab/large", "--format", "json"];
    // The third xorb never arrives.
    lab.faulty.add(Rule::path_contains("/xorb-grants/", Fault::NeverAnswer).skip(2));
    let mut first = lab.command(&argv).spawn().unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    let mut stored = 0;
    while stored < 2 {
        let line = lines.next_line().await.unwrap().expect("it ended before two xorbs were stored");
        stored += usize::from(line.contains("xorb_stored"));
    }
    first.kill().await.unwrap();
    lab.faulty.clear();

    let second = finish(lab.command(&argv).spawn().unwrap()).await;

    second.assert_ok();
    let events = events(&second.stdout);
    let sent = events.last().unwrap()["sent_bytes"].as_u64().unwrap();
    assert!((30_000_000..60_000_000).contains(&sent), "two xorbs of 16 MiB are not sent again: {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_branch_that_moved_when_published_then_the_cause_and_what_to_do() {
    let lab = Lab::new().await;
    std::fs::write(lab.model().join("new.txt"), "new").unwrap();
    lab.faulty.add(Rule::path_contains("/commit/", Fault::status(412)));

    let said = lab.zest(&["publish", lab.model().to_str().unwrap(), REPO]).await;

    said.assert_failed(5, "somebody else committed");
    assert!(said.stderr.contains("run the same command again"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_token_without_the_right_to_write_when_published_then_exit_code_3() {
    let lab = Lab::new().await;
    std::fs::write(lab.model().join("new.bin"), noise(100_000)).unwrap();
    lab.faulty.add(Rule::path_contains("/xet-write-token/", Fault::status(403)));

    let said = lab.zest(&["publish", lab.model().to_str().unwrap(), REPO]).await;

    said.assert_failed(3, "access denied");
}
