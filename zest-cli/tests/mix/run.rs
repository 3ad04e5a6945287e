//! One run: a home, a proxy before the origin, peers, a few pulls, and damage between them.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swarm::{Destination, ErrorKind, Event, Index, PullRequest};
use tempfile::TempDir;
use testkit::{Dice, FaultyOrigin, FaultyPeer, Sink};
use tokio::sync::mpsc;
use xet_cas::client::{self, Hub, Secret};

use crate::damage::{damage, take_away};
use crate::faults::{INTEGRITY, NETWORK, NOT_AUTHORISED, NOT_FOUND, OriginFault, draw_peer};
use crate::origin::{Model, SharedOrigin, files_below};

const DISK: i32 = 7;
const PARTIAL: i32 = 8;
const TOKEN: &str = "hf_mix_secret";
/// Pulls under faults in one run, at most; a last one without faults follows.
const PULLS_MAX: u64 = 3;
/// For the origin and for peers to bring anything, when a pull may fail for it.
const SHORT: Duration = Duration::from_millis(400);
/// When it must not.
const LONG: Duration = Duration::from_secs(4);

/// What became of one run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) pulls: u64,
    pub(crate) successes: u64,
    pub(crate) killed: u64,
    /// Exit codes.
    pub(crate) failures: Vec<i32>,
}

/// What was done in a run, told if it goes wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story(Arc<Mutex<Vec<String>>>);

impl Story {
    fn tell(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.lock().unwrap().iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// How a pull ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Exit(i32),
    /// Killed, or dropped.
    Stopped,
}

pub(crate) async fn run(seed: u64, origin: Arc<SharedOrigin>, story: Story) -> Tally {
    let mut dice = Dice::new(seed);
    let model = dice.below(origin.models.len() as u64) as usize;
    let mut run = Run::new(dice, &origin, model, story).await;
    for _ in 0..run.dice.below(PULLS_MAX) + 1 {
        run.pull_under_faults().await;
        for _ in 0..run.dice.below(3) {
            let text = damage(&mut run.dice, run.home.path(), &run.folder_name, &mut run.touched);
            run.story.tell(text);
        }
    }
    run.heal().await;
    run.tally
}

struct Run<'r> {
    dice: Dice,
    model: &'r Model,
    /// `models--mix--0`.
    folder_name: String,
    home: TempDir,
    proxy: FaultyOrigin,
    elsewhere: Sink,
    token: Option<Secret>,
    /// What was damaged since it was last put right.
    touched: HashSet<PathBuf>,
    story: Story,
    tally: Tally,
}

impl<'r> Run<'r> {
    async fn new(mut dice: Dice, origin: &'r SharedOrigin, model: usize, story: Story) -> Self {
        let model = &origin.models[model];
        let token = if dice.percent(30) { Secret::new(TOKEN) } else { None };
        story.tell(format!("{}, {}", model.repo, if token.is_some() { "with a token" } else { "anonymously" }));
        Self {
            dice,
            model,
            folder_name: format!("models--{}", model.repo.replace('/', "--")),
            home: tempfile::tempdir().unwrap(),
            proxy: FaultyOrigin::start(&origin.url).await.unwrap(),
            elsewhere: Sink::start().await.unwrap(),
            token,
            touched: HashSet::new(),
            story,
            tally: Tally::default(),
        }
    }

    fn repo_folder(&self) -> PathBuf {
        self.home.path().join("hf/hub").join(&self.folder_name)
    }

    async fn pull_under_faults(&mut self) {
        let elsewhere = self.elsewhere.url();
        let faults: Vec<OriginFault> =
            (0..self.dice.below(4)).map(|_| OriginFault::draw(&mut self.dice, &elsewhere)).collect();
        let mut codes: BTreeSet<i32> = faults.iter().flat_map(|fault| fault.codes.iter().copied()).collect();
        // Two at once may hit all attempts of one request.
        let must_succeed = faults.is_empty() || (faults.len() == 1 && faults[0].is_harmless);
        for fault in faults {
            self.story.tell(format!("origin: {}", fault.text));
            self.proxy.add(fault.rule);
        }
        let peers = self.draw_peers().await;
        let had_ref = self.repo_folder().join("refs/main").exists();
        let patience = if must_succeed { LONG } else { SHORT };
        let end = match self.dice.below(20) {
            0..=2 => self.pull_process(&peers, patience, true).await,
            3 => self.pull_process(&peers, patience, false).await,
            4..=6 => self.pull_and_drop(&peers, patience).await,
            7 | 8 => {
                codes.extend([NETWORK, INTEGRITY, DISK]);
                let end = self.pull_and_take_away(&peers, patience).await;
                self.touched.extend(files_below(self.home.path()).into_iter().map(|path| self.home.path().join(path)));
                end
            }
            _ => self.pull(&peers, patience).await,
        };
        self.story.tell(format!("{end:?}"));
        self.proxy.clear();
        self.tally.pulls += 1;
        match end {
            End::Exit(0) => {
                self.tally.successes += 1;
                let is_underneath = codes.contains(&DISK);
                if !is_underneath {
                    self.touched.clear();
                    self.assert_complete();
                }
            }
            End::Exit(code) => {
                if codes.len() > 1 {
                    codes.insert(PARTIAL);
                }
                let is_underneath = codes.contains(&DISK);
                assert!(!must_succeed || is_underneath, "exit code {code} for a fault that a pull has to stand");
                assert!(codes.contains(&code), "exit code {code}, not of {codes:?}");
                assert!(had_ref || !self.repo_folder().join("refs/main").exists(), "a ref was written");
                self.tally.failures.push(code);
            }
            End::Stopped => self.tally.killed += 1,
        }
        self.assert_nothing_wrong();
        let leaked = self.elsewhere.requests().into_iter().any(|seen| seen.header("authorization").is_some());
        assert!(!leaked, "a token went to another host");
    }

    /// When the faults are over the same command puts everything right.
    async fn heal(&mut self) {
        self.proxy.clear();
        self.story.tell("without faults");
        let end = self.pull(&[], LONG).await;
        self.story.tell(format!("{end:?}"));
        assert_eq!(End::Exit(0), end, "not healed");
        self.tally.pulls += 1;
        self.tally.successes += 1;
        self.touched.clear();
        self.assert_complete();
        self.assert_nothing_wrong();
        let left: Vec<_> = files_below(&self.repo_folder())
            .into_iter()
            .filter(|path| path.to_string_lossy().contains(".zest"))
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    async fn draw_peers(&mut self) -> Vec<FaultyPeer> {
        let mut peers = Vec::new();
        for _ in 0..self.dice.below(3) {
            let fault = draw_peer(&mut self.dice);
            self.story.tell(format!("peer: {fault:?}"));
            let files = self.model.files.values().filter(|content| !content.is_empty()).cloned();
            peers.push(FaultyPeer::start(files, fault).await.unwrap());
        }
        peers
    }

    /// A pull in this process.
    async fn pull(&self, peers: &[FaultyPeer], patience: Duration) -> End {
        let mut config = client::Config::new(&self.proxy.url()).unwrap();
        config.token = self.token.clone();
        config.deadlines.connect = LONG;
        config.deadlines.answer = patience;
        config.deadlines.stall = patience;
        config.deadlines.metadata_body = patience * 2;
        config.retry.attempts = 3;
        config.retry.delay = Duration::from_millis(20);
        config.retry.delay_max = Duration::from_millis(100);
        let hub = Arc::new(Hub::new(&config).unwrap());
        let cache = Destination::Cache(self.home.path().join("hf/hub"));
        let mut request = PullRequest::new(self.model.repo.parse().unwrap(), cache);
        request.peers = peers.iter().map(|peer| peer.address().to_string()).collect();
        let index = Index::new(self.home.path().join("zest"));
        let mut config = swarm::Config::default();
        config.workers = 2;
        config.peer_deadline = patience.min(Duration::from_secs(2));
        let (events, mut watched) = mpsc::channel(64);
        let story = self.story.clone();
        let watch = async {
            while let Some(event) = watched.recv().await {
                if !matches!(event, Event::Progress { .. } | Event::FileDone { .. } | Event::Summary(_)) {
                    story.tell(format!("    {event:?}"));
                }
            }
        };
        let (result, ()) = tokio::join!(swarm::pull(hub, &request, &index, &config, events), watch);
        match result {
            Ok(_) => End::Exit(0),
            Err(error) => {
                self.story.tell(format!("    {error}"));
                End::Exit(exit_code(&error))
            }
        }
    }

    /// A pull whose future is dropped when so much has arrived.
    async fn pull_and_drop(&mut self, peers: &[FaultyPeer], patience: Duration) -> End {
        let bytes = self.proxy.sent_bytes() + self.draw_bytes();
        self.story.tell(format!("dropped at {bytes} bytes"));
        tokio::select! {
            end = self.pull(peers, patience) => end,
            () = self.proxy.until_sent(bytes) => End::Stopped,
        }
    }

    /// A pull that loses files underneath when so much has arrived.
    async fn pull_and_take_away(&mut self, peers: &[FaultyPeer], patience: Duration) -> End {
        let bytes = self.proxy.sent_bytes() + self.draw_bytes();
        let mut dice = self.dice.clone();
        let meanwhile = async {
            self.proxy.until_sent(bytes).await;
            self.story.tell(take_away(&mut dice, self.home.path(), &self.folder_name));
            std::future::pending::<()>().await;
        };
        let end = tokio::select! {
            end = self.pull(peers, patience) => end,
            () = meanwhile => unreachable!("it is pending"),
        };
        self.dice = dice;
        end
    }

    /// A pull as a process, killed when so much has arrived or let run.
    async fn pull_process(&mut self, peers: &[FaultyPeer], patience: Duration, is_killed: bool) -> End {
        let bytes = self.proxy.sent_bytes() + self.draw_bytes();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_zest"));
        let home = self.home.path();
        command.env_clear().args(["pull", &self.model.repo, "--format", "quiet"]);
        command.env("HOME", home).env("HF_HOME", home.join("hf")).env("ZEST_HOME", home.join("zest"));
        command.env("HF_ENDPOINT", self.proxy.url()).env("ZEST_ATTEMPTS", "3");
        let seconds = patience.as_secs_f64().to_string();
        command.env("ZEST_STALL_TIMEOUT", &seconds).env("ZEST_PEER_TIMEOUT", &seconds);
        if self.token.is_some() {
            command.env("HF_TOKEN", TOKEN);
        }
        for peer in peers {
            command.args(["--peer", &peer.address().to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        self.story.tell(if is_killed { format!("a process, killed at {bytes} bytes") } else { "a process".to_owned() });
        tokio::select! {
            status = child.wait() => return End::Exit(status.unwrap().code().expect("nobody killed it")),
            () = self.proxy.until_sent(bytes), if is_killed => {}
        }
        child.kill().await.unwrap();
        End::Stopped
    }

    /// Somewhere between the first byte of metadata and the last one of data.
    fn draw_bytes(&mut self) -> u64 {
        let all = self.model.files.values().map(|content| content.len() as u64).sum::<u64>();
        self.dice.below(all)
    }

    /// That all files are there, as they should be, and can be found.
    #[track_caller]
    fn assert_complete(&self) {
        let repo = self.repo_folder();
        let commit = std::fs::read_to_string(repo.join("refs/main")).unwrap();
        let snapshot = repo.join("snapshots").join(commit);
        for (path, content) in &self.model.files {
            let found =
                std::fs::read(snapshot.join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(found == *content, "{} is wrong", path.display());
        }
    }

    /// That what is exposed is right, but for what was damaged after it was put there.
    #[track_caller]
    fn assert_nothing_wrong(&self) {
        let snapshots = self.repo_folder().join("snapshots");
        for path in files_below(&snapshots) {
            let Ok(blob) = std::fs::canonicalize(snapshots.join(&path)) else { continue };
            if self.is_touched(&blob) {
                continue;
            }
            let name: PathBuf = path.components().skip(1).collect();
            let right = self.model.files.get(&name).unwrap_or_else(|| panic!("{} is exposed", path.display()));
            assert!(std::fs::read(&blob).unwrap() == *right, "{} is exposed with wrong bytes", path.display());
        }
    }

    fn is_touched(&self, blob: &Path) -> bool {
        self.touched.iter().any(|path| path == blob || std::fs::canonicalize(path).is_ok_and(|path| path == blob))
    }
}

/// As the program ends for this error.
fn exit_code(error: &swarm::Error) -> i32 {
    if error.is_mixed() {
        return PARTIAL;
    }
    match error.kind() {
        Some(ErrorKind::NotAuthorised) => NOT_AUTHORISED,
        Some(ErrorKind::NotFound) => NOT_FOUND,
        Some(ErrorKind::Network) => NETWORK,
        Some(ErrorKind::Integrity) => INTEGRITY,
        Some(ErrorKind::Disk) => DISK,
        other => panic!("{other:?}: {error}"),
    }
}
