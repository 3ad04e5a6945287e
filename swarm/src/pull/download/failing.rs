//! What goes wrong in a download: entries that the origin does not give, files that are given up, and when the
//! rest is not worth trying.

use tokio::task::AbortHandle;

use super::{Group, Job, OpenFile};
use crate::schedule::{Outcome, RequestNumber, SourceMode};
use crate::{Error, ErrorKind, Event};

/// Files that fail in a row for lack of a working source before the rest is given up too.
const FAILURES_IN_A_ROW_MAX: usize = 3;
/// Ticks after which a file is given up of which nothing more is asked for and which is not complete: what was brought last
/// is written by then.
const STUCK_TICKS_MAX: u32 = 150;

impl Job {
    /// A stream of the origin has ended.
    pub(super) async fn streamed(
        &mut self,
        number: usize,
        request: RequestNumber,
        entry: u32,
        fetched: Result<(), Error>,
    ) -> Result<(), Error> {
        self.streams.remove(&request);
        // One that nobody needs any more may have failed in the same moment.
        let is_needed = self.open.get(&number).is_some_and(|open| open.work.is_some());
        if !is_needed || !self.board.schedule(|scheduler, _| scheduler.is_open(request)) {
            self.verify_if_complete(number);
            return Ok(());
        }
        let outcome = match fetched {
            Ok(()) => Outcome::Done,
            Err(error) if self.peers.is_empty() || error.kind() != Some(ErrorKind::Network) => return Err(error),
            Err(error) => {
                // Peers may bring it, and the origin may give it later.
                let plan = self.open.get(&number).and_then(|open| open.entries.get(entry as usize));
                let what = plan.map(|plan| format!("{}, from peers or later", plan.what())).unwrap_or_default();
                self.shared.tell(Event::Retry { what, reason: error.to_string() }).await;
                self.refusals.insert((number, entry), error);
                Outcome::Failed
            }
        };
        self.board.schedule(|scheduler, now| scheduler.ended(request, outcome, now));
        self.verify_if_complete(number);
        Ok(())
    }

    /// Nobody brings the rest of a file.
    pub(super) async fn abandon(&mut self, number: usize, entry: Option<u32>) {
        let Some(open) = self.open.get(&number) else { return };
        let Some(work) = &open.work else { return };
        let missing_bytes = work.ledger().missing_bytes();
        let error = entry.and_then(|entry| self.refusals.remove(&(number, entry)));
        let error = match error {
            Some(error) => error,
            None if self.mode == SourceMode::PeersOnly => Error::NoPeer { missing_bytes },
            None => {
                // The origin has given all that it was asked for, so something of what was there or came was wrong.
                work.partial.discard();
                let reason = format!("no source brought the last {missing_bytes} bytes");
                Error::Integrity { path: open.group.file().path.clone(), reason }
            }
        };
        self.fail_file(number, error).await;
    }

    /// Finds files that became complete while nobody looked, and those of which something is missing that nobody can be
    /// asked for: it could not be written, or was in the way of what belongs there.
    pub(super) async fn look_at_open(&mut self) {
        let with_work = self.open.iter().filter(|(_, open)| open.work.is_some());
        let numbers: Vec<usize> = with_work.map(|(number, _)| *number).collect();
        for number in numbers {
            self.verify_if_complete(number);
            let Some(open) = self.open.get_mut(&number).filter(|open| open.work.is_some()) else { continue };
            let is_stuck = self.board.schedule(|scheduler, _| scheduler.is_done_with(number));
            open.stuck_ticks = if is_stuck { open.stuck_ticks + 1 } else { 0 };
            if open.stuck_ticks > STUCK_TICKS_MAX {
                self.abandon(number, None).await;
            }
        }
    }

    /// Gives up one file, and with it the pull if others would fare no better.
    pub(super) async fn fail_file(&mut self, number: usize, error: Error) {
        let Some(open) = self.drop_file(number) else { return };
        if error.kind() == Some(ErrorKind::Integrity) && !open.group.is_second_try {
            // Bytes can be damaged on the way; a source that is wrong twice is wrong.
            let what = open.group.file().path.clone();
            self.shared.tell(Event::Retry { what, reason: error.to_string() }).await;
            if let Some(work) = &open.work {
                work.partial.discard();
            }
            self.enqueue(Group { is_second_try: true, ..open.group });
            return;
        }
        for file in &open.group.files {
            self.shared.tell(Event::FileFailed { path: file.path.clone(), reason: error.to_string() }).await;
        }
        self.failures_in_a_row += 1;
        let is_hopeless = match error.kind() {
            Some(ErrorKind::Disk | ErrorKind::NotAuthorised) => true,
            Some(ErrorKind::Network) => self.failures_in_a_row >= FAILURES_IN_A_ROW_MAX,
            _ => false,
        };
        let path = open.group.file().path.clone();
        let error = match error {
            error @ (Error::Integrity { .. } | Error::Disk { .. }) => error,
            error => Error::File { path, source: Box::new(error) },
        };
        self.failures.push((open.group.files.len(), error));
        if is_hopeless {
            self.give_up();
        }
    }

    /// Takes a file out of all that is going on.
    pub(super) fn drop_file(&mut self, number: usize) -> Option<OpenFile> {
        let open = self.open.remove(&number)?;
        open.tasks.iter().for_each(AbortHandle::abort);
        self.board.remove(number);
        self.refusals.retain(|(file, _), _| *file != number);
        Some(open)
    }

    /// Gives up every file but those that are just being put in place.
    fn give_up(&mut self) {
        let waiting = self.waiting.drain(..).chain(self.waiting_whole.drain(..)).chain(self.lockouts.drain());
        self.not_tried += waiting.map(|group| group.files.len()).sum::<usize>();
        let open = self.open.iter().filter(|(_, open)| !open.is_closing);
        let unfinished: Vec<usize> = open.map(|(number, _)| *number).collect();
        for number in unfinished {
            self.not_tried += self.drop_file(number).map_or(0, |open| open.group.files.len());
        }
    }

    pub(super) fn outcome(&mut self, files: usize) -> Result<(), Error> {
        let failed = self.failures.iter().map(|(files, _)| files).sum();
        let kinds: Vec<_> = self.failures.iter().map(|(_, error)| error.kind()).collect();
        let same_kind = kinds.windows(2).all(|pair| pair[0] == pair[1]);
        let mut failures = std::mem::take(&mut self.failures).into_iter().map(|(_, error)| error);
        let Some(first) = failures.next() else { return Ok(()) };
        if failures.next().is_none() && self.not_tried == 0 {
            return Err(first);
        }
        Err(Error::Partial { failed, not_tried: self.not_tried, files, first: Box::new(first), same_kind })
    }
}
