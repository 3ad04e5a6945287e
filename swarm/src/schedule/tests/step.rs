//! What a step of the scheduler costs with a million blocks and a hundred sources: everything that it is told or asked
//! for a block, which is one command, two notes of what came, one of its end and one that it is written.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::{
    Ability, BLOCK_BYTES, BlockSpec, Command, Config, EntrySpec, Finished, Outcome, Scheduler, SourceMode, What,
};
use xet_cas::XorbHash;

const FILES: usize = 16;
const ENTRIES_A_FILE: usize = 1_954;
/// An entry of 64 MiB.
const BLOCKS_AN_ENTRY: u64 = 32;
const PEERS: usize = 100;
/// What a source brings between two commands.
const TURN: Duration = Duration::from_micros(200);

#[test]
#[ignore = "a bench: cargo test --release -p zest-swarm --lib a_million_blocks -- --ignored --nocapture"]
#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn a_million_blocks_and_a_hundred_peers() {
    let begun = Instant::now();
    let mut now = begun;
    let config = Config {
        mode: SourceMode::PeersFirst,
        streams: 8,
        request_deadline: Duration::from_secs(10),
        limit: None,
        seed: 1,
    };
    let mut scheduler = Scheduler::new(config, now);
    let bytes = BLOCKS_AN_ENTRY * BLOCK_BYTES;
    for file in 0..FILES {
        let entry = |at: usize| EntrySpec {
            regions: vec![(bytes, bytes)],
            xorb: XorbHash::from_bytes([at as u8; 32]),
            xorb_bytes: bytes,
        };
        scheduler.add_file(file, &(0..ENTRIES_A_FILE).map(entry).collect::<Vec<_>>(), true, now);
    }
    let peers: Vec<_> = (0..PEERS).map(|_| scheduler.add_peer()).collect();
    for (at, peer) in peers.iter().enumerate() {
        scheduler.meet_peer(*peer, Ability::Prove);
        // Some files are rarer than others.
        (0..FILES).filter(|file| (at + file) % 4 != 0).for_each(|file| scheduler.decide(*peer, file, true));
    }
    let blocks: Vec<BlockSpec> = (0..BLOCKS_AN_ENTRY)
        .map(|at| BlockSpec { start: at * BLOCK_BYTES, bytes: BLOCK_BYTES, missing_bytes: BLOCK_BYTES })
        .collect();
    println!("{} blocks, {PEERS} peers: built in {:.2?}", FILES * ENTRIES_A_FILE * 32, begun.elapsed());

    let (mut steps, mut fetched, mut spent, mut longest) = (0_u64, 0_u64, Duration::ZERO, Duration::ZERO);
    let mut to_poll: VecDeque<_> = peers.iter().copied().collect();
    let mut asked = VecDeque::new();
    loop {
        let turn = Instant::now();
        while let Some(peer) = to_poll.pop_front() {
            while let Some(command) = scheduler.poll(peer, now) {
                steps += 1;
                if let Command::Fetch { request, file, what } = command {
                    asked.push_back((request, file, what));
                }
            }
        }
        if scheduler.poll_timeout().is_some_and(|due| due <= now) {
            scheduler.handle_timeout(now);
            steps += 1;
        }
        // Answers come in the order in which they were asked for, one a turn.
        match asked.pop_front() {
            Some((request, file, What::List(region))) => {
                scheduler.ended(request, Outcome::Done, now);
                scheduler.listed(file, region, &blocks, now);
                steps += 2;
            }
            Some((request, file, What::Block(region, block))) => {
                fetched += 1;
                scheduler.received(request, BLOCK_BYTES / 2, now);
                scheduler.received(request, BLOCK_BYTES / 2, now);
                scheduler.ended(request, Outcome::Done, now);
                scheduler.finished(file, Finished::Block(region, block), now);
                steps += 4;
            }
            _ => {}
        }
        to_poll.extend(scheduler.take_woken());
        spent += turn.elapsed();
        longest = longest.max(turn.elapsed());
        now += TURN;
        match scheduler.poll_timeout() {
            Some(due) if asked.is_empty() && to_poll.is_empty() => now = now.max(due),
            Some(_) => {}
            None => break,
        }
    }
    println!(
        "{fetched} blocks fetched, {steps} steps in {spent:.2?}: {:.2} µs a step, {:.2} µs a block; longest turn {longest:.2?}",
        spent.as_secs_f64() * 1e6 / steps as f64,
        spent.as_secs_f64() * 1e6 / fetched as f64,
    );
}
