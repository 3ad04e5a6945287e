//! What the passing of time does: deadlines, what is looked at once in a while, and when there is no more hope.

use std::time::{Duration, Instant};

use super::book::{EntryKey, Shelf};
use super::source::{Request, Source};
use super::{LOOK_INTERVAL, ORIGIN, Outcome, RequestNumber, SECOND, STREAM_STILL_MAX, Scheduler, SourceMode, What};

/// A file that nobody can bring at this moment is given up after this: time for peers to say what they have.
const HOPELESS_MAX: Duration = Duration::from_millis(600);
/// Such rounds in a row without a new byte of anything, from anyone, after which its file is given up.
const REFUSALS_MAX: u32 = 2;
/// Without a byte from anyone, and nothing that is being asked for, everything is given up after this.
const STILL_MAX: Duration = Duration::from_secs(30);

/// A whole xorb is cancelled only after so many deadlines, as nothing of it counts before its end.
const WHOLE_DEADLINES: u32 = 30;

impl Scheduler {
    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, request)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, request));
            self.is_late(request, now);
        }
        if self.second_at <= now {
            let [origin, peers] = std::mem::take(&mut self.second_bytes);
            // A pause of the owner's is no second.
            let is_second = now.saturating_duration_since(self.second_at) < SECOND / 4;
            let is_full = is_second && !self.book.shelf(Shelf::Untouched).is_empty();
            let has_open = is_second && (is_full || !self.book.shelf(Shelf::Begun).is_empty());
            self.probation.second(origin, peers, is_full, has_open);
            self.second_at = now + SECOND;
            self.woken.insert(ORIGIN);
        }
        if self.look_at <= now {
            self.look_at = now + LOOK_INTERVAL;
            self.look(now);
        }
    }

    /// A deadline has passed.
    fn is_late(&mut self, request: RequestNumber, now: Instant) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        let number = open.source;
        if open.has_arrived {
            // It was not written for a long time, or not where it should be.
            self.drop_request(request, now);
        } else if open.is_stream() && self.limit.as_ref().is_some_and(|limit| limit.ready_at(now).is_some()) {
            open.deadline = now + STREAM_STILL_MAX;
            self.deadlines.insert((open.deadline, request));
        } else if let What::Entry(entry) = open.what {
            let key = (open.file, entry);
            self.cancel(request, now);
            self.concurrency.overloaded(now);
            self.streamed_to_its_end(key, Outcome::Failed, 0, now);
        } else if open.is_late {
            self.cancel(request, now);
        } else {
            open.is_late = true;
            let more = if let What::Whole(_) = open.what { WHOLE_DEADLINES } else { 1 };
            open.deadline = now + self.request_deadline * more;
            self.deadlines.insert((open.deadline, request));
            let (file, what) = (open.file, open.what);
            self.forget_expected(request);
            // Two that are late would keep a third one from it.
            let others = self.book.claims_of(file, what).into_iter().filter(|other| *other != request);
            for other in others.collect::<Vec<_>>() {
                if self.requests.get(&other).is_some_and(|other| other.is_late) {
                    self.cancel(other, now);
                }
            }
            self.book.release(file, what, request, true);
            // What waits behind it would be later still.
            let Some(source) = self.sources.get_mut(&number) else { return };
            source.is_late(now);
            let waiting = source.requests.iter().filter(|waiting| **waiting != request);
            let waiting: Vec<_> = waiting
                .copied()
                .filter(|waiting| self.requests.get(waiting).is_some_and(Request::is_waiting))
                .collect();
            waiting.into_iter().for_each(|waiting| self.cancel(waiting, now));
        }
        self.wake_all();
    }

    /// Looks at what only time changes.
    fn look(&mut self, now: Instant) {
        for (number, source) in &mut self.sources {
            if std::mem::take(&mut source.is_denied) || source.rests_until.take_if(|until| *until <= now).is_some() {
                self.woken.insert(*number);
            }
        }
        let is_limited = self.limit.as_ref().is_some();
        if is_limited || self.mode == SourceMode::PeersFirst || !self.refused.is_empty() {
            self.wake_all();
        }
        let is_resting = self.sources.values().any(Source::is_resting);
        let is_waiting = is_resting || self.limit.as_ref().is_some_and(|limit| limit.ready_at(now).is_some());
        let still = now.saturating_duration_since(self.brought_at) >= STILL_MAX;
        let still = still && self.requests.is_empty() && !is_waiting;
        let numbers: Vec<_> = self.book.files().filter(|(_, file)| file.missing_bytes > 0).map(|(at, _)| at).collect();
        for number in numbers {
            let may_bring = self.may_bring(number);
            let refused = self.refused.range((number, 0)..=(number, u32::MAX)).copied();
            let mut refused = refused.filter(|key| self.book.entry(*key).is_some_and(|entry| entry.missing_bytes > 0));
            let given_up = |key: &EntryKey| {
                self.book
                    .entry(*key)
                    .is_some_and(|entry| entry.refusal.rounds >= REFUSALS_MAX && entry.stream.is_none())
            };
            let first_refused = refused.clone().next().map(|(_, entry)| entry);
            let hopeless = refused.find(given_up).map(|(_, entry)| entry);
            let is_at_an_end = !may_bring && (first_refused.is_some() || self.mode == SourceMode::PeersOnly);
            let Some(file) = self.book.file_mut(number) else { continue };
            let since = if is_at_an_end { Some(*file.hopeless_since.get_or_insert(now)) } else { None };
            file.hopeless_since = since;
            let is_over = since.is_some_and(|since| now.saturating_duration_since(since) >= HOPELESS_MAX);
            if is_over || still || hopeless.is_some() {
                file.hopeless_since = None;
                self.abandoned.push_back((number, hopeless.or(first_refused)));
            }
        }
        if still {
            self.brought_at = now;
        }
    }
}
