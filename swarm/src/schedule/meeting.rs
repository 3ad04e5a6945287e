//! Where the origin's stream of an entry comes to what peers are at, or have brought.

use std::time::Instant;

use super::book::EntryKey;
use super::{ORIGIN, RequestNumber, Scheduler, What};

/// A stream that comes to so many bytes that are there is ended, and begun anew behind them: for the price of a question
/// to the CAS, which is worth less where much has come twice already.
const SKIPPED_BYTES: u64 = 4 * 1024 * 1024;
const SKIPPED_BYTES_MIN: u64 = 1024 * 1024;
/// Times that a stream of one entry is begun anew for that. There are CASes that give no parts.
const SKIPS_MAX: u32 = 4;

impl Scheduler {
    /// The origin's stream has come to this place of a region.
    pub(crate) fn streamed(&mut self, request: RequestNumber, region: u32, offset: u64, now: Instant) {
        let Some(open) = self.requests.get_mut(&request) else { return };
        let (What::Entry(entry), file) = (open.what, open.file) else { return };
        let Some(position) = self.book.position(file, region, offset) else { return };
        open.position = open.position.max(position);
        let skip = if self.may_come_twice(SKIPPED_BYTES) { SKIPPED_BYTES } else { SKIPPED_BYTES_MIN };
        let entry_key = (file, entry);
        let may_skip = self.book.entry(entry_key).is_some_and(|entry| entry.skips < SKIPS_MAX);
        if may_skip && self.book.is_stored_behind(file, region, offset, skip) {
            if let Some(entry) = self.book.entry_mut(entry_key) {
                entry.skips += 1;
            }
            self.cancel(request, now);
            self.woken.insert(ORIGIN);
        } else {
            self.meet(entry_key, now);
        }
    }

    /// The origin and peers are at the same entry. If nothing is open behind where the stream is, then they have met, and
    /// it ends if they will be there first. Else it goes on, and what it comes to they need not bring.
    pub(super) fn meet(&mut self, key: EntryKey, now: Instant) {
        let Some(stream) = self.book.entry(key).and_then(|entry| entry.stream) else { return };
        // One that was begun because it would be there first goes on until it is.
        let met = self.requests.get(&stream).filter(|request| !request.is_hedge);
        let Some(position) = met.map(|request| request.position) else { return };
        let claims = self.book.claims_behind(key, position);
        if claims.is_empty() {
            return;
        }
        let end = self.book.stretch(key.0, What::Entry(key.1)).map_or(position, |(_, end)| end);
        // Whoever's rate is not known yet is taken to be slow.
        let mut last = claims.iter().map(|(_, request)| self.expected_of(*request, now));
        let last = last.try_fold(now, |last, at| Some(last.max(at?)));
        if self.book.is_met(key, position) && self.is_before(last, end.saturating_sub(position), now) {
            self.cancel(stream, now);
            self.woken.insert(ORIGIN);
            return;
        }
        for (_, request) in claims.into_iter().filter(|(start, _)| *start < position) {
            if self.requests.get(&request).is_some_and(|request| request.received <= request.bytes / 2) {
                self.cancel(request, now);
            }
        }
    }

    /// When all of a request should have come; `None` if that cannot be said.
    fn expected_of(&self, request: RequestNumber, now: Instant) -> Option<Instant> {
        let request = self.requests.get(&request)?;
        if request.has_arrived { Some(now) } else { request.expected_at.filter(|_| !request.is_late) }
    }

    /// Whether something is expected before one of the origin's streams has brought so many bytes.
    fn is_before(&self, expected: Option<Instant>, bytes: u64, now: Instant) -> bool {
        let stream = self.stream_time(bytes, now);
        expected.is_some_and(|at| stream.is_none_or(|stream| at.saturating_duration_since(now) <= stream))
    }
}
