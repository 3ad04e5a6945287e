//! Repositories and their listings.

use serde_json::{Value, json};

use super::lab::{Answer, Lab, file_line};
use super::model::{Upload, random};

const REPO: &str = "lab/tiny";

async fn lab_of(files: &[&str]) -> Lab {
    let lab = Lab::start_with(|config| config.tree_page_entries = 3).await;
    lab.create(REPO).await;
    let lines: Vec<Value> = files.iter().map(|path| file_line(path, path.as_bytes())).collect();
    lab.commit(REPO, &lines).await.ok();
    lab
}

fn next(answer: &Answer) -> Option<String> {
    let (url, parameters) = answer.header("link").split_once(">; ")?;
    assert_eq!("rel=\"next\"", parameters);
    url.strip_prefix('<').map(str::to_owned)
}

async fn all_pages(lab: &Lab, target: &str) -> (usize, Vec<(String, String)>) {
    let (mut pages, mut entries) = (0, Vec::new());
    let mut target = Some(target.to_owned());
    while let Some(page) = target {
        let answer = lab.get(&page).send().await.ok();
        target = next(&answer);
        pages += 1;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        entries
            .extend(answer.json().as_array().unwrap().iter().map(|entry| (text(&entry["type"]), text(&entry["path"]))));
    }
    (pages, entries)
}

fn entries(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(kind, path)| ((*kind).to_owned(), (*path).to_owned())).collect()
}

#[tokio::test]
async fn given_more_entries_than_fit_a_page_when_listed_then_the_links_lead_through_all() {
    let lab = lab_of(&["a.txt", "b c/d ü.txt", "b c/e/f.txt", "z/1", "z/2", "z/3"]).await;

    let (pages, listed) = all_pages(&lab, "/api/models/lab/tiny/tree/main?recursive=true&expand=false").await;

    let expected = [
        ("file", "a.txt"),
        ("directory", "b c"),
        ("file", "b c/d ü.txt"),
        ("directory", "b c/e"),
        ("file", "b c/e/f.txt"),
        ("directory", "z"),
        ("file", "z/1"),
        ("file", "z/2"),
        ("file", "z/3"),
    ];
    assert_eq!((3, entries(&expected)), (pages, listed));
    let (pages, top) = all_pages(&lab, "/api/models/lab/tiny/tree/main").await;
    assert_eq!((1, entries(&[("file", "a.txt"), ("directory", "b c"), ("directory", "z")])), (pages, top));
    let (pages, folder) = all_pages(&lab, "/api/models/lab/tiny/tree/main/b%20c?recursive=1&limit=1").await;
    assert_eq!((3, entries(&expected[2..5])), (pages, folder));
}

#[tokio::test]
async fn given_a_commit_between_pages_when_listed_then_the_pages_are_of_one_state() {
    let lab = lab_of(&["a", "b", "c", "d"]).await;
    let first = lab.get("/api/models/lab/tiny/tree/main?recursive=true").send().await.ok();
    lab.commit(REPO, &[file_line("bb", b"x"), json!({ "key": "deletedFile", "value": { "path": "d" } })]).await.ok();

    let rest = lab.get(&next(&first).unwrap()).send().await.ok();

    assert_eq!((3, json!("d")), (first.json().as_array().unwrap().len(), rest.json()[0]["path"].clone()));
}

#[tokio::test]
async fn given_bad_questions_when_listed_then_refused() {
    let lab = lab_of(&["a", "b/c"]).await;
    let get = |target: &str| lab.get(target).send();
    get("/api/models/lab/tiny/tree/main/none").await.refused(404, "EntryNotFound");
    get("/api/models/lab/tiny/tree/main/a").await.refused(404, "EntryNotFound");
    get("/api/models/lab/tiny/tree/main/..").await.refused(404, "EntryNotFound");
    get("/api/models/lab/tiny/tree/dev").await.refused(404, "RevisionNotFound");
    get("/api/models/lab/tiny/tree/main?cursor=%2e%2e").await.refused(400, "BadRequest");
    get("/api/models/lab/tiny/tree/main?limit=x").await.refused(400, "BadRequest");
    get("/api/models/lab/none/tree/main").await.refused(404, "RepoNotFound");
    let zero = get("/api/models/lab/tiny/tree/main?limit=0").await.ok();
    assert_eq!(1, zero.json().as_array().unwrap().len());
}

#[tokio::test]
async fn given_files_of_both_kinds_when_listed_then_described_as_the_hub_does() {
    let lab = lab_of(&["a.txt"]).await;
    let upload = Upload::of(random(1, 100_000));
    upload.publish(&lab, REPO, "model.bin").await;

    let tree = lab.json("/api/models/lab/tiny/tree/main").await;

    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 100000\n", upload.sha256);
    let expected = json!([
        { "type": "file", "oid": xet_cas::GitBlobHasher::of(b"a.txt"), "size": 5, "path": "a.txt" },
        {
            "type": "file",
            "oid": xet_cas::GitBlobHasher::of(pointer.as_bytes()),
            "size": 100_000,
            "path": "model.bin",
            "lfs": { "oid": upload.sha256, "size": 100_000, "pointerSize": pointer.len() },
            "xetHash": upload.file.to_string(),
        },
    ]);
    assert_eq!(expected, tree);
}

#[tokio::test]
async fn given_a_repository_when_asked_for_then_the_commit_of_each_revision() {
    let lab = lab_of(&["a.txt", "b/c.txt"]).await;
    let main = lab.json("/api/models/lab/tiny").await;
    let sha = main["sha"].as_str().unwrap();

    assert_eq!(json!("lab/tiny"), main["id"]);
    assert_eq!(json!([{ "rfilename": "a.txt" }, { "rfilename": "b/c.txt" }]), main["siblings"]);
    assert!(sha.len() == 40 && sha.bytes().all(|c| c.is_ascii_hexdigit()));
    for revision in ["main", "refs%2Fheads%2Fmain", sha] {
        assert_eq!(main, lab.json(&format!("/api/models/lab/tiny/revision/{revision}")).await);
    }
    let get = |target: &str| lab.get(target).send();
    for revision in ["dev", "refs%2Fpr%2F1", &"0".repeat(40), "..", "%2e%2e%2fcommits"] {
        get(&format!("/api/models/lab/tiny/revision/{revision}")).await.refused(404, "RevisionNotFound");
    }
    get("/api/models/lab/none").await.refused(404, "RepoNotFound");
    get("/api/datasets/lab/tiny").await.refused(404, "RepoNotFound");
    get("/api/models/lab/tiny/revision/main/x").await.refused(404, "NotFound");
    get("/lab/tiny/resolve/main/none").await.refused(404, "EntryNotFound");
    get("/lab/tiny/resolve/dev/a.txt").await.refused(404, "RevisionNotFound");
    get("/lab/none/resolve/main/a.txt").await.refused(404, "RepoNotFound");
}

#[tokio::test]
async fn given_each_kind_of_repository_when_created_then_they_do_not_meet() {
    let lab = Lab::start().await;
    for (kind, prefix) in [("model", ""), ("dataset", "datasets/"), ("space", "spaces/")] {
        let body = json!({ "name": "tiny", "organization": "lab", "type": kind }).to_string();
        let created = lab.post("/api/repos/create", body.clone()).send().await.ok().json();
        assert_eq!(json!(format!("{}/{prefix}lab/tiny", lab.url())), created["url"]);
        let again = lab.post("/api/repos/create", body).send().await.refused(409, "Conflict");
        assert_eq!(created["url"], again.json()["url"]);

        let api = format!("/api/{kind}s/lab/tiny");
        let lines = format!("{}\n", file_line("kind.txt", kind.as_bytes()));
        lab.post(&format!("{api}/commit/main"), lines).send().await.ok();
        let file = lab.get(&format!("/{prefix}lab/tiny/resolve/main/kind.txt")).send().await.ok();
        assert_eq!(kind, file.body);
    }
}

#[tokio::test]
async fn given_a_name_without_owner_when_used_then_a_repository_of_its_own() {
    let lab = Lab::start().await;
    lab.post("/api/repos/create", r#"{"name":"gpt2"}"#).send().await.ok();
    lab.post("/api/models/gpt2/commit/main", format!("{}\n", file_line("a", b"1"))).send().await.ok();

    assert_eq!("1", lab.get("/gpt2/resolve/main/a").send().await.ok().body);
    assert_eq!(json!("gpt2"), lab.json("/api/models/gpt2/revision/main").await["id"]);
    assert_eq!("a", lab.json("/api/models/gpt2/tree/main?recursive=true").await[0]["path"]);
}

#[tokio::test]
async fn given_bad_names_when_created_then_refused() {
    let lab = Lab::start().await;
    let create = |body: Value| lab.post("/api/repos/create", body.to_string()).send();
    for name in ["..", "../x", "a/b/c", "", ".git", "a b", "a\0", "-", "x/../..", &"x".repeat(97)] {
        create(json!({ "name": name })).await.refused(400, "BadRequest");
        create(json!({ "name": name, "organization": "lab" })).await.refused(400, "BadRequest");
        create(json!({ "name": "tiny", "organization": name })).await.refused(400, "BadRequest");
    }
    create(json!({ "name": "tiny", "type": "bucket" })).await.refused(400, "BadRequest");
    create(json!({ "type": "model" })).await.refused(400, "BadRequest");
    // Nobody could be kept out.
    create(json!({ "name": "tiny", "organization": "lab", "private": true })).await.refused(403, "Forbidden");
    create(json!({ "name": "tiny", "organization": "lab", "visibility": "private" })).await.refused(403, "Forbidden");
    assert!(!lab.folder.path().join("repos").exists());
}
