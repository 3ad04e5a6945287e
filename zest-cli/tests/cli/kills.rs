//! Pulls that are killed at random points of their way, and what going on costs.

use std::path::Path;

use testkit::{Dice, Fault, FaultyOrigin, Rule, SeenRequest};

use crate::lab::{ENTRY_PATH, Lab, PROCESS_DEADLINE, REPO, finish};

/// Without `ZEST_KILL_POINTS`.
const POINTS_DEFAULT: u64 = 6;
/// A file of one long entry beside the lab's model.
const LARGE_BYTES: usize = 24_000_000;
/// Slow enough that what was sent is not in buffers of the system, but here.
const PACE: u64 = 20_000_000;
/// What one source may have to send again.
const BLOCK_BYTES: u64 = 2 * 1024 * 1024;

fn data_bytes(origin: &FaultyOrigin) -> u64 {
    entries(origin).iter().map(SeenRequest::sent_bytes).sum()
}

fn entries(origin: &FaultyOrigin) -> Vec<SeenRequest> {
    origin.requests().into_iter().filter(|seen| seen.target.contains(ENTRY_PATH)).collect()
}

/// A pull through a proxy of its own, which counts; and the entries that were under way when it was killed.
async fn pull(lab: &Lab, home: &Path, killed_after: Option<u64>) -> (FaultyOrigin, u64) {
    let origin = FaultyOrigin::start(&lab.faulty.url()).await.unwrap();
    origin.add(Rule::path_contains(ENTRY_PATH, Fault::Trickle { bytes_per_second: PACE }));
    let mut command = lab.command_at(home, &["pull", REPO, "--stall-timeout", "15"]);
    let mut child = command.env("HF_ENDPOINT", origin.url()).spawn().unwrap();
    let mut sources = 0;
    match killed_after {
        Some(bytes) => {
            let sent = tokio::time::timeout(PROCESS_DEADLINE, origin.until_sent(bytes));
            sent.await.expect("zest fetches nothing");
            sources = entries(&origin).iter().filter(|seen| !seen.is_over()).count() as u64;
            child.kill().await.unwrap();
        }
        None => finish(child).await.assert_ok(),
    }
    (origin, sources)
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_kill_at_any_point_when_pulled_again_then_at_most_one_block_a_source_is_fetched_twice() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let points = number("ZEST_KILL_POINTS").unwrap_or(POINTS_DEFAULT);
    let mut large = vec![0; LARGE_BYTES];
    let mut dice = Dice::new(50);
    large.iter_mut().for_each(|byte| *byte = dice.below(256) as u8);
    let lab = Lab::with(None, &[("large.safetensors", &large)]).await;
    let home = lab.home();
    let all_bytes = data_bytes(&pull(&lab, &home, None).await.0);
    lab.forget();
    let mut most_bytes = 0;
    for point in 0..points {
        let killed_after = dice.below(all_bytes);
        let (killed, sources) = pull(&lab, &home, Some(killed_after)).await;
        let (again, _) = pull(&lab, &home, None).await;

        lab.assert_pulled();
        let twice_bytes = (data_bytes(&killed) + data_bytes(&again)).saturating_sub(all_bytes);
        most_bytes = most_bytes.max(twice_bytes);
        let told =
            format!("point {point}, killed after {killed_after} of {all_bytes} bytes: {twice_bytes} bytes twice");
        assert!(twice_bytes <= sources.max(1) * BLOCK_BYTES, "{told}, {sources} sources");
        lab.forget();
    }
    eprintln!(
        "killed at {points} points of a pull of {all_bytes} bytes: at most {most_bytes} bytes were fetched twice"
    );
}
