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
    let exposed = crate::lab::files_below(&lab.repo_folder().join("snapshots"));
    assert!(!exposed.iter().any(|path| path.to_string_lossy().ends_with(".safetensors")), "{exposed:?}");
    lab.pull().await.assert_ok();
    lab.assert_pulled();
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_pull_that_is_interrupted_when_it_ends_then_130_and_how_to_go_on() {
    for signal in [Signal::INT, Signal::TERM] {
        let lab = Lab::new().await;

        let said = stop_in_the_middle(&lab, signal).await;

        lab.assert_failed(&said, 130, "interrupted");
        assert!(said.stderr.contains("run the same command again"), "{}", said.stderr);
        lab.assert_no_partial_files();
        lab.pull().await.assert_ok();
        lab.assert_pulled();
    }
}
