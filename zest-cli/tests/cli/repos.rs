//! Repositories of every kind, and those that are not open to everybody.

use testkit::{Fault, Rule, TlsFront};
use xet_cas::RepoType;
use xet_cas::client::{self, Hub, PublishOptions};

use crate::lab::{Lab, REPO, finish};

const COMMIT: &str = "0123456789012345678901234567890123456789";

#[tokio::test(flavor = "multi_thread")]
async fn given_a_dataset_or_a_space_when_pulled_then_asked_for_as_such_and_kept_apart_in_the_cache() {
    for (repo_type, word) in [(RepoType::Dataset, "dataset"), (RepoType::Space, "space")] {
        let lab = Lab::new().await;
        let hub = Hub::new(&client::Config::new(&lab.faulty.url()).unwrap()).unwrap();
        let mut options = PublishOptions::default();
        options.repo_type = repo_type;
        hub.publish(&lab.model(), &"lab/other".parse().unwrap(), &options, |_| {}).await.unwrap();

        let said = lab.zest(&["pull", "lab/other", "--repo-type", word, "--format", "json"]).await;

        let commit = said.summary()["commit"].as_str().unwrap().to_owned();
        let folder = lab.home().join(format!("hf/hub/{word}s--lab--other"));
        assert_eq!(commit, std::fs::read_to_string(folder.join("refs/main")).unwrap());
        lab.assert_identical(&folder.join("snapshots").join(&commit));
        let seen = lab.faulty.requests();
        let is_asked = |path: String| seen.iter().any(|seen| seen.target.starts_with(&path));
        assert!(is_asked(format!("/api/{word}s/lab/other/revision/main")));
        assert!(is_asked(format!("/api/{word}s/lab/other/tree/{commit}")));
        assert!(is_asked(format!("/api/{word}s/lab/other/xet-read-token/{commit}")));
        assert!(is_asked(format!("/{word}s/lab/other/resolve/{commit}/")));
        lab.zest(&["pull", "lab/other"]).await.assert_failed(4, "lab/other");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_pull_request_when_pulled_then_its_ref_is_one_segment_and_kept_under_its_name() {
    let lab = Lab::new().await;
    let commit = lab.pull().await.summary()["commit"].as_str().unwrap().to_owned();
    lab.forget();
    let answer = format!("{{\"sha\":\"{commit}\"}}");
    lab.faulty.add(Rule::path_contains("/revision/refs%2Fpr%2F1", Fault::json(answer)));

    let said = lab.zest(&["pull", REPO, "--revision", "refs/pr/1", "--format", "json"]).await;

    said.assert_ok();
    lab.assert_identical(&lab.repo_folder().join("snapshots").join(&commit));
    assert_eq!(commit, std::fs::read_to_string(lab.repo_folder().join("refs/refs/pr/1")).unwrap());
    assert!(!lab.repo_folder().join("refs/main").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_repository_that_is_not_open_when_pulled_then_its_page_and_what_to_do() {
    for (repo_type, page) in [("model", ""), ("dataset", "datasets/"), ("space", "spaces/")] {
        for (status, code, exit, hint) in [
            (403, "GatedRepo", 3, "ask for access on"),
            (401, "GatedRepo", 3, "ask for access on"),
            // What the Hub says of private repositories, and of those that are not there, to whoever has no token.
            (401, "RepoNotFound", 3, "HF_TOKEN"),
            (404, "RepoNotFound", 4, "HF_TOKEN"),
            (401, "", 3, "HF_TOKEN"),
            (403, "", 3, "has no access"),
        ] {
            let lab = Lab::new().await;
            let fault = Fault::status_with(status, &[("X-Error-Code", code)]);
            lab.faulty.add(Rule::path_contains("/revision/", fault));

            let said = lab.zest(&["pull", REPO, "--repo-type", repo_type]).await;

            said.assert_failed(exit, "");
            let hints: Vec<&str> = said.stderr.lines().filter(|line| line.starts_with("hint: ")).collect();
            let address = format!("{}/{page}{REPO}", lab.faulty.url());
            assert!(hints[0].contains(&address) && hints[0].contains(hint), "{status}, {code}: {hints:?}");
        }
    }
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains("/resolve/", Fault::status_with(403, &[("X-Error-Code", "GatedRepo")])));
    let said = lab.pull().await;
    lab.assert_failed(&said, 3, "repository lab/model is gated");
}

/// What needs no CAS: an origin behind TLS that it does not know of names its CAS without.
const REGULAR: [&str; 2] = ["--include", "config.json"];

#[tokio::test(flavor = "multi_thread")]
async fn given_a_network_with_an_authority_of_its_own_when_pulled_then_named_or_exit_5_and_how_to_name_it() {
    let lab = Lab::new().await;
    let front = TlsFront::start(lab.faulty.address(), &[]).await.unwrap();
    let bundle = lab.folder.path().join("authority.pem");
    std::fs::write(&bundle, front.authority()).unwrap();
    let url = front.url();
    let args = [&["pull", REPO, "--endpoint", &url][..], &REGULAR].concat();

    let said = lab.zest(&args).await;
    said.assert_failed(5, "the certificate of the server is not trusted");
    assert!(said.stderr.contains("REQUESTS_CA_BUNDLE"), "{}", said.stderr);
    for name in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"] {
        let mut command = lab.command(&args);
        finish(command.env(name, &bundle).spawn().unwrap()).await.assert_ok();
        lab.forget();
    }
    std::fs::write(&bundle, "no certificate").unwrap();
    for path in [bundle, "/not/there".into()] {
        let mut command = lab.command(&args);
        finish(command.env("REQUESTS_CA_BUNDLE", path).spawn().unwrap()).await.assert_failed(2, "cannot use the cert");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_proxies_in_the_environment_when_pulled_then_used_and_what_is_excepted_is_not() {
    let lab = Lab::new().await;
    let proxy = testkit::Proxy::start(lab.faulty.address()).await.unwrap();
    let socks = format!("socks5h://{}", proxy.host());

    let mut command = lab.command(&["pull", REPO, "--endpoint", "http://hub.invalid"]);
    finish(command.env("ALL_PROXY", &socks).spawn().unwrap()).await.assert_ok();
    lab.assert_pulled();
    assert!(proxy.asked().iter().all(|asked| asked == "SOCKS5 hub.invalid:80"), "{:?}", proxy.asked());
    let asked = proxy.asked().len();
    lab.forget();
    let mut command = lab.command(&["pull", REPO]);
    command.env("http_proxy", &socks).env("NO_PROXY", "127.0.0.1");
    finish(command.spawn().unwrap()).await.assert_ok();
    assert_eq!(asked, proxy.asked().len());
    let mut command = lab.command(&["pull", REPO]);
    finish(command.env("HTTP_PROXY", "ftp://me:hidden@h").spawn().unwrap()).await.assert_failed(2, "proxy");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_rate_limit_that_is_used_up_when_pulled_then_waited_out_or_said_so() {
    let lab = Lab::new().await;
    let limit = |value| Fault::status_with(429, &[("RateLimit", value), ("Retry-After", "9999")]);
    lab.faulty.add(Rule::path_contains("/revision/", limit("\"api\";r=0;t=0")).times(1));

    let said = lab.pull().await;
    said.assert_ok();
    let retries: Vec<_> = said.events().into_iter().filter(|event| event["event"] == "retry").collect();
    assert!(retries[0]["what"].as_str().unwrap().contains("in 1."), "{retries:?}");
    lab.faulty.add(Rule::path_contains("/revision/", limit("\"api\";r=0;t=86400")));
    lab.zest(&["pull", REPO]).await.assert_failed(5, "86401 s");
    lab.zest(&["pull", REPO, "--revision", COMMIT]).await.assert_failed(4, COMMIT);
}
