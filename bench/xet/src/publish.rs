//! The whole way of a folder to its xorbs and shards, with nobody to send them to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use xet_data::processing::configurations::TranslatorConfig;
use xet_data::processing::{FileUploadSession, Sha256Policy};
use xet_runtime::config::XetConfig;
use xet_runtime::core::XetContext;

use crate::inputs::inputs;

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
    let seconds = (0..9).map(|_| rival_publish(&folder.join("files"), &folder.join("rival"))).collect();
    let seconds = crate::measure::median(seconds);
    println!("| publish, dry run | s | MB/s |");
    println!("|---|---|---|");
    println!("| xet-data, 2 threads | {seconds:.3} | {:.0} |", bytes as f64 / 1e6 / seconds);
    std::fs::remove_dir_all(&folder).expect("it is ours");
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
