//! What a repository was: its commits, what each changed, and what lies at a path.

use serde_json::{Value, json};
use xet_cas::GitBlobHasher;

use super::lab::{Answer, Lab, file_line};
use super::model::{Upload, random};

const REPO: &str = "lab/tiny";
const API: &str = "/api/models/lab/tiny";

async fn lab() -> Lab {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    lab
}

/// Commits under this title and returns the commit's name.
async fn commit(lab: &Lab, title: &str, lines: &[Value]) -> String {
    let header = json!({ "key": "header", "value": { "summary": title, "description": format!("<{title}>") } });
    let answer = lab.commit_lines(REPO, std::iter::once(&header).chain(lines)).await.ok().json();
    answer["commitOid"].as_str().unwrap().to_owned()
}

fn delete_line(path: &str) -> Value {
    json!({ "key": "deletedFile", "value": { "path": path } })
}

/// Where the answer says that the next page is.
fn next(answer: &Answer) -> Option<String> {
    let (url, rest) = answer.header("link").strip_prefix('<')?.split_once('>')?;
    assert_eq!("; rel=\"next\"", rest);
    Some(url.to_owned())
}

fn each(list: &Value, name: &str) -> Vec<Value> {
    list.as_array().unwrap().iter().map(|item| item[name].clone()).collect()
}

#[tokio::test]
async fn given_commits_when_listed_then_newest_first_and_page_by_page() {
    let lab = lab().await;
    let mut commits = Vec::new();
    for number in 0..4 {
        commits.push(commit(&lab, &format!("title {number}"), &[file_line("a", &[number])]).await);
    }

    let all = lab.json(&format!("{API}/commits/main")).await;

    let titles = ["title 3", "title 2", "title 1", "title 0", "initial commit"];
    assert_eq!(titles.map(|title| json!(title)).to_vec(), each(&all, "title"));
    assert_eq!((json!(commits[3]), json!([commits[2]])), (all[0]["id"].clone(), all[0]["parents"].clone()));
    assert_eq!(json!("<title 3>"), all[0]["message"]);
    assert!(all[0]["date"].as_str().unwrap().ends_with("Z") && all[0]["authors"][0]["user"].is_string());
    assert!(all[0].get("formatted").is_none());
    let formatted = lab.json(&format!("{API}/commits/main?expand[]=formatted")).await;
    assert_eq!(json!({ "title": "title 3", "message": "&lt;title 3&gt;" }), formatted[0]["formatted"]);

    let (mut paged, mut url) = (Vec::new(), Some(format!("{API}/commits/main?limit=2")));
    while let Some(target) = url {
        let page = lab.get(&target).send().await.ok();
        assert!(page.json().as_array().unwrap().len() <= 2);
        paged.extend(each(&page.json(), "id"));
        // A page leads on from what it has shown, whatever has happened since.
        commit(&lab, "later", &[file_line("later", paged.len().to_string().as_bytes())]).await;
        url = next(&page);
    }
    assert_eq!(each(&all, "id"), paged);
    let older = lab.json(&format!("{API}/commits/{}", commits[1])).await;
    assert_eq!(each(&all, "id")[2..], each(&older, "id"));
}

#[tokio::test]
async fn given_changes_when_a_listing_is_expanded_then_each_entry_has_its_last_commit() {
    let lab = lab().await;
    let first = commit(&lab, "first", &[file_line("a", b"1"), file_line("d/b", b"1"), file_line("d/e/c", b"1")]).await;
    let second = commit(&lab, "second", &[file_line("a", b"2"), file_line("d/f", b"2")]).await;
    let third = commit(&lab, "third", &[delete_line("d/f"), file_line("a", b"2"), file_line("g", b"3")]).await;

    let tree = lab.json(&format!("{API}/tree/main?recursive=true&expand=true")).await;

    let last = |path: &str| {
        let entry = tree.as_array().unwrap().iter().find(|entry| entry["path"] == path).unwrap();
        entry["lastCommit"]["id"].as_str().unwrap().to_owned()
    };
    let expected = [("a", &second), ("d", &third), ("d/b", &first), ("d/e", &first), ("d/e/c", &first), ("g", &third)];
    for (path, commit) in expected {
        assert_eq!(*commit, last(path), "{path}");
    }
    assert_eq!(json!("third"), tree[1]["lastCommit"]["title"]);
    let before = lab.json(&format!("{API}/tree/{second}?expand=true")).await;
    assert_eq!(json!(second), before[1]["lastCommit"]["id"]);
    assert!(lab.json(&format!("{API}/tree/main")).await[0].get("lastCommit").is_none());
}

#[tokio::test]
async fn given_many_entries_when_a_listing_is_expanded_then_pages_are_short() {
    let lab = lab().await;
    let lines: Vec<Value> = (0..60).map(|number| file_line(&format!("{number:02}"), b"x")).collect();
    commit(&lab, "many", &lines).await;

    let first = lab.get(&format!("{API}/tree/main?expand=true")).send().await.ok();
    let second = lab.get(&next(&first).unwrap()).send().await.ok();

    assert_eq!((50, 10), (first.json().as_array().unwrap().len(), second.json().as_array().unwrap().len()));
    assert!(second.json()[9]["lastCommit"].is_object() && next(&second).is_none());
}

#[tokio::test]
async fn given_paths_when_asked_for_then_told_of_those_that_exist() {
    let lab = lab().await;
    let upload = Upload::of(random(1, 100_000));
    commit(&lab, "first", &[file_line("d/a b", b"1"), file_line("c", b"2")]).await;
    let second = upload.publish(&lab, REPO, "model.bin").await;
    let target = format!("{API}/paths-info/main");
    let tree = lab.json(&format!("{API}/tree/main?recursive=true")).await;
    let tree = tree.as_array().unwrap();

    let form = "paths=d%2Fa+b&paths=none&paths=d&paths=model.bin&expand=false";
    let kind = "application/x-www-form-urlencoded";
    let of_form = lab.post(&target, form).header("content-type", kind).send().await.ok().json();
    let body = json!({ "paths": ["d/a b", "none", "d/", "model.bin"], "expand": true }).to_string();
    let of_json = lab.post(&target, body).header("content-type", "application/json").send().await.ok().json();

    // The tree's order is c, d, d/a b, model.bin.
    assert_eq!(json!([tree[2], tree[1], tree[3]]), of_form);
    assert_eq!(json!("first"), of_json[1]["lastCommit"]["title"]);
    assert_eq!((json!(second), json!("d")), (of_json[2]["lastCommit"]["id"].clone(), of_json[1]["path"].clone()));
    let post = |body: String| lab.post(&target, body).header("content-type", "application/json").send();
    for path in ["../d", "/c", "d//a b", "", "/", "d/a b/", "c\0"] {
        let found = post(json!({ "paths": [path] }).to_string()).await.ok().json();
        let expected = if path == "d/a b/" { 1 } else { 0 };
        assert_eq!(expected, found.as_array().unwrap().len(), "{path:?}");
    }
    post("{}".into()).await.refused(400, "BadRequest");
    post(json!({ "paths": vec!["c"; 501], "expand": true }).to_string()).await.refused(400, "BadRequest");
    lab.post(&target, "paths=%ff").send().await.refused(400, "BadRequest");
    lab.post(&target, vec![b'x'; (4 << 20) + 1]).send().await.refused(413, "PayloadTooLarge");
}

#[tokio::test]
async fn given_two_revisions_when_compared_then_told_which_files_differ() {
    let lab = lab().await;
    let upload = Upload::of(random(1, 100_000));
    let first = commit(&lab, "first", &[file_line("a", b"1"), file_line("b", b"1"), file_line("same", b"1")]).await;
    upload.publish(&lab, REPO, "model.bin").await;
    commit(&lab, "third", &[file_line("a", b"22"), delete_line("b")]).await;

    let answer = lab.get(&format!("{API}/compare/{first}..main?raw=true")).send().await.ok();

    let blob = |content: &[u8]| GitBlobHasher::of(content);
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 100000\n", upload.sha256);
    let none = "0".repeat(40);
    let expected = format!(
        "T 2\t:100644 100644 {}... {}... M\ta\nT 0\t:100644 000000 {}... {none}... D\tb\n\
         B 100000\t:000000 100644 {none}... {}... A\tmodel.bin\n",
        blob(b"1"),
        blob(b"22"),
        blob(b"1"),
        blob(pointer.as_bytes())
    );
    assert_eq!(expected, answer.body);
    assert_eq!("", lab.get(&format!("{API}/compare/main..main?raw=true")).send().await.ok().body);
    lab.get(&format!("{API}/compare/{first}..none?raw=true")).send().await.refused(404, "RevisionNotFound");
    lab.get(&format!("{API}/compare/{first}..main")).send().await.refused(400, "BadRequest");
}

#[tokio::test]
async fn given_files_when_asked_for_raw_then_as_git_has_them() {
    let lab = lab().await;
    let upload = Upload::of(random(1, 100_000));
    commit(&lab, "first", &[file_line("a.txt", b"hello world")]).await;
    upload.publish(&lab, REPO, "model.bin").await;

    let small = lab.get("/lab/tiny/raw/main/a.txt").send().await.ok();
    let large = lab.get("/lab/tiny/raw/main/model.bin").send().await.ok();

    assert_eq!("hello world", small.body);
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 100000\n", upload.sha256);
    assert_eq!(pointer, large.body);
    assert_eq!(format!("\"{}\"", GitBlobHasher::of(pointer.as_bytes())), large.header("etag"));
    let part = lab.get("/lab/tiny/raw/main/model.bin").header("range", "bytes=8-12").send().await.ok();
    assert_eq!((206, "https"), (part.status, std::str::from_utf8(&part.body).unwrap()));
    let head = lab.head("/lab/tiny/raw/main/model.bin").send().await.ok();
    assert_eq!((pointer.len().to_string(), 0), (head.header("content-length").to_owned(), head.body.len()));
    lab.get("/lab/tiny/raw/main/none").send().await.refused(404, "EntryNotFound");
    lab.get("/lab/tiny/raw/main/../x").send().await.refused(404, "EntryNotFound");
}

#[tokio::test]
async fn given_an_etag_when_it_is_still_right_then_nothing_is_sent_again() {
    let lab = lab().await;
    commit(&lab, "first", &[file_line("a.txt", b"hello world")]).await;
    Upload::of(random(1, 100_000)).publish(&lab, REPO, "model.bin").await;
    for target in ["/lab/tiny/resolve/main/a.txt", "/lab/tiny/resolve/main/model.bin", "/lab/tiny/raw/main/model.bin"] {
        let etag = lab.head(target).send().await.header("etag").to_owned();
        let asked = |known: String| lab.get(target).header("if-none-match", known).send();

        for known in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".into()] {
            let answer = asked(known).await;
            assert_eq!((304, 0, etag.as_str()), (answer.status, answer.body.len(), answer.header("etag")), "{target}");
            assert!(answer.header("location").is_empty() && !answer.header("x-repo-commit").is_empty());
        }
        assert_ne!(304, asked("\"other\"".into()).await.status);
    }
}

#[tokio::test]
async fn given_a_readme_when_checked_then_its_front_matter_must_be_a_mapping() {
    let lab = Lab::start().await;
    let check = |content: &str| {
        let body = json!({ "content": content, "repoType": "model" }).to_string();
        lab.post("/api/validate-yaml", body).send()
    };

    let good = check("---\nlicense: mit\n---\n# Title\n").await.ok().json();
    let none = check("# Title\n").await.ok().json();
    let bad = check("---\nlicense: [mit\n---\n").await.refused(400, "BadRequest").json();

    assert_eq!(json!({ "errors": [], "warnings": [] }), good);
    assert_eq!(json!("empty or missing yaml metadata in repo card"), none["warnings"][0]["message"]);
    assert!(bad["errors"][0]["message"].as_str().unwrap().contains("no YAML"), "{bad}");
    lab.post("/api/validate-yaml", "{}").send().await.refused(400, "BadRequest");
}

#[tokio::test]
async fn given_large_files_when_wanted_elsewhere_then_only_if_they_are_here() {
    let lab = lab().await;
    lab.create("lab/other").await;
    let (here, gone) = (Upload::of(random(1, 100_000)), Upload::of(random(2, 100_000)));
    here.publish(&lab, REPO, "here.bin").await;
    gone.publish(&lab, REPO, "gone.bin").await;
    commit(&lab, "gone", &[delete_line("gone.bin")]).await;
    let elsewhere = Upload::of(random(3, 100_000));
    elsewhere.publish(&lab, "lab/other", "x.bin").await;
    let body = |target: &str, files: &[&Upload]| {
        let files: Vec<Value> = files.iter().map(|file| json!({ "sha256": file.sha256, "filename": "x" })).collect();
        json!({ "target": { "type": "model", "name": target }, "files": files }).to_string()
    };
    let post = |body: String| lab.post(&format!("{API}/lfs-files/duplicate"), body).send();

    let answer = post(body("lab/other", &[&here, &elsewhere, &gone])).await.ok().json();

    assert_eq!(vec![json!(here.sha256), json!(gone.sha256)], each(&answer["success"], "sha256"));
    assert_eq!(vec![json!(elsewhere.sha256)], each(&answer["failed"], "sha256"));
    assert!(answer["failed"][0]["error"].is_string());
    post(body("lab/none", &[&here])).await.refused(404, "RepoNotFound");
    post(body("../other", &[&here])).await.refused(404, "RepoNotFound");
    post("{}".into()).await.refused(400, "BadRequest");
}
