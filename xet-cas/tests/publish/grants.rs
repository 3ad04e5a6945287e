//! Xorbs that are uploaded by grant: what each answer on the way leads to.

use hyper::Method;
use testkit::{Fault, Rule};

use super::lab::{Lab, noise};

/// Publishes one xorb while the PUT of its bytes goes wrong so many times. Returns how often a grant was asked for, the
/// bytes were put, and they were sent directly.
async fn put_fails(fault: Fault, times: u64) -> [usize; 3] {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 300_000));
    lab.faulty.add(Rule::path_contains("/", fault).method(Method::PUT).times(times));

    lab.publish(&lab.options()).await.unwrap();

    assert!(lab.sources() == lab.contents("main").await);
    let puts = lab.faulty.requests().iter().filter(|seen| seen.method == Method::PUT).count();
    [lab.seen("/xorb-grants/").len(), puts, lab.seen("/v1/xorbs/").len()]
}

#[tokio::test(flavor = "multi_thread")]
async fn given_grants_when_published_then_the_bytes_go_where_they_say_without_a_token() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 300_000));

    lab.publish(&lab.options()).await.unwrap();

    let put = lab.faulty.requests().into_iter().find(|seen| seen.method == Method::PUT).unwrap();
    assert!(put.headers.get("authorization").is_none() && put.headers.get("if-none-match").is_some());
    assert_eq!([1, 1, 0], ["/xorb-grants/", "/xorb-commits/", "/v1/xorbs/"].map(|path| lab.seen(path).len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_grant_that_is_of_no_use_when_put_then_another_is_asked_for_and_at_last_none() {
    for status in [400, 403] {
        assert_eq!([2, 2, 0], put_fails(Fault::status(status), 1).await, "{status}");
        assert_eq!([3, 3, 1], put_fails(Fault::status(status), 9).await, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_place_that_cannot_be_used_when_put_then_sent_directly_at_once() {
    assert_eq!([1, 1, 1], put_fails(Fault::status(404), 9).await);
    assert_eq!([1, 3, 1], put_fails(Fault::Reset, 9).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_earlier_put_that_is_still_being_stored_when_put_then_waited_for() {
    assert_eq!([1, 3, 0], put_fails(Fault::status(409), 2).await);
    assert_eq!([2, 4, 0], put_fails(Fault::status(409), 3).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_bytes_that_do_not_arrive_when_committed_then_another_grant() {
    // 412: an earlier attempt has stored them, it says; but it has not.
    assert_eq!([2, 2, 0], put_fails(Fault::status(412), 1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_xorbs_that_the_server_has_when_published_without_memory_then_no_bytes_are_put() {
    let lab = Lab::new().await;
    lab.write("large.bin", noise(1, 300_000));
    // As a publication that stored its xorbs and broke off, and whose memory is gone.
    lab.faulty.add(Rule::path_contains("/shards", Fault::status(400)));
    let mut forgetful = lab.options();
    forgetful.cache = None;
    lab.publish(&forgetful).await.unwrap_err();
    lab.faulty.clear();

    let published = lab.publish(&forgetful).await.unwrap();

    let puts = lab.faulty.requests().iter().filter(|seen| seen.method == Method::PUT).count();
    assert_eq!((1, 2), (puts, lab.seen("/xorb-grants/").len()));
    assert!(published.sent_bytes < 10_000, "{}", published.sent_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_grants_that_make_no_sense_when_published_then_an_error_and_no_bytes_are_sent() {
    let grant = |method: &str, url: &str, id: &str| {
        let grant = format!(r#"{{"id":"{id}","method":"{method}","url":"{url}","headers":{{}}}}"#);
        Fault::Status { code: 201, headers: vec![], body: grant.into() }
    };
    for fault in [
        grant("DELETE", "http://127.0.0.1:1/", "a"),
        grant("PUT", "file:///etc/passwd", "a"),
        grant("PUT", "none", "a"),
        Fault::Status { code: 201, headers: vec![], body: "<html>".into() },
        Fault::status(202),
    ] {
        let lab = Lab::new().await;
        lab.write("large.bin", noise(1, 300_000));
        lab.faulty.add(Rule::path_contains("/xorb-grants/", fault.clone()));

        let error = lab.publish(&lab.options()).await.unwrap_err();

        assert!(matches!(error, xet_cas::client::Error::Malformed { .. }), "{fault:?}: {error}");
        assert!(lab.seen("/v1/xorbs/").is_empty());
    }
}
