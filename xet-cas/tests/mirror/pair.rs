//! Two origins, the second of which mirrors the first.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt as _;
use serde_json::json;
use tempfile::TempDir;
use testkit::{FaultyOrigin, SeenRequest};
use xet_cas::client::{Commit, Config, Error, Hub, PublishOptions, ReadOptions, TreeFile};
use xet_cas::server::{self, Mirror};
use xet_cas::{RepoId, RepoType};

use super::lab::Lab;

pub(crate) const REPO: &str = "lab/model";
/// Path of the URLs of xorb data.
pub(crate) const DATA: &str = "/cas/xorbs/";
/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Pair {
    /// `None`: it is gone.
    pub(crate) upstream: Option<Lab>,
    pub(crate) faulty: FaultyOrigin,
    pub(crate) mirror: Lab,
    sources: TempDir,
}

impl Pair {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    /// With other settings of the first origin, and of the second.
    pub(crate) async fn with(
        upstream: impl FnOnce(&mut server::Config),
        mirror: impl FnOnce(&mut server::Config),
    ) -> Self {
        let upstream = Lab::start_with(upstream).await;
        let faulty = FaultyOrigin::start(&upstream.url()).await.unwrap();
        let behind = faulty.url();
        let mirror = Lab::start_with(|config| {
            config.mirror = Some(impatient(&behind));
            mirror(config);
        })
        .await;
        Self { upstream: Some(upstream), faulty, mirror, sources: tempfile::tempdir().unwrap() }
    }

    /// Publishes files at the first origin and returns the commit.
    pub(crate) async fn publish(&self, files: &[(&str, Vec<u8>)]) -> String {
        let folder = tempfile::tempdir_in(self.sources.path()).unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let upstream = hub(&self.upstream.as_ref().unwrap().url());
        let published = upstream.publish(folder.path(), &repo(), &PublishOptions::default(), |_| {}).await.unwrap();
        published.commit
    }

    /// A client of the second.
    pub(crate) fn hub(&self) -> Hub {
        hub(&self.mirror.url())
    }

    /// The first origin goes away for good.
    pub(crate) async fn lose_upstream(&mut self) {
        self.upstream.take().unwrap().stop().await;
    }

    /// Starts the second again.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// Starts the second again, with other settings.
    pub(crate) async fn restart_with(self, adjust: impl FnOnce(&mut server::Config)) -> Self {
        let Self { upstream, faulty, mirror, sources } = self;
        let behind = impatient(&faulty.url());
        let restarted = mirror.restart_with(|config| {
            config.mirror = Some(behind);
            adjust(config);
        });
        Self { mirror: restarted.await, upstream, faulty, sources }
    }

    /// What was asked of the first on behalf of the second.
    pub(crate) fn seen(&self, path: &str) -> Vec<SeenRequest> {
        self.faulty.requests().into_iter().filter(|seen| seen.target.contains(path)).collect()
    }
}

/// A mirror that does not wait long.
fn impatient(url: &str) -> Mirror {
    let mut mirror = Mirror::of(url);
    mirror.deadlines.stall = Duration::from_secs(2);
    mirror.deadlines.answer = Duration::from_secs(2);
    mirror
}

pub(crate) fn hub(url: &str) -> Hub {
    let mut config = Config::new(url).unwrap();
    config.retry.attempts = 1;
    Hub::new(&config).unwrap()
}

pub(crate) fn repo() -> RepoId {
    REPO.parse().unwrap()
}

pub(crate) async fn resolve(hub: &Hub, revision: &str) -> Result<Commit, Error> {
    hub.resolve(RepoType::Model, &repo(), revision).await
}

pub(crate) async fn files(hub: &Hub, commit: &Commit) -> BTreeMap<String, TreeFile> {
    let files = hub.list(commit).await.unwrap();
    files.into_iter().map(|file| (file.path.clone(), file)).collect()
}

/// All of a file, verified by the client.
pub(crate) async fn read(hub: &Hub, commit: &Commit, file: &TreeFile) -> Result<Vec<u8>, Error> {
    let mut options = ReadOptions::default();
    options.plain_fallback = false;
    let pieces = hub.read(commit, file, .., &options).try_collect::<Vec<_>>();
    tokio::time::timeout(SOON, pieces).await.expect("it hangs").map(|pieces| pieces.concat())
}

/// Everything that a revision holds, through the mirror.
pub(crate) async fn read_all(hub: &Hub, revision: &str) -> BTreeMap<String, Vec<u8>> {
    let commit = resolve(hub, revision).await.unwrap();
    let mut contents = BTreeMap::new();
    for (path, file) in files(hub, &commit).await {
        contents.insert(path, read(hub, &commit, &file).await.unwrap());
    }
    contents
}

/// SplitMix64: the same bytes for the same seed.
pub(crate) fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).to_le_bytes()
    });
    words.flatten().take(length).collect()
}

pub(crate) fn contents(files: &[(&str, Vec<u8>)]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(path, content)| ((*path).to_owned(), content.clone())).collect()
}

/// A branch of the first origin at a commit.
pub(crate) async fn branch(upstream: &Lab, name: &str, at: &str) {
    let body = json!({ "startingPoint": at }).to_string();
    upstream.post(&format!("/api/models/{REPO}/branch/{name}"), body).send().await.ok();
}
