//! Users and tokens: what each may see and do, over HTTP. What is decided in which case stands beside the code.

use serde_json::json;
use xet_cas::server::{Access, Anonymous, Config, Permission, Token, User};

use super::lab::{Answer, Lab, file_line};
use super::model::{Upload, random};

const PUBLIC: &str = "lab/public";
const PRIVATE: &str = "lab/private";

/// `alice` is in `lab`, `bob` in nothing.
fn adjust(config: &mut Config) {
    let token = |secret, permission| Token::new(secret, permission);
    let mut late = token("late", Permission::Admin);
    late.expires = Some(1);
    config.access = Access::default();
    config.access.users = vec![User::new("alice").with_organizations(["lab"]), User::new("bob")];
    config.access.tokens = vec![
        token("alice", Permission::Write).of_user("alice"),
        token("alice reads", Permission::Read).of_user("alice"),
        token("bob", Permission::Write).of_user("bob"),
        token("deploy", Permission::Write).only_for(["lab/public"]).unwrap(),
        token("admin", Permission::Admin),
        late,
    ];
}

/// A public and a private repository of `lab`, with a file of chunks and a regular one each, and one of `bob`.
async fn lab() -> (Lab, Upload, Upload) {
    let mut lab = Lab::start_with(adjust).await;
    lab.token = "alice";
    let uploads = [Upload::of(random(1, 100_000)), Upload::of(random(2, 100_000))];
    for (repo, upload) in [PUBLIC, PRIVATE].into_iter().zip(&uploads) {
        let visibility = if repo == PRIVATE { "private" } else { "public" };
        let body = json!({ "name": &repo[4..], "organization": "lab", "visibility": visibility }).to_string();
        lab.post("/api/repos/create", body).send().await.ok();
        upload.publish(&lab, repo, "model.bin").await;
        lab.commit(repo, &[file_line("a.txt", b"text")]).await.ok();
    }
    lab.token = "bob";
    lab.create("bob/own").await;
    lab.token = "";
    let [public, private] = uploads;
    (lab, public, private)
}

/// Calls on a repository, each a different door.
fn calls(repo: &str) -> Vec<(&'static str, String)> {
    vec![
        ("GET", format!("/api/models/{repo}")),
        ("GET", format!("/api/models/{repo}/revision/main")),
        ("GET", format!("/api/models/{repo}/tree/main")),
        ("GET", format!("/api/models/{repo}/tree/none/x")),
        ("GET", format!("/api/models/{repo}/xet-read-token/main")),
        ("GET", format!("/api/models/{repo}/xet-write-token/main")),
        ("GET", format!("/api/models/{repo}/xet-write-token/main?create_pr=1")),
        ("GET", format!("/api/models/{repo}/discussions/1")),
        ("GET", format!("/{repo}/resolve/main/a.txt")),
        ("HEAD", format!("/{repo}/resolve/main/model.bin")),
        ("GET", format!("/{repo}/resolve/main/none")),
        ("GET", format!("/{repo}/resolve/main/model.bin?expires=9999999999&signature={}", "0".repeat(64))),
        ("POST", format!("/api/models/{repo}/preupload/main")),
        ("POST", format!("/api/models/{repo}/commit/main")),
        ("POST", format!("/api/models/{repo}/commit/main?create_pr=1")),
        ("POST", format!("/api/models/{repo}/branch/new")),
        ("POST", format!("/api/models/{repo}/discussions")),
    ]
}

/// All that an answer says, for one who does not know which of these names was asked for.
fn as_seen(answer: &Answer, names: [&str; 2]) -> String {
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id", "content-length"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    let seen = format!("{} {headers:?} {}", answer.status, String::from_utf8_lossy(&answer.body));
    names.iter().fold(seen, |seen, name| seen.replace(name, "it"))
}

#[tokio::test]
async fn given_a_private_repository_when_others_ask_then_no_answer_differs_from_that_for_a_missing_one() {
    let (lab, _, _) = lab().await;
    for who in ["", "bob", "deploy"] {
        for ((method, private), (_, missing)) in calls(PRIVATE).into_iter().zip(calls("lab/missing")) {
            let ask = |target: &str| lab.call(method, target).as_(who).send();
            let [private, missing] = [ask(&private).await, ask(&missing).await];
            let names = [PRIVATE, "lab/missing"];
            assert_eq!(as_seen(&missing, names), as_seen(&private, names), "{who}");
            if !private.header("x-error-message").contains("signature") {
                private.refused(if who.is_empty() { 401 } else { 404 }, "RepoNotFound");
            }
        }
    }
}

#[tokio::test]
async fn given_a_private_repository_when_its_members_and_admins_ask_then_they_are_served() {
    let (lab, _, upload) = lab().await;
    for who in ["alice", "alice reads", "admin"] {
        let get = |target: &str| lab.get(target).as_(who).send();
        assert_eq!(json!(true), get("/api/models/lab/private").await.ok().json()["private"]);
        assert_eq!("text", get("/lab/private/resolve/main/a.txt").await.ok().body);
        let location = get("/lab/private/resolve/main/model.bin").await.header("location").to_owned();
        // Whoever is given the URL may use it.
        assert!(upload.content == lab.get(&location).as_("").send().await.ok().body);
        // And for nothing else.
        for other in [location.replace("model.bin", "a.txt"), location.replace("private", "public")] {
            lab.get(&other).as_("").send().await.refused(403, "Forbidden");
        }
    }
}

#[tokio::test]
async fn given_tokens_when_used_for_writing_then_for_their_namespace_and_scope_alone() {
    let (lab, _, _) = lab().await;
    let commit = |repo: &str, who: &str| {
        let header = json!({ "key": "header", "value": { "summary": "x" } });
        let body = format!("{header}\n{}\n", file_line(&format!("by-{who}").replace(' ', "-"), b"text"));
        lab.post(&format!("/api/models/{repo}/commit/main"), body).as_(who).send()
    };
    for who in ["alice", "deploy", "admin"] {
        commit(PUBLIC, who).await.ok();
    }
    commit(PUBLIC, "").await.refused(401, "Unauthorized");
    commit(PUBLIC, "alice reads").await.refused(403, "Forbidden").because("for reading only");
    commit(PUBLIC, "bob").await.refused(403, "Forbidden");
    commit("bob/own", "alice").await.refused(403, "Forbidden");
    commit("bob/own", "deploy").await.refused(403, "Forbidden");
    commit("bob/own", "bob").await.ok();
    for who in ["late", "unknown"] {
        let answer = commit(PUBLIC, who).await.refused(401, "Unauthorized");
        assert_eq!("Invalid credentials in Authorization header", answer.header("x-error-message"));
    }

    let create = |who: &str, body: serde_json::Value| lab.post("/api/repos/create", body.to_string()).as_(who).send();
    create("bob", json!({ "name": "new", "organization": "lab" })).await.refused(403, "Forbidden");
    // Whether it exists is not told to those who may not make it.
    create("bob", json!({ "name": "private", "organization": "lab" })).await.refused(403, "Forbidden");
    create("", json!({ "name": "new", "organization": "lab" })).await.refused(401, "Unauthorized");
    create("alice", json!({ "name": "private", "organization": "lab" })).await.refused(409, "Conflict");
    // Without an organisation it is the user's own.
    let made = create("bob", json!({ "name": "mine" })).await.ok().json();
    assert!(made["url"].as_str().unwrap().ends_with("/bob/mine"), "{made}");
    create("admin", json!({ "name": "gpt2" })).await.ok();
}

#[tokio::test]
async fn given_a_pull_request_when_opened_by_others_then_taken_and_changing_nothing_else() {
    let (lab, _, _) = lab().await;
    let body = format!("{}\n{}\n", json!({ "key": "header", "value": { "summary": "x" } }), file_line("b", b"b"));
    let commit =
        |who: &'static str| lab.post("/api/models/lab/public/commit/main?create_pr=1", body.clone()).as_(who).send();

    commit("bob").await.ok();

    lab.get("/lab/public/resolve/main/b").send().await.refused(404, "EntryNotFound");
    lab.get("/lab/public/resolve/refs%2Fpr%2F1/b").send().await.ok();
    commit("").await.refused(401, "Unauthorized");
    commit("alice reads").await.refused(403, "Forbidden");
    // To one's own more can be committed, and to no other.
    commit("alice").await.ok();
    let other = format!("{}\n", file_line("c", b"c"));
    let push = |number: u64, who: &'static str| {
        lab.post(&format!("/api/models/lab/public/commit/refs%2Fpr%2F{number}"), other.clone()).as_(who).send()
    };
    push(1, "bob").await.ok();
    push(1, "").await.refused(401, "Unauthorized");
    push(2, "bob").await.refused(403, "Forbidden");
    push(2, "alice").await.ok();
    push(1, "alice").await.ok();
}

#[tokio::test]
async fn given_a_cas_token_when_used_then_for_files_of_its_repository_alone() {
    let (mut lab, public, private) = lab().await;
    lab.token = "alice";
    let of_public = lab.cas_token(PUBLIC, "read").await;
    let of_private = lab.cas_token(PRIVATE, "read").await;
    let writing = lab.cas_token(PUBLIC, "write").await;
    let ask = async |token: &str, upload: &Upload| {
        let mut statuses = Vec::new();
        for target in [
            format!("/cas/v1/reconstructions/{}", upload.file),
            format!("/cas/v2/reconstructions/{}", upload.file),
            format!("/cas/v1/reconstructions?file_id={}", upload.file),
            format!("/cas/v1/reconstructions?file_id={}&file_id={}", public.file, upload.file),
        ] {
            statuses.push(lab.get(&target).header("authorization", token).send().await.status);
        }
        statuses.dedup();
        statuses
    };

    assert_eq!(vec![200], ask(&of_public, &public).await);
    assert_eq!(vec![404], ask(&of_public, &private).await);
    // To write is also to read, and the same.
    assert_eq!(vec![200], ask(&writing, &public).await);
    assert_eq!(vec![404], ask(&writing, &private).await);
    // The last asks for both at once.
    assert_eq!(vec![200, 404], ask(&of_private, &private).await);
    for forged in [of_public.replace("public", "private"), of_public.replace("read.", "write."), "Bearer x".into()] {
        assert_eq!(vec![401], ask(&forged, &public).await);
    }

    // Uploaded, and not committed yet.
    let staged = Upload::of(random(3, 100_000));
    staged.push_xorb(&lab, &writing).await.ok();
    staged.push_shard(&lab, &writing).await.ok();
    assert_eq!(vec![404], ask(&writing, &staged).await);
    lab.commit(PUBLIC, &[staged.line("new.bin")]).await.ok();
    assert_eq!(vec![200], ask(&of_public, &staged).await);
}

#[tokio::test]
async fn given_the_name_of_a_file_that_others_have_when_committed_then_only_with_its_content() {
    let (mut lab, _, secret) = lab().await;
    lab.token = "bob";
    // The SHA-256 of a file may be known to many.
    let unknown = lab.commit("bob/own", &[secret.line("stolen.bin")]).await.refused(400, "BadRequest");
    let never_seen = Upload::of(random(4, 100_000));
    let never = lab.commit("bob/own", &[never_seen.line("stolen.bin")]).await.refused(400, "BadRequest");
    let message = |answer: &Answer, upload: &Upload| answer.header("x-error-message").replace(&upload.sha256, "");
    assert_eq!(message(&never, &never_seen), message(&unknown, &secret));

    // A shard without verification tells nothing that its names do not.
    let token = lab.cas_token("bob/own", "write").await;
    let mut claimed = secret.shard.clone();
    claimed.files.iter_mut().for_each(|file| file.verification = None);
    lab.post("/cas/v1/shards", claimed.encode_upload()).header("authorization", &token).send().await.ok();
    lab.commit("bob/own", &[secret.line("stolen.bin")]).await.refused(400, "BadRequest");

    // Who has the chunks has the file.
    secret.push_shard(&lab, &token).await.ok();
    lab.commit("bob/own", &[secret.line("own.bin")]).await.ok();
    // And what a repository has it may name again, also after a restart.
    let mut lab = lab.restart_with(adjust).await;
    lab.token = "bob";
    lab.commit("bob/own", &[secret.line("copy.bin")]).await.ok();
}

#[tokio::test]
async fn given_nothing_for_anonymous_when_asked_then_a_token_is_needed_before_anything_is_told() {
    let (lab, _, _) = lab().await;
    let lab = lab
        .restart_with(|config| {
            adjust(config);
            config.access.anonymous = Some(Anonymous::None);
        })
        .await;
    for repo in [PUBLIC, PRIVATE, "lab/missing"] {
        for (method, target) in calls(repo).into_iter().filter(|(_, target)| !target.contains("signature")) {
            lab.call(method, &target).send().await.refused(401, "Unauthorized");
        }
    }
    lab.get("/api/models/lab/public").as_("bob").send().await.ok();
    // A token for some repositories shows no others.
    lab.get("/api/models/lab/public").as_("deploy").send().await.ok();
    lab.get("/api/models/bob/own").as_("deploy").send().await.refused(404, "RepoNotFound");
}

#[tokio::test]
async fn given_what_was_made_under_tokens_when_opened_to_everyone_then_the_private_stays_hidden() {
    let (lab, _, _) = lab().await;
    let lab = lab.restart_with(|_| {}).await;
    lab.get("/api/models/lab/public").send().await.ok();
    for who in ["", "alice", "admin"] {
        lab.get("/api/models/lab/private").as_(who).send().await.refused(404, "RepoNotFound");
    }
}
