//! An origin with a published model, a faulty proxy before it, and `zest` processes with homes of their own.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use testkit::model::{ModelSpec, generate};
use testkit::{Fault, FaultyOrigin, Rule};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use xet_cas::client::{self, Hub, PublishOptions};
use xet_cas::server::{Access, Config, Origin};

pub(crate) const REPO: &str = "lab/model";
/// Path of the URLs that entries are fetched from.
pub(crate) const ENTRY_PATH: &str = "/cas/xorbs/";
/// Enough for two safetensors files of several xorb chunks each, and quick to publish.
const MODEL_BYTES: u64 = 6_000_000;
/// No test may hang: far beyond what the slowest takes.
pub(crate) const PROCESS_DEADLINE: Duration = Duration::from_secs(120);

pub(crate) struct Lab {
    pub(crate) folder: TempDir,
    pub(crate) faulty: FaultyOrigin,
    _servers: JoinSet<()>,
}

/// What a finished process said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::with_token(None).await
    }

    pub(crate) async fn with_token(token: Option<&str>) -> Self {
        Self::with(token, &[]).await
    }

    /// A lab whose model has these files besides.
    pub(crate) async fn with(token: Option<&str>, files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        generate(&model, &ModelSpec { bytes: MODEL_BYTES, seed: 7 }).unwrap();
        files.iter().for_each(|(name, content)| std::fs::write(model.join(name), content).unwrap());
        let mut config = Config::new(folder.path().join("origin"));
        config.access = token.map(Access::one_token).unwrap_or_default();
        let origin = Origin::bind(config, ([127, 0, 0, 1], 0).into()).await.unwrap();
        let url = origin.url();
        let mut servers = JoinSet::new();
        servers.spawn(async move { origin.serve(std::future::pending()).await.unwrap() });

        let mut config = client::Config::new(&url).unwrap();
        config.token = token.and_then(client::Secret::new);
        let hub = Hub::new(&config).unwrap();
        hub.publish(&model, &REPO.parse().unwrap(), &PublishOptions::default(), |_| {}).await.unwrap();
        let faulty = FaultyOrigin::start(&url).await.unwrap();
        Self { folder, faulty, _servers: servers }
    }

    pub(crate) fn model(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(crate) fn repo_folder(&self) -> PathBuf {
        self.home().join("hf/hub/models--lab--model")
    }

    /// A `zest` process that sees this lab and nothing of the user.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_at(&self.home(), args)
    }

    /// The same on another machine: with a home of its own.
    pub(crate) fn command_at(&self, home: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zest"));
        command.env_clear().args(args);
        command.env("HOME", home).env("HF_HOME", home.join("hf")).env("ZEST_HOME", home.join("zest"));
        command.env("HF_ENDPOINT", self.faulty.url()).env("ZEST_STALL_TIMEOUT", "0.5").env("ZEST_ATTEMPTS", "2");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub(crate) async fn zest(&self, args: &[&str]) -> Said {
        finish(self.command(args).spawn().unwrap()).await
    }

    /// A shell script as root of a mount namespace of its own: `$0` is `zest`, `$1` is `argument`. `None` where
    /// the system allows no namespaces, which CI does.
    pub(crate) async fn in_namespace(&self, script: &str, argument: &str) -> Option<Said> {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", script, env!("CARGO_BIN_EXE_zest"), argument]);
        for (key, value) in self.command(&[]).as_std().get_envs() {
            command.env(key, value.unwrap_or_default());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let said = finish(command.spawn().unwrap()).await;
        if said.stderr.contains("unshare:") && std::env::var_os("CI").is_none() {
            eprintln!("not tried: this system allows no namespaces: {}", said.stderr);
            return None;
        }
        Some(said)
    }

    /// Forgets all that was pulled.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(self.home()).unwrap();
    }

    /// The files of the model that have chunks, which peers may serve.
    pub(crate) fn model_files(&self) -> Vec<Vec<u8>> {
        let files = files_below(&self.model()).into_iter().map(|path| std::fs::read(self.model().join(path)).unwrap());
        files.filter(|content| !content.is_empty()).collect()
    }

    /// `zest pull` of the lab's model as JSON events.
    pub(crate) async fn pull(&self) -> Said {
        self.zest(&["pull", REPO, "--format", "json"]).await
    }

    /// A pull under one fault for every request whose path holds `path`.
    pub(crate) async fn pull_with(&self, path: &str, fault: Fault) -> Said {
        self.faulty.add(Rule::path_contains(path, fault));
        self.pull().await
    }

    /// That a pull failed as it should: code, cause, a hint, no backtrace, nothing exposed.
    #[track_caller]
    pub(crate) fn assert_failed(&self, said: &Said, code: i32, cause: &str) {
        said.assert_failed(code, cause);
        assert!(!self.repo_folder().join("refs/main").exists(), "a ref was written");
        for path in files_below(&self.repo_folder().join("snapshots")) {
            let content = std::fs::read(self.repo_folder().join("snapshots").join(&path)).unwrap();
            let source = self.model().join(path.components().skip(1).collect::<PathBuf>());
            assert_eq!(std::fs::read(source).unwrap(), content, "{} is exposed with wrong bytes", path.display());
        }
    }

    /// That the whole model is in the cache, byte by byte, findable by its ref, and nothing else is left.
    #[track_caller]
    pub(crate) fn assert_pulled(&self) {
        let commit = std::fs::read_to_string(self.repo_folder().join("refs/main")).unwrap();
        self.assert_identical(&self.repo_folder().join("snapshots").join(commit));
        self.assert_no_partial_files();
    }

    #[track_caller]
    pub(crate) fn assert_identical(&self, pulled: &Path) {
        let files = files_below(&self.model());
        assert!(files.len() >= 8, "the model has only {files:?}");
        for path in files {
            let (ours, theirs) = (std::fs::read(self.model().join(&path)), std::fs::read(pulled.join(&path)));
            let digest = |bytes: std::io::Result<Vec<u8>>| Sha256::digest(bytes.unwrap());
            assert_eq!(digest(ours), digest(theirs), "{}", path.display());
        }
    }

    /// Waits until pulls have noted so many chunks in their journals.
    pub(crate) async fn until_noted(&self, chunks: u64) {
        let noted = || {
            let blobs = self.repo_folder().join("blobs");
            let journals = files_below(&blobs).into_iter().filter(|path| path.to_string_lossy().ends_with("-journal"));
            journals
                .map(|path| std::fs::metadata(blobs.join(path)).map_or(0, |journal| journal.len() / 44))
                .sum::<u64>()
        };
        let poll = async {
            while noted() < chunks {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PROCESS_DEADLINE, poll).await.expect("nothing is noted");
    }

    #[track_caller]
    pub(crate) fn assert_no_partial_files(&self) {
        let endings = ["zest", "zest-journal", "tmp"];
        let is_partial =
            |path: &PathBuf| path.extension().is_some_and(|extension| endings.iter().any(|e| extension == *e));
        let left: Vec<_> = files_below(&self.home()).into_iter().filter(is_partial).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

pub(crate) async fn finish(child: Child) -> Said {
    let output = tokio::time::timeout(PROCESS_DEADLINE, child.wait_with_output()).await.expect("zest hangs").unwrap();
    let Output { status, stdout, stderr } = output;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

impl Said {
    #[track_caller]
    pub(crate) fn assert_ok(&self) {
        assert_eq!(Some(0), self.code, "{}", self.stderr);
    }

    #[track_caller]
    pub(crate) fn assert_failed(&self, code: i32, cause: &str) {
        assert_eq!(Some(code), self.code, "{}", self.stderr);
        assert!(self.stderr.contains("error: "), "{}", self.stderr);
        assert!(self.stderr.contains(cause), "`{cause}` is not in: {}", self.stderr);
        assert!(self.stderr.contains("hint: "), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("stack backtrace"), "{}", self.stderr);
    }

    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    pub(crate) fn summary(&self) -> serde_json::Value {
        self.assert_ok();
        let last = self.events().pop().unwrap();
        assert_eq!("summary", last["event"], "{last}");
        last
    }
}

/// All files and links, as paths relative to `root`, sorted.
pub(crate) fn files_below(root: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(root.join(&folder)) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            let list = if entry.file_type().unwrap().is_dir() { &mut folders } else { &mut files };
            list.push(path);
        }
    }
    files.sort();
    files
}
