//! Name servers that take their time, or never answer. In a namespace of its own: resolvers ask port 53, and whom is
//! written in `/etc/resolv.conf`.

use std::time::Duration;

use testkit::SlowNames;

use crate::lab::Lab;

/// For a resolver to wait: glibc asks again after 5 s.
const PAUSE: Duration = Duration::from_secs(1);
const PORT: u16 = 53;
/// What the name server does, for the process in the namespace.
const NEVER: &str = "ZEST_TEST_NEVER_ANSWER";

/// Serves an origin and names in a network of its own, and pulls from it by name.
const SCRIPT: &str = r#"
    set -e
    ip link set lo up
    printf 'nameserver 127.0.0.1\noptions timeout:5 attempts:1\n' > "$1/resolv.conf"
    mount --bind "$1/resolv.conf" /etc/resolv.conf
    "$ZEST_TEST_BINARY" --exact slow_names::serve_slow_names --ignored >/dev/null 2>&1 &
    names=$!
    cp -r "$1/origin" "$1/copy"
    "$0" origin --data "$1/copy" --listen 127.0.0.1:8080 --format json > "$1/origin.log" 2>"$1/origin.err" &
    origin=$!
    trap 'kill $names $origin' EXIT
    until grep -q listening "$1/origin.log" && grep -q ':0035 ' /proc/net/udp; do
        kill -0 $names && kill -0 $origin
        sleep 0.05
    done
    code=0
    "$0" pull lab/model --endpoint http://hub.test:8080 --peer peer.test:6881 --peer-timeout 0.5 --stall-timeout 5 --format json || code=$?
    exit $code
"#;

/// Not a test: what the script runs beside the pull.
#[tokio::test]
#[ignore = "serves the tests of slow names"]
async fn serve_slow_names() {
    let pause = if std::env::var_os(NEVER).is_some() { None } else { Some(PAUSE) };
    let _names = SlowNames::start(PORT, pause).await.unwrap();
    std::future::pending::<()>().await;
}

async fn pull(lab: &Lab, never: &str) -> Option<crate::lab::Said> {
    let binary = std::env::current_exe().unwrap();
    let script = format!(
        "export ZEST_TEST_BINARY='{}'; {never} exec unshare -n sh -c '{}' \"$0\" \"$1\"",
        binary.display(),
        SCRIPT.replace('\'', r"'\''")
    );
    lab.in_namespace(&script, lab.folder.path().to_str().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_slow_name_server_when_pulled_by_name_then_it_is_waited_for() {
    let lab = Lab::new().await;
    let Some(said) = pull(&lab, "").await else { return };

    let summary = said.summary();
    lab.assert_pulled();
    // The peer's name is late too, and nobody waits for it.
    assert!(summary["why_no_peers"].is_string(), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_name_server_that_never_answers_when_pulled_by_name_then_a_network_error_in_time() {
    let lab = Lab::new().await;
    let Some(said) = pull(&lab, "export ZEST_TEST_NEVER_ANSWER=1;").await else { return };

    lab.assert_failed(&said, 5, "connect");
}
