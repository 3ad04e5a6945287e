//! Branches and tags: made, listed, read, moved on, squashed and removed.

use serde_json::{Value, json};

use super::lab::{Answer, Lab, file_line};

const REPO: &str = "lab/tiny";
const API: &str = "/api/models/lab/tiny";

async fn lab() -> Lab {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    lab
}

/// Commits one file and returns the commit's name.
async fn commit(lab: &Lab, content: &[u8]) -> String {
    let answer = lab.commit(REPO, &[file_line("a.txt", content)]).await.ok().json();
    answer["commitOid"].as_str().unwrap().to_owned()
}

async fn branch(lab: &Lab, name: &str, from: Option<&str>) -> Answer {
    let body = from.map_or(json!({}), |from| json!({ "startingPoint": from }));
    lab.post(&format!("{API}/branch/{name}"), body.to_string()).send().await
}

async fn tag(lab: &Lab, name: &str, revision: &str) -> Answer {
    let body = json!({ "tag": name, "message": "m" }).to_string();
    lab.post(&format!("{API}/tag/{revision}"), body).send().await
}

async fn content(lab: &Lab, revision: &str) -> Vec<u8> {
    lab.get(&format!("/lab/tiny/resolve/{revision}/a.txt")).send().await.ok().body.to_vec()
}

/// The refs of one kind as they are listed: full names and commits.
fn listed(refs: &Value, kind: &str) -> Vec<(String, String)> {
    let text = |each: &Value, name: &str| each[name].as_str().unwrap().to_owned();
    refs[kind].as_array().unwrap().iter().map(|each| (text(each, "ref"), text(each, "targetCommit"))).collect()
}

#[tokio::test]
async fn given_refs_when_made_then_listed_and_read() {
    let lab = lab().await;
    let (first, second) = (commit(&lab, b"1").await, commit(&lab, b"2").await);
    branch(&lab, "dev%2Fx", Some(&first)).await.ok();
    branch(&lab, "other", None).await.ok();
    branch(&lab, "from-tag", Some("main")).await.ok();
    tag(&lab, "v1.0", &first).await.ok();
    tag(&lab, "latest", "main").await.ok();
    let pull = json!({ "title": "a pull request", "pullRequest": true }).to_string();
    for _ in 0..11 {
        lab.post(&format!("{API}/discussions"), pull.clone()).send().await.ok();
    }

    let refs = lab.json(&format!("{API}/refs?include_prs=1")).await;

    let full = |name: &str, sha: &String| (name.to_owned(), sha.clone());
    let branches = [
        full("refs/heads/dev/x", &first),
        full("refs/heads/from-tag", &second),
        full("refs/heads/main", &second),
        full("refs/heads/other", &second),
    ];
    assert_eq!(branches.to_vec(), listed(&refs, "branches"));
    assert_eq!(json!("dev/x"), refs["branches"][0]["name"]);
    assert_eq!(vec![full("refs/tags/latest", &second), full("refs/tags/v1.0", &first)], listed(&refs, "tags"));
    assert_eq!(json!([]), refs["converts"]);
    let pulls: Vec<String> = listed(&refs, "pullRequests").into_iter().map(|(name, _)| name).collect();
    assert_eq!((1..=11).map(|number| format!("refs/pr/{number}")).collect::<Vec<_>>(), pulls);
    assert!(lab.json(&format!("{API}/refs")).await.get("pullRequests").is_none());
    for (revision, expected) in [("dev%2Fx", b"1"), ("v1.0", b"1"), ("refs%2Ftags%2Flatest", b"2"), ("other", b"2")] {
        assert_eq!(expected.to_vec(), content(&lab, revision).await, "{revision}");
    }

    let lines = format!("{}\n", file_line("a.txt", b"3"));
    lab.post(&format!("{API}/commit/dev%2Fx"), lines.clone()).send().await.ok();
    assert_eq!((b"3".to_vec(), b"2".to_vec()), (content(&lab, "dev%2Fx").await, content(&lab, "main").await));
    lab.post(&format!("{API}/commit/v1.0"), lines).send().await.refused(404, "RevisionNotFound");
}

#[tokio::test]
async fn given_refs_when_deleted_then_gone_and_their_commits_stay() {
    let lab = lab().await;
    let first = commit(&lab, b"1").await;
    branch(&lab, "dev", None).await.ok();
    tag(&lab, "v1", "main").await.ok();
    commit(&lab, b"2").await;
    let delete = |target: &str| lab.call("DELETE", &format!("{API}/{target}")).send();

    for (target, revision) in [("branch/dev", "dev"), ("tag/v1", "v1")] {
        delete(target).await.ok();
        delete(target).await.refused(404, "RevisionNotFound");
        lab.get(&format!("{API}/revision/{revision}")).send().await.refused(404, "RevisionNotFound");
    }

    assert_eq!(b"1".to_vec(), content(&lab, &first).await);
    delete("branch/main").await.refused(403, "Forbidden");
    delete("branch/refs%2Fheads%2Fmain").await.refused(404, "RevisionNotFound");
    delete("tag/main").await.refused(404, "RevisionNotFound");
    delete("branch/..").await.refused(404, "RevisionNotFound");
    assert_eq!(b"2".to_vec(), content(&lab, "main").await);
}

#[tokio::test]
async fn given_bad_refs_when_made_then_refused() {
    let lab = lab().await;
    let first = commit(&lab, b"1").await;
    branch(&lab, "dev", None).await.ok();
    tag(&lab, "v1", "main").await.ok();

    branch(&lab, "dev", None).await.refused(409, "Conflict").because("already exists");
    branch(&lab, "main", None).await.refused(409, "Conflict");
    tag(&lab, "v1", &first).await.refused(409, "Conflict");
    branch(&lab, "new", Some("none")).await.refused(404, "RevisionNotFound");
    branch(&lab, "new", Some("../main")).await.refused(404, "RevisionNotFound");
    tag(&lab, "new", "none").await.refused(404, "RevisionNotFound");
    for name in ["refs/heads/x", "refs/pr/7", "..", "a/../b", "a..b", "a b", "/a", "a\0", "a\\b", "-", &first, ""] {
        tag(&lab, name, "main").await.refused(400, "BadRequest");
    }
    for name in ["refs%2Fpr%2F7", "a%20b", "HEAD", "a..b", &first] {
        branch(&lab, name, None).await.refused(400, "BadRequest");
    }
    for name in ["%2e%2e", "a%5Cb", "%2Fa", "a%00"] {
        branch(&lab, name, None).await.refused(404, "RevisionNotFound");
    }
    lab.post(&format!("{API}/tag/main"), "{}").send().await.refused(400, "BadRequest");
    let refs = lab.json(&format!("{API}/refs?include_prs=1")).await;
    let counts = ["branches", "tags", "pullRequests"].map(|kind| refs[kind].as_array().unwrap().len());
    assert_eq!([2, 1, 0], counts);
    lab.get("/api/models/lab/none/refs").send().await.refused(404, "RepoNotFound");
    lab.get("/api/models/lab/%2e%2e/refs").send().await.refused(404, "RepoNotFound");
}

#[tokio::test]
async fn given_refs_made_at_once_when_they_have_one_name_then_one_is_made() {
    let lab = lab().await;
    commit(&lab, b"1").await;

    let answers = futures::future::join_all((0..8).map(|_| branch(&lab, "dev", None))).await;

    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!([200, 409, 409, 409, 409, 409, 409, 409], statuses[..]);
}

#[tokio::test]
async fn given_a_branch_when_squashed_then_one_commit_with_its_files() {
    let lab = lab().await;
    let old = commit(&lab, b"1").await;
    commit(&lab, b"2").await;
    branch(&lab, "dev", None).await.ok();
    let post = |branch: &str, body: &str| lab.post(&format!("{API}/super-squash/{branch}"), body.to_owned()).send();

    post("main", r#"{"message":"All of it"}"#).await.ok();

    let history = lab.json(&format!("{API}/commits/main")).await;
    let first = (history.as_array().unwrap().len(), history[0]["title"].clone(), history[0]["parents"].clone());
    assert_eq!((1, json!("All of it"), json!([])), first);
    assert_eq!(b"2".to_vec(), content(&lab, "main").await);
    // Whoever has seen an old commit still finds it.
    assert_eq!(b"1".to_vec(), content(&lab, &old).await);
    assert_eq!(3, lab.json(&format!("{API}/commits/dev")).await.as_array().unwrap().len());
    commit(&lab, b"3").await;
    assert_eq!(2, lab.json(&format!("{API}/commits/main")).await.as_array().unwrap().len());
    post("none", "{}").await.refused(404, "RevisionNotFound");
    post("main", "<html>").await.refused(400, "BadRequest");
    post("main", &json!({ "message": "x".repeat(70_000) }).to_string()).await.refused(400, "BadRequest");
}
