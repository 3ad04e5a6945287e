//! Pulls that are stopped in the middle.

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Fault, Rule};

use crate::lab::{ENTRY_PATH, Lab, PROCESS_DEADLINE, REPO, finish};

/// Starts a pull, waits until data is on its way and then sends a signal.
async fn stop_in_the_middle(lab: &Lab, signal: Signal) -> crate::lab::Said {
    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::StallAfter(1_000_000)));
    let mut command = lab.command(&["pull", REPO]);
    let child = command.env("ZEST_STALL_TIMEOUT", "60").spawn().unwrap();
    let pid = Pid::from_raw(child.id().unwrap() as i32).unwrap();
    let data_is_asked_for = lab.faulty.until(|seen| seen.iter().any(|request| request.target.contains(ENTRY_PATH)));
    tokio::time::timeout(PROCESS_DEADLINE, data_is_asked_for).await.expect("zest asks for no data");
    lab.until_noted(8).await;
    kill_process(pid, signal).unwrap();
    let said = finish(child).await;
    lab.faulty.clear();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_pull_killed_in_the_middle_when_pulled_again_then_it_succeeds() {
    let lab = Lab::new().await;

    let said = stop_in_the_middle(&lab, Signal::KILL).await;

    assert_eq!(None, said.code);
    assert!(!lab.repo_folder().join("refs/main").exists());
    let snapshots = lab.repo_folder().join("snapshots");
    for path in crate::lab::files_below(&snapshots) {
        let source = lab.model().join(path.components().skip(1).collect::<std::path::PathBuf>());
        assert_eq!(std::fs::read(source).unwrap(), std::fs::read(snapshots.join(&path)).unwrap(), "{}", path.display());
    }
    assert_goes_on(&lab).await;
}

/// That the next pull fetches only what is missing.
async fn assert_goes_on(lab: &Lab) {
    let said = lab.pull().await;
    let summary = said.summary();
    let bytes = |kind: &str, source: &str| summary[kind][source].as_u64().unwrap();
    let local = bytes("file_bytes", "local");
    assert!(local > 0, "{summary}");
    let resumed: u64 =
        said.events().iter().filter(|e| e["event"] == "resumed").map(|e| e["bytes"].as_u64().unwrap()).sum();
    assert!(resumed > 0 && resumed <= local, "{resumed} of {local}");
    assert_eq!(lab.model_files().iter().map(|file| file.len() as u64).sum::<u64>(), local + bytes("file_bytes", "cdn"));
    lab.assert_pulled();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_pull_that_is_interrupted_when_it_ends_then_130_and_how_to_go_on() {
    for signal in [Signal::INT, Signal::TERM] {
        let lab = Lab::new().await;

        let said = stop_in_the_middle(&lab, signal).await;

        lab.assert_failed(&said, 130, "interrupted");
        assert!(said.stderr.contains("run the same command again"), "{}", said.stderr);
        assert_goes_on(&lab).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_killed_pull_without_its_journal_when_pulled_again_then_the_bytes_are_looked_at_themselves() {
    let lab = Lab::new().await;
    stop_in_the_middle(&lab, Signal::KILL).await;
    let blobs = lab.repo_folder().join("blobs");
    for path in crate::lab::files_below(&blobs).into_iter().filter(|path| path.to_string_lossy().ends_with("-journal"))
    {
        std::fs::remove_file(blobs.join(path)).unwrap();
    }

    assert_goes_on(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_remains_that_are_damaged_when_pulled_again_then_only_what_is_right_is_used() {
    let lab = Lab::new().await;
    stop_in_the_middle(&lab, Signal::KILL).await;
    let blobs = lab.repo_folder().join("blobs");
    let partials =
        crate::lab::files_below(&blobs).into_iter().filter(|path| path.extension().is_some_and(|e| e == "zest"));
    for path in partials {
        let (path, mut bytes) = (blobs.join(&path), std::fs::read(blobs.join(&path)).unwrap());
        if let Some(byte) = bytes.get_mut(300_000) {
            *byte ^= 1;
        }
        std::fs::write(path, bytes).unwrap();
    }

    lab.pull().await.assert_ok();

    lab.assert_pulled();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_an_output_that_nobody_reads_when_a_pull_fails_then_it_ends_all_the_same() {
    let lab = Lab::new().await;
    // A pipe that is full, and stays so.
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    while rustix::io::write(&writer, &[b'\n'; 4096]).is_ok() {}
    while rustix::io::write(&writer, b"\n").is_ok() {}
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::empty()).unwrap();
    let mut command = lab.command(&["pull", "lab/none", "--format", "json"]);
    let child = command.stdout(writer).spawn().unwrap();

    let said = finish(child).await;

    assert_eq!(Some(4), said.code, "{}", said.stderr);
    drop(reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_cas_that_answers_about_whole_files_only_when_a_pull_goes_on_then_it_succeeds() {
    let large: Vec<u8> =
        (0..2_000_000_u32).flat_map(|at| (at.wrapping_mul(0x9e37_79b9) ^ (at >> 7)).to_le_bytes()).collect();
    let lab = Lab::with(None, &[("large.bin", &large)]).await;
    lab.faulty.add(Rule::path_contains(ENTRY_PATH, Fault::StallAfter(4_000_000)));
    let args = ["pull", REPO, "--include", "large.bin", "--format", "json"];
    let child = lab.command(&args).env("ZEST_STALL_TIMEOUT", "60").spawn().unwrap();
    lab.until_noted(40).await;
    kill_process(Pid::from_raw(child.id().unwrap() as i32).unwrap(), Signal::KILL).unwrap();
    finish(child).await;
    lab.faulty.clear();
    let before = lab.faulty.requests().len();
    lab.faulty.add(Rule::path_contains("/reconstructions/", Fault::status(400)).skip(1));

    let summary = lab.zest(&args).await.summary();

    assert!(summary["file_bytes"]["local"].as_u64().unwrap() > 0, "{summary}");
    assert_eq!(
        large.len() as u64,
        summary["file_bytes"]["cdn"].as_u64().unwrap() + summary["file_bytes"]["local"].as_u64().unwrap()
    );
    let asked = lab.faulty.requests().split_off(before);
    assert_eq!(2, asked.iter().filter(|seen| seen.target.contains("/reconstructions/")).count(), "{asked:?}");
    let pulled = std::path::Path::new(summary["path"].as_str().unwrap()).join("large.bin");
    assert!(large == std::fs::read(pulled).unwrap(), "other bytes");
}
