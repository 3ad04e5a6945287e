//! The whole way of a folder to its xorbs and shards, with nobody to send them to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use xet_cas::client::{Config, Hub, PublishOptions};
use xet_cas::server::{self, Origin};
use xet_data::processing::configurations::TranslatorConfig;
use xet_data::processing::{FileUploadSession, Sha256Policy};
use xet_runtime::config::XetConfig;
use xet_runtime::core::XetContext;

use crate::inputs::inputs;

/// Pairs.
const ROUNDS: usize = 9;

/// Prints what publishing a folder of all inputs takes.
pub fn table(only: &str) {
    if !"publish".contains(only) {
        return;
    }
    let folder = std::env::temp_dir().join(format!("bench-xet-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("files")).expect("a folder for temporary files");
    let mut bytes = 0;
    for input in inputs() {
        bytes += input.bytes.len();
        std::fs::write(folder.join("files").join(input.name), input.bytes).expect("room for temporary files");
    }
    rustls::crypto::ring::default_provider().install_default().expect("nobody else does");
    let ours = Ours::start(&folder.join("ours"));
    // Unmeasured, so that both find the files in memory.
    ours.publish(&folder.join("files"));
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let mut both = [0.0, 0.0];
        for turn in [round % 2, 1 - round % 2] {
            both[turn] = match turn {
                0 => ours.publish(&folder.join("files")),
                _ => rival_publish(&folder.join("files"), &folder.join("rival")),
            };
        }
        rounds.push(both);
    }
    let middle = |of: &dyn Fn(&[f64; 2]) -> f64| crate::measure::median(rounds.iter().map(of).collect());
    let (ours, theirs) = (middle(&|both| both[0]), middle(&|both| both[1]));
    println!("| publish, dry run | zest, s | MB/s | xet-data, s | MB/s | times as fast |");
    println!("|---|---|---|---|---|---|");
    let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
    let times = middle(&|both| both[1] / both[0]);
    println!("| {bytes} bytes, 2 cores | {ours:.3} | {:.0} | {theirs:.3} | {:.0} | **{times:.2}** |", rate(ours), rate(theirs));
    std::fs::remove_dir_all(&folder).expect("it is ours");
}

/// Our side: a dry run of the whole publication, of a repository that an origin in this process has not.
struct Ours {
    runtime: tokio::runtime::Runtime,
    hub: Hub,
}

impl Ours {
    fn start(data: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let origin = runtime.block_on(Origin::bind(server::Config::new(data), ([127, 0, 0, 1], 0).into()));
        let origin = origin.expect("a port");
        let hub = Hub::new(&Config::new(&origin.url()).expect("a URL")).expect("a client");
        runtime.spawn(origin.serve(std::future::pending()));
        Self { runtime, hub }
    }

    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn publish(&self, folder: &Path) -> f64 {
        let mut options = PublishOptions::default();
        options.dry_run = true;
        let repo = "lab/bench".parse().expect("a name");
        let begun = Instant::now();
        let published = self.runtime.block_on(self.hub.publish(folder, &repo, &options, |_| {})).expect("nothing is sent");
        assert!(published.commit_bytes == 0, "every file goes through the pipeline");
        begun.elapsed().as_secs_f64()
    }
}

/// How long the deployed client's session takes for all files of a folder: chunk, SHA-256, deduplicate among
/// them, pack, compress, describe. A dry run of it does everything but send; it asks no server for chunks either.
/// `state` is a folder for what it keeps, which is removed.
#[expect(clippy::disallowed_methods, reason = "it measures")]
pub fn rival_publish(folder: &Path, state: &Path) -> f64 {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder is there").path()).collect();
    files.sort();

    let begun = Instant::now();
    let config = XetConfig::new().with_config("deduplication.global_dedup_query_enabled", false).expect("its own key");
    // Where nothing listens: a dry run does not ask.
    let (context, endpoint) = (XetContext::with_config(config).expect("a runtime"), "http://127.0.0.1:9");
    let config = TranslatorConfig::test_server_config(&context, endpoint, state).expect("a folder for its state");
    let publish = async move {
        let session = FileUploadSession::dry_run(Arc::new(config)).await.expect("a session");
        let published = session.upload_files(files.into_iter().map(|file| (file, Sha256Policy::Compute))).await;
        assert!(!published.expect("the files are there").is_empty());
        session.finalize().await.expect("nothing is sent");
    };
    context.runtime.bridge_sync(publish).expect("it is not interrupted");
    let seconds = begun.elapsed().as_secs_f64();

    std::fs::remove_dir_all(state).expect("it is ours");
    seconds
}
