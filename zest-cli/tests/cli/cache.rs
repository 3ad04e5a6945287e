//! The cache as other tools keep it: one store for all repositories, locks, disks without links or without room
//! to write.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest as _, Sha256};
use testkit::{Fault, Rule};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::lab::{ENTRY_PATH, Lab, PROCESS_DEADLINE, REPO, Said, files_below, finish};

/// The same model under another name.
const OTHER: &str = "lab/other";

impl Lab {
    fn cache(&self) -> PathBuf {
        self.home().join("hf/hub")
    }

    async fn pull_under(&self, variables: &[(&str, &str)]) -> Said {
        let mut command = self.command(&["pull", REPO, "--format", "json"]);
        command.envs(variables.iter().copied());
        finish(command.spawn().unwrap()).await
    }

    async fn publish_other(&self) {
        self.zest(&["publish", self.model().to_str().unwrap(), OTHER]).await.assert_ok();
    }

    /// The SHA-256 and the path of each large file.
    fn large_files(&self) -> Vec<(String, PathBuf)> {
        let files = files_below(&self.model());
        let is_large = |path: &Path| path.extension().is_some_and(|ending| ending == "safetensors" || ending == "onnx");
        let large = files.into_iter().filter(|path| is_large(path));
        let hash = |path: &Path| Sha256::digest(std::fs::read(self.model().join(path)).unwrap());
        let hex = |path: &Path| hash(path).iter().map(|byte| format!("{byte:02x}")).collect();
        large.map(|path| (hex(&path), path)).collect()
    }

    /// Payloads of the shared store.
    fn payloads(&self) -> Vec<PathBuf> {
        let store = self.cache().join("blobs");
        let is_payload = |path: &PathBuf| path.file_name().unwrap().len() == 64;
        files_below(&store).into_iter().filter(is_payload).map(|path| store.join(path)).collect()
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn has_event(said: &Said, name: &str) -> bool {
    said.events().iter().any(|event| event["event"] == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_model_when_pulled_then_large_files_lie_in_the_shared_store() {
    let lab = Lab::new().await;

    lab.pull().await.assert_ok();

    lab.assert_pulled();
    let store = lab.cache().join("blobs");
    assert_eq!("1\n", std::fs::read_to_string(store.join(".huggingface-shared-blobs")).unwrap());
    assert_eq!(lab.large_files().len(), lab.payloads().len());
    for (sha256, _) in lab.large_files() {
        let blob = lab.repo_folder().join("blobs").join(&sha256);
        let payload = blob.canonicalize().unwrap();
        let name = payload.file_name().unwrap().to_str().unwrap();
        assert_eq!(Path::new("../../blobs").join(&name[..2]).join(name), std::fs::read_link(&blob).unwrap());
        assert_eq!(mode(&lab.cache()) & 0o444 & (mode(&lab.cache()) & 0o111) << 2 | 0o400, mode(&payload));
        let references = std::fs::read_to_string(payload.with_extension("refs")).unwrap();
        assert_eq!(format!("models--lab--model/blobs/{sha256}\n"), references);
        for ending in ["refs", "lock"] {
            assert_eq!(0o666, mode(&payload.with_extension(ending)), "{ending}");
        }
        assert!(lab.cache().join(format!(".locks/models--lab--model/{sha256}.lock")).exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_payload_of_another_repository_when_pulled_then_linked_and_not_fetched() {
    let lab = Lab::new().await;
    lab.publish_other().await;
    lab.zest(&["pull", OTHER]).await.assert_ok();
    let before = lab.faulty.requests().len();

    let said = lab.pull().await;

    lab.assert_pulled();
    let large: u64 = lab.large_files().iter().map(|(_, path)| lab.model().join(path).metadata().unwrap().len()).sum();
    assert!(said.summary()["file_bytes"]["local"].as_u64().unwrap() >= large, "{}", said.stdout);
    assert!(!has_event(&said, "checking"), "known to the index: {}", said.stdout);
    let after = lab.faulty.requests().split_off(before);
    assert!(!after.iter().any(|seen| seen.target.starts_with(ENTRY_PATH)));
    for payload in lab.payloads() {
        assert_eq!(2, std::fs::read_to_string(payload.with_extension("refs")).unwrap().lines().count());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_payload_that_nobody_knows_when_pulled_then_hashed_before_it_is_linked() {
    let lab = Lab::new().await;
    lab.publish_other().await;
    lab.zest(&["pull", OTHER]).await.assert_ok();
    std::fs::remove_dir_all(lab.home().join("zest")).unwrap();
    let payloads = lab.payloads();
    let damaged = &payloads[0];
    std::fs::set_permissions(damaged, Permissions::from_mode(0o644)).unwrap();
    let mut content = std::fs::read(damaged).unwrap();
    content[100] ^= 1;
    std::fs::write(damaged, &content).unwrap();

    let said = lab.pull().await;

    lab.assert_pulled();
    assert!(has_event(&said, "checking"), "{}", said.stdout);
    assert!(said.stdout.contains("is damaged"), "{}", said.stdout);
    // Besides the damaged one only files that are not in the CAS.
    let fetched = said.summary()["file_bytes"]["cdn"].as_u64().unwrap() as usize;
    assert!((content.len()..content.len() + 100_000).contains(&fetched), "{fetched} of {}", content.len());
    assert_ne!(content, std::fs::read(damaged).unwrap(), "the shared payload is replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_switch_against_the_shared_store_when_pulled_then_blobs_are_plain() {
    for variable in ["HF_HUB_DISABLE_SHARED_BLOBS", "HF_HUB_DISABLE_XET"] {
        let lab = Lab::new().await;

        lab.pull_under(&[(variable, "yes")]).await.assert_ok();

        lab.assert_pulled();
        assert!(!lab.cache().join("blobs").exists());
        for (sha256, _) in lab.large_files() {
            assert!(lab.repo_folder().join("blobs").join(sha256).symlink_metadata().unwrap().is_file());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_folder_that_is_no_shared_store_when_pulled_then_it_is_left_alone() {
    let lab = Lab::new().await;
    let foreign = lab.cache().join("blobs");
    std::fs::create_dir_all(&foreign).unwrap();
    std::fs::write(foreign.join("mine"), "mine").unwrap();

    lab.pull().await.assert_ok();

    lab.assert_pulled();
    assert_eq!([PathBuf::from("mine")], files_below(&foreign)[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_store_whose_marking_was_killed_when_pulled_then_it_is_marked_and_used() {
    let lab = Lab::new().await;
    let store = lab.cache().join("blobs");
    std::fs::create_dir_all(&store).unwrap();
    std::fs::write(store.join(".huggingface-shared-blobs.0123abcd.tmp"), "1").unwrap();

    lab.pull().await.assert_ok();

    lab.assert_pulled();
    assert_eq!(lab.large_files().len(), lab.payloads().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn given_no_links_when_pulled_then_snapshots_hold_files_that_are_found_again() {
    let lab = Lab::with(None, &[("twin-a.bin", &[7; 9000]), ("twin-b.bin", &[7; 9000])]).await;
    let no_links = [("HF_HUB_DISABLE_SYMLINKS", "1")];

    let summary = lab.pull_under(&no_links).await.summary();

    lab.assert_pulled();
    let snapshot = PathBuf::from(summary["path"].as_str().unwrap());
    for path in files_below(&snapshot) {
        assert!(snapshot.join(&path).symlink_metadata().unwrap().is_file(), "{}", path.display());
    }
    assert_eq!(Vec::<PathBuf>::new(), files_below(&lab.repo_folder().join("blobs")), "moved, not copied");
    assert!(!lab.cache().join("blobs").exists());
    assert_eq!(0, lab.pull_under(&no_links).await.summary()["file_bytes"]["cdn"]);
    // Another tool's files are as good, once they are hashed; also for a pull that would make links.
    std::fs::remove_dir_all(lab.home().join("zest")).unwrap();
    let first = lab.pull().await;
    let second = lab.pull().await;
    assert_eq!(0, first.summary()["file_bytes"]["cdn"]);
    assert!(has_event(&first, "checking") && !has_event(&second, "checking"));
    lab.assert_pulled();
}

/// Reads events until one has this name.
async fn until_event(child: &mut Child, name: &str) {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let read = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["event"] == name {
                return;
            }
        }
        panic!("it ended without the event `{name}`");
    };
    tokio::time::timeout(PROCESS_DEADLINE, read).await.expect("the event does not come");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_one_cache_when_two_pulls_run_at_once_then_the_content_is_fetched_once() {
    let lab = Lab::new().await;
    let args = ["pull", REPO, "--format", "json"];
    let alone = finish(lab.command_at(&lab.folder.path().join("alone"), &args).spawn().unwrap()).await.summary();
    // The first has locked the large files and does not get them yet.
    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::status_with(503, &[("Retry-After", "1")])));
    let before = lab.faulty.requests().len();
    let one = lab.command(&args).env("ZEST_ATTEMPTS", "100").spawn().unwrap();
    let asks_for_data =
        |seen: &[testkit::SeenRequest]| seen[before..].iter().any(|seen| seen.target.starts_with(ENTRY_PATH));
    tokio::time::timeout(PROCESS_DEADLINE, lab.faulty.until(asks_for_data)).await.unwrap();

    let mut two = lab.command(&args).env("ZEST_ATTEMPTS", "100").spawn().unwrap();
    until_event(&mut two, "waiting").await;
    lab.faulty.clear();
    let (one, two) = tokio::join!(finish(one), finish(two));

    lab.assert_pulled();
    let wire = |summary: &serde_json::Value| summary["wire_bytes"]["cdn"].as_u64().unwrap();
    let (one, two) = (one.summary(), two.summary());
    assert_eq!(wire(&alone), wire(&one) + wire(&two), "one: {one}, two: {two}");
    for summary in [one, two] {
        let sources = summary["file_bytes"].as_object().unwrap().values().map(|bytes| bytes.as_u64().unwrap());
        let alone = alone["file_bytes"].as_object().unwrap().values().map(|bytes| bytes.as_u64().unwrap());
        assert_eq!(alone.sum::<u64>(), sources.sum::<u64>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_pull_killed_while_another_waits_for_it_when_that_goes_on_then_with_what_was_left() {
    let lab = Lab::new().await;
    // The first has locked the file, and has not begun with it when the second looks at what there is.
    let reconstruction = "/reconstructions/";
    lab.faulty.add(Rule::path_contains(reconstruction, Fault::status_with(503, &[("Retry-After", "1")])));
    let file = "model-00001-of-00002.safetensors";
    let args = ["pull", REPO, "--include", file, "--format", "json"];
    let one = lab.command(&args).env("ZEST_ATTEMPTS", "100").env("ZEST_STALL_TIMEOUT", "60").spawn().unwrap();
    let plans = |seen: &[testkit::SeenRequest]| seen.iter().any(|seen| seen.target.contains(reconstruction));
    tokio::time::timeout(PROCESS_DEADLINE, lab.faulty.until(plans)).await.unwrap();
    let mut two = lab.command(&args).env("ZEST_ATTEMPTS", "100").env("ZEST_LOCK_TIMEOUT", "60").spawn().unwrap();
    until_event(&mut two, "waiting").await;
    lab.faulty.clear();
    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::StallAfter(1_000_000)));
    lab.until_noted(8).await;

    lab.faulty.clear();
    kill_process(Pid::from_raw(one.id().unwrap() as i32).unwrap(), Signal::KILL).unwrap();
    let (_, two) = tokio::join!(finish(one), finish(two));

    assert!(has_event(&two, "resumed"), "{}", two.stdout);
    let pulled = Path::new(two.summary()["path"].as_str().unwrap()).join(file);
    assert!(std::fs::read(lab.model().join(file)).unwrap() == std::fs::read(pulled).unwrap(), "other bytes");
    lab.assert_no_partial_files();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_lock_that_nobody_lets_go_of_when_pulled_then_its_file_comes_last_and_without_it() {
    let lab = Lab::new().await;
    let (sha256, path) = lab.large_files().swap_remove(0);
    let lock = lab.cache().join(format!(".locks/models--lab--model/{sha256}.lock"));
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let held = std::fs::File::create(&lock).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();

    let said = lab.pull_under(&[("ZEST_LOCK_TIMEOUT", "1.5")]).await;

    said.assert_ok();
    lab.assert_pulled();
    let events = said.events();
    assert!(events.iter().any(|event| event["event"] == "waiting" && event["what"] == path.to_str().unwrap()));
    let done: Vec<_> = events.iter().filter(|event| event["event"] == "file_done").collect();
    assert_eq!(path.to_str().unwrap(), done.last().unwrap()["path"]);
}

/// A disk that cannot be written, and `zest` on it.
const READ_ONLY: &str =
    r#"mount --bind "$HF_HOME" "$HF_HOME" && mount -o remount,ro,bind "$HF_HOME" && exec "$0" pull lab/model"#;

#[tokio::test(flavor = "multi_thread")]
async fn given_a_cache_of_an_older_tool_that_cannot_be_written_when_pulled_then_it_succeeds() {
    let lab = Lab::new().await;
    lab.pull().await.assert_ok();
    std::fs::remove_dir_all(lab.repo_folder().join("trees")).unwrap();
    std::fs::remove_dir_all(lab.repo_folder().join("refs")).unwrap();
    std::fs::remove_dir_all(lab.cache().join(".locks")).unwrap();
    std::fs::remove_file(lab.cache().join("CACHEDIR.TAG")).unwrap();

    let Some(said) = lab.in_namespace(READ_ONLY, "").await else { return };

    said.assert_ok();
    assert!(said.stderr.contains("warning: ") && said.stderr.contains("`main`"), "no ref: {}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_missing_files_and_a_cache_that_cannot_be_written_when_pulled_then_refused_before_anything_is_fetched() {
    let lab = Lab::new().await;
    lab.zest(&["pull", REPO, "--include", "config.json"]).await.assert_ok();
    let before = lab.faulty.requests().len();

    let Some(said) = lab.in_namespace(READ_ONLY, "").await else { return };

    said.assert_failed(7, "cannot be written");
    assert!(said.stderr.contains("HF_HUB_CACHE"), "{}", said.stderr);
    let after = lab.faulty.requests().split_off(before);
    assert!(after.iter().all(|seen| seen.target.starts_with("/api/")), "{after:?}");
}
