//! What `zest privacy explain` says of public, private, gated and unknown repositories.

use testkit::{Fault, Rule};

use crate::lab::{Lab, REPO};

/// With whom, and the step that failed.
async fn explained(lab: &Lab, repo: &str) -> (String, Option<String>) {
    let said = lab.zest(&["privacy", "explain", repo, "--format", "json"]).await;
    said.assert_ok();
    let explanation = said.events().pop().unwrap();
    assert_eq!("explanation", explanation["event"]);
    let failed = explanation["steps"].as_array().unwrap().iter().find(|step| !step["failure"].is_null());
    let failed = failed.map(|step| step["what"].as_str().unwrap().to_owned());
    assert_eq!(failed.is_some(), explanation["info_hash"].is_null(), "{explanation}");
    (explanation["sharing"].as_str().unwrap().to_owned(), failed)
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_public_repository_of_a_private_hub_when_explained_then_site() {
    let lab = Lab::new().await;

    assert_eq!(("site".to_owned(), None), explained(&lab, REPO).await);
    let human = lab.zest(&["privacy", "explain", REPO]).await;
    assert!(human.stdout.contains("machines of the local network"), "{}", human.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_private_repository_when_explained_then_nobody_whatever_token_the_user_has() {
    let lab = Lab::with_token(Some("hf_secret")).await;

    let mut command = lab.command(&["privacy", "explain", REPO, "--format", "json"]);
    let said = crate::lab::finish(command.env("HF_TOKEN", "hf_secret").spawn().unwrap()).await;

    said.assert_ok();
    assert_eq!("nobody", said.events()[0]["sharing"], "{}", said.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_gated_repository_when_explained_then_nobody_and_the_step_that_is_refused() {
    let lab = Lab::new().await;
    // A gated repository lists its files for everybody, and gives them to some.
    lab.faulty.add(Rule::path_contains("xet-read-token", Fault::status(403)));

    let (sharing, failed) = explained(&lab, REPO).await;

    assert_eq!("nobody", sharing);
    assert!(failed.unwrap().starts_with("ask the CAS for"), "another step failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_unknown_repository_when_explained_then_nobody() {
    let lab = Lab::new().await;

    let (sharing, failed) = explained(&lab, "lab/unknown").await;

    assert_eq!(("nobody", true), (&sharing[..], failed.is_some()));
}
