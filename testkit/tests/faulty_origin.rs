//! Every fault, seen through a socket that hides nothing.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{io, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::{get, post},
};
use hyper::Method;
use testkit::{Fault, FaultyOrigin, Rule, Sink, SlowNames};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::{Instant, timeout},
};

/// For what must happen: long enough for a busy machine.
const SOON: Duration = Duration::from_secs(20);
/// For what must not happen.
const A_WHILE: Duration = Duration::from_millis(150);

const BIG_BYTES: usize = 8 << 20;

#[tokio::test]
async fn given_no_rule_when_asked_then_request_and_answer_are_unchanged() {
    let lab = Lab::start().await;

    let request = "POST /echo/a%20b?x=%2F HTTP/1.1\r\nHost: some.host\r\nX-One: two\r\n";
    let request = format!("{request}Content-Length: 4\r\n\r\nbody");
    let mut answer = lab.ask(&request).await;

    let echo = String::from_utf8(answer.body().await.to_vec()).unwrap();
    assert_eq!(answer.status, 200);
    assert!(echo.starts_with("POST /echo/a%20b?x=%2F\n"), "{echo}");
    assert!(echo.contains("host: some.host\n"), "{echo}");
    assert!(echo.contains("x-one: two\n"), "{echo}");
    assert!(echo.ends_with("\n\nbody"), "{echo}");
}

#[tokio::test]
async fn given_no_rule_when_body_is_big_then_every_byte_passes() {
    let lab = Lab::start().await;

    let mut answer = lab.get("/big").await;

    assert_eq!(answer.header("content-length"), Some(BIG_BYTES.to_string()));
    assert!(answer.body().await == big());
}

#[tokio::test]
async fn given_no_rule_when_upstream_sends_chunks_then_they_pass() {
    let lab = Lab::start().await;

    let mut answer = lab.get("/chunked").await;

    assert_eq!(answer.header("transfer-encoding").as_deref(), Some("chunked"));
    assert_eq!(answer.body().await, b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
}

#[tokio::test]
async fn given_no_rule_when_client_sends_chunks_then_they_pass() {
    let lab = Lab::start().await;
    let request = "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

    let mut answer = lab.ask(&format!("{request}4\r\nbody\r\n0\r\n\r\n")).await;

    assert!(answer.body().await.ends_with(b"\n\nbody"));
}

#[tokio::test]
async fn given_one_connection_when_asked_twice_then_both_are_answered() {
    let lab = Lab::start().await;
    lab.origin.add(Rule::any(Fault::status(503)).times(1));

    let mut first = lab.get("/small").await;
    first.body().await;
    let mut second = ask_on(first.stream, "GET /small HTTP/1.1\r\nHost: h\r\n\r\n").await;

    assert_eq!([first.status, second.status], [503, 200]);
    assert_eq!(second.body().await, b"small");
}

#[tokio::test]
async fn given_no_rule_when_asked_for_head_then_length_passes_without_body() {
    let lab = Lab::start().await;

    let answer = lab.ask("HEAD /big HTTP/1.1\r\nHost: h\r\n\r\n").await;

    assert_eq!(answer.header("content-length"), Some(BIG_BYTES.to_string()));
    assert!(answer.until_silent(0).await.is_empty());
}

#[tokio::test]
async fn given_no_upstream_when_asked_then_502() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let origin = FaultyOrigin::start(&format!("http://{gone}")).await.unwrap();

    let answer = ask(origin.address(), "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;

    assert_eq!(answer.status, 502);
}

#[tokio::test]
async fn given_upstream_that_is_not_plain_http_when_started_then_refused() {
    for url in ["https://127.0.0.1:1", "http://127.0.0.1:1/path", "127.0.0.1:1", "http://host"] {
        let error = FaultyOrigin::start(url).await.unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{url}");
    }
}

#[tokio::test]
async fn given_skip_and_times_when_asked_again_then_only_those_are_affected() {
    let lab = Lab::start().await;
    lab.origin.add(Rule::path_contains("small", Fault::status(503)).skip(1).times(2));
    lab.origin.add(Rule::path_starts_with("/small", Fault::status(418)).skip(1).times(1));

    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(lab.get("/small").await.status);
    }

    // The second rule saw the first request, which the first rule let pass, and then the fourth.
    assert_eq!(statuses, [200, 503, 503, 418, 200]);
    assert_eq!(lab.origin.requests().iter().filter(|request| request.faulted).count(), 3);
}

#[tokio::test]
async fn given_a_burst_when_asked_again_and_again_then_it_comes_back() {
    let lab = Lab::start().await;
    lab.origin.add(Rule::path_contains("small", Fault::status(503)).skip(1).times(2).every(4));

    let mut statuses = Vec::new();
    for _ in 0..9 {
        statuses.push(lab.get("/small").await.status);
    }

    assert_eq!(statuses, [200, 503, 503, 200, 200, 503, 503, 200, 200]);
}

#[tokio::test]
async fn given_a_chance_when_asked_with_the_same_seed_then_the_same_requests_are_affected() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let lab = Lab::start().await;
        lab.origin.add(Rule::any(Fault::status(503)).chance(50, seed));
        let mut statuses = Vec::new();
        for _ in 0..32 {
            statuses.push(lab.get("/small").await.status);
        }
        runs.push(statuses);
    }

    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    assert!([200, 503].iter().all(|status| runs[0].contains(status)), "{:?}", runs[0]);
}

#[tokio::test]
async fn given_answers_when_they_were_passed_on_then_their_bytes_are_counted() {
    let lab = Lab::start().await;
    lab.origin.add(Rule::path_contains("big", Fault::StallAfter(1000)));

    lab.get("/small").await.body().await;
    let stalled = lab.get("/big").await;
    timeout(SOON, lab.origin.until_sent(1005)).await.unwrap();
    lab.origin.until(|seen| seen[0].is_over()).await;

    let seen = lab.origin.requests();
    assert_eq!([5, 1000], [seen[0].sent_bytes(), seen[1].sent_bytes()]);
    assert_eq!(1005, lab.origin.sent_bytes());
    assert!(!seen[1].is_over());
    drop(stalled);
}

#[tokio::test]
async fn given_an_answer_that_is_late_when_asked_then_it_comes_after_the_pause() {
    let lab = Lab::start().await;
    lab.origin.add(Rule::any(Fault::AnswerAfter(A_WHILE)));
    let begun = Instant::now();

    let mut answer = lab.get("/small").await;

    assert_eq!(answer.body().await, b"small");
    assert!(begun.elapsed() >= A_WHILE);
}

#[tokio::test]
async fn given_a_slow_name_server_when_asked_then_every_name_is_loopback_after_the_pause() {
    let names = SlowNames::start(0, Some(A_WHILE)).await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03hub\x04test\0\0\x01\0\x01";
    let begun = Instant::now();

    socket.send_to(question, names.address()).await.unwrap();
    let mut answer = [0; 512];
    let length = timeout(SOON, socket.recv(&mut answer)).await.unwrap().unwrap();

    assert!(begun.elapsed() >= A_WHILE);
    assert_eq!(b"\x12\x34\x81\x80\0\x01\0\x01", &answer[..8]);
    assert!(answer[..length].ends_with(&[0, 4, 127, 0, 0, 1]));
}

#[tokio::test]
async fn given_rule_for_a_method_when_cleared_then_nothing_is_affected() {
    let lab = Lab::start().await;
    lab.origin.add(Rule::any(Fault::status(503)).method(Method::POST));

    let read = lab.get("/small").await.status;
    let written = lab.ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await.status;
    lab.origin.clear();
    let written_after = lab.ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await.status;

    assert_eq!([read, written, written_after], [200, 503, 200]);
}

#[tokio::test]
async fn given_never_answer_when_asked_then_silence_and_upstream_is_not_asked() {
    let upstream = Sink::start().await.unwrap();
    let origin = FaultyOrigin::start(&upstream.url()).await.unwrap();
    origin.add(Rule::any(Fault::NeverAnswer));
    let mut client = TcpStream::connect(origin.address()).await.unwrap();

    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    timeout(SOON, origin.until(|seen| seen.len() == 1)).await.unwrap();

    assert!(timeout(A_WHILE, client.read_u8()).await.is_err());
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn given_reset_when_asked_then_connection_is_reset_without_a_byte() {
    let lab = Lab::start().await;
    lab.origin.add(Rule::any(Fault::Reset));
    let mut client = TcpStream::connect(lab.origin.address()).await.unwrap();

    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let error = timeout(SOON, client.read_u8()).await.unwrap().unwrap_err();

    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn given_stall_when_asked_then_exactly_so_many_bytes_and_an_open_connection() {
    for bytes in [0, 1, 100_000, 7_000_000] {
        let lab = Lab::start().await;
        lab.origin.add(Rule::any(Fault::StallAfter(bytes as u64)));

        let answer = lab.get("/big").await;

        assert_eq!(answer.header("content-length"), Some(BIG_BYTES.to_string()));
        let body = answer.until_silent(bytes).await;
        assert!(body == big()[..bytes], "{} of {bytes} bytes", body.len());
    }
}

#[tokio::test]
async fn given_truncate_when_asked_then_exactly_so_many_bytes_and_a_closed_connection() {
    for bytes in [0, 1, 100_000, 7_000_000] {
        let lab = Lab::start().await;
        lab.origin.add(Rule::any(Fault::TruncateAfter(bytes as u64)));

        let answer = lab.get("/big").await;

        assert_eq!(answer.header("content-length"), Some(BIG_BYTES.to_string()));
        let body = answer.until_closed().await;
        assert!(body == big()[..bytes], "{} of {bytes} bytes", body.len());
    }
}

#[tokio::test]
async fn given_truncate_when_upstream_sends_chunks_then_the_last_chunk_is_missing() {
    let lab = Lab::start().await;
    lab.origin.add(Rule::any(Fault::TruncateAfter(4)));

    let answer = lab.get("/chunked").await;

    assert_eq!(answer.until_closed().await, b"3\r\none\r\n1\r\nt\r\n");
}

#[tokio::test]
async fn given_truncate_behind_the_end_when_asked_then_nothing_is_missing() {
    let lab = Lab::start().await;
    lab.origin.add(Rule::any(Fault::TruncateAfter(5)));

    let answer = lab.get("/small").await;

    assert_eq!(answer.until_silent(5).await, b"small");
}

#[tokio::test]
async fn given_trickle_when_asked_then_bytes_come_at_that_pace() {
    let lab = Lab::start().await;
    lab.origin.add(Rule::any(Fault::Trickle { bytes_per_second: 10 }));
    let begun = Instant::now();

    let mut answer = lab.get("/small").await;

    assert_eq!(answer.body().await, b"small");
    assert!(begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn given_flip_bit_when_asked_then_one_bit_differs() {
    for offset in [0, 4_194_303, BIG_BYTES - 1] {
        let lab = Lab::start().await;
        lab.origin.add(Rule::any(Fault::FlipBit { offset: offset as u64 }));

        let mut answer = lab.get("/big").await;

        let mut expected = big();
        expected[offset] ^= 1;
        assert!(answer.body().await == expected, "{offset}");
    }
}

#[tokio::test]
async fn given_wrong_length_when_asked_then_body_is_well_formed_and_wrong() {
    for (by, expected) in [(-2, &b"sma"[..]), (-9, b""), (2, b"small\0\0")] {
        let lab = Lab::start().await;
        lab.origin.add(Rule::any(Fault::WrongLength { by }));

        let mut answer = lab.get("/small").await;

        assert_eq!(answer.header("content-length"), Some(expected.len().to_string()));
        assert_eq!(answer.body().await, expected);
    }
}

#[tokio::test]
async fn given_range_faults_when_a_range_is_asked_for_then_the_answer_lies_about_it() {
    let lab = Lab::start().await;
    lab.origin.add(Rule::any(Fault::WrongContentRange).skip(1).times(1));
    lab.origin.add(Rule::any(Fault::RangeAs200).skip(1).times(1));
    lab.origin.add(Rule::any(Fault::IgnoreRange).skip(1));

    let mut seen = Vec::new();
    for _ in 0..4 {
        let mut answer = lab.ask("GET /range HTTP/1.1\r\nHost: h\r\nRange: bytes=1-3\r\n\r\n").await;
        let body = String::from_utf8(answer.body().await.to_vec()).unwrap();
        seen.push((answer.status, answer.header("content-range").unwrap_or_default(), body));
    }

    let expected = [(206, "bytes 1-3/5", "ang"), (206, "bytes 2-4/5", "ang"), (200, "", "ang"), (200, "", "range")];
    assert_eq!(seen, expected.map(|(status, range, body)| (status, range.to_owned(), body.to_owned())));
}

#[tokio::test]
async fn given_rewrite_when_asked_then_body_and_length_change() {
    let lab = Lab::start().await;
    let replace = |body: Bytes| String::from_utf8_lossy(&body).replace("small", "../evil").into();
    lab.origin.add(Rule::any(Fault::rewrite(replace)));

    let mut answer = lab.get("/small").await;

    assert_eq!(answer.header("content-length").as_deref(), Some("7"));
    assert_eq!(answer.body().await, b"../evil");
}

#[tokio::test]
async fn given_answers_of_our_own_when_asked_then_upstream_is_not_asked() {
    let upstream = Sink::start().await.unwrap();
    let origin = FaultyOrigin::start(&upstream.url()).await.unwrap();
    origin.add(Rule::any(Fault::status_with(429, &[("Retry-After", "1")])).times(1));
    origin.add(Rule::any(Fault::Html).times(1));
    origin.add(Rule::any(Fault::json("[]")).times(1));
    origin.add(Rule::any(Fault::redirect_to("http://other.example/x")).times(1));
    origin.add(Rule::any(Fault::status(204)).times(1));

    // A body that is larger than the socket's buffers must not cost the client its answer.
    let mut request = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {BIG_BYTES}\r\n\r\n").into_bytes();
    request.extend(big());
    let mut seen = Vec::new();
    for header in ["retry-after", "content-type", "content-type", "location", "x-none"] {
        let answer = ask(origin.address(), &request).await;
        seen.push((answer.status, answer.header(header).unwrap_or_default()));
    }

    let expected =
        [(429, "1"), (200, "text/html"), (200, "application/json"), (307, "http://other.example/x"), (204, "")];
    assert_eq!(seen, expected.map(|(status, value)| (status, value.to_owned())));
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn given_requests_when_listed_then_in_order_with_their_headers() {
    let sink = Sink::start().await.unwrap();
    let origin = FaultyOrigin::start(&sink.url()).await.unwrap();

    ask(origin.address(), "GET /one?q HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\nRange: bytes=0-1\r\n\r\n")
        .await;
    ask(origin.address(), "HEAD /two HTTP/1.1\r\nHost: h\r\n\r\n").await;

    for seen in [origin.requests(), sink.requests()] {
        let [one, two] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((&one.method, one.target.as_str()), (&Method::GET, "/one?q"));
        assert_eq!(one.header("authorization"), Some("Bearer t"));
        assert_eq!(one.header("Range"), Some("bytes=0-1"));
        assert_eq!((&two.method, two.target.as_str()), (&Method::HEAD, "/two"));
        assert_eq!(two.header("authorization"), None);
    }
}

#[tokio::test]
async fn given_stalled_answer_when_handle_is_dropped_then_connection_ends() {
    let Lab { origin, upstream } = Lab::start().await;
    origin.add(Rule::any(Fault::StallAfter(5)));
    let mut client = TcpStream::connect(origin.address()).await.unwrap();
    client.write_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    timeout(SOON, origin.until(|seen| seen.len() == 1)).await.unwrap();

    drop(origin);

    // Closed or reset, and either way ended while the upstream is still there.
    let _ = timeout(SOON, client.read_to_end(&mut Vec::new())).await.unwrap();
    drop(upstream);
}

/// A faulty origin in front of a small honest one.
struct Lab {
    origin: FaultyOrigin,
    upstream: JoinSet<io::Result<()>>,
}

impl Lab {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut upstream = JoinSet::new();
        upstream.spawn(axum::serve(listener, honest()).into_future());
        Self { origin: FaultyOrigin::start(&url).await.unwrap(), upstream }
    }

    async fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).await
    }

    async fn ask(&self, request: &str) -> Answer {
        ask(self.origin.address(), request).await
    }
}

fn honest() -> Router {
    let range = |headers: HeaderMap| async move {
        match headers.contains_key("range") {
            true => (StatusCode::PARTIAL_CONTENT, [("content-range", "bytes 1-3/5")], "ang").into_response(),
            false => "range".into_response(),
        }
    };
    let chunked = || async {
        let chunks = ["one", "two"].map(|chunk| Ok::<_, io::Error>(Bytes::from(chunk)));
        Body::from_stream(futures::stream::iter(chunks))
    };
    Router::new()
        .route("/big", get(|| async { big() }))
        .route("/small", get(|| async { "small" }))
        .route("/chunked", get(chunked))
        .route("/range", get(range))
        .route("/echo", post(echo))
        .route("/echo/{*rest}", post(echo))
}

async fn echo(request: Request) -> String {
    let mut echo = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        echo += &format!("{name}: {}\n", value.to_str().unwrap());
    }
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    echo + "\n" + &String::from_utf8_lossy(&body)
}

fn big() -> Vec<u8> {
    (0..BIG_BYTES / 4).flat_map(|word| (word as u32).to_le_bytes()).collect()
}

/// An answer of which the head has arrived.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
    stream: TcpStream,
}

/// Sends one request on a connection of its own.
async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    ask_on(TcpStream::connect(address).await.unwrap(), request).await
}

async fn ask_on(mut stream: TcpStream, request: impl AsRef<[u8]>) -> Answer {
    stream.write_all(request.as_ref()).await.unwrap();
    let mut received = Vec::new();
    loop {
        let read = timeout(SOON, stream.read_buf(&mut received)).await.unwrap().unwrap();
        assert_ne!(read, 0, "closed in the head");
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(received[..end].to_vec()).unwrap();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            return Answer { status, head, body: received[end + 4..].to_vec(), stream };
        }
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<String> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }

    /// The body that the head promises, and not a byte more.
    async fn body(&mut self) -> &[u8] {
        match self.header("content-length") {
            Some(length) => self.read_until(|body| body.len() >= length.parse().unwrap()).await,
            None => self.read_until(|body| body.ends_with(b"0\r\n\r\n")).await,
        }
        &self.body
    }

    /// What came before the connection closed.
    async fn until_closed(mut self) -> Vec<u8> {
        timeout(SOON, self.stream.read_to_end(&mut self.body)).await.unwrap().unwrap();
        self.body
    }

    /// The first bytes of a body that stops there, on an open connection.
    async fn until_silent(mut self, bytes: usize) -> Vec<u8> {
        self.read_until(|body| body.len() >= bytes).await;
        assert!(timeout(A_WHILE, self.stream.read_u8()).await.is_err(), "neither silent nor open");
        self.body
    }

    async fn read_until(&mut self, enough: impl Fn(&[u8]) -> bool) {
        while !enough(&self.body) {
            let read = timeout(SOON, self.stream.read_buf(&mut self.body)).await.unwrap().unwrap();
            assert_ne!(read, 0, "closed after {} bytes", self.body.len());
        }
    }
}
