//! Ways to a Hub: proxies, and authorities that vouch for it.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use testkit::{FaultyOrigin, Proxy, Sink, TlsFront};
use xet_cas::client::{CaCertificates, Config, Error, ErrorKind, Hub, Proxies, Secret};
use xet_cas::{RepoId, RepoType};

const TOKEN: &str = "hf_secret";

/// What comes of one request. The sink answers with no JSON, so `Malformed` means that it was reached.
async fn ask(endpoint: &str, set: impl FnOnce(&mut Config)) -> Error {
    let mut config = Config::new(endpoint).unwrap();
    config.token = Secret::new(TOKEN);
    config.retry.attempts = 2;
    config.retry.delay = std::time::Duration::from_millis(1);
    set(&mut config);
    let repo: RepoId = "lab/files".parse().unwrap();
    Hub::new(&config).unwrap().resolve(RepoType::Model, &repo, "main").await.unwrap_err()
}

fn is_reached(error: &Error) -> bool {
    matches!(error, Error::Malformed { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_http_proxy_when_asked_then_everything_goes_through_it_and_what_is_not_excepted() {
    let sink = Sink::start().await.unwrap();
    let proxy = Proxy::start(sink.address()).await.unwrap();
    let proxies = Proxies::all(&format!("http://me:pw@{}", proxy.host()));

    assert!(is_reached(&ask("http://hub.invalid", |config| config.network.proxies = proxies.clone()).await));
    let asked = proxy.asked();
    assert!(asked[0].starts_with("GET http://hub.invalid/api/models/lab/files/revision/main "), "{asked:?}");
    assert!(asked[0].to_lowercase().contains("proxy-authorization: basic bwu6chc="), "{asked:?}");
    for except in ["127.0.0.1", "10.0.0.0/8, 127.0.0.0/8", "127.0.0.1:8080", "*"] {
        let direct = |config: &mut Config| {
            config.network.proxies = proxies.clone();
            config.network.proxies.except = except.to_owned();
        };
        assert!(is_reached(&ask(&sink.url(), direct).await), "{except}");
    }
    assert_eq!(1, proxy.asked().len());
    assert_eq!(5, sink.requests().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_tunnel_when_asked_then_the_proxy_sees_neither_token_nor_path() {
    let sink = Sink::start().await.unwrap();
    let front = TlsFront::start(sink.address(), &["hub.invalid"]).await.unwrap();
    let proxy = Proxy::start(front.address()).await.unwrap();
    for scheme in ["http", "socks5h"] {
        let error = ask("https://hub.invalid", |config| {
            config.network.proxies = Proxies::all(&format!("{scheme}://{}", proxy.host()));
            config.network.ca_certificates = CaCertificates::from_pem(front.authority().as_bytes()).unwrap();
        });
        assert!(is_reached(&error.await), "{scheme}");
    }

    let asked = proxy.asked();
    assert!(asked[0].starts_with("CONNECT hub.invalid:443 ") && asked[1] == "SOCKS5 hub.invalid:443", "{asked:?}");
    assert!(asked.iter().all(|asked| !asked.contains(TOKEN) && !asked.contains("lab")), "{asked:?}");
    assert!(sink.requests().iter().all(|seen| seen.header("authorization") == Some("Bearer hf_secret")));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_socks_proxy_when_asked_then_it_gets_its_credentials_and_the_name_if_it_is_to_resolve_it() {
    let sink = Sink::start().await.unwrap();
    let proxy = Proxy::start(sink.address()).await.unwrap();
    for (url, endpoint, expected) in [
        ("socks5h://me:pw@", "http://hub.invalid:8080", "SOCKS5 me:pw@hub.invalid:8080"),
        ("socks5://", "http://127.0.0.1:8080", "SOCKS5 127.0.0.1:8080"),
    ] {
        let proxies = Proxies::all(&format!("{url}{}", proxy.host()));
        assert!(is_reached(&ask(endpoint, |config| config.network.proxies = proxies).await), "{url}");
        assert_eq!(Some(expected), proxy.asked().last().map(String::as_str));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_proxy_that_is_not_there_when_asked_then_a_network_error_and_no_way_round_it() {
    let sink = Sink::start().await.unwrap();

    let error = ask(&sink.url(), |config| config.network.proxies = Proxies::all("http://127.0.0.1:1")).await;

    assert_eq!(ErrorKind::Network, error.kind(), "{error}");
    assert!(sink.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_authority_of_ones_own_when_named_then_trusted_and_else_said_so_at_once() {
    let sink = Sink::start().await.unwrap();
    let (front, other) =
        (TlsFront::start(sink.address(), &[]).await.unwrap(), TlsFront::start(sink.address(), &[]).await.unwrap());
    let url = front.url();
    for (is_system_trusted, authority, expected) in
        [(true, &front, true), (false, &front, true), (true, &other, false), (false, &other, false)]
    {
        let error = ask(&url, |config| {
            config.network.system_certificates = is_system_trusted;
            config.network.ca_certificates = CaCertificates::from_pem(authority.authority().as_bytes()).unwrap();
        });
        assert_eq!(expected, is_reached(&error.await));
    }
    let told = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let teller = told.clone();
    let error = ask(&url, |config| {
        config.on_retry = Some(xet_cas::client::RetryObserver::new(move |_| {
            teller.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }));
    });
    let error = error.await;
    assert!(matches!(error, Error::Certificate { .. }) && error.kind() == ErrorKind::Network, "{error:?}");
    assert_eq!(0, told.load(std::sync::atomic::Ordering::Relaxed), "it was tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_certificate_that_cannot_be_used_when_named_with_a_good_one_then_passed_over() {
    let sink = Sink::start().await.unwrap();
    let front = TlsFront::start(sink.address(), &[]).await.unwrap();
    let bundle = format!("-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n{}", front.authority());
    for is_system_trusted in [true, false] {
        let url = front.url();
        let error = ask(&url, |config| {
            config.network.system_certificates = is_system_trusted;
            config.network.ca_certificates = CaCertificates::from_pem(bundle.as_bytes()).unwrap();
        });
        let error = error.await;
        assert!(is_reached(&error), "{error}");
    }
}

/// Run by the test below, in a process whose environment names proxies that are not there.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an environment of its own"]
async fn in_an_environment_with_proxies() {
    assert!(std::env::var_os("ALL_PROXY").is_some());
    let upstream = Sink::start().await.unwrap();
    let origin = FaultyOrigin::start(&upstream.url()).await.unwrap();
    assert!(is_reached(&ask(&origin.url(), |_| {}).await));
}

#[test]
fn given_proxies_in_the_environment_when_nobody_has_read_it_then_they_do_not_count() {
    let mut process = std::process::Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", "in_an_environment_with_proxies", "--ignored"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        process.env(name, "http://127.0.0.1:1");
    }
    let output = process.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
