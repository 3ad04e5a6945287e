//! Too many requests, too many connections, and clients that keep places without using them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use xet_cas::server::{Permission, RateLimit, Token};

use super::lab::{Answer, Lab, pieces};
use super::model::{Upload, random};

const REPO: &str = "lab/tiny";
const DEADLINE: Duration = Duration::from_secs(30);

async fn limited() -> Lab {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    Upload::of(random(1, 100_000)).publish(&lab, REPO, "model.bin").await;
    lab.restart_with(|config| {
        config.access.tokens = vec![
            Token::new("alice 1", Permission::Read).of_user("alice"),
            Token::new("alice 2", Permission::Read).of_user("alice"),
            Token::new("nobody", Permission::Read),
        ];
        config.rate_limits.api = Some(RateLimit::new(2, Duration::from_secs(3_600)));
        config.rate_limits.resolve = Some(RateLimit::new(3, Duration::from_secs(3_600)));
    })
    .await
}

fn told(answer: &Answer) -> (&str, &str) {
    (answer.header("ratelimit").split(";t=").next().unwrap(), answer.header("ratelimit-policy"))
}

#[tokio::test]
async fn given_a_limit_when_used_up_then_429_with_the_headers_that_clients_read() {
    let lab = limited().await;
    let api = |who: &'static str| lab.get("/api/models/lab/tiny").as_(who).send();
    let policy = r#""fixed window";"api";q=2;w=3600"#;

    assert_eq!((r#""api";r=1"#, policy), told(&api("").await.ok()));
    assert_eq!((r#""api";r=0"#, policy), told(&api("").await.ok()));
    let refused = api("").await.refused(429, "TooManyRequests");
    assert_eq!((r#""api";r=0"#, policy), told(&refused));
    let reset: u64 = refused.header("ratelimit").split(";t=").nth(1).unwrap().parse().unwrap();
    assert!((1..=3_600).contains(&reset));
    assert_eq!((reset + 1).to_string(), refused.header("retry-after"));

    // A wrong token is nobody's, and guessing costs.
    api("wrong").await.refused(429, "TooManyRequests");
    // Everybody has a window of their own; a user has one with all their tokens.
    api("alice 1").await.ok();
    api("alice 2").await.ok();
    api("alice 1").await.refused(429, "TooManyRequests");
    api("nobody").await.ok();

    // Files are counted apart, and what a signed URL leads to was counted before.
    let resolve = || lab.head("/lab/tiny/resolve/main/model.bin").send();
    let answer = resolve().await;
    assert_eq!((302, r#""resolvers";r=2"#), (answer.status, told(&answer).0));
    let location = answer.header("location");
    for _ in 0..5 {
        assert_eq!(("", ""), told(&lab.get(location).send().await.ok()));
    }
    resolve().await;
    resolve().await;
    resolve().await.refused(429, "TooManyRequests");
    // The CAS is for those who were let in.
    lab.get("/cas/v2/reconstructions/x").send().await.refused(401, "Unauthorized");
    lab.json("/health").await;
}

#[tokio::test]
async fn given_no_limit_when_asked_then_nothing_is_told_of_one() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    assert_eq!(("", ""), told(&lab.get("/api/models/lab/tiny").send().await.ok()));
}

/// A connection from one of the addresses of this machine.
async fn connect(from: u8, lab: &Lab) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, from)), 0)).unwrap();
    socket.connect(lab.address).await.unwrap()
}

async fn ask(socket: &mut TcpStream) -> String {
    let mut answer = vec![0; 4_096];
    let asked = async {
        socket.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await?;
        socket.read(&mut answer).await
    };
    let length = tokio::time::timeout(DEADLINE, asked).await.expect("not answered in time").unwrap_or_default();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// For both ends of some thousand connections.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

#[tokio::test]
async fn given_thousands_of_idle_connections_when_others_come_then_they_are_served() {
    let lab = Lab::start_with(|config| {
        config.connections_max = 500;
        config.connections_per_address_max = 450;
    })
    .await;
    raise_descriptor_limit();
    // Each is open at the client until the end. Some say nothing, some half a head.
    let mut own = connect(3, &lab).await;
    assert!(ask(&mut own).await.starts_with("HTTP/1.1 200"));
    let mut idle = Vec::new();
    for number in 0..3_000 {
        let mut socket = connect(2, &lab).await;
        if number % 2 == 0 {
            socket.write_all(b"GET /health HTTP/1.1\r\nhost:").await.unwrap();
        }
        idle.push(socket);
    }

    // The same address, others, and one that was there before.
    for from in [2, 4, 5] {
        assert!(ask(&mut connect(from, &lab).await).await.starts_with("HTTP/1.1 200"), "{from}");
    }
    assert!(ask(&mut own).await.starts_with("HTTP/1.1 200"), "an idle connection of another address had to go");
    let open = lab.get("/metrics").send().await.ok();
    let open = String::from_utf8_lossy(&open.body)
        .lines()
        .find_map(|line| line.strip_prefix("zest_origin_connections ")?.parse::<usize>().ok());
    assert!(open.unwrap() <= 500, "{open:?}");
    drop(idle);
}

#[tokio::test]
async fn given_connections_in_use_when_others_come_then_nothing_under_way_is_lost() {
    let lab = Lab::start().await;
    lab.create(REPO).await;
    let upload = Upload::of(random(1, 300_000));
    upload.publish(&lab, REPO, "model.bin").await;
    let lab = lab
        .restart_with(|config| {
            config.connections_max = 4;
            config.connections_per_address_max = 4;
            config.limit_rate = Some(1_000_000);
        })
        .await;
    let url = lab.head("/lab/tiny/resolve/main/model.bin").send().await.header("location").to_owned();

    // Four can be answered at once, slowly; the others wait for their turn.
    let answers = futures::future::join_all((0..12).map(|_| lab.get(&url).send())).await;

    assert!(answers.into_iter().all(|answer| answer.ok().body == upload.content));
}

#[tokio::test]
async fn given_a_connection_that_asks_again_and_again_when_there_is_no_need_then_it_is_kept() {
    let lab = Lab::start_with(|config| config.connections_max = 2).await;
    let mut kept = connect(2, &lab).await;
    for _ in 0..50 {
        // The other place is taken by one after the other.
        assert!(ask(&mut kept).await.starts_with("HTTP/1.1 200"));
        let mut other = connect(3, &lab).await;
        assert!(ask(&mut other).await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn given_a_body_that_drips_when_the_deadline_passes_then_408_however_steadily() {
    let lab = Lab::start_with(|config| config.stall = Duration::from_millis(300)).await;
    lab.create(REPO).await;
    let token = lab.cas_token(REPO, "write").await;
    // A byte now and then, for as long as it is taken.
    let drip = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok(hyper::body::Frame::data(Bytes::from_static(b"x"))), ()))
    });
    let body = http_body_util::BodyExt::boxed_unsync(http_body_util::StreamBody::new(drip));
    let call = lab.post("/cas/v1/shards", "").body(body).header("authorization", &token);

    let (_connection, answer) = tokio::time::timeout(DEADLINE, call.begin()).await.expect("it may drip for ever");

    assert_eq!(408, answer.status());
    // What comes in pieces and makes progress is taken, whatever it takes.
    let upload = Upload::of(random(1, 300_000));
    let body = upload.xorb.records.chunks(70_000).map(Bytes::copy_from_slice).collect();
    let call = lab.post(&upload.xorb_target(), "").body(pieces(body, false)).header("authorization", &token);
    call.send().await.ok();
}
