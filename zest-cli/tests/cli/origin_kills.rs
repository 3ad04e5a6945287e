//! An origin that is killed at random points of uploads: what is visible afterwards is complete, and what was
//! left half-done is found and removed.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use testkit::Dice;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::lab::{PROCESS_DEADLINE, finish};

/// Without `ZEST_KILL_POINTS`.
const POINTS_DEFAULT: u64 = 6;
/// Two xorbs and a bit.
const LARGE_BYTES: usize = 40_000_000;
const REPO: &str = "lab/model";

struct Lab {
    folder: tempfile::TempDir,
}

/// A running `zest origin`.
struct Origin {
    child: Child,
    url: String,
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Lab {
    fn data(&self) -> PathBuf {
        self.folder.path().join("origin")
    }

    fn command(&self, args: &[&str]) -> Command {
        let home = self.folder.path().join("home");
        let mut command = Command::new(env!("CARGO_BIN_EXE_zest"));
        command.env_clear().args(args).env("HOME", &home).env("HF_HOME", home.join("hf"));
        command.env("ZEST_HOME", home.join("zest")).env("ZEST_ATTEMPTS", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn origin(&self) -> Origin {
        let mut command = self.command(&["origin", "--listen", "127.0.0.1:0", "--format", "json", "--data"]);
        let mut child = command.arg(self.data()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(PROCESS_DEADLINE, lines.next_line()).await.unwrap().unwrap();
        let listening: Value = serde_json::from_str(&first.expect("it ended at once")).unwrap();
        Origin { child, url: listening["url"].as_str().unwrap().to_owned(), _stdout: lines }
    }

    fn publish(&self, origin: &Origin, folder: &Path) -> Command {
        let mut command = self.command(&["publish"]);
        command.arg(folder).args([REPO, "--endpoint", &origin.url]);
        command
    }

    async fn check(&self, args: &[&str]) -> Value {
        let mut command = self.command(&["origin", "check", "--format", "json", "--data"]);
        let said = finish(command.arg(self.data()).args(args).spawn().unwrap()).await;
        said.assert_ok();
        serde_json::from_str(&said.stdout).unwrap()
    }

    /// A pull into a folder of its own.
    async fn pulled(&self, origin: &Origin, name: &str) -> PathBuf {
        let target = self.folder.path().join(name);
        let mut command = self.command(&["pull", REPO, "--no-p2p", "--endpoint", &origin.url, "--local-dir"]);
        finish(command.arg(&target).spawn().unwrap()).await.assert_ok();
        target
    }

    fn forget_home(&self) {
        let _ = std::fs::remove_dir_all(self.folder.path().join("home"));
    }
}

impl Origin {
    async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

fn noise(dice: &mut Dice, length: usize) -> Vec<u8> {
    (0..length).map(|_| dice.below(256) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_kill_at_any_point_of_an_upload_when_started_again_then_nothing_is_half_there() {
    let points = std::env::var("ZEST_KILL_POINTS").ok().map_or(POINTS_DEFAULT, |text| text.parse().unwrap());
    let seed = std::env::var("ZEST_KILL_SEED").ok().map_or(51, |text| text.parse().unwrap());
    let mut dice = Dice::new(seed);
    let lab = Lab { folder: tempfile::tempdir().unwrap() };
    let (first, second) = (lab.folder.path().join("first"), lab.folder.path().join("second"));
    for folder in [&first, &second] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("model.safetensors"), noise(&mut dice, LARGE_BYTES)).unwrap();
        std::fs::write(folder.join("config.json"), format!("{{\"n\": {}}}", dice.below(1_000_000))).unwrap();
    }
    let origin = lab.origin().await;
    finish(lab.publish(&origin, &first).spawn().unwrap()).await.assert_ok();
    // How long one takes says where to kill.
    let begun = now();
    finish(lab.publish(&origin, &second).spawn().unwrap()).await.assert_ok();
    let whole = begun.elapsed();
    finish(lab.publish(&origin, &first).spawn().unwrap()).await.assert_ok();
    origin.kill().await;
    let (mut torn, mut orphans) = (0, 0);
    for point in 0..points {
        // Something that is not there, however far the last one came.
        std::fs::write(second.join("model.safetensors"), noise(&mut dice, LARGE_BYTES)).unwrap();
        lab.forget_home();
        let origin = lab.origin().await;
        let mut publish = lab.publish(&origin, &second).spawn().unwrap();
        let after = whole.mul_f64(dice.below(1_600) as f64 / 1_000.0);
        let told = format!("seed {seed}, point {point}, killed after {after:?} of {whole:?}");
        // The point of time is what is tried out; nothing is waited for.
        let _ = tokio::time::timeout(after, publish.wait()).await;
        origin.kill().await;
        let published = finish(publish).await.code == Some(0);
        torn += u64::from(!published);

        let report = lab.check(&["--deep", "--repair"]).await;
        assert_eq!(0, report["damaged"], "{told}: {report}");
        orphans += report["orphans"].as_u64().unwrap();
        let again = lab.check(&["--deep"]).await;
        assert_eq!((0, 0), (again["damaged"].as_u64().unwrap(), again["orphans"].as_u64().unwrap()), "{told}: {again}");

        let origin = lab.origin().await;
        let pulled = lab.pulled(&origin, &format!("pulled-{point}")).await;
        let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
        let is = |folder: &Path| {
            ["model.safetensors", "config.json"].iter().all(|name| read(folder, name) == read(&pulled, name))
        };
        assert!(is(&second) || (!published && is(&first)), "{told}");
        std::fs::remove_dir_all(&pulled).unwrap();
        // And it goes on as if nothing had been.
        finish(lab.publish(&origin, &first).spawn().unwrap()).await.assert_ok();
        origin.kill().await;
    }
    eprintln!("killed at {points} points of an upload of {whole:?}: {torn} were cut, {orphans} orphans");
}

#[expect(clippy::disallowed_methods, reason = "how long an upload takes says when to kill it")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Far more than the origin and its database need to begin with, far less than an upload.
const DISK: &str = r#"
    mount -t tmpfs -o size=160m none "$1" && mkdir "$1/data" || exit 99
    "$0" origin --listen 127.0.0.1:0 --format quiet --data "$1/data" > "$1/url" & origin=$!
    trap 'kill -9 $origin 2> "$1/killed"' EXIT
    while ! [ -s "$1/url" ]; do kill -0 $origin || exit 98; done
    url=$(cat "$1/url")
    ip link set lo up
    "$0" publish "$1/../small" lab/small --endpoint "$url" || exit 97
    "$0" publish "$1/../large" lab/large --endpoint "$url"; echo "large: $?"
    "$0" publish "$1/../small" lab/again --endpoint "$url" || exit 96
    "$0" pull lab/small --no-p2p --endpoint "$url" --local-dir "$1/../pulled" || exit 95
    kill -INT $origin; wait $origin
    "$0" origin check --deep --format json --data "$1/data"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn given_a_full_disk_when_uploaded_then_refused_by_name_and_the_service_goes_on() {
    let lab = Lab { folder: tempfile::tempdir().unwrap() };
    let mut dice = Dice::new(52);
    let (disk, small, large) =
        (lab.folder.path().join("disk"), lab.folder.path().join("small"), lab.folder.path().join("large"));
    [&disk, &small, &large].iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    std::fs::write(small.join("model.bin"), noise(&mut dice, 3_000_000)).unwrap();
    std::fs::write(large.join("model.bin"), noise(&mut dice, 150_000_000)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-rmn", "sh", "-c", DISK, env!("CARGO_BIN_EXE_zest")]).arg(&disk);
    for (key, value) in lab.command(&[]).as_std().get_envs() {
        command.env(key, value.unwrap_or_default());
    }
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);

    let said = finish(command.spawn().unwrap()).await;

    if said.stderr.contains("unshare:") && std::env::var_os("CI").is_none() {
        eprintln!("not tried: this system allows no namespaces: {}", said.stderr);
        return;
    }
    said.assert_ok();
    assert!(said.stderr.contains("disk is full"), "{}", said.stderr);
    assert!(said.stdout.contains("large: 5"), "{}", said.stdout);
    let report: Value = serde_json::from_str(said.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((0, 0), (report["damaged"].as_u64().unwrap(), report["orphans"].as_u64().unwrap()), "{report}");
    assert_eq!(
        std::fs::read(small.join("model.bin")).unwrap(),
        std::fs::read(lab.folder.path().join("pulled/model.bin")).unwrap()
    );
}
