//! `zest origin`: its file, its flags, its log and its end.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::lab::{PROCESS_DEADLINE, Said, finish};

struct Site {
    folder: TempDir,
}

struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    listening: Value,
}

impl Site {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zest"));
        command.env_clear().env("HOME", self.folder.path()).current_dir("/").args(["origin"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn run(&self, args: &[&str]) -> Said {
        finish(self.command(args).spawn().unwrap()).await
    }

    async fn start(&self, args: &[&str]) -> Running {
        let mut child = self.command(args).args(["--format", "json"]).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PROCESS_DEADLINE, stdout.next_line()).await.expect("it does not begin to listen").unwrap();
        let Some(line) = line else { panic!("{}", finish(child).await.stderr) };
        let listening: Value = serde_json::from_str(&line).unwrap();
        assert_eq!("listening", listening["event"], "{listening}");
        Running { child, stdout, listening }
    }
}

impl Running {
    /// Status and body of a GET.
    async fn get(&self, address: usize, target: &str, token: &str) -> (u16, String) {
        let address = self.listening["addresses"][address].as_str().unwrap();
        let exchange = async {
            let mut socket = TcpStream::connect(address).await.unwrap();
            let token = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
            let head = format!("GET {target} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n{token}\r\n");
            socket.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = timeout(PROCESS_DEADLINE, exchange).await.expect("no answer");
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    /// What it says on standard error, after a signal that ends it well.
    async fn stop(mut self, signal: Signal) -> String {
        kill_process(Pid::from_raw(self.child.id().unwrap() as i32).unwrap(), signal).unwrap();
        let last =
            timeout(PROCESS_DEADLINE, self.stdout.next_line()).await.expect("it does not stop").unwrap().unwrap();
        assert_eq!("stopped", serde_json::from_str::<Value>(&last).unwrap()["event"], "{last}");
        let said = finish(self.child).await;
        said.assert_ok();
        said.stderr
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `printf %s alice-token | sha256sum`
const SHA256: &str = "9c220f200955d76c0a38d308225e0ef10c5f971acaf2f8d1d8f732affa5bd1dc";

#[tokio::test(flavor = "multi_thread")]
async fn given_a_file_when_started_from_it_then_everything_in_it_counts() {
    let site = Site::new();
    site.file("admin.token", "admin-token\n");
    let config = site.file(
        "origin.toml",
        &format!(
            r#"
            data = "data"
            listen = ["127.0.0.1:0", "127.0.0.2:0"]
            public_url = "https://hub.example"
            anonymous = "none"
            quota = "1GB"
            [[users]]
            name = "alice"
            organizations = ["lab"]
            [[tokens]]
            user = "alice"
            scope = "write"
            sha256 = "{SHA256}"
            expires = 2999-12-31
            [[tokens]]
            scope = "admin"
            file = "admin.token"
            [rate_limits]
            api = {{ requests = 1, window = "1h" }}
            "#
        ),
    );

    let origin = site.start(&["--config", text(&config)]).await;

    assert_eq!("https://hub.example", origin.listening["url"]);
    for address in [0, 1] {
        assert_eq!(200, origin.get(address, "/health", "").await.0);
    }
    assert_eq!(401, origin.get(0, "/api/models/lab/none", "").await.0);
    assert_eq!(404, origin.get(0, "/api/models/lab/none", "alice-token").await.0);
    assert_eq!(429, origin.get(1, "/api/models/lab/none", "alice-token").await.0);
    // Behind a proxy, this machine is everybody.
    assert_eq!(401, origin.get(0, "/metrics", "").await.0);
    let (status, metrics) = origin.get(0, "/metrics", "admin-token").await;
    assert!(status == 200 && metrics.contains("zest_origin_quota_bytes 1000000000"), "{metrics}");
    assert!(site.folder.path().join("data").is_dir());
    origin.stop(Signal::TERM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_flags_and_a_file_when_both_say_something_then_the_flags_count() {
    let site = Site::new();
    let config = site.file("origin.toml", "data = \"a\"\nlisten = \"127.0.0.1:1\"\npublic_url = \"http://a\"\n");
    let token = site.file("token", "sesame");
    let data = site.folder.path().join("b");

    let args =
        ["--config", text(&config), "--data", text(&data), "--listen", "127.0.0.1:0", "--public-url", "http://b"];
    let origin = site.start(&[&args[..], &["--token-file", text(&token)]].concat()).await;

    assert_eq!("http://b", origin.listening["url"]);
    assert!(data.is_dir() && !site.folder.path().join("a").exists());
    assert_eq!(401, origin.get(0, "/api/models/lab/none", "").await.0);
    assert_eq!(404, origin.get(0, "/api/models/lab/none", "sesame").await.0);
    origin.stop(Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_requests_when_logged_then_a_line_each_as_asked_and_without_secrets() {
    let site = Site::new();
    let token = site.file("token", "sesame");
    let data = site.folder.path().join("data");
    let base = ["--data", text(&data), "--listen", "127.0.0.1:0", "--token-file", text(&token)];
    let target = "/lab/tiny/resolve/main/a?expires=1&signature=0123";
    let log = async |more: &[&str]| {
        let origin = site.start(&[&base[..], more].concat()).await;
        origin.get(0, target, "sesame").await;
        origin.get(0, "/api/models/lab/tiny", "sesam").await;
        origin.stop(Signal::TERM).await
    };

    assert_eq!("", log(&[]).await);
    let human = log(&["-v"]).await;
    let json = log(&["-v", "--log-format", "json"]).await;

    assert_eq!((2, 2), (human.lines().count(), json.lines().count()), "{human}{json}");
    for secret in ["sesam", "signature", "0123"] {
        assert!(!human.contains(secret) && !json.contains(secret), "{secret}: {human}{json}");
    }
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        ("/lab/tiny/resolve/main/a", 403),
        (lines[0]["path"].as_str().unwrap(), lines[0]["status"].as_u64().unwrap())
    );
    assert_eq!(("GET", 401), (lines[1]["method"].as_str().unwrap(), lines[1]["status"].as_u64().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_settings_that_make_no_sense_when_started_then_the_cause_and_a_hint() {
    let site = Site::new();
    let config = site.file("origin.toml", "data = \"data\"\n\n[[users]]\nname = \"a/b\"\n");
    let said = site.run(&["--config", text(&config)]).await;
    said.assert_failed(2, "origin.toml:3: users[0].name: `a/b` is no name");

    let missing = site.folder.path().join("missing.toml");
    site.run(&["--config", text(&missing)]).await.assert_failed(7, "cannot read");
    let empty = site.file("empty.toml", "");
    site.run(&["--config", text(&empty)]).await.assert_failed(2, "nothing says where the data is");
    let url = site.file("url.toml", "data = \"data\"\npublic_url = \"hub\"");
    site.run(&["--config", text(&url)]).await.assert_failed(2, "the public URL `hub` is none");
    assert!(!site.folder.path().join("data").exists());
}
