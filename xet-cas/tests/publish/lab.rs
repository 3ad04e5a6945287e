//! An origin behind a proxy, and a folder to publish.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;
use testkit::{FaultyOrigin, SeenRequest};
use tokio::task::JoinSet;
use xet_cas::client::{Commit, Config, Error, Hub, PublishOptions, PublishProgress, Published};
use xet_cas::server::{self, Origin};
use xet_cas::{RepoId, RepoType};

pub(crate) struct Lab {
    pub(crate) folder: TempDir,
    pub(crate) faulty: FaultyOrigin,
    pub(crate) hub: Hub,
    pub(crate) progress: Mutex<Vec<PublishProgress>>,
    _servers: JoinSet<()>,
}

pub(crate) fn repo() -> RepoId {
    "lab/files".parse().unwrap()
}

/// Bytes without a pattern.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..length.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length).collect()
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("source")).unwrap();
        let lab = |faulty, servers| {
            let hub = hub(&FaultyOrigin::url(&faulty));
            Self { hub, faulty, folder, progress: Mutex::default(), _servers: servers }
        };
        let (faulty, servers) = origin("origin").await;
        lab(faulty, servers)
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.source().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Remembers what it stored, as `zest publish` does.
    pub(crate) fn options(&self) -> PublishOptions {
        let mut options = PublishOptions::default();
        options.cache = Some(self.folder.path().join("cache"));
        options
    }

    pub(crate) async fn publish(&self, options: &PublishOptions) -> Result<Published, Error> {
        let progress = |event| self.progress.lock().unwrap().push(event);
        self.hub.publish(&self.source(), &repo(), options, progress).await
    }

    pub(crate) async fn commit(&self, revision: &str) -> Commit {
        self.hub.resolve(RepoType::Model, &repo(), revision).await.unwrap()
    }

    /// What the repository holds, downloaded.
    pub(crate) async fn contents(&self, revision: &str) -> BTreeMap<String, Vec<u8>> {
        let commit = self.commit(revision).await;
        let mut contents = BTreeMap::new();
        for file in self.hub.list(&commit).await.unwrap() {
            let mut body = self.hub.open_file(&commit, &file).await.unwrap();
            let mut content = Vec::new();
            while let Some(piece) = body.next().await.unwrap() {
                content.extend_from_slice(&piece);
            }
            contents.insert(file.path, content);
        }
        contents
    }

    /// What the folder holds.
    pub(crate) fn sources(&self) -> BTreeMap<String, Vec<u8>> {
        fn walk(folder: PathBuf, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = format!("{prefix}{}", entry.file_name().into_string().unwrap());
                if entry.file_type().unwrap().is_dir() {
                    walk(entry.path(), &format!("{path}/"), found);
                } else {
                    found.insert(path, std::fs::read(entry.path()).unwrap());
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(self.source(), "", &mut found);
        found
    }

    /// Requests whose target holds this.
    pub(crate) fn seen(&self, path: &str) -> Vec<SeenRequest> {
        self.faulty.requests().into_iter().filter(|seen| seen.target.contains(path)).collect()
    }
}

/// An origin, and the proxy before it.
pub(crate) async fn origin(name: &str) -> (FaultyOrigin, JoinSet<()>) {
    let data = tempfile::Builder::new().prefix(name).tempdir().unwrap();
    let origin = Origin::bind(server::Config::new(data.path()), ([127, 0, 0, 1], 0).into()).await.unwrap();
    let faulty = FaultyOrigin::start(&origin.url()).await.unwrap();
    let mut servers = JoinSet::new();
    servers.spawn(async move {
        origin.serve(std::future::pending()).await.unwrap();
        drop(data);
    });
    (faulty, servers)
}

pub(crate) fn hub(url: &str) -> Hub {
    let mut config = Config::new(url).unwrap();
    config.retry.attempts = 3;
    config.retry.delay = Duration::from_millis(1);
    Hub::new(&config).unwrap()
}
