//! Listings that no client must act upon.

use serde_json::Value;
use testkit::Fault;

use crate::lab::Lab;

/// A pull with one entry of the real listing changed.
async fn check(change: impl Fn(&mut Vec<Value>) + Send + Sync + 'static, cause: &str) {
    let lab = Lab::new().await;
    let rewrite = Fault::rewrite(move |body| {
        let mut entries: Vec<Value> = serde_json::from_slice(&body).unwrap();
        change(&mut entries);
        serde_json::to_vec(&entries).unwrap().into()
    });

    let said = lab.pull_with("/tree/", rewrite).await;

    lab.assert_failed(&said, 5, cause);
    assert!(!lab.repo_folder().exists(), "something was written for a refused listing");
}

fn rename(path: &'static str) -> impl Fn(&mut Vec<Value>) + Send + Sync {
    move |entries| entries[0]["path"] = path.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_path_out_of_the_repository_when_listed_then_refused() {
    check(rename("/etc/zest-was-here"), "leaves the repository").await;
    check(rename("../../../zest-was-here"), "leaves the repository").await;
    check(rename("a\0b"), "character that no path may hold").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_path_twice_when_listed_then_refused() {
    let double = |entries: &mut Vec<Value>| {
        let first = entries.iter().find(|entry| entry["type"] == "file").unwrap().clone();
        entries.push(first);
    };
    check(double, "listed twice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_absurd_size_when_listed_then_refused() {
    check(|entries| resize(entries, Value::from(-1)), "is said to have -1 bytes").await;
    check(|entries| resize(entries, Value::from(i64::MAX)), "is said to have").await;
    check(|entries| resize(entries, Value::from(1.5)), "makes no sense").await;
}

fn resize(entries: &mut [Value], size: Value) {
    let regular = entries.iter_mut().find(|entry| entry["type"] == "file" && entry.get("lfs").is_none()).unwrap();
    regular["size"] = size;
}
