//! For tests: one file at the scheduler, with one peer, on a clock of the test's.

use std::time::{Duration, Instant};

use xet_cas::{ByteRange, Leaf};

use crate::ledger::{Ledger, Recurrence, Reserved, Source, TakenList, Task};
use crate::schedule::{
    Ability, Command, Config, FileNumber, Outcome, RequestNumber, Scheduler, SourceMode, SourceNumber,
};

const FILE: FileNumber = 7;

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) ledger: Ledger,
    scheduler: Scheduler,
    peer: SourceNumber,
    now: Instant,
}

impl Desk {
    /// The peer has the file.
    pub(crate) fn new(ledger: Ledger, ability: Ability) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an origin for fake time")]
        let now = Instant::now();
        let request_deadline = Duration::from_secs(10);
        let config = Config { mode: SourceMode::Auto, streams: 1, request_deadline, limit: None, seed: 1 };
        let mut scheduler = Scheduler::new(config, now);
        scheduler.add_file(FILE, &ledger.specs(), true, now);
        let peer = scheduler.add_peer();
        scheduler.meet_peer(peer, ability);
        scheduler.decide(peer, FILE, true);
        Self { ledger, scheduler, peer, now }
    }

    /// What the peer is asked for next; cancels are passed over.
    pub(crate) fn next(&mut self) -> Option<(RequestNumber, Task)> {
        loop {
            if let Command::Fetch { request, what, .. } = self.scheduler.poll(self.peer, self.now)? {
                return Some((request, self.ledger.task(what).unwrap_or_else(|| panic!("{what:?} is there"))));
            }
        }
    }

    pub(crate) fn take_list(&mut self, range: ByteRange, list: Vec<(u64, Leaf)>) -> Option<Vec<Recurrence>> {
        let Some(TakenList { region, blocks, recurrences }) = self.ledger.take_list(range, list)? else {
            return Some(Vec::new());
        };
        self.scheduler.listed(FILE, region, &blocks, self.now);
        Some(recurrences)
    }

    pub(crate) fn cannot_copy(&mut self, recurrences: &[Recurrence]) {
        for (region, block) in self.ledger.cannot_copy(recurrences) {
            self.scheduler.add_block(FILE, region, block);
        }
    }

    /// Writes a chunk where it belongs, and wherever else.
    pub(crate) fn write(&mut self, offset: u64, leaf: Leaf, source: Source) {
        for place in self.ledger.copies_of(offset).into_iter().chain([offset]) {
            if self.ledger.reserve(place, leaf) == Reserved::Yours {
                self.ledger.written(place, source);
            }
        }
        for finished in self.ledger.take_finished() {
            self.scheduler.finished(FILE, finished, self.now);
        }
    }

    pub(crate) fn ended(&mut self, request: RequestNumber, outcome: Outcome) {
        self.scheduler.ended(request, outcome, self.now);
    }

    /// Whether the peer may still bring the file.
    pub(crate) fn may_bring(&self) -> bool {
        self.scheduler.may_bring(FILE)
    }
}
