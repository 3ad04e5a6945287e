//! Discussions and pull requests: opened, talked about, listed, closed and merged.

use serde_json::{Value, json};

use super::lab::{Answer, Lab, file_line};

const REPO: &str = "lab/tiny";
const API: &str = "/api/models/lab/tiny";

async fn lab() -> Lab {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    lab.commit(REPO, &[file_line("a.txt", b"1"), file_line("b.txt", b"1")]).await.ok();
    lab
}

async fn open(lab: &Lab, title: &str, is_pull_request: bool) -> u64 {
    let body = json!({ "title": title, "description": "as said", "pullRequest": is_pull_request }).to_string();
    let opened = lab.post(&format!("{API}/discussions"), body).send().await.ok().json();
    opened["num"].as_u64().unwrap()
}

/// Opens a pull request with this change and returns its number.
async fn propose(lab: &Lab, lines: &[Value]) -> u64 {
    let header = json!({ "key": "header", "value": { "summary": "proposed" } });
    let body: String = std::iter::once(&header).chain(lines).map(|line| format!("{line}\n")).collect();
    let answer = lab.post(&format!("{API}/commit/main?create_pr=1"), body).send().await.ok().json();
    answer["pullRequestUrl"].as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap()
}

async fn step(lab: &Lab, number: u64, step: &str, body: Value) -> Answer {
    lab.post(&format!("{API}/discussions/{number}/{step}"), body.to_string()).send().await
}

async fn details(lab: &Lab, number: u64) -> Value {
    lab.json(&format!("{API}/discussions/{number}?diff=1")).await
}

async fn content(lab: &Lab, revision: &str, path: &str) -> Vec<u8> {
    lab.get(&format!("/lab/tiny/resolve/{revision}/{path}")).send().await.ok().body.to_vec()
}

#[tokio::test]
async fn given_a_discussion_when_talked_in_then_all_of_it_is_told() {
    let lab = lab().await;
    let number = open(&lab, "Why?", false).await;

    let said = step(&lab, number, "comment", json!({ "comment": "<b>" })).await.ok().json()["newMessage"].clone();
    let id = said["id"].as_str().unwrap();
    let edited = step(&lab, number, &format!("comment/{id}/edit"), json!({ "content": "other" })).await.ok().json();
    let renamed = step(&lab, number, "title", json!({ "title": "Why not?" })).await.ok().json();
    let status = json!({ "status": "closed", "comment": "done" });
    let closed = step(&lab, number, "status", status).await.ok().json();

    assert_eq!((json!("<b>"), json!("&lt;b&gt;")), {
        let latest = &said["data"]["latest"];
        (latest["raw"].clone(), latest["html"].clone())
    });
    let edited = &edited["updatedComment"];
    assert_eq!((said["id"].clone(), json!(true)), (edited["id"].clone(), edited["data"]["edited"].clone()));
    assert_eq!(json!({ "from": "Why?", "to": "Why not?" }), renamed["newTitle"]["data"]);
    assert_eq!(json!("closed"), closed["newStatus"]["data"]["status"]);
    let told = details(&lab, number).await;
    assert_eq!((json!("Why not?"), json!("closed"), json!(false)), {
        (told["title"].clone(), told["status"].clone(), told["isPullRequest"].clone())
    });
    let events: Vec<&str> = told["events"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(vec!["comment", "comment", "title-change", "comment", "status-change"], events);
    let hidden = step(&lab, number, &format!("comment/{id}/hide"), Value::Null).await.ok().json();
    assert_eq!(json!(true), hidden["updatedComment"]["data"]["hidden"]);
    assert!(!details(&lab, number).await.to_string().contains("other"));
}

#[tokio::test]
async fn given_discussions_when_listed_then_chosen_and_paged() {
    let lab = lab().await;
    for number in 0..52 {
        open(&lab, &format!("number {number}"), number % 2 == 0).await;
    }
    step(&lab, 52, "status", json!({ "status": "closed" })).await.ok();
    let list = |query: &str| {
        let target = format!("{API}/discussions?{query}");
        async { lab.json(&{ target }).await }
    };

    let first = list("").await;
    let second = list("p=1").await;

    assert_eq!((json!(52), json!(0), json!(52)), {
        (first["count"].clone(), first["start"].clone(), first["discussions"][0]["num"].clone())
    });
    assert_eq!((50, 2), {
        let length = |page: &Value| page["discussions"].as_array().unwrap().len();
        (length(&first), length(&second))
    });
    assert_eq!((json!(50), json!(1)), (second["start"].clone(), second["discussions"][1]["num"].clone()));
    for (query, count) in [
        ("type=pull_request", 26),
        ("type=discussion", 26),
        ("type=all&status=open", 51),
        ("status=closed", 1),
        ("status=closed&type=pull_request", 0),
        ("author=nobody-we-know", 0),
        ("p=999999999999", 52),
    ] {
        assert_eq!(json!(count), list(query).await["count"], "{query}");
    }
    lab.get(&format!("{API}/discussions?p=x")).send().await.refused(400, "BadRequest");
}

#[tokio::test]
async fn given_a_pull_request_when_merged_then_its_changes_are_on_the_branch() {
    let lab = lab().await;
    let number = propose(&lab, &[file_line("a.txt", b"2"), file_line("new.txt", b"2")]).await;
    assert_eq!(json!("open"), details(&lab, number).await["status"]);
    lab.commit(REPO, &[file_line("b.txt", b"3")]).await.ok();

    step(&lab, number, "merge", json!({ "comment": "thanks" })).await.ok();

    for (path, expected) in [("a.txt", b"2"), ("b.txt", b"3"), ("new.txt", b"2")] {
        assert_eq!(expected.to_vec(), content(&lab, "main", path).await, "{path}");
    }
    let told = details(&lab, number).await;
    let head = lab.json(API).await["sha"].clone();
    assert_eq!((json!("merged"), head), (told["status"].clone(), told["changes"]["mergeCommitId"].clone()));
    let title = lab.json(&format!("{API}/commits/main")).await[0]["title"].clone();
    assert_eq!(json!(format!("proposed (#{number})")), title);
    step(&lab, number, "merge", Value::Null).await.refused(400, "BadRequest").because("not open");
    step(&lab, number, "status", json!({ "status": "open" })).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn given_a_pull_request_that_clashes_when_merged_then_refused_until_it_does_not() {
    let lab = lab().await;
    let delete = json!({ "key": "deletedFile", "value": { "path": "b.txt" } });
    let number = propose(&lab, &[file_line("a.txt", b"2"), delete]).await;
    lab.commit(REPO, &[file_line("a.txt", b"3"), file_line("b.txt", b"3")]).await.ok();

    assert_eq!(json!(["a.txt", "b.txt"]), details(&lab, number).await["filesWithConflicts"]);
    step(&lab, number, "merge", Value::Null).await.refused(409, "Conflict").because("a.txt, b.txt");
    assert_eq!(b"3".to_vec(), content(&lab, "main", "a.txt").await);

    lab.commit(REPO, &[file_line("a.txt", b"2"), file_line("b.txt", b"1")]).await.ok();
    assert_eq!(json!([]), details(&lab, number).await["filesWithConflicts"]);
    step(&lab, number, "merge", Value::Null).await.ok();
    lab.get("/lab/tiny/resolve/main/b.txt").send().await.refused(404, "EntryNotFound");
}

#[tokio::test]
async fn given_merges_at_once_when_done_then_each_pull_request_once() {
    let lab = lab().await;
    let mut numbers = Vec::new();
    for number in 0..4 {
        numbers.push(propose(&lab, &[file_line(&format!("{number}.txt"), b"x")]).await);
    }
    let twice = numbers.iter().chain(&numbers);

    let answers = futures::future::join_all(twice.map(|number| step(&lab, *number, "merge", Value::Null))).await;

    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!([200, 200, 200, 200, 400, 400, 400, 400], statuses[..]);
    assert_eq!(6, lab.json(&format!("{API}/tree/main")).await.as_array().unwrap().len());
}

#[tokio::test]
async fn given_a_squashed_branch_when_a_pull_request_is_merged_then_refused() {
    let lab = lab().await;
    let number = propose(&lab, &[file_line("a.txt", b"2")]).await;
    lab.post(&format!("{API}/super-squash/main"), "{}").send().await.ok();

    step(&lab, number, "merge", Value::Null).await.refused(400, "BadRequest").because("in common");
    assert_eq!(json!([]), details(&lab, number).await["filesWithConflicts"]);
}

#[tokio::test]
async fn given_bad_steps_when_taken_then_refused_and_nothing_changes() {
    let lab = lab().await;
    let talk = open(&lab, "Why?", false).await;
    let before = details(&lab, talk).await;
    let comment = before["events"][0]["id"].as_str().unwrap().to_owned();
    let edit = |id: &str| format!("comment/{id}/edit");

    step(&lab, talk, "merge", Value::Null).await.refused(400, "BadRequest").because("cannot be merged");
    step(&lab, talk, "status", json!({ "status": "merged" })).await.refused(400, "BadRequest");
    step(&lab, talk, "status", Value::Null).await.refused(400, "BadRequest");
    step(&lab, talk, "comment", json!({})).await.refused(400, "BadRequest");
    step(&lab, talk, "comment", json!({ "comment": "x".repeat(70_000) })).await.refused(400, "BadRequest");
    step(&lab, talk, "comment", json!({ "comment": 1 })).await.refused(400, "BadRequest");
    step(&lab, talk, "comment", json!("x".repeat(300_000))).await.refused(413, "PayloadTooLarge");
    step(&lab, talk, "title", json!({ "title": " " })).await.refused(400, "BadRequest");
    step(&lab, talk, "title", json!({ "title": "x".repeat(201) })).await.refused(400, "BadRequest");
    for id in ["0", "zz", "..%2F..", "ffffffffffffffffffffffff", "é"] {
        let id = if id == "é" { "%C3%A9".repeat(12) } else { id.into() };
        step(&lab, talk, &edit(&id), json!({ "content": "x" })).await.refused(404, "EntryNotFound");
    }
    step(&lab, 9, &edit(&comment), json!({ "content": "x" })).await.refused(404, "NotFound");
    step(&lab, 9, "merge", Value::Null).await.refused(404, "NotFound");
    lab.get(&format!("{API}/discussions/9")).send().await.refused(404, "NotFound");
    let post = |target: &str, body: Value| lab.post(target, body.to_string()).send();
    post("/api/models/lab/none/discussions", json!({ "title": "Why?" })).await.refused(404, "RepoNotFound");
    post("/api/models/lab/none/discussions/1/merge", Value::Null).await.refused(404, "RepoNotFound");
    post(&format!("{API}/discussions"), json!({ "title": "" })).await.refused(400, "BadRequest");
    assert_eq!(before, details(&lab, talk).await);
}

#[tokio::test]
async fn given_a_discussion_when_it_has_grown_too_long_then_no_more_is_taken() {
    let lab = lab().await;
    let talk = open(&lab, "Why?", false).await;
    let text = "x".repeat(64 * 1024);
    let mut statuses = Vec::new();
    for _ in 0..17 {
        statuses.push(step(&lab, talk, "comment", json!({ "comment": text })).await.status);
    }

    assert_eq!(15, statuses.iter().filter(|status| **status == 200).count(), "{statuses:?}");
    let refused = step(&lab, talk, "comment", json!({ "comment": text })).await.refused(400, "BadRequest");
    refused.because("a discussion has at most");
    step(&lab, talk, "status", json!({ "status": "closed" })).await.ok();
}
