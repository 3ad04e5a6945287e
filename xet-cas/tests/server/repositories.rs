//! Repositories as a whole: described, listed, moved, removed, and who may see them.

use serde_json::{Value, json};
use xet_cas::server::Access;

use super::lab::{Answer, Lab, file_line};
use super::model::{Upload, random};

const TOKEN: &str = "Bearer sesame";

fn next(answer: &Answer) -> Option<String> {
    let (url, _) = answer.header("link").strip_prefix('<')?.split_once('>')?;
    Some(url.to_owned())
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|repo| repo["id"].as_str().unwrap().to_owned()).collect()
}

async fn create(lab: &Lab, kind: &str, owner: &str, name: &str) {
    let body = json!({ "name": name, "organization": owner, "type": kind, "sdk": "static" });
    lab.post("/api/repos/create", body.to_string()).send().await.ok();
}

async fn rename(lab: &Lab, from: &str, to: &str) -> Answer {
    let body = json!({ "fromRepo": from, "toRepo": to, "type": "model" }).to_string();
    lab.post("/api/repos/move", body).send().await
}

async fn remove(lab: &Lab, owner: &str, name: &str) -> Answer {
    let body = json!({ "name": name, "organization": owner, "type": "model" }).to_string();
    lab.call("DELETE", "/api/repos/delete").body(super::lab::full(body)).send().await
}

#[tokio::test]
async fn given_a_repository_when_described_then_as_the_hub_does() {
    let lab = Lab::start().await;
    for kind in ["model", "dataset", "space"] {
        create(&lab, kind, "lab", "tiny").await;
        let api = format!("/api/{kind}s/lab/tiny");
        let lines = format!("{}\n", file_line("a.txt", b"hello world"));
        let commit = lab.post(&format!("{api}/commit/main"), lines).send().await.ok().json()["commitOid"].clone();

        let info = lab.json(&api).await;

        let plain = ["id", "author", "sha", "private", "gated", "disabled", "siblings"].map(|name| info[name].clone());
        let files = json!([{ "rfilename": "a.txt" }]);
        let expected =
            [json!("lab/tiny"), json!("lab"), commit.clone(), json!(false), json!(false), json!(false), files];
        assert_eq!(expected, plain);
        assert_eq!(kind == "model", info.get("modelId").is_some());
        assert_eq!(kind != "space", info.get("downloads").is_some());
        assert!(["createdAt", "lastModified"].iter().all(|name| info[name].as_str().unwrap().ends_with('Z')));
        assert_eq!(json!(11), info["usedStorage"]);
        let chosen = lab.json(&format!("{api}?expand=sha&expand=usedStorage")).await;
        let chosen: Vec<&String> = chosen.as_object().unwrap().keys().collect();
        assert_eq!(vec!["_id", "id", "sha", "usedStorage"], chosen);
        let head = lab.head(&api).send().await.ok();
        assert_eq!((200, 0), (head.status, head.body.len()));
        lab.head(&format!("/api/{kind}s/lab/none")).send().await.refused(404, "RepoNotFound");
    }
}

#[tokio::test]
async fn given_blobs_when_asked_for_then_sizes_and_names_are_told() {
    let lab = Lab::start().await;
    create(&lab, "model", "lab", "tiny").await;
    let upload = Upload::of(random(1, 100_000));
    upload.publish(&lab, "lab/tiny", "model.bin").await;
    lab.commit("lab/tiny", &[file_line("a.txt", b"hello world"), upload.line("copy.bin")]).await.ok();
    let tree = lab.json("/api/models/lab/tiny/tree/main").await;

    let info = lab.json("/api/models/lab/tiny?blobs=True").await;

    let lfs = json!({ "sha256": upload.sha256, "size": 100_000, "pointerSize": tree[1]["lfs"]["pointerSize"] });
    let large =
        |name: &str| json!({ "rfilename": name, "size": 100_000, "blobId": tree[1]["oid"], "lfs": lfs.clone() });
    let small = json!({ "rfilename": "a.txt", "size": 11, "blobId": "95d09f2b10159347eece71399a7e2e907ea3df4f" });
    assert_eq!(json!([small, large("copy.bin"), large("model.bin")]), info["siblings"]);
    // The same bytes twice are stored once.
    assert_eq!(json!(100_011), info["usedStorage"]);
}

#[tokio::test]
async fn given_repositories_when_listed_then_searched_sorted_and_paged() {
    let lab = Lab::start().await;
    for kind in ["model", "dataset"] {
        for name in ["c", "a", "B-one", "b"] {
            create(&lab, kind, "lab", name).await;
        }
        create(&lab, kind, "other", "b").await;
    }
    let get = |query: &str| lab.get(&format!("/api/datasets?{query}")).send();

    assert_eq!(["lab/B-one", "lab/a", "lab/b", "lab/c", "other/b"], ids(&get("").await.ok().json())[..]);
    assert_eq!(["other/b"], ids(&get("author=other").await.ok().json())[..]);
    assert_eq!(["lab/B-one"], ids(&get("search=B-ONE").await.ok().json())[..]);
    assert!(ids(&get("author=none").await.ok().json()).is_empty());
    assert!(ids(&lab.json("/api/spaces").await).is_empty());
    for query in ["limit=2", "limit=2&sort=lastModified&direction=-1", "limit=2&sort=createdAt", "limit=2&full=true"] {
        let (mut paged, mut target) = (Vec::new(), Some(format!("/api/datasets?{query}")));
        while let Some(url) = target {
            let page = lab.get(&url).send().await.ok();
            assert!(ids(&page.json()).len() <= 2);
            paged.extend(ids(&page.json()));
            target = next(&page);
        }
        paged.sort();
        assert_eq!(["lab/B-one", "lab/a", "lab/b", "lab/c", "other/b"], paged[..], "{query}");
    }
    let lines = format!("{}\n", file_line("x", b"x"));
    lab.post("/api/datasets/lab/b/commit/main", lines).send().await.ok();
    let full = get("search=lab%2Fb&full=True").await.ok().json();
    let of_b = full.as_array().unwrap().iter().find(|repo| repo["id"] == "lab/b").unwrap();
    assert_eq!(json!([{ "rfilename": "x" }]), of_b["siblings"]);
    let chosen = get("author=other&expand=sha").await.ok().json();
    assert_eq!(vec!["_id", "id", "sha"], chosen[0].as_object().unwrap().keys().collect::<Vec<_>>());
    for query in ["limit=x", "cursor=%2e%2e", "cursor=YQ", "search=%ff"] {
        get(query).await.refused(400, "BadRequest");
    }
    lab.post("/api/datasets", "").send().await.refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn given_a_repository_when_moved_then_both_names_lead_to_it() {
    let lab = Lab::start().await;
    lab.create("lab/old").await;
    lab.create("lab/taken").await;
    let upload = Upload::of(random(1, 100_000));
    upload.publish(&lab, "lab/old", "model.bin").await;

    let moved = rename(&lab, "lab/old", "team/new").await.ok().json();

    assert_eq!(json!(format!("{}/team/new", lab.url())), moved["url"]);
    for name in ["lab/old", "team/new"] {
        assert_eq!(json!("team/new"), lab.json(&format!("/api/models/{name}")).await["id"], "{name}");
        let location = lab.get(&format!("/{name}/resolve/main/model.bin")).send().await.header("location").to_owned();
        assert!(upload.content == lab.get(&location).send().await.ok().body, "{name}");
        lab.commit(name, &[file_line("by.txt", name.as_bytes())]).await.ok();
        lab.cas_token(name, "read").await;
    }
    assert_eq!(["lab/taken", "team/new"], ids(&lab.json("/api/models").await)[..]);
    rename(&lab, "team/new", "lab/taken").await.refused(409, "Conflict");
    rename(&lab, "lab/none", "lab/x").await.refused(404, "RepoNotFound");
    for name in ["..", "../x", "a/b/c", "a//b", "a\0", ""] {
        rename(&lab, "team/new", name).await.refused(400, "BadRequest");
        rename(&lab, name, "lab/x").await.refused(400, "BadRequest");
    }

    // A new repository under the old name is one of its own.
    lab.create("lab/old").await;
    assert_eq!(json!("lab/old"), lab.json("/api/models/lab/old").await["id"]);
    lab.get("/lab/old/resolve/main/model.bin").send().await.refused(404, "EntryNotFound");
    assert_eq!(302, lab.get("/team/new/resolve/main/model.bin").send().await.status);
}

#[tokio::test]
async fn given_a_repository_when_deleted_then_nothing_of_it_is_left() {
    let lab = Lab::start().await;
    lab.create("lab/old").await;
    lab.commit("lab/old", &[file_line("a.txt", b"a")]).await.ok();
    lab.post("/api/models/lab/old/branch/dev", "{}").send().await.ok();
    rename(&lab, "lab/old", "lab/tiny").await.ok();
    let sha = lab.json("/api/models/lab/tiny").await["sha"].as_str().unwrap().to_owned();

    remove(&lab, "lab", "tiny").await.ok();

    for name in ["lab/tiny", "lab/old"] {
        lab.get(&format!("/api/models/{name}")).send().await.refused(404, "RepoNotFound");
        lab.get(&format!("/{name}/resolve/{sha}/a.txt")).send().await.refused(404, "RepoNotFound");
    }
    assert!(ids(&lab.json("/api/models").await).is_empty());
    remove(&lab, "lab", "tiny").await.refused(404, "RepoNotFound");
    remove(&lab, "..", "tiny").await.refused(400, "BadRequest");
    lab.create("lab/tiny").await;
    lab.get("/api/models/lab/tiny/revision/dev").send().await.refused(404, "RevisionNotFound");
    lab.get("/lab/tiny/resolve/main/a.txt").send().await.refused(404, "EntryNotFound");
}

#[tokio::test]
async fn given_settings_when_changed_then_an_open_origin_keeps_nobody_out() {
    let lab = Lab::start().await;
    lab.create("lab/tiny").await;
    let put = |body: Value| lab.call("PUT", "/api/models/lab/tiny/settings").body(super::lab::full(body.to_string()));
    let send = |body: Value| put(body).send();
    send(json!({ "private": false, "gated": false, "description": "d" })).await.ok();
    for kept in [json!({ "private": true }), json!({ "visibility": "private" }), json!({ "gated": "auto" })] {
        send(kept).await.refused(403, "Forbidden");
    }
    for bad in [json!({ "gated": true }), json!({ "gated": "x" }), json!({ "visibility": "x" }), json!([])] {
        send(bad).await.refused(400, "BadRequest");
    }

    let lab = lab.restart_with(|config| config.access = Access::one_token("sesame")).await;
    let send = |body: Value| {
        let call = lab.call("PUT", "/api/models/lab/tiny/settings").body(super::lab::full(body.to_string()));
        call.header("authorization", TOKEN).send()
    };
    send(json!({ "visibility": "private", "gated": "manual" })).await.ok();
    let info = lab.get("/api/models/lab/tiny").header("authorization", TOKEN).send().await.ok().json();
    assert_eq!((json!(true), json!("manual")), (info["private"].clone(), info["gated"].clone()));
    send(json!({ "private": false, "gated": false })).await.ok();
    let info = lab.get("/api/models/lab/tiny").header("authorization", TOKEN).send().await.ok().json();
    assert_eq!((json!(false), json!(false)), (info["private"].clone(), info["gated"].clone()));
    let call = lab.call("PUT", "/api/models/lab/none/settings").body(super::lab::full("{}"));
    call.header("authorization", TOKEN).send().await.refused(404, "RepoNotFound");
}

#[tokio::test]
async fn given_a_gated_repository_when_users_are_let_in_then_listed() {
    let lab = Lab::start_with(|config| config.access = Access::one_token("sesame")).await;
    let call = |method: &str, target: &str, body: Value| {
        let call = lab.call(method, target).header("authorization", TOKEN);
        call.body(super::lab::full(body.to_string())).send()
    };
    call("POST", "/api/repos/create", json!({ "name": "tiny", "organization": "lab" })).await.ok();
    let requests = |what: &str| format!("/api/models/lab/tiny/user-access-request/{what}");
    call("POST", &requests("grant"), json!({ "user": "ann" })).await.refused(400, "BadRequest").because("not gated");
    call("PUT", "/api/models/lab/tiny/settings", json!({ "gated": "manual" })).await.ok();

    call("POST", &requests("grant"), json!({ "user": "ann" })).await.ok();
    call("POST", &requests("grant"), json!({ "user": "ann" })).await.refused(400, "BadRequest");
    call("POST", &requests("handle"), json!({ "user": "bob", "status": "accepted" })).await.ok();
    call("POST", &requests("handle"), json!({ "user": "ann", "status": "rejected" })).await.ok();

    let accepted = call("GET", &requests("accepted"), json!({})).await.ok().json();
    assert_eq!((1, json!("bob")), (accepted.as_array().unwrap().len(), accepted[0]["user"]["user"].clone()));
    assert_eq!(json!([]), call("GET", &requests("pending"), json!({})).await.ok().json());
    call("POST", &requests("handle"), json!({ "status": "accepted" })).await.refused(400, "BadRequest");
    call("POST", &requests("burn"), json!({ "user": "ann" })).await.refused(404, "NotFound");
}

#[tokio::test]
async fn given_a_token_when_its_owner_is_asked_for_then_told_if_there_is_one() {
    let lab = Lab::start().await;
    lab.create("lab/tiny").await;
    lab.get("/api/whoami-v2").send().await.refused(401, "Unauthorized");
    lab.get("/api/whoami-v2").header("authorization", TOKEN).send().await.refused(401, "Unauthorized");
    for target in ["/api/models/lab/tiny/auth-check", "/api/models/lab/tiny/auth-check/write"] {
        lab.get(target).send().await.ok();
    }
    lab.get("/api/models/lab/none/auth-check").send().await.refused(404, "RepoNotFound");

    let lab = lab.restart_with(|config| config.access = Access::one_token("sesame")).await;
    lab.get("/api/whoami-v2").send().await.refused(401, "Unauthorized");
    let user = lab.get("/api/whoami-v2").header("authorization", TOKEN).send().await.ok().json();
    assert_eq!(json!("user"), user["type"]);
    assert!(user["name"].is_string() && user["orgs"].is_array());
    lab.get("/api/models/lab/tiny/auth-check").send().await.refused(401, "Unauthorized");
}
