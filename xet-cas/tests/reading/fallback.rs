//! A CAS that cannot be used, and a Hub that has the file all the same.

use testkit::{Fault, Rule};
use xet_cas::client::{Error, ReadEvent, ReadOptions};

use super::lab::{DATA, Lab, RECONSTRUCTIONS, TOKEN, all, file_hash, noted};

#[tokio::test(flavor = "multi_thread")]
async fn given_a_cas_that_cannot_be_used_when_read_then_the_plain_file_or_its_range() {
    let elsewhere = Fault::rewrite(|body| {
        let mut answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        answer["casUrl"] = "http://127.0.0.1:1".into();
        answer.to_string().into()
    });
    for (path, fault) in [
        (TOKEN, Fault::status(404)),
        (TOKEN, Fault::Html),
        (TOKEN, Fault::status(500)),
        (TOKEN, elsewhere),
        (RECONSTRUCTIONS, Fault::status(404)),
        (RECONSTRUCTIONS, Fault::status(503)),
        (RECONSTRUCTIONS, Fault::NeverAnswer),
        (RECONSTRUCTIONS, Fault::json("{\"terms\":[],\"xorbs\":{}}")),
    ] {
        let lab = Lab::new().await;
        lab.faulty.add(Rule::path_contains(path, fault.clone()));
        let (options, events) = noted();

        let whole = all(lab.hub.read(&lab.commit, &lab.large.0, .., &options)).await.unwrap();
        let part = all(lab.hub.read(&lab.commit, &lab.large.0, 9..1_000_000, &options)).await.unwrap();

        assert!(whole == lab.large.1 && part == lab.large.1[9..1_000_000], "{path}, {fault:?}");
        let told = events.lock().unwrap();
        let told = told.iter().filter(|event| matches!(event, ReadEvent::PlainFallback { .. })).count();
        assert_eq!(2, told, "{path}, {fault:?}");
        assert!(lab.seen(DATA).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_access_that_is_refused_when_read_then_no_other_way_is_tried() {
    for (path, status) in [(TOKEN, 401), (TOKEN, 403), (RECONSTRUCTIONS, 401), (RECONSTRUCTIONS, 403), (TOKEN, 429)] {
        let lab = Lab::new().await;
        lab.faulty.add(Rule::path_contains(path, Fault::status(status)));

        let error = lab.read(..).await.unwrap_err();

        let page = format!("{}/lab/files", lab.faulty.url());
        assert!(status == 429 || error.page() == Some(&page), "{error:?}");
        assert!(lab.seen("/resolve/").is_empty(), "{path}, {status}: {error}");
    }
    let lab = Lab::new().await;
    for code in ["RepoNotFound", "GatedRepo"] {
        let status = if code == "GatedRepo" { 403 } else { 404 };
        lab.faulty.clear();
        lab.faulty.add(Rule::path_contains(TOKEN, Fault::status_with(status, &[("X-Error-Code", code)])));
        assert!(lab.read(..).await.unwrap_err().page().is_some(), "{code}");
    }
    assert!(lab.seen("/resolve/").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_plain_file_with_other_bytes_when_read_then_refused_at_its_end() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains(RECONSTRUCTIONS, Fault::status(404)));
    lab.faulty.add(Rule::path_contains("signature=", Fault::FlipBit { offset: 77 }));

    let error = lab.read(..).await.unwrap_err();

    assert!(matches!(error, Error::Format { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_no_fallback_when_the_cas_does_not_know_the_file_then_that_is_the_error() {
    let lab = Lab::new().await;
    lab.faulty.add(Rule::path_contains(RECONSTRUCTIONS, Fault::status(404)));
    let mut options = ReadOptions::default();
    options.plain_fallback = false;

    let error = all(lab.hub.read(&lab.commit, &lab.large.0, .., &options)).await.unwrap_err();

    assert!(error.to_string().contains(&file_hash(&lab.large.0).to_string()), "{error}");
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}
