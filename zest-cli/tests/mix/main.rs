//! Seeded random runs of pulls, each under faults of the origin, of peers and of the machine. A run ends in success
//! with the right files or in the right exit code with nothing wrong exposed, and when the faults are over the same
//! command heals it. Nothing hangs.
//!
//! `ZEST_MIX_RUNS` sets how many runs there are, `ZEST_MIX_SEED` makes one of them again.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]
#![expect(clippy::print_stderr, reason = "what was tried is told, and how to try it again")]

mod damage;
mod faults;
mod origin;
mod run;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use origin::SharedOrigin;
use run::{Story, Tally};

/// Without `ZEST_MIX_RUNS`: a minute or so.
const RUNS_DEFAULT: u64 = 60;
/// Most of a run is waiting.
const RUNS_AT_ONCE: usize = 16;
/// No run may hang: it has some ten waits of seconds, and the machine may be busy.
const RUN_DEADLINE: Duration = Duration::from_secs(240);

#[test]
fn given_a_random_mix_of_faults_when_pulled_then_the_right_files_or_the_right_exit_code() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let runs = number("ZEST_MIX_RUNS").unwrap_or(RUNS_DEFAULT);
    let seeds: Vec<u64> = number("ZEST_MIX_SEED").map_or_else(|| (1..=runs).collect(), |seed| vec![seed]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let result = runtime.block_on(mix(&seeds));
    // A run that hangs in a thread must not keep the test from ending.
    runtime.shutdown_timeout(Duration::from_secs(5));
    result.unwrap();
}

/// What became of all runs.
#[derive(Default)]
struct Closing {
    successes: u64,
    /// By exit code.
    failures: BTreeMap<i32, u64>,
    pulls: u64,
    killed: u64,
    wrong: u64,
    hung: u64,
    slowest: Duration,
}

async fn mix(seeds: &[u64]) -> Result<(), String> {
    let origin = Arc::new(SharedOrigin::start().await);
    let (mut waiting, mut running, mut closing) = (seeds.iter().copied(), JoinSet::new(), Closing::default());
    loop {
        while running.len() < RUNS_AT_ONCE
            && let Some(seed) = waiting.next()
        {
            let (origin, story) = (origin.clone(), Story::default());
            running.spawn(async move {
                let begun = Instant::now();
                // In a task of its own, so that a panic is a result.
                let mut run = JoinSet::new();
                run.spawn(run::run(seed, origin, story.clone()));
                let ended = tokio::time::timeout(RUN_DEADLINE, run.join_next()).await;
                (seed, story, ended.map(|ended| ended.expect("it was spawned")), begun.elapsed())
            });
        }
        let Some(ended) = running.join_next().await else { break };
        let (seed, story, ended, took) = ended.unwrap();
        closing.slowest = closing.slowest.max(took);
        match ended {
            Ok(Ok(tally)) => closing.add(&tally),
            Ok(Err(error)) => {
                closing.wrong += 1;
                eprintln!("--- seed {seed} went wrong: {error}\n{story}{}", replay(seed));
            }
            Err(_) => {
                closing.hung += 1;
                eprintln!("--- seed {seed} hangs\n{story}{}", replay(seed));
            }
        }
        if seeds.len() == 1 {
            eprintln!("{story}");
        }
    }
    let Closing { successes, failures, pulls, killed, wrong, hung, slowest } = closing;
    let failures: Vec<String> = failures.iter().map(|(code, times)| format!("{times} with exit code {code}")).collect();
    eprintln!(
        "fault mix: {} runs of {pulls} pulls: {successes} successes, {killed} killed or dropped, {}; {wrong} wrong, {hung} hung; \
         slowest run {:.1} s",
        seeds.len(),
        if failures.is_empty() { "no failures".to_owned() } else { failures.join(", ") },
        slowest.as_secs_f64()
    );
    if wrong + hung == 0 { Ok(()) } else { Err(format!("{wrong} wrong, {hung} hung")) }
}

fn replay(seed: u64) -> String {
    format!("replay: ZEST_MIX_SEED={seed} cargo test -p zest-p2p --test mix -- --nocapture\n")
}

impl Closing {
    fn add(&mut self, tally: &Tally) {
        self.pulls += tally.pulls;
        self.killed += tally.killed;
        self.successes += tally.successes;
        tally.failures.iter().for_each(|code| *self.failures.entry(*code).or_default() += 1);
    }
}
