//! One origin for all runs, and the models that it has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use testkit::model::{ModelSpec, generate};
use tokio::task::JoinSet;
use xet_cas::client::{self, Hub, PublishOptions};
use xet_cas::server::{Config, Origin};

/// From one entry a file to several.
const MODEL_BYTES: [u64; 3] = [150_000, 900_000, 3_000_000];

pub(crate) struct SharedOrigin {
    pub(crate) url: String,
    pub(crate) models: Vec<Model>,
    _folder: TempDir,
    _servers: JoinSet<()>,
}

/// A published model.
pub(crate) struct Model {
    /// `mix/0`.
    pub(crate) repo: String,
    /// Content by path.
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
}

impl SharedOrigin {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::bind(Config::new(folder.path().join("origin")), ([127, 0, 0, 1], 0).into()).await.unwrap();
        let url = origin.url();
        let mut servers = JoinSet::new();
        servers.spawn(async move { origin.serve(std::future::pending()).await.unwrap() });
        let hub = Hub::new(&client::Config::new(&url).unwrap()).unwrap();
        let mut models = Vec::new();
        for (number, bytes) in MODEL_BYTES.into_iter().enumerate() {
            let source = folder.path().join(number.to_string());
            generate(&source, &ModelSpec { bytes, seed: bytes }).unwrap();
            let repo = format!("mix/{number}");
            hub.publish(&source, &repo.parse().unwrap(), &PublishOptions::default(), |_| {}).await.unwrap();
            let files = files_below(&source).into_iter().map(|path| {
                let content = std::fs::read(source.join(&path)).unwrap();
                (path, content)
            });
            models.push(Model { repo, files: files.collect() });
        }
        Self { url, models, _folder: folder, _servers: servers }
    }
}

/// All files and links, as paths relative to `root`, sorted.
pub(crate) fn files_below(root: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(root.join(&folder)) else { continue };
        for entry in entries.flatten() {
            let path = folder.join(entry.file_name());
            let list = if entry.file_type().is_ok_and(|kind| kind.is_dir()) { &mut folders } else { &mut files };
            list.push(path);
        }
    }
    files.sort();
    files
}
