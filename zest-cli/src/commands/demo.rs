//! `zest demo`: an origin, a publication and a pull, each in a process of its own, with figures.

mod model;
mod process;

use std::path::{Path, PathBuf};

use indicatif::DecimalBytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use self::process::{Child, Figures};
use super::interrupt;
use crate::args::DemoArgs;
use crate::display::Output;
use crate::failure::{Exit, Failure};

const REPO: &str = "demo/model";

pub(crate) async fn run(args: DemoArgs, output: &Output) -> Result<(), Failure> {
    tokio::select! {
        result = story(args, output) => result,
        () = interrupt() => Err(Failure::interrupted("nothing is left behind")),
    }
}

async fn story(args: DemoArgs, output: &Output) -> Result<(), Failure> {
    let folder = tempfile::Builder::new().prefix("zest-demo").tempdir().map_err(disk("a temporary folder"))?;
    let at = |name: &str| folder.path().join(name);
    let source = match args.from {
        Some(source) => source,
        None => generated(at("model"), args.bytes, output).await?,
    };

    let mut origin =
        Child::start("origin", &["origin", "--data", &text(&at("origin")), "--listen", "127.0.0.1:0"], &[])?;
    let listening = origin.event("listening").await?;
    let url = listening["url"].as_str().unwrap_or_default().to_owned();
    output.note(format_args!("1. an origin listens on {url}"));

    let publish = Child::start("publish", &["publish", &text(&source), REPO, "--endpoint", &url], &[])?;
    let (published, publish) = publish.finish("published").await?;
    let bytes = published["file_bytes"].as_u64().unwrap_or_default();
    output.note(format_args!("2. {} published, {}", DecimalBytes(bytes), publish));

    let homes = [("HF_HOME", text(&at("machine/hf"))), ("ZEST_HOME", text(&at("machine/zest")))];
    let pull = Child::start("pull", &["pull", REPO, "--endpoint", &url], &homes)?;
    let (summary, pull) = pull.finish("summary").await?;
    output.note(format_args!("3. {} pulled, {}", DecimalBytes(bytes), pull));

    let snapshot = PathBuf::from(summary["path"].as_str().unwrap_or_default());
    let compared = tokio::task::spawn_blocking(move || compare(&source, &snapshot)).await;
    let files = compared.map_err(Failure::internal)??;
    output.note(format_args!("4. {files} files compared by SHA-256: identical"));
    let (stopped, origin) = origin.stop("stopped").await?;

    output.json(&json!({
        "event": "demo",
        "files": files,
        "file_bytes": summary["file_bytes"],
        "origin_data_bytes": stopped["data_bytes"],
        "processes": { "origin": origin, "publish": publish, "pull": pull },
    }));
    output.result(table(bytes, &summary, &[("origin", &origin), ("publish", &publish), ("pull", &pull)]), files);
    Ok(())
}

async fn generated(folder: PathBuf, bytes: u64, output: &Output) -> Result<PathBuf, Failure> {
    output.note(format_args!("0. generating a model of {}", DecimalBytes(bytes)));
    let target = folder.clone();
    let made = tokio::task::spawn_blocking(move || model::generate(&target, bytes)).await;
    made.map_err(Failure::internal)?.map_err(disk("the generated model"))?;
    Ok(folder)
}

/// Compares every file of `source` with the pulled one; returns how many there are.
fn compare(source: &Path, pulled: &Path) -> Result<usize, Failure> {
    let mut files = 0;
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(source.join(&folder)).map_err(disk("the source"))? {
            let entry = entry.map_err(disk("the source"))?;
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                let is_skipped = [".git", ".cache"].iter().any(|name| entry.file_name() == *name);
                folders.extend((!is_skipped).then_some(path));
                continue;
            }
            if sha256(&source.join(&path))? != sha256(&pulled.join(&path))? {
                return Err(Failure::new(Exit::Integrity, format_args!("{} differs", path.display())));
            }
            files += 1;
        }
    }
    Ok(files)
}

fn sha256(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut hasher = Sha256::new();
    let mut file = std::fs::File::open(path).map_err(disk(&path.display().to_string()))?;
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        match std::io::Read::read(&mut file, &mut buffer).map_err(disk(&path.display().to_string()))? {
            0 => return Ok(hasher.finalize().to_vec()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn table(bytes: u64, summary: &Value, processes: &[(&str, &Figures)]) -> String {
    let mut lines =
        vec![format!("{:<10} {:>8} {:>10} {:>8} {:>12}", "process", "seconds", "MB/s", "CPU s", "peak memory")];
    for (name, figures) in processes {
        let rate = bytes as f64 / 1e6 / figures.seconds.max(0.001);
        let rate = if *name == "origin" { String::new() } else { format!("{rate:.0}") };
        let memory = DecimalBytes(figures.peak_rss_bytes).to_string();
        lines.push(format!("{name:<10} {:>8.2} {rate:>10} {:>8.2} {memory:>12}", figures.seconds, figures.cpu_seconds));
    }
    let from = |source: &str| DecimalBytes(summary["file_bytes"][source].as_u64().unwrap_or_default());
    lines.push(format!("bytes of the files: {} from the Hub, {} from peers", from("cdn"), from("lan")));
    lines.join("\n")
}

fn disk(what: &str) -> impl FnOnce(std::io::Error) -> Failure {
    let what = what.to_owned();
    move |error| Failure::new(Exit::Disk, format_args!("{what}: {error}"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
