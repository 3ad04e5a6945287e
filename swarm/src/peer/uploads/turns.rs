//! Whose turn it is to send: deficit round robin by bytes over all sessions, behind one limit. Pure: no I/O, no clock.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;
use std::time::Instant;

use xet_cas::CHUNK_BYTES_MAX;
use xet_cas::xorb::RecordHeader;

use crate::token_bucket::TokenBucket;

/// Bytes of a batch at most: some four chunks. Each peer that does not read holds one.
const BATCH_BYTES_MAX: u64 = 2 * BATCH_BYTES_MIN;
/// Any chunk fits into any batch.
const BATCH_BYTES_MIN: u64 = (CHUNK_BYTES_MAX + RecordHeader::BYTES) as u64;
/// Under a limit a batch takes a part of a second, so that the next peer need not wait long for its turn.
const BATCHES_PER_SECOND: u64 = 20;
/// Batches that are read at once: enough to keep a disk busy, and four megabytes.
const READERS_MAX: usize = 16;

/// A session, for as long as it is a member. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Member(u64);

/// Who may read the next batch and send it. A session asks for a batch when it has something to send and room for
/// it, so one that has nothing, or does not read, is not in the queue. Each turn is worth one batch; what a session
/// did not use of it is kept for it, and as soon as that is another batch, it goes first. So bytes count, however
/// many turns they take, and a grant costs the same for any number of sessions.
#[derive(Debug)]
pub(super) struct Turns {
    limit: Option<TokenBucket>,
    batch_bytes: u64,
    /// How many more may read.
    readers_free: usize,
    members: HashMap<Member, Account>,
    /// Those that wait, each once.
    queue: VecDeque<Member>,
    members_ever: u64,
}

#[derive(Debug)]
struct Account {
    /// What is left of its turns: less than two batches.
    credit: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// In the queue.
    Waiting,
    /// It may send a batch, and does not know.
    Granted,
    Sending,
}

impl Turns {
    /// `limit` in bytes a second.
    pub(super) fn new(limit: Option<NonZeroU64>, now: Instant) -> Self {
        let batch_bytes = match limit {
            Some(rate) => (rate.get() / BATCHES_PER_SECOND).clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX),
            None => BATCH_BYTES_MAX,
        };
        // The burst of a moment in which nobody looks at the clock.
        let burst = |rate: NonZeroU64| batch_bytes.max(rate.get() / BATCHES_PER_SECOND);
        Self {
            limit: limit.map(|rate| TokenBucket::new(rate, burst(rate), now)),
            batch_bytes,
            readers_free: READERS_MAX,
            members: HashMap::new(),
            queue: VecDeque::new(),
            members_ever: 0,
        }
    }

    /// Bytes of records that a grant is for, at most.
    pub(super) fn batch_bytes(&self) -> u64 {
        self.batch_bytes
    }

    pub(super) fn join(&mut self) -> Member {
        self.members_ever += 1;
        let member = Member(self.members_ever);
        self.members.insert(member, Account { credit: 0, state: State::Idle });
        member
    }

    /// A session has ended. What it was granted and did not take is free again; a batch that it is reading is settled
    /// later.
    pub(super) fn leave(&mut self, member: Member) {
        match self.members.remove(&member).map(|account| account.state) {
            Some(State::Granted) => self.settle(member, 0),
            Some(State::Waiting) => self.queue.retain(|waiting| *waiting != member),
            Some(State::Idle | State::Sending) | None => {}
        }
    }

    /// A session has something to send, and room for it. To ask twice is to ask once.
    pub(super) fn ask(&mut self, member: Member) {
        let Some(account) = self.members.get_mut(&member) else { return };
        if account.state != State::Idle {
            return;
        }
        account.state = State::Waiting;
        // Its turn is not over.
        if account.credit >= self.batch_bytes {
            self.queue.push_front(member);
        } else {
            self.queue.push_back(member);
        }
    }

    /// The next that may send a batch: to be called until there is none, after anything has changed and when
    /// `poll_timeout` says.
    pub(super) fn poll_grant(&mut self, now: Instant) -> Option<Member> {
        if self.readers_free == 0 || self.queue.is_empty() {
            return None;
        }
        if let Some(limit) = &mut self.limit
            && !limit.take(self.batch_bytes, now)
        {
            return None;
        }
        let member = self.queue.pop_front()?;
        let account = self.members.get_mut(&member)?;
        if account.credit < self.batch_bytes {
            account.credit += self.batch_bytes;
        }
        account.credit -= self.batch_bytes;
        account.state = State::Granted;
        self.readers_free -= 1;
        Some(member)
    }

    /// When the limit lets the next one send, if somebody waits for that.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let waits_for_limit = self.readers_free > 0 && !self.queue.is_empty();
        self.limit.as_ref().filter(|_| waits_for_limit)?.ready_at(now)
    }

    /// Whether a session was granted a batch, which it knows from here on.
    pub(super) fn take_grant(&mut self, member: Member) -> bool {
        let granted = self.members.get_mut(&member).filter(|account| account.state == State::Granted);
        granted.map(|account| account.state = State::Sending).is_some()
    }

    /// A batch was read, or not: so many bytes are sent for its grant.
    pub(super) fn settle(&mut self, member: Member, sent_bytes: u64) {
        let unused = self.batch_bytes.saturating_sub(sent_bytes);
        self.readers_free += 1;
        if let Some(limit) = &mut self.limit {
            limit.give_back(unused);
        }
        if let Some(account) = self.members.get_mut(&member) {
            account.credit += unused;
            account.state = State::Idle;
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a point in time to count from")]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn turns(limit: u64) -> (Turns, Instant) {
        let now = Instant::now();
        (Turns::new(NonZeroU64::new(limit), now), now)
    }

    /// Lets everybody send who may, and time pass until `bytes` were sent. How many bytes of its grant a member uses is
    /// for `batch` to say, and whether it asks again. Returns what each has sent, and how long it took.
    fn send(
        turns: &mut Turns,
        mut now: Instant,
        bytes: u64,
        mut batch: impl FnMut(Member) -> Option<u64>,
    ) -> (BTreeMap<u64, u64>, Duration) {
        let (start, mut sent) = (now, BTreeMap::new());
        while sent.values().sum::<u64>() < bytes {
            while let Some(member) = turns.poll_grant(now) {
                assert!(turns.take_grant(member));
                match batch(member) {
                    Some(used) => {
                        turns.settle(member, used);
                        *sent.entry(member.0).or_default() += used;
                        turns.ask(member);
                    }
                    // Neither reads on nor says so.
                    None => turns.settle(member, 0),
                }
            }
            now = turns.poll_timeout(now).expect("nobody waits");
        }
        (sent, now - start)
    }

    proptest! {
        #[test]
        fn given_sessions_that_always_have_more_when_they_send_then_each_has_its_share_of_bytes_within_a_turn(
            // How many bytes a session's batches have, in thousandths: many small ones, or few large ones.
            sizes in prop::collection::vec((1_u64..=1_000, 1_u64..=1_000), 2..12),
            limit in 1_000_000_u64..100_000_000,
        ) {
            let (mut turns, now) = turns(limit);
            let quantum = turns.batch_bytes();
            let mut next = BTreeMap::new();
            for (even, odd) in &sizes {
                let member = turns.join();
                next.insert(member.0, (even * quantum / 1_000, odd * quantum / 1_000));
                turns.ask(member);
            }

            let bytes = 30 * quantum * sizes.len() as u64;
            let (sent, _) = send(&mut turns, now, bytes, |member| {
                let (one, other) = next[&member.0];
                next.insert(member.0, (other, one));
                Some(one)
            });

            let fair = sent.values().sum::<u64>() / sizes.len() as u64;
            for (member, bytes) in &sent {
                let off = bytes.abs_diff(fair);
                prop_assert!(off <= 2 * quantum, "{member} is {off} bytes off its share {fair}; a turn has {quantum}");
            }
            prop_assert_eq!(sizes.len(), sent.len());
        }

        #[test]
        fn given_sessions_that_do_not_read_when_others_send_then_those_have_all_of_the_limit(
            silent in 1_usize..50,
            busy in 1_usize..5,
            limit in 1_000_000_u64..100_000_000,
        ) {
            let (mut turns, now) = turns(limit);
            let members: Vec<Member> = (0..silent + busy).map(|_| turns.join()).collect();
            members.iter().for_each(|member| turns.ask(*member));
            let is_busy = |member: Member| member.0 > silent as u64;

            let bytes = 100 * turns.batch_bytes();
            let (sent, took) = send(&mut turns, now, bytes, |member| is_busy(member).then_some(100_000));

            prop_assert!(sent.keys().all(|member| is_busy(Member(*member))));
            let total = sent.values().sum::<u64>() as f64;
            prop_assert!(took.as_secs_f64() <= total / limit as f64, "{took:?} for {total} bytes at {limit}");
        }

        #[test]
        fn given_any_use_when_everybody_has_left_then_all_readers_are_free_and_nobody_waits(
            steps in prop::collection::vec((0_u8..6, 0_usize..8, 0_u64..600_000), 0..200),
            limit in 0_u64..50_000_000,
        ) {
            let (mut turns, mut now) = turns(limit);
            let (mut members, mut reading) = (Vec::new(), Vec::new());
            for (step, which, number) in steps {
                let member = members.get(which).copied();
                match (step, member) {
                    (0, _) if members.len() < 8 => members.push(turns.join()),
                    (1, Some(member)) => {
                        turns.leave(member);
                        members.retain(|other| *other != member);
                    }
                    (2, Some(member)) => turns.ask(member),
                    (3, Some(member)) => reading.extend(turns.take_grant(member).then_some(member)),
                    (4, _) if !reading.is_empty() => {
                        let member = reading.remove(which % reading.len());
                        turns.settle(member, number.min(turns.batch_bytes()));
                    }
                    (5, _) => now += Duration::from_micros(number),
                    _ => {}
                }
                while turns.poll_grant(now).is_some() {}
                prop_assert!(turns.queue.len() <= turns.members.len());
                prop_assert!(turns.members.values().all(|account| account.credit < 2 * turns.batch_bytes));
            }
            members.into_iter().for_each(|member| turns.leave(member));
            reading.into_iter().for_each(|member| turns.settle(member, 0));

            prop_assert_eq!(READERS_MAX, turns.readers_free);
            prop_assert!(turns.queue.is_empty() && turns.members.is_empty());
            prop_assert_eq!(None, turns.poll_timeout(now));
        }
    }

    #[test]
    fn given_no_limit_when_asked_then_granted_at_once_as_long_as_there_are_readers() {
        let (mut turns, now) = turns(0);
        let members: Vec<Member> = (0..=READERS_MAX).map(|_| turns.join()).collect();
        members.iter().for_each(|member| turns.ask(*member));

        let granted: Vec<Member> = std::iter::from_fn(|| turns.poll_grant(now)).collect();

        assert_eq!(members[..READERS_MAX], granted);
        assert_eq!(None, turns.poll_timeout(now));
        turns.leave(members[3]);
        assert_eq!(Some(members[READERS_MAX]), turns.poll_grant(now));
    }

    #[test]
    fn given_what_was_not_used_when_another_waits_then_it_may_send_that_at_once() {
        let (mut turns, now) = turns(1_000_000);
        let (first, second) = (turns.join(), turns.join());
        turns.ask(first);
        turns.ask(second);
        assert_eq!(Some(first), turns.poll_grant(now));
        assert_eq!(None, turns.poll_grant(now));

        assert!(turns.take_grant(first));
        turns.settle(first, 0);

        assert_eq!(Some(second), turns.poll_grant(now));
    }
}
