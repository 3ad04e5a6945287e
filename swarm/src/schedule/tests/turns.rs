//! What the scheduler says in single turns.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use xet_cas::XorbHash;

use super::super::{
    Ability, BLOCK_BYTES, BlockSpec, Command, Config, EntrySpec, FileNumber, Finished, ORIGIN, Outcome, REST,
    RequestNumber, Scheduler, SourceMode, SourceNumber, What,
};
use crate::token_bucket::TokenBucket;

const MB: u64 = 1_000_000;
const FILE: FileNumber = 1;

struct Turns {
    scheduler: Scheduler,
    now: Instant,
    warmed_up: FileNumber,
}

impl Turns {
    fn new(mode: SourceMode, limit: Option<u64>) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an origin for fake time")]
        let now = Instant::now();
        let limit = limit.and_then(NonZeroU64::new).map(|rate| TokenBucket::new(rate, rate.get(), now));
        let request_deadline = Duration::from_secs(30);
        let config = Config { mode, streams: 1, request_deadline, limit, seed: 1 };
        Self { scheduler: Scheduler::new(config, now), now, warmed_up: 100 }
    }

    /// A file of one entry with so many blocks, whose list is known.
    fn add(&mut self, file: FileNumber, blocks: u64) {
        let bytes = blocks * BLOCK_BYTES;
        let entry = EntrySpec {
            regions: vec![(bytes, bytes)],
            xorb: XorbHash::from_bytes([file as u8; 32]),
            xorb_bytes: bytes,
        };
        self.scheduler.add_file(file, &[entry], true, self.now);
        let block = |at| BlockSpec { start: at * BLOCK_BYTES, bytes: BLOCK_BYTES, missing_bytes: BLOCK_BYTES };
        self.scheduler.listed(file, 0, &(0..blocks).map(block).collect::<Vec<_>>(), self.now);
    }

    /// A peer that has shown how fast it is, with a block of another file.
    fn peer(&mut self, bytes_per_second: u64) -> SourceNumber {
        let (peer, file) = (self.scheduler.add_peer(), self.warmed_up);
        self.warmed_up += 1;
        self.scheduler.meet_peer(peer, Ability::Prove);
        self.add(file, 1);
        self.scheduler.decide(peer, file, true);
        let (request, what) = self.fetch(peer).expect("there is a block");
        self.bring(request, file, what, BLOCK_BYTES as f64 / bytes_per_second as f64);
        self.scheduler.remove_file(file, self.now);
        peer
    }

    /// The origin, after it has streamed a file at this rate.
    fn warm_up_origin(&mut self, bytes_per_second: u64) {
        let file = self.warmed_up;
        self.warmed_up += 1;
        self.add(file, 1);
        let (request, _) = self.fetch(ORIGIN).expect("there is an entry");
        self.wait(BLOCK_BYTES as f64 / bytes_per_second as f64);
        self.scheduler.received(request, BLOCK_BYTES, self.now);
        self.scheduler.finished(file, Finished::Block(0, 0), self.now);
        assert_eq!(Some(Command::Cancel { request }), self.scheduler.poll(ORIGIN, self.now));
        self.scheduler.remove_file(file, self.now);
    }

    fn has(&mut self, peer: SourceNumber) {
        self.scheduler.decide(peer, FILE, true);
    }

    fn wait(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }

    fn pass(&mut self, seconds: f64) {
        self.wait(seconds);
        while self.scheduler.poll_timeout().is_some_and(|due| due <= self.now) {
            self.scheduler.handle_timeout(self.now);
        }
    }

    fn fetch(&mut self, source: SourceNumber) -> Option<(RequestNumber, What)> {
        match self.scheduler.poll(source, self.now)? {
            Command::Fetch { request, what, .. } => Some((request, what)),
            cancel => panic!("{cancel:?}"),
        }
    }

    /// A block comes after so many seconds, and is written.
    fn bring(&mut self, request: RequestNumber, file: FileNumber, what: What, seconds: f64) {
        let What::Block(region, block) = what else { panic!("{what:?} is no block") };
        self.wait(seconds / 2.0);
        self.scheduler.received(request, BLOCK_BYTES / 2, self.now);
        self.wait(seconds / 2.0);
        self.scheduler.received(request, BLOCK_BYTES / 2, self.now);
        self.scheduler.ended(request, Outcome::Done, self.now);
        self.scheduler.finished(file, Finished::Block(region, block), self.now);
    }
}

#[test]
fn given_a_late_block_when_another_brings_it_then_the_late_one_is_cancelled_and_at_once_if_too_much_came_twice() {
    for is_spent in [false, true] {
        let mut turns = Turns::new(SourceMode::PeersOnly, None);
        let (first, second) = (turns.peer(10 * MB), turns.peer(10 * MB));
        turns.add(FILE, 1);
        turns.has(first);
        let (late, what) = turns.fetch(first).unwrap();
        turns.has(second);
        assert_eq!(None, turns.fetch(second), "it is in time");
        if is_spent {
            turns.scheduler.came_twice(1_000 * MB);
        }

        turns.pass(5.0);
        let (request, again) = turns.fetch(second).unwrap();

        assert_eq!(what, again);
        let cancel = Some(Command::Cancel { request: late });
        assert_eq!(is_spent.then_some(cancel).flatten(), turns.scheduler.poll(first, turns.now));
        turns.bring(request, FILE, what, 0.1);
        assert_eq!((!is_spent).then_some(cancel).flatten(), turns.scheduler.poll(first, turns.now));
    }
}

#[test]
fn given_a_peer_that_was_late_when_it_rests_then_it_is_asked_nothing_and_after_that_again() {
    let mut turns = Turns::new(SourceMode::PeersOnly, None);
    let peer = turns.peer(10 * MB);
    turns.add(FILE, 4);
    turns.has(peer);
    let (late, _) = turns.fetch(peer).unwrap();
    turns.pass(2.0);
    turns.scheduler.ended(late, Outcome::Done, turns.now);

    assert_eq!(None, turns.fetch(peer));
    turns.pass(REST.as_secs_f64());
    assert!(turns.fetch(peer).is_some());
}

#[test]
fn given_others_that_will_have_it_all_sooner_when_a_slow_peer_is_asked_then_for_nothing() {
    for (slow, is_asked) in [(MB / 10, false), (10 * MB, true)] {
        let mut turns = Turns::new(SourceMode::PeersOnly, None);
        let (fast, other) = (turns.peer(100 * MB), turns.peer(slow));
        turns.add(FILE, 30);
        turns.has(fast);
        turns.fetch(fast).unwrap();
        turns.has(other);

        assert_eq!(is_asked, turns.fetch(other).is_some(), "{slow}");
    }
}

#[test]
fn given_nothing_open_when_a_faster_peer_is_idle_then_it_takes_over_what_a_slow_one_is_at() {
    let mut turns = Turns::new(SourceMode::PeersOnly, None);
    let (slow, fast, equal) = (turns.peer(MB), turns.peer(50 * MB), turns.peer(MB));
    turns.add(FILE, 1);
    turns.has(slow);
    let (late, what) = turns.fetch(slow).unwrap();
    turns.has(equal);
    turns.has(fast);

    assert_eq!(None, turns.fetch(equal));
    let (request, again) = turns.fetch(fast).unwrap();
    assert_eq!(what, again);
    turns.bring(request, FILE, what, 0.04);
    assert_eq!(Some(Command::Cancel { request: late }), turns.scheduler.poll(slow, turns.now));
}

#[test]
fn given_nothing_open_when_the_origin_is_faster_then_it_takes_over_what_a_slow_peer_is_at() {
    for (rate, takes_over) in [(50 * MB, true), (MB, false)] {
        let mut turns = Turns::new(SourceMode::Auto, None);
        let slow = turns.peer(MB);
        turns.warm_up_origin(rate);
        turns.add(FILE, 1);
        turns.has(slow);
        turns.fetch(slow).unwrap();

        let expected = takes_over.then_some(What::Entry(0));
        assert_eq!(expected, turns.fetch(ORIGIN).map(|(_, what)| what), "{rate}");
    }
}

#[test]
fn given_peers_that_are_at_everything_behind_a_stream_when_they_are_sooner_then_it_ends() {
    let mut turns = Turns::new(SourceMode::Auto, None);
    let fast = turns.peer(100 * MB);
    turns.warm_up_origin(5 * MB);
    turns.add(FILE, 2);
    let (stream, _) = turns.fetch(ORIGIN).unwrap();
    turns.has(fast);
    let (_, last) = turns.fetch(fast).unwrap();
    assert_eq!(What::Block(0, 1), last);
    assert_eq!(None, turns.scheduler.poll(ORIGIN, turns.now), "the first block is the stream's");

    // It has brought that, and comes to what the peer is at.
    turns.wait(0.005);
    turns.scheduler.received(stream, BLOCK_BYTES, turns.now);
    turns.scheduler.finished(FILE, Finished::Block(0, 0), turns.now);
    turns.scheduler.streamed(stream, 0, BLOCK_BYTES, turns.now);

    assert_eq!(Some(Command::Cancel { request: stream }), turns.scheduler.poll(ORIGIN, turns.now));
}

#[test]
fn given_a_limit_when_what_was_asked_for_does_not_come_then_it_may_be_asked_of_others() {
    for does_come in [false, true] {
        let mut turns = Turns::new(SourceMode::PeersOnly, Some(MB));
        let (first, second) = (turns.scheduler.add_peer(), turns.scheduler.add_peer());
        turns.add(FILE, 2);
        for peer in [first, second] {
            turns.scheduler.meet_peer(peer, Ability::Prove);
            turns.has(peer);
        }
        let (request, what) = turns.fetch(first).unwrap();
        assert_eq!(None, turns.fetch(second), "more than is let through");

        if does_come {
            turns.bring(request, FILE, what, 0.0);
        } else {
            turns.scheduler.ended(request, Outcome::Failed, turns.now);
        }

        assert_eq!(!does_come, turns.fetch(second).is_some());
    }
}
