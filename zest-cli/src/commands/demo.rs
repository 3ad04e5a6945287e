//! `zest demo`: an origin, and two machines of which the second gets all file data from the first. Each in a
//! process of its own, with figures.

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
    let stage = Stage::new(args.keep)?;
    let source = match args.from {
        Some(source) => source,
        None => generated(stage.at("model"), args.bytes, output).await?,
    };
    let data = text(&stage.at("origin"));

    let mut origin = Child::start("origin", &["origin", "--data", &data, "--listen", "127.0.0.1:0"], &[])?;
    let url = field(&origin.event("listening").await?, "url");
    output.note(format_args!("1. an origin listens on {url}"));
    let publish = Child::start("publish", &["publish", &text(&source), REPO, "--endpoint", &url], &[])?;
    let (published, publish) = publish.finish("published").await?;
    let bytes = published["file_bytes"].as_u64().unwrap_or_default();
    output.note(format_args!("2. {} published, {publish}", DecimalBytes(bytes)));

    let first = stage.homes("first-machine");
    let pull = Child::start("pull", &["pull", REPO, "--endpoint", &url], &first)?;
    let (_, first_pull) = pull.finish("summary").await?;
    output.note(format_args!("3. the first machine pulled from the origin, {first_pull}"));
    let mut serve = Child::start("serve", &["serve", "--listen", "127.0.0.1:0"], &first)?;
    let peer = field(&serve.event("listening").await?, "peer");
    output.note(format_args!("4. it serves the files out of its cache on {peer}"));

    let (_, origin) = origin.stop("stopped").await?;
    let address = url.trim_start_matches("http://").to_owned();
    let no_data = ["origin", "--data", &data, "--listen", &address, "--no-data"];
    let mut silent_origin = Child::start("origin without data", &no_data, &[])?;
    silent_origin.event("listening").await?;
    output.note("5. the origin is started again, and gives out metadata but no file data");

    let second = stage.homes("second-machine");
    let pull = Child::start("pull", &["pull", REPO, "--endpoint", &url, "--peer", &peer], &second)?;
    let (summary, second_pull) = pull.finish("summary").await?;
    output.note(format_args!("6. the second machine pulled from the first one, {second_pull}"));

    let snapshot = PathBuf::from(field(&summary, "path"));
    let compared = tokio::task::spawn_blocking(move || compare(&source, &snapshot)).await;
    let files = compared.map_err(Failure::internal)??;
    output.note(format_args!("7. {files} files compared by SHA-256: identical"));
    let (_, serve) = serve.stop("stopped").await?;
    let (stopped, _) = silent_origin.stop("stopped").await?;
    let origin_data_bytes = stopped["data_bytes"].as_u64().unwrap_or_default();

    output.json(&json!({
        "event": "demo",
        "files": files,
        "path": summary["path"],
        "file_bytes": summary["file_bytes"],
        "origin_data_bytes": origin_data_bytes,
        "processes": {
            "origin": origin, "publish": publish, "first_pull": first_pull, "serve": serve, "second_pull": second_pull,
        },
    }));
    let processes = [
        ("origin", &origin),
        ("publish", &publish),
        ("first machine: pull", &first_pull),
        ("first machine: serve", &serve),
        ("second machine: pull", &second_pull),
    ];
    output.result(table(bytes, &summary, origin_data_bytes, &processes), files);
    Ok(())
}

/// Where the demo takes place.
struct Stage {
    folder: PathBuf,
    /// Deletes the folder in the end, unless it is to be kept.
    _temporary: Option<tempfile::TempDir>,
}

impl Stage {
    fn new(keep: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(folder) = keep else {
            let temporary =
                tempfile::Builder::new().prefix("zest-demo").tempdir().map_err(disk("a temporary folder"))?;
            return Ok(Self { folder: temporary.path().to_owned(), _temporary: Some(temporary) });
        };
        std::fs::create_dir_all(&folder).map_err(disk("the folder to keep"))?;
        if std::fs::read_dir(&folder).map_err(disk("the folder to keep"))?.next().is_some() {
            return Err(
                Failure::usage(format_args!("{} is not empty", folder.display())).hint("--keep takes a new folder")
            );
        }
        Ok(Self { folder, _temporary: None })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A machine of its own, as far as zest can tell.
    fn homes(&self, machine: &str) -> [(&'static str, String); 2] {
        [("HF_HOME", text(&self.at(machine).join("hf"))), ("ZEST_HOME", text(&self.at(machine).join("zest")))]
    }
}

fn field(event: &Value, name: &str) -> String {
    event[name].as_str().unwrap_or_default().to_owned()
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

fn table(bytes: u64, summary: &Value, origin_data_bytes: u64, processes: &[(&str, &Figures)]) -> String {
    let head = format!("{:<22}{:>9}{:>9}{:>9}{:>14}", "process", "seconds", "MB/s", "CPU s", "peak memory");
    let mut lines = vec![head];
    for (name, figures) in processes {
        let rate = format!("{:.0}", bytes as f64 / 1e6 / figures.seconds.max(0.001));
        // Those that serve wait most of their time.
        let rate = if matches!(*name, "origin" | "first machine: serve") { String::new() } else { rate };
        let memory = DecimalBytes(figures.peak_rss_bytes).to_string();
        lines.push(format!("{name:<22}{:>9.2}{rate:>9}{:>9.2}{memory:>14}", figures.seconds, figures.cpu_seconds));
    }
    let from = |source: &str| DecimalBytes(summary["file_bytes"][source].as_u64().unwrap_or_default());
    lines.push(String::new());
    lines.push(format!(
        "bytes of the second machine's files: {} from its peer, {} from the origin",
        from("lan"),
        from("cdn")
    ));
    lines.push(format!("file data that the origin sent to it: {}", DecimalBytes(origin_data_bytes)));
    lines.join("\n")
}

fn disk(what: &str) -> impl FnOnce(std::io::Error) -> Failure {
    let what = what.to_owned();
    move |error| Failure::new(Exit::Disk, format_args!("{what}: {error}"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
