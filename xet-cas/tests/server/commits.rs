//! Upload modes and commits.

use serde_json::{Value, json};

use super::lab::{Answer, Lab, file_line, full};
use super::model::{Upload, random};

const REPO: &str = "lab/tiny";

async fn lab() -> Lab {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    lab
}

async fn paths(lab: &Lab) -> Vec<String> {
    let tree = lab.json("/api/models/lab/tiny/tree/main?recursive=true").await;
    let files = tree.as_array().unwrap().iter().filter(|entry| entry["type"] == "file");
    files.map(|entry| entry["path"].as_str().unwrap().to_owned()).collect()
}

async fn head(lab: &Lab) -> String {
    lab.json("/api/models/lab/tiny/revision/main").await["sha"].as_str().unwrap().to_owned()
}

async fn modes(lab: &Lab, request: Value) -> Vec<(String, String, Value)> {
    let answer = lab.post("/api/models/lab/tiny/preupload/main", request.to_string()).send().await.ok().json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let files = answer["files"].as_array().unwrap().iter();
    files.map(|file| (text(&file["path"]), text(&file["uploadMode"]), file["oid"].clone())).collect()
}

fn asked(path: &str, sample: &[u8], size: u64) -> Value {
    use base64::Engine as _;
    json!({ "path": path, "sample": base64::engine::general_purpose::STANDARD.encode(sample), "size": size })
}

#[tokio::test]
async fn given_files_when_asked_how_to_upload_then_by_size_content_and_attributes() {
    let lab = lab().await;
    lab.commit(REPO, &[file_line(".gitattributes", b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n")]).await.ok();
    let upload = Upload::of(random(1, 100_000));
    upload.publish(&lab, REPO, "there.safetensors").await;
    lab.commit(REPO, &[file_line("there.txt", b"hello world")]).await.ok();
    let files = [
        asked("a.json", b"{}", 10 << 20),
        asked("large.json", b"{}", (10 << 20) + 1),
        asked("binary.dat", b"text\0", 5),
        asked("sub/tiny.safetensors", b"text", 4),
        asked("empty.safetensors", b"", 0),
        asked("there.safetensors", b"x", 1),
        asked("there.txt", b"x", 1),
    ];

    let answers = modes(&lab, json!({ "files": files })).await;

    let expected = [
        ("a.json", "regular", Value::Null),
        ("large.json", "lfs", Value::Null),
        ("binary.dat", "lfs", Value::Null),
        ("sub/tiny.safetensors", "lfs", Value::Null),
        ("empty.safetensors", "regular", Value::Null),
        ("there.safetensors", "lfs", json!(upload.sha256)),
        ("there.txt", "regular", json!("95d09f2b10159347eece71399a7e2e907ea3df4f")),
    ];
    assert_eq!(expected.map(|(path, mode, oid)| (path.to_owned(), mode.to_owned(), oid)).to_vec(), answers);

    let uploaded_along = json!({ "files": [asked("a.json", b"{}", 2)], "gitAttributes": "*.json filter=lfs" });
    assert_eq!("lfs", modes(&lab, uploaded_along).await[0].1);
}

#[tokio::test]
async fn given_bad_questions_when_asked_how_to_upload_then_refused() {
    let lab = lab().await;
    let post = |body: String| lab.post("/api/models/lab/tiny/preupload/main", body).send();
    for path in ["../x", "/etc/passwd", "a//b", "a\0b", "a\\b", ""] {
        post(json!({ "files": [asked(path, b"", 1)] }).to_string()).await.refused(400, "BadRequest");
    }
    post("<html>".into()).await.refused(400, "BadRequest");
    post(r#"{"files":[{"path":"a","sample":"***","size":1}]}"#.into()).await.refused(400, "BadRequest");
    post(" ".repeat((4 << 20) + 1)).await.refused(413, "PayloadTooLarge");
    let elsewhere = |target: &str| lab.post(target, r#"{"files":[]}"#).send();
    elsewhere("/api/models/lab/none/preupload/main").await.refused(404, "RepoNotFound");
    elsewhere("/api/models/lab/tiny/preupload/dev").await.refused(404, "RevisionNotFound");
}

#[tokio::test]
async fn given_commits_when_made_then_each_builds_on_the_one_before() {
    let lab = lab().await;
    let first = lab
        .commit(REPO, &[file_line("a.txt", b"1"), file_line("sub/b.txt", b"2"), file_line("sub/c/d.txt", b"3")])
        .await;
    let first = first.ok().json();
    assert_eq!((json!(true), json!(head(&lab).await)), (first["success"].clone(), first["commitOid"].clone()));
    let url = format!("{}/lab/tiny/commit/{}", lab.url(), first["commitOid"].as_str().unwrap());
    assert_eq!(json!(url), first["commitUrl"]);

    let replace_and_delete = [
        file_line("a.txt", b"other"),
        json!({ "key": "deletedFile", "value": { "path": "sub/b.txt" } }),
        json!({ "key": "deletedFolder", "value": { "path": "sub/c/" } }),
        file_line("new.txt", b"new"),
    ];
    lab.commit(REPO, &replace_and_delete).await.ok();

    assert_eq!(["a.txt", "new.txt"], paths(&lab).await[..]);
    assert_eq!("other", lab.get("/lab/tiny/resolve/main/a.txt").send().await.ok().body);
    let old = format!("/lab/tiny/resolve/{}/a.txt", first["commitOid"].as_str().unwrap());
    assert_eq!("1", lab.get(&old).send().await.ok().body);
}

#[tokio::test]
async fn given_a_commit_that_changes_nothing_when_made_then_the_head_stays() {
    let lab = lab().await;
    lab.commit(REPO, &[file_line("a.txt", b"1")]).await.ok();
    let before = head(&lab).await;

    let answer = lab.commit(REPO, &[file_line("a.txt", b"1")]).await.ok().json();

    assert_eq!((json!(before), before.clone()), (answer["commitOid"].clone(), head(&lab).await));
}

#[tokio::test]
async fn given_racing_commits_with_one_parent_when_made_then_one_wins() {
    let lab = lab().await;
    let parent = head(&lab).await;
    let commit = |number: usize| {
        let header = json!({ "key": "header", "value": { "summary": "s", "description": "", "parentCommit": parent } });
        let lines = [header, file_line(&format!("{number}.txt"), b"x")];
        let lab = &lab;
        async move { lab.commit_lines(REPO, &lines).await }
    };

    let answers: Vec<Answer> = futures::future::join_all((0..8).map(commit)).await;

    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!([200, 412, 412, 412, 412, 412, 412, 412], statuses[..]);
    assert_eq!(1, paths(&lab).await.len());
}

#[tokio::test]
async fn given_racing_commits_without_parent_when_made_then_none_is_lost() {
    let lab = lab().await;
    let commit = |number: usize| {
        let line = file_line(&format!("{number}.txt"), b"x");
        let lab = &lab;
        async move { lab.commit(REPO, &[line]).await.ok() }
    };

    futures::future::join_all((0..8).map(commit)).await;

    assert_eq!(8, paths(&lab).await.len());
}

#[tokio::test]
async fn given_a_bad_commit_when_made_then_refused_and_nothing_changes() {
    let lab = lab().await;
    let upload = Upload::of(random(1, 100_000));
    let token = lab.cas_token(REPO, "write").await;
    upload.push_xorb(&lab, &token).await.ok();
    lab.commit(REPO, &[file_line("a/b.txt", b"1")]).await.ok();
    let before = head(&lab).await;
    let lfs = |path: &str, oid: &str, size: u64, algo: &str| json!({ "key": "lfsFile", "value": { "path": path, "algo": algo, "oid": oid, "size": size } });

    lab.commit(REPO, &[upload.line("model.bin")]).await.refused(400, "BadRequest").because("no upload has announced");
    upload.push_shard(&lab, &token).await.ok();
    let bad = [
        (lfs("model.bin", &upload.sha256, 99_999, "sha256"), "has 100000 bytes"),
        (lfs("model.bin", &upload.sha256, 100_000, "sha1"), "needs a SHA-256"),
        (lfs("model.bin", "../../../origin.json", 1, "sha256"), "needs a SHA-256"),
        (lfs("model.bin", &upload.sha256.to_uppercase(), 100_000, "sha256"), "needs a SHA-256"),
        (lfs("../model.bin", &upload.sha256, 100_000, "sha256"), "leaves the repository"),
        (file_line("/etc/passwd", b"x"), "leaves the repository"),
        (file_line("a/../../x", b"x"), "leaves the repository"),
        (file_line("a\0b", b"x"), "character"),
        (file_line("a\\b", b"x"), "character"),
        (file_line(&"x/".repeat(3_000), b"x"), "bytes"),
        (file_line("a", b"x"), "a file and a folder"),
        (file_line("a/b.txt/c", b"x"), "a file and a folder"),
        (json!({ "key": "file", "value": { "path": "x", "content": "hello", "encoding": "utf-8" } }), "only base64"),
        (json!({ "key": "file", "value": { "path": "x", "content": "***", "encoding": "base64" } }), "not base64"),
        (json!({ "key": "copyFile", "value": { "path": "x" } }), "line 2"),
        (json!({ "key": "deletedFolder", "value": { "path": "/" } }), "bytes"),
        (json!("nonsense"), "line 2"),
    ];
    for (line, reason) in bad {
        lab.commit(REPO, &[line]).await.refused(400, "BadRequest").because(reason);
    }
    for (key, path) in
        [("deletedFile", "none"), ("deletedFolder", "none"), ("deletedFile", "a"), ("deletedFolder", "a/b.txt")]
    {
        let line = json!({ "key": key, "value": { "path": path } });
        lab.commit(REPO, &[line]).await.refused(404, "EntryNotFound");
    }
    assert_eq!(before, head(&lab).await);

    lab.commit(REPO, &[upload.line("model.bin")]).await.ok();
}

#[tokio::test]
async fn given_commits_to_what_is_not_there_when_made_then_refused_by_name() {
    let lab = lab().await;
    let post = |target: &str| lab.post(target, "{\"key\":\"header\",\"value\":{\"summary\":\"s\"}}\n").send();
    post("/api/models/lab/none/commit/main").await.refused(404, "RepoNotFound");
    post("/api/models/lab/tiny/commit/dev").await.refused(404, "RevisionNotFound");
    post("/api/datasets/lab/tiny/commit/main").await.refused(404, "RepoNotFound");
    post("/api/models/lab/tiny/commit/refs%2Fpr%2F1").await.refused(404, "RevisionNotFound");
    post("/api/models/lab/tiny/commit/dev?create_pr=1").await.refused(404, "RevisionNotFound");
    post("/api/models/lab/tiny/commit/main?create_pr=maybe").await.refused(400, "BadRequest").because("create_pr");
    let branch = lab.post("/api/models/lab/tiny/branch/refs%2Fpr%2F7", "{}").send().await;
    branch.refused(400, "BadRequest").because("name of a branch");
}

#[tokio::test]
async fn given_a_regular_file_over_the_limit_when_committed_then_refused() {
    let lab = lab().await;
    let most = vec![b'x'; 10 << 20];
    lab.commit(REPO, &[file_line("most.txt", &most)]).await.ok();

    let over = lab.commit(REPO, &[file_line("over.txt", &[most.as_slice(), b"x"].concat())]).await;
    over.refused(400, "BadRequest").because("must be uploaded through Xet");
    let endless = lab.post("/api/models/lab/tiny/commit/main", "").body(full(vec![b'x'; 15 << 20])).send().await;
    endless.refused(413, "PayloadTooLarge").because("a line of the commit");
}

/// Commits to a pull request that is opened with it, and returns the answer.
async fn open(lab: &Lab, parent: Option<&str>, lines: &[Value]) -> Value {
    let header = json!({ "key": "header", "value": { "summary": "s", "description": "", "parentCommit": parent } });
    let body: String = std::iter::once(&header).chain(lines).map(|line| format!("{line}\n")).collect();
    lab.post("/api/models/lab/tiny/commit/main?create_pr=1", body).send().await.ok().json()
}

#[tokio::test]
async fn given_a_pull_request_when_opened_then_a_branch_that_main_does_not_see() {
    let lab = lab().await;
    lab.commit(REPO, &[file_line("a.txt", b"1")]).await.ok();
    let before = head(&lab).await;
    let upload = Upload::of(random(1, 100_000));
    let token = lab.json("/api/models/lab/tiny/xet-write-token/None?create_pr=1").await["accessToken"].clone();
    let token = format!("Bearer {}", token.as_str().unwrap());
    upload.push_xorb(&lab, &token).await.ok();
    upload.push_shard(&lab, &token).await.ok();

    let first = open(&lab, None, &[upload.line("model.bin")]).await;
    let second = open(&lab, None, &[file_line("a.txt", b"2")]).await;

    assert_eq!(before, head(&lab).await);
    let url = |number: u64| json!(format!("{}/lab/tiny/discussions/{number}", lab.url()));
    assert_eq!([url(1), url(2)], [&first, &second].map(|answer| answer["pullRequestUrl"].clone()));
    for (number, answer) in [(1, &first), (2, &second)] {
        let info = lab.json(&format!("/api/models/lab/tiny/revision/refs%2Fpr%2F{number}")).await;
        assert_eq!(answer["commitOid"], info["sha"]);
    }
    let tree = lab.json("/api/models/lab/tiny/tree/refs%2Fpr%2F1").await;
    assert_eq!(["a.txt", "model.bin"], [0, 1].map(|at: usize| tree[at]["path"].as_str().unwrap().to_owned()));
    lab.get("/api/models/lab/tiny/xet-read-token/refs%2Fpr%2F1").send().await.ok();
    assert_eq!("2", lab.get("/lab/tiny/resolve/refs%2Fpr%2F2/a.txt").send().await.ok().body);
    let location = lab.get("/lab/tiny/resolve/refs%2Fpr%2F1/model.bin").send().await.header("location").to_owned();
    assert!(upload.content == lab.get(&location).send().await.ok().body);
}

#[tokio::test]
async fn given_a_pull_request_when_committed_to_then_it_moves_on() {
    let lab = lab().await;
    lab.commit(REPO, &[file_line("a.txt", b"1")]).await.ok();
    open(&lab, None, &[file_line("b.txt", b"2")]).await;
    let asked = json!({ "files": [asked("b.txt", b"x", 1)] }).to_string();
    let modes = lab.post("/api/models/lab/tiny/preupload/refs%2Fpr%2F1", asked).send().await.ok().json();
    assert!(modes["files"][0]["oid"].is_string());

    let lines = format!("{}\n", file_line("c.txt", b"3"));
    let answer = lab.post("/api/models/lab/tiny/commit/refs%2Fpr%2F1", lines).send().await.ok().json();

    assert!(answer.get("pullRequestUrl").is_none());
    let tree = lab.json("/api/models/lab/tiny/tree/refs%2Fpr%2F1").await;
    assert_eq!(3, tree.as_array().unwrap().len());
    assert_eq!(["a.txt"], paths(&lab).await[..]);
}

#[tokio::test]
async fn given_an_older_commit_when_a_pull_request_is_opened_from_it_then_it_begins_there() {
    let lab = lab().await;
    let old = lab.commit(REPO, &[file_line("a.txt", b"1")]).await.ok().json()["commitOid"].clone();
    lab.commit(REPO, &[file_line("later.txt", b"2")]).await.ok();

    open(&lab, old.as_str(), &[file_line("b.txt", b"3")]).await;

    let tree = lab.json("/api/models/lab/tiny/tree/refs%2Fpr%2F1").await;
    assert_eq!(["a.txt", "b.txt"], [0, 1].map(|at: usize| tree[at]["path"].as_str().unwrap().to_owned()));
}

#[tokio::test]
async fn given_pull_requests_opened_at_once_when_numbered_then_each_has_its_own() {
    let lab = lab().await;
    let one = |number: usize| {
        let (lab, line) = (&lab, file_line(&format!("{number}.txt"), b"x"));
        async move { open(lab, None, &[line]).await["pullRequestUrl"].as_str().unwrap().to_owned() }
    };

    let urls = futures::future::join_all((0..8).map(one)).await;

    let numbers: std::collections::BTreeSet<_> = urls.iter().map(|url| url.rsplit('/').next().unwrap()).collect();
    assert_eq!(8, numbers.len());
}

#[tokio::test]
async fn given_a_pull_request_without_changes_when_opened_then_it_can_be_committed_to() {
    let lab = lab().await;
    lab.commit(REPO, &[file_line("a.txt", b"1")]).await.ok();
    let post = |target: &str, body: Value| lab.post(target, body.to_string()).send();
    let wanted = json!({ "title": "Larger", "description": "by one", "pullRequest": true });

    let opened = post("/api/models/lab/tiny/discussions", wanted.clone()).await.ok().json();

    assert_eq!(json!(1), opened["num"]);
    let details = lab.json("/api/models/lab/tiny/discussions/1?diff=1").await;
    let read = ["num", "title", "status", "isPullRequest", "repo"].map(|name| details[name].clone());
    let repo = json!({ "name": "lab/tiny", "type": "model" });
    assert_eq!([json!(1), json!("Larger"), json!("draft"), json!(true), repo], read);
    assert_eq!(json!("by one"), details["events"][0]["data"]["latest"]["raw"]);
    assert_eq!(json!("refs/heads/main"), details["changes"]["base"]);
    let lines = format!("{}\n", file_line("b.txt", b"2"));
    lab.post("/api/models/lab/tiny/commit/refs%2Fpr%2F1", lines).send().await.ok();
    assert_eq!(["a.txt"], paths(&lab).await[..]);
    assert_eq!("2", lab.get("/lab/tiny/resolve/refs%2Fpr%2F1/b.txt").send().await.ok().body);

    post("/api/models/lab/none/discussions", wanted).await.refused(404, "RepoNotFound");
    lab.get("/api/models/lab/tiny/discussions/2").send().await.refused(404, "NotFound");
    lab.get("/api/models/lab/none/discussions/1").send().await.refused(404, "RepoNotFound");
    lab.get("/api/models/lab/tiny/discussions/x").send().await.refused(404, "NotFound");
}
