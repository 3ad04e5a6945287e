//! What a hostile client does to `zest serve`, and that an honest one is served all the same.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};
use serde_json::Value;
use testkit::{Fault, FaultyPeer, PeerClient, PeerFault, Rule, Status};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;
use xet_cas::{FileHash, Leaf, chunks};

use crate::lab::{ENTRY_PATH, Lab, PROCESS_DEADLINE, REPO, Said, finish};

/// For the server to answer, or to hang up. It takes its time with who says nothing: 10 s.
const DEADLINE: Duration = Duration::from_secs(30);
/// What `zest serve` may ever have in memory, whoever is connected.
const MEMORY_BYTES_MAX: u64 = 100_000_000;
/// A file of the lab's model that has more than one chunk.
const FILE: &str = "model-00001-of-00002.safetensors";

/// A machine that has pulled the model and serves it.
pub(crate) struct Machine {
    home: PathBuf,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    pub(crate) address: SocketAddr,
}

impl Machine {
    pub(crate) async fn start(lab: &Lab, token: Option<&str>) -> Self {
        Self::start_with(lab, token, &[]).await
    }

    /// One that serves with these arguments besides.
    pub(crate) async fn start_with(lab: &Lab, token: Option<&str>, more: &[&str]) -> Self {
        let home = lab.folder.path().join("server");
        let command = |args: &[&str]| {
            let mut command = lab.command_at(&home, args);
            command.envs(token.map(|token| ("HF_TOKEN", token)));
            command
        };
        finish(command(&["pull", REPO]).spawn().unwrap()).await.assert_ok();
        Self::serve(home.clone(), command(&[&["serve", "--listen", "127.0.0.1:0", "--format", "json"], more].concat()))
            .await
    }

    async fn serve(home: PathBuf, mut serve: tokio::process::Command) -> Self {
        let mut child = serve.stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = next_event(&mut stdout).await;
        assert_eq!("listening", listening["event"], "{listening}");
        assert!(listening["files"].as_u64().unwrap() > 0, "{listening}");
        let address = listening["peer"].as_str().unwrap().parse().unwrap();
        Self { home, child, stdout, address }
    }

    pub(crate) async fn client(&self, lab: &Lab) -> PeerClient {
        within(PeerClient::connect(self.address, swarm(lab))).await.unwrap()
    }

    /// Stops it, and returns what it says in the end. Fails if it has died or grown before.
    pub(crate) async fn stop(mut self) -> Value {
        let peak_bytes = peak_memory_bytes(self.child.id().unwrap());
        assert!(peak_bytes < MEMORY_BYTES_MAX, "peak memory: {peak_bytes} bytes");
        kill_process(Pid::from_raw(self.child.id().unwrap() as i32).unwrap(), Signal::TERM).unwrap();
        let stopped = next_event(&mut self.stdout).await;
        assert_eq!("stopped", stopped["event"], "{stopped}");
        assert!(self.child.wait().await.unwrap().success());
        stopped
    }
}

async fn next_event(stdout: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = timeout(PROCESS_DEADLINE, stdout.next_line()).await.expect("zest serve hangs").unwrap();
    serde_json::from_str(&line.expect("zest serve has ended")).unwrap()
}

fn peak_memory_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("the server does nothing")
}

pub(crate) fn swarm(lab: &Lab) -> [u8; 20] {
    PeerClient::repo_swarm(&lab.faulty.address().to_string(), "model", REPO)
}

pub(crate) fn content(lab: &Lab) -> Vec<u8> {
    std::fs::read(lab.model().join(FILE)).unwrap()
}

pub(crate) fn hash(content: &[u8]) -> [u8; 32] {
    let leaves: Vec<Leaf> = chunks(content).map(Leaf::of).collect();
    let hash: FileHash = Leaf::file_hash(&leaves);
    *hash.as_bytes()
}

impl Lab {
    /// A pull by another machine, from this peer and maybe from the origin.
    async fn pull_from_server(&self, server: SocketAddr) -> Said {
        let peer = server.to_string();
        let args = ["pull", REPO, "--format", "json", "--peer", &peer, "--peer-timeout", "5"];
        finish(self.command(&args).spawn().unwrap()).await
    }

    /// That the whole model comes from a peer, while the origin has no data.
    pub(crate) async fn assert_served_by(&self, server: SocketAddr) {
        self.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::status(503)));
        let said = self.pull_from_server(server).await;
        said.assert_ok();
        self.assert_pulled();
        assert!(said.summary()["file_bytes"]["lan"].as_u64().unwrap() > 0, "{}", said.stdout);
        self.faulty.clear();
        self.forget();
    }
}

/// Sends this, and returns what comes back until the server hangs up.
async fn answer_to(server: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset is as good as an end.
    let _ = within(stream.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_connection_that_says_nothing_when_the_deadline_passes_then_it_is_closed() {
    let lab = Lab::new().await;
    let home = lab.home();
    lab.pull().await.assert_ok();
    let mut serve = lab.command_at(&home, &["serve", "--listen", "127.0.0.1:0", "--format", "json"]);
    serve.args(["--peer-timeout", "0.2"]);
    let server = Machine::serve(home, serve).await;

    assert!(answer_to(server.address, b"").await.is_empty());
    assert!(answer_to(server.address, b"\x13BitTorrent").await.is_empty());

    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_who_is_no_peer_when_connected_then_closed_without_a_byte() {
    let lab = Lab::new().await;
    let server = Machine::start(&lab, None).await;
    let mut handshake = [b"\x13BitTorrent protocol\x00\x00\x00\x00\x00\x10\x00\x00", &swarm(&lab)[..]].concat();
    handshake.extend_from_slice(b"-XX0000-hostile here");
    let mut other_protocol = handshake.clone();
    other_protocol[1] ^= 1;

    for (what, bytes) in [
        ("noise", &b"\xff\xfe\x00\x01noise"[..]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("another protocol", &other_protocol),
        ("half a handshake and silence", &handshake[..40]),
    ] {
        assert_eq!(b"", &answer_to(server.address, bytes).await[..], "{what}");
    }

    lab.assert_served_by(server.address).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_another_swarm_when_connected_then_it_tells_nothing_of_what_is_here() {
    let lab = Lab::new().await;
    let server = Machine::start(&lab, None).await;
    let content = content(&lab);
    let (file, bytes) = (hash(&content), content.len() as u64);
    let other = PeerClient::repo_swarm(&lab.faulty.address().to_string(), "model", "lab/secret");

    // The handshake is that of any swarm, so nobody learns from it which repositories are here.
    let mut client = within(PeerClient::connect(server.address, other)).await.unwrap();

    assert!(!within(client.has(file)).await.unwrap());
    let list = within(client.list(file, 0, bytes)).await.unwrap();
    assert_eq!((Status::NotFound, 0), (list.status, list.entries));
    drop(client);
    lab.assert_served_by(server.address).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_file_that_is_a_whole_xorb_when_the_xorb_is_asked_for_then_it_comes_out_of_the_file() {
    let lab = Lab::new().await;
    let (folder, repo) = (lab.folder.path().join("solo"), "lab/solo");
    let content: Vec<u8> = content(&lab).into_iter().take(700_000).map(|byte| byte ^ 0x55).collect();
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("solo.bin"), &content).unwrap();
    lab.zest(&["publish", folder.to_str().unwrap(), repo]).await.assert_ok();
    let server_home = lab.folder.path().join("server");
    finish(lab.command_at(&server_home, &["pull", repo]).spawn().unwrap()).await.assert_ok();
    let server = Machine::start(&lab, None).await;
    let leaves: Vec<Leaf> = chunks(&content).map(Leaf::of).collect();
    let xorb = *Leaf::xorb_hash(&leaves).as_bytes();

    let swarm = PeerClient::repo_swarm(&lab.faulty.address().to_string(), "model", repo);
    let mut client = within(PeerClient::connect(server.address, swarm)).await.unwrap();
    let (list, some) = within(client.xorb(xorb, 1, 3)).await.unwrap();
    let (none, beyond) = within(client.xorb([9; 32], 0, 1)).await.unwrap();

    assert_eq!((Status::Done, leaves.len()), (list.status, list.entries));
    let expected: Vec<(u32, Vec<u8>)> = (0..).zip(chunks(&content).map(<[u8]>::to_vec)).skip(1).take(2).collect();
    assert_eq!((Status::Done, &expected), (some.status, &some.chunks));
    assert_eq!((Status::NotFound, Status::NotFound), (none.status, beyond.status));
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_broken_messages_when_sent_then_the_connection_is_closed_and_others_are_served() {
    let lab = Lab::new().await;
    let server = Machine::start(&lab, None).await;
    let file = hash(&content(&lab));

    for (what, bytes) in [
        ("a frame of 4 GiB", &b"\xff\xff\xff\xff\x14\x01\x15"[..]),
        ("a frame just too large", &[0, 0x20, 0, 0, 20, 1]),
        ("a request of the wrong length", &[0, 0, 0, 2, 6, 0]),
        ("a handshake that is no dictionary", &[0, 0, 0, 4, 20, 0, b'l', b'e']),
    ] {
        let mut client = server.client(&lab).await;
        client.write(bytes).await.unwrap();
        within(client.wait_for_end()).await;
        assert!(client.has(file).await.is_err(), "{what}");
    }
    for (what, payload) in [
        ("an empty message", &b""[..]),
        ("a short question", &[0x10, 0, 0, 0, 1, 0]),
        ("a question with too few objects", &[0x10, 0, 0, 0, 1, 0, 0xff, 0xff]),
        ("a chunk that was never asked for", &[0x15, 0, 0, 0, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 7]),
        ("an end of nothing", &[0x16, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let mut client = server.client(&lab).await;
        client.write_message(payload).await.unwrap();
        within(client.wait_for_end()).await;
        assert!(client.has(file).await.is_err(), "{what}");
    }

    lab.assert_served_by(server.address).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_ranges_past_the_end_when_asked_for_then_what_there_is_or_not_found() {
    let lab = Lab::new().await;
    let server = Machine::start(&lab, None).await;
    let content = content(&lab);
    let (file, bytes) = (hash(&content), content.len() as u64);
    let count = chunks(&content).count() as u64;
    let mut client = server.client(&lab).await;

    assert!(within(client.has(file)).await.unwrap());
    let whole = within(client.file_bytes(file, 0, bytes)).await.unwrap();
    assert_eq!((Status::Done, &content), (whole.status, &whole.bytes()));
    let tail = within(client.file_bytes(file, bytes - 1, bytes + 1_000_000)).await.unwrap();
    assert!(tail.chunks.len() <= 1 && content.ends_with(&tail.bytes()), "{:?}", tail.status);
    let last = within(client.chunks(file, count - 1, count + 9)).await.unwrap();
    assert!(last.chunks.len() <= 1 && content.ends_with(&last.bytes()), "{:?}", last.status);
    for (start, end) in
        [(bytes, bytes + 1), (u64::MAX - 1, u64::MAX), (7, 7), (8, 7), (u64::MAX, 0), (1 << 32, (1 << 32) + 1)]
    {
        for answer in [client.file_bytes(file, start, end).await, client.chunks(file, start, end).await] {
            let answer = answer.unwrap();
            assert!(answer.status != Status::Done && answer.chunks.is_empty(), "{start}..{end}: {:?}", answer.status);
        }
        let list = within(client.list(file, start, end)).await.unwrap();
        assert!(list.status != Status::Done && list.entries == 0, "{start}..{end}: {:?}", list.status);
    }
    let all = within(client.file_bytes(file, 0, u64::MAX)).await.unwrap();
    assert!(all.chunks.is_empty() && all.status == Status::TooLarge, "{:?}", all.status);
    assert!(!within(client.has([7; 32])).await.unwrap());
    assert_eq!(Status::NotFound, within(client.file_bytes([7; 32], 0, 1)).await.unwrap().status);

    lab.assert_served_by(server.address).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_restricted_content_when_asked_for_then_nothing_is_learned() {
    const TOKEN: &str = "hf_secret_of_the_lab";
    let lab = Lab::with_token(Some(TOKEN)).await;
    let server = Machine::start(&lab, Some(TOKEN)).await;
    let content = content(&lab);
    let (file, bytes) = (hash(&content), content.len() as u64);

    // To be refused in the handshake would do as well.
    if let Ok(mut client) = within(PeerClient::connect(server.address, swarm(&lab))).await {
        assert!(!within(client.has(file)).await.unwrap());
        let list = within(client.list(file, 0, bytes)).await.unwrap();
        assert_eq!((Status::NotFound, 0), (list.status, list.entries));
        for answer in [client.file_bytes(file, 0, bytes).await.unwrap(), client.chunks(file, 0, 1).await.unwrap()] {
            assert_eq!((Status::NotFound, 0), (answer.status, answer.chunks.len()));
        }
    }

    assert_eq!(0, server.stop().await["data_bytes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_restricted_content_when_pulled_then_no_peer_is_asked_for_it() {
    const TOKEN: &str = "hf_secret_of_the_lab";
    let lab = Lab::with_token(Some(TOKEN)).await;
    let peer = FaultyPeer::start(lab.model_files(), PeerFault::Honest).await.unwrap();

    let address = peer.address().to_string();
    let mut command = lab.command(&["pull", REPO, "--format", "json", "--peer", &address]);
    let said = finish(command.env("HF_TOKEN", TOKEN).spawn().unwrap()).await;

    said.assert_ok();
    lab.assert_pulled();
    let asked = peer.asked();
    assert_eq!((0, 0, 0), (asked.have_queries, asked.lists, asked.ranges));
    assert_eq!(0, asked.handshakes, "the handshake names the repository's swarm to the peer");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_clients_that_ask_and_do_not_read_when_pulled_then_others_are_served_in_bounded_memory() {
    let lab = Lab::new().await;
    let server = Machine::start(&lab, None).await;
    let content = content(&lab);
    let (file, bytes) = (hash(&content), content.len() as u64);
    let mut idle = Vec::new();
    for _ in 0..60 {
        let mut client = server.client(&lab).await;
        for _ in 0..100 {
            client.ask_only(file, 0, bytes).await.unwrap();
        }
        idle.push(client);
    }

    lab.assert_served_by(server.address).await;

    drop(idle);
    lab.assert_served_by(server.address).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_client_that_floods_when_pulled_then_it_is_closed_and_others_are_served() {
    let lab = Lab::new().await;
    let server = Machine::start(&lab, None).await;
    let content = content(&lab);
    let mut client = server.client(&lab).await;

    // Never reads an answer.
    let flood = async { while client.ask_only(hash(&content), 0, content.len() as u64).await.is_ok() {} };
    within(flood).await;

    lab.assert_served_by(server.address).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_thousand_connections_when_pulled_then_it_lives_on() {
    const CONNECTIONS: usize = 1_000;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let lab = Lab::new().await;
    let server = Machine::start(&lab, None).await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(within(TcpStream::connect(server.address)).await.unwrap());
    }

    // There may be no slot left, but there is the origin.
    lab.pull_from_server(server.address).await.assert_ok();
    lab.assert_pulled();
    lab.forget();

    for stream in &mut silent {
        let read = within(stream.read_u8()).await;
        assert!(read.is_err(), "the server says something to who says nothing");
    }
    lab.assert_served_by(server.address).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_file_that_changes_underneath_when_asked_for_then_not_a_byte_of_it() {
    let lab = Lab::new().await;
    let server = Machine::start(&lab, None).await;
    let content = content(&lab);
    let (file, bytes) = (hash(&content), content.len() as u64);
    let mut client = server.client(&lab).await;
    assert_eq!(content, within(client.file_bytes(file, 0, bytes)).await.unwrap().bytes());

    change_in_place(&server.home, FILE);

    let again = within(client.file_bytes(file, 0, bytes)).await.unwrap();
    assert_eq!((Status::NotFound, 0), (again.status, again.chunks.len()));
    let mut client = server.client(&lab).await;
    assert!(!within(client.has(file)).await.unwrap());
    assert_eq!(0, within(client.list(file, 0, bytes)).await.unwrap().entries);
    assert_eq!(0, within(client.chunks(file, 0, 1)).await.unwrap().chunks.len());

    // With the origin there is a way, without it there is none.
    lab.pull_from_server(server.address).await.assert_ok();
    lab.assert_pulled();
    lab.forget();
    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::status(503)));
    let said = lab.pull_from_server(server.address).await;
    lab.assert_failed(&said, said.code.filter(|code| [5, 6].contains(code)).unwrap_or(5), "");
    lab.assert_no_partial_files();
    server.stop().await;
}

/// What happens to a cache while it is served: a peer that has asked before gets right bytes or none.
#[tokio::test(flavor = "multi_thread")]
async fn given_a_file_that_is_cut_replaced_or_deleted_underneath_when_asked_for_then_no_wrong_byte() {
    let cut = |path: &Path| std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(100_000).unwrap();
    let replace = |path: &Path| {
        let other = path.with_extension("other");
        std::fs::write(&other, vec![7; std::fs::metadata(path).unwrap().len() as usize]).unwrap();
        std::fs::rename(other, path).unwrap();
    };
    let delete = |path: &Path| std::fs::remove_file(path).unwrap();
    for (what, happens) in [("cut", &cut as &dyn Fn(&Path)), ("replaced", &replace), ("deleted", &delete)] {
        let lab = Lab::new().await;
        let server = Machine::start(&lab, None).await;
        let content = content(&lab);
        let (file, bytes) = (hash(&content), content.len() as u64);
        let mut before = server.client(&lab).await;
        assert_eq!(content, within(before.file_bytes(file, 0, bytes)).await.unwrap().bytes());

        happens(&pulled_path(&server.home, FILE));

        // An open descriptor still has the bytes of a file whose name has gone.
        let answer = within(before.file_bytes(file, 0, bytes)).await.unwrap().bytes();
        assert!(answer == content || answer.is_empty(), "{what}: {} bytes", answer.len());
        let mut after = server.client(&lab).await;
        let answer = within(after.file_bytes(file, 0, bytes)).await.unwrap().bytes();
        assert!(answer == content || answer.is_empty(), "{what}: {} bytes", answer.len());
        lab.pull_from_server(server.address).await.assert_ok();
        lab.assert_pulled();
        drop((before, after));
        server.stop().await;
    }
}

/// Where the bytes of a pulled file are.
fn pulled_path(home: &Path, name: &str) -> PathBuf {
    let repo = home.join("hf/hub/models--lab--model");
    let commit = std::fs::read_to_string(repo.join("refs/main")).unwrap();
    std::fs::canonicalize(repo.join("snapshots").join(commit).join(name)).unwrap()
}

/// Flips a bit in the middle of a pulled file, which keeps its length and its time of change.
fn change_in_place(home: &Path, name: &str) {
    let path = pulled_path(home, name);
    let (metadata, mut bytes) = (std::fs::metadata(&path).unwrap(), std::fs::read(&path).unwrap());
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(middle as u64)).unwrap();
    file.write_all(&bytes[middle..=middle]).unwrap();
    file.set_modified(metadata.modified().unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_cache_without_an_index_when_seeded_then_it_is_served() {
    let lab = Lab::new().await;
    Machine::start(&lab, None).await.stop().await;
    let home = lab.folder.path().join("server");
    std::fs::remove_dir_all(home.join("zest")).unwrap();

    let seed = |args: &[&str]| lab.command_at(&home, &[&["seed", "--format", "json"], args].concat());
    let first = finish(seed(&["--index-only"]).spawn().unwrap()).await;
    let second = finish(seed(&["--index-only", REPO]).spawn().unwrap()).await;
    let elsewhere = finish(seed(&["--index-only", "lab/other"]).spawn().unwrap()).await;
    let server = Machine::serve(home.clone(), seed(&["--listen", "127.0.0.1:0"])).await;

    let last = |said: &Said| {
        said.assert_ok();
        said.events().pop().unwrap()
    };
    assert!(last(&first)["files"].as_u64().unwrap() >= 2, "{}", first.stdout);
    assert_eq!(0, last(&second)["files"], "{}", second.stdout);
    assert_eq!(0, elsewhere.events()[0]["files"], "{}", elsewhere.stdout);
    lab.assert_served_by(server.address).await;
    kill_process(Pid::from_raw(server.child.id().unwrap() as i32).unwrap(), Signal::TERM).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_cached_file_that_is_not_what_the_listing_says_when_seeded_then_it_is_passed_over() {
    let lab = Lab::new().await;
    lab.pull().await.assert_ok();
    std::fs::remove_dir_all(lab.home().join("zest")).unwrap();
    let commit = std::fs::read_to_string(lab.repo_folder().join("refs/main")).unwrap();
    let path = std::fs::canonicalize(lab.repo_folder().join("snapshots").join(commit).join(FILE)).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[70_000] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();

    let said = lab.zest(&["seed", "--index-only", "--format", "json"]).await;

    said.assert_ok();
    let passed: Vec<_> = said.events().into_iter().filter(|event| event["event"] == "passed").collect();
    assert_eq!(1, passed.len(), "{}", said.stdout);
    assert_eq!(path.to_str().unwrap(), passed[0]["path"]);
}
