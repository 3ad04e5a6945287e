//! What holds for every route of the Hub: names that lead elsewhere, refusals that say what they are, and who may call.

use xet_cas::server::Access;

use super::lab::{Lab, file_line};

/// `{r}` stands for a repository with its prefix, `{v}` for a revision.
const ROUTES: &[(&str, &str)] = &[
    ("GET", "/api/models{r}"),
    ("HEAD", "/api/models{r}"),
    ("GET", "/api/models{r}/revision/{v}"),
    ("GET", "/api/models{r}/tree/{v}"),
    ("POST", "/api/models{r}/paths-info/{v}"),
    ("GET", "/api/models{r}/commits/{v}"),
    ("GET", "/api/models{r}/compare/{v}..{v}?raw=true"),
    ("GET", "/api/models{r}/xet-read-token/{v}"),
    ("GET", "/api/models{r}/xet-write-token/{v}"),
    ("POST", "/api/models{r}/preupload/{v}"),
    ("POST", "/api/models{r}/commit/{v}"),
    ("POST", "/api/models{r}/lfs-files/duplicate"),
    ("GET", "/api/models{r}/refs"),
    ("POST", "/api/models{r}/branch/{v}"),
    ("DELETE", "/api/models{r}/branch/{v}"),
    ("POST", "/api/models{r}/tag/{v}"),
    ("DELETE", "/api/models{r}/tag/{v}"),
    ("POST", "/api/models{r}/super-squash/{v}"),
    ("PUT", "/api/models{r}/settings"),
    ("GET", "/api/models{r}/auth-check"),
    ("GET", "/api/models{r}/auth-check/write"),
    ("GET", "/api/models{r}/user-access-request/accepted"),
    ("POST", "/api/models{r}/user-access-request/grant"),
    ("GET", "/api/models{r}/discussions"),
    ("POST", "/api/models{r}/discussions"),
    ("GET", "/api/models{r}/discussions/1"),
    ("POST", "/api/models{r}/discussions/1/comment"),
    ("POST", "/api/models{r}/discussions/1/merge"),
    ("GET", "{r}/resolve/{v}/a.txt"),
    ("HEAD", "{r}/resolve/{v}/a.txt"),
    ("GET", "{r}/raw/{v}/a.txt"),
];
/// Repositories that nothing may be found under, and that nothing may be made of.
const BAD_REPOS: &[&str] = &[
    "/..",
    "/%2e%2e/tiny",
    "/lab/%2e%2e",
    "/lab/..%2F..%2Fetc",
    "/lab/a%2Fb",
    "/lab/.git",
    "/lab/tiny%00",
    "/lab/a%20b",
    "/-/tiny",
    "/lab/a--b",
];
const BAD_REVISIONS: &[&str] = &["%2e%2e", "..%2Fmain", "%2Fmain", "a%2F%2Fb", "a%00b", "a%5Cb", "a%0Ab", ".git"];

#[tokio::test]
async fn given_names_that_lead_elsewhere_when_used_in_any_route_then_refused() {
    let lab = Lab::start().await;
    lab.create("lab/tiny").await;
    lab.commit("lab/tiny", &[file_line("a.txt", b"a")]).await.ok();
    let long = "x".repeat(300);
    for (method, route) in ROUTES {
        for repo in BAD_REPOS {
            let target = route.replace("{r}", repo).replace("{v}", "main");
            let answer = lab.call(method, &target).send().await;
            assert!(matches!(answer.status, 400 | 404), "{method} {target}: {}", answer.status);
            assert!(!answer.header("x-error-code").is_empty(), "{method} {target}");
        }
        let has_revision = route.contains("{v}") && !route.contains("xet-write-token");
        for revision in BAD_REVISIONS.iter().copied().chain([long.as_str()]).filter(|_| has_revision) {
            let target = route.replace("{r}", "/lab/tiny").replace("{v}", revision);
            let answer = lab.call(method, &target).send().await;
            assert!(matches!(answer.status, 400 | 404), "{method} {target}: {}", answer.status);
            let expected = if answer.status == 404 { "RevisionNotFound" } else { "BadRequest" };
            assert_eq!(expected, answer.header("x-error-code"), "{method} {target}");
        }
    }
    let tree = lab.json("/api/models/lab/tiny/tree/main").await;
    assert_eq!(1, tree.as_array().unwrap().len());
    assert_eq!(1, lab.json("/api/models").await.as_array().unwrap().len());
}

#[tokio::test]
async fn given_a_missing_repository_when_any_route_is_called_then_not_found_or_a_bad_request() {
    let lab = Lab::start().await;
    for (method, route) in ROUTES {
        let target = route.replace("{r}", "/lab/none").replace("{v}", "main");
        let answer = lab.call(method, &target).send().await;
        // Without a body that says anything, some cannot even ask.
        match answer.status {
            404 => assert_eq!("RepoNotFound", answer.header("x-error-code"), "{method} {target}"),
            400 => assert_eq!("BadRequest", answer.header("x-error-code"), "{method} {target}"),
            403 => assert_eq!("DELETE", *method, "{target}"),
            other => panic!("{method} {target}: {other}"),
        }
    }
}

#[tokio::test]
async fn given_a_token_when_configured_then_every_route_needs_it() {
    let lab = Lab::start_with(|config| config.access = Access::one_token("sesame")).await;
    let others = [
        ("POST", "/api/repos/create"),
        ("DELETE", "/api/repos/delete"),
        ("POST", "/api/repos/move"),
        ("POST", "/api/validate-yaml"),
        ("GET", "/api/whoami-v2"),
        ("GET", "/api/models"),
        ("GET", "/api/datasets"),
        ("GET", "/api/spaces"),
    ];
    for (method, route) in ROUTES.iter().chain(&others) {
        let target = route.replace("{r}", "/lab/tiny").replace("{v}", "main");
        lab.call(method, &target).send().await.refused(401, "Unauthorized");
        let wrong = lab.call(method, &target).header("authorization", "Bearer wrong").send().await;
        wrong.refused(401, "Unauthorized").because("Invalid credentials");
        let right = lab.call(method, &target).header("authorization", "Bearer sesame").send().await;
        assert_ne!(401, right.status, "{method} {target}");
    }
}

#[tokio::test]
async fn given_a_method_that_a_route_does_not_take_when_called_then_refused() {
    let lab = Lab::start().await;
    lab.create("lab/tiny").await;
    for (_, route) in ROUTES {
        let target = route.replace("{r}", "/lab/tiny").replace("{v}", "main");
        lab.call("PATCH", &target).send().await.refused(405, "MethodNotAllowed");
    }
    lab.get("/api/repos/delete").send().await.refused(405, "MethodNotAllowed");
    lab.get("/api/agent-harnesses").send().await.refused(404, "NotFound");
}
