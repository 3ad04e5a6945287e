//! Requests, from when they are made until nobody needs them, and what may come twice of them.

use std::time::{Duration, Instant};

use super::source::Request;
use super::{BLOCK_BYTES, Command, FileNumber, RequestNumber, STREAM_STILL_MAX, Scheduler, SourceNumber, What};

/// What may come twice: this part of everything, and so many blocks besides.
const DUPLICATES_MAX: f64 = 0.02;
const DUPLICATE_BLOCKS_MAX: u64 = 8;
/// A request is late when it takes this many times what it should, and this much longer.
const LATE_FACTOR: u32 = 3;
/// And never before it takes this many times what it should.
const LATE_FACTOR_MIN: u32 = 2;
const LATE_SLACK: Duration = Duration::from_millis(500);
/// A whole xorb is late after so many deadlines.
const WHOLE_LATE_DEADLINES: u32 = 6;
/// For the first answer of a peer of which nothing is known.
const FIRST_DEADLINE: Duration = Duration::from_secs(2);

impl Scheduler {
    /// Makes a request.
    pub(super) fn ask(&mut self, number: SourceNumber, file: FileNumber, what: What, now: Instant) -> Command {
        let request = self.next_request;
        self.next_request += 1;
        let bytes = self.book.bytes(file, what);
        for own in self.book.claims_of(file, what) {
            if self.requests.get(&own).is_some_and(|own| own.source == number) {
                self.cancel(own, now);
            }
        }
        self.cancel_late_if_dear(file, what, bytes, now);
        let is_stream = matches!(what, What::Entry(_));
        let Some(source) = self.sources.get_mut(&number) else { return Command::Cancel { request } };
        let expected = source.pace.expected(source.outstanding_bytes + bytes, now);
        let late = expected.map_or(FIRST_DEADLINE, |expected| expected * LATE_FACTOR + LATE_SLACK);
        let late_max = self.request_deadline.max(expected.unwrap_or_default() * LATE_FACTOR_MIN);
        let late = match what {
            What::Entry(_) => STREAM_STILL_MAX,
            // Nothing of it is seen before all of it is there.
            What::Whole(_) => self.request_deadline * WHOLE_LATE_DEADLINES,
            What::List(_) | What::Block(..) => late.min(late_max),
        };
        let expected_at = expected.filter(|_| !is_stream).map(|expected| now + expected);
        let open = Request {
            source: number,
            file,
            what,
            bytes,
            received: 0,
            missing_bytes: bytes,
            position: 0,
            asked_at: now,
            is_alone: source.outstanding_bytes == 0 && !is_stream,
            expected_at,
            deadline: now + late,
            is_late: false,
            has_arrived: false,
            is_hedge: match what {
                What::Entry(entry) => self.book.entry((file, entry)).is_some_and(|entry| !entry.has_open()),
                _ => !self.book.claims_of(file, what).is_empty(),
            },
        };
        source.pace.begin(now);
        source.outstanding_bytes += bytes;
        source.requests.insert(request);
        if let What::Whole(entry) = what {
            source.tried.extend(self.book.entry((file, entry)).map(|entry| (file, entry.xorb)));
        }
        if open.is_hedge {
            self.hedged_bytes += bytes;
        }
        if let (Some(limit), false) = (&mut self.limit, is_stream) {
            limit.spend(bytes, now);
        }
        self.deadlines.insert((open.deadline, request));
        self.expected.extend(expected_at.map(|at| (at, request)));
        self.requests.insert(request, open);
        self.book.claim(file, what, request);
        if let Some(entry) = self.book.entry_of(file, what).filter(|_| !is_stream) {
            self.meet((file, entry), now);
        }
        Command::Fetch { request, file, what }
    }

    /// What is late may still come; where so much has come twice that it may not, it is cancelled.
    fn cancel_late_if_dear(&mut self, file: FileNumber, what: What, bytes: u64, now: Instant) {
        if !self.may_come_twice(bytes) {
            for late in self.book.claims_of(file, what) {
                self.cancel(late, now);
            }
        }
    }

    /// Whether so many bytes more may come twice.
    pub(super) fn may_come_twice(&self, bytes: u64) -> bool {
        let max = (self.book.total_bytes as f64 * DUPLICATES_MAX) as u64 + DUPLICATE_BLOCKS_MAX * BLOCK_BYTES;
        self.wasted_bytes + self.hedged_bytes + bytes <= max
    }

    /// What a request was for is there: what of it is still under way is needless.
    pub(super) fn settle(&mut self, request: RequestNumber, now: Instant) {
        if self.requests.get(&request).is_some_and(|request| request.has_arrived) {
            self.drop_request(request, now);
        } else {
            self.cancel(request, now);
        }
    }

    /// Has a source stop.
    pub(super) fn cancel(&mut self, request: RequestNumber, now: Instant) {
        let Some(open) = self.requests.get(&request) else { return };
        let number = open.source;
        if let Some(source) = self.sources.get_mut(&number).filter(|_| !open.has_arrived) {
            source.cancels.push_back(request);
            source.is_full = false;
            self.woken.insert(number);
        }
        self.drop_request(request, now);
    }

    /// Forgets a request, and lets others be asked for what it was for.
    pub(super) fn drop_request(&mut self, request: RequestNumber, now: Instant) {
        self.forget_expected(request);
        self.rest_from(request, now);
        let Some(open) = self.requests.remove(&request) else { return };
        if open.is_hedge {
            self.hedged_bytes -= open.bytes;
        }
        self.deadlines.remove(&(open.deadline, request));
        if let Some(source) = self.sources.get_mut(&open.source) {
            source.requests.remove(&request);
            source.is_full = false;
            self.woken.insert(open.source);
        }
        self.book.release(open.file, open.what, request, false);
    }

    pub(super) fn forget_expected(&mut self, request: RequestNumber) {
        if let Some(at) = self.requests.get(&request).and_then(|request| request.expected_at) {
            self.expected.remove(&(at, request));
        }
    }

    /// Nothing more comes of a request.
    pub(super) fn rest_from(&mut self, request: RequestNumber, now: Instant) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        let left = open.left();
        open.received = open.received.max(open.bytes);
        if let (Some(limit), false) = (&mut self.limit, open.is_stream()) {
            limit.give_back(left);
        }
        let Some(source) = self.sources.get_mut(&open.source) else { return };
        source.outstanding_bytes -= left;
        let requests = &self.requests;
        let is_outstanding = |other: &RequestNumber| {
            *other != request && requests.get(other).is_some_and(|request| !request.has_arrived)
        };
        if !source.requests.iter().any(is_outstanding) {
            source.pace.rest(now);
        }
    }
}
