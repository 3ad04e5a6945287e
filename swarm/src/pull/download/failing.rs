//! What goes wrong in a download: entries that the origin does not give, files that are given up, and when the
//! rest is not worth trying.

use std::sync::atomic::Ordering;

use tokio::task::AbortHandle;

use super::{Group, Job, OpenFile, Stalled, WaitingEntry};
use crate::{Error, ErrorKind, Event};

/// Files that fail in a row for lack of a working source before the rest is given up too.
const FAILURES_IN_A_ROW_MAX: usize = 3;
/// Ticks after which an entry that the origin did not give is given up, if no peer may bring it: time for
/// peers to say what they have.
const STALLED_TICKS_MIN: u32 = 3;
/// Ticks after which the origin is asked again for an entry that peers have not brought.
const STALLED_TICKS_MAX: u32 = 25;
/// Such rounds in a row without a new byte of anything, from anyone, after which its file is given up.
const IDLE_ROUNDS_MAX: u32 = 2;
/// Ticks without any fetch and any new byte after which a file that is not complete is given up. Peers may be
/// fetching it, under deadlines of their own that are shorter.
const IDLE_TICKS_MAX: u32 = 150;

/// How long a file has stood still.
#[derive(Debug, Default)]
pub(super) struct Idle {
    ticks: u32,
    /// When it was last looked at.
    missing_bytes: u64,
}

impl Idle {
    /// Another tick in which nothing was fetched. Whether the file is to be given up.
    fn is_over(&mut self, missing_bytes: u64) -> bool {
        self.ticks = if self.missing_bytes == missing_bytes { self.ticks + 1 } else { 0 };
        self.missing_bytes = missing_bytes;
        self.ticks > IDLE_TICKS_MAX
    }
}

impl Job {
    /// Keeps an entry that the origin did not give for a while, if peers may bring it. Not for ever: peers that
    /// bring nothing do not count.
    pub(super) async fn stall(&mut self, mut entry: WaitingEntry, error: Error) -> Result<(), Error> {
        if self.peers.is_empty() || error.kind() != Some(ErrorKind::Network) {
            return Err(error);
        }
        // Peers work from the last file backwards, so that what they bring is mostly of others for a long time.
        let written_bytes = Some(self.shared.written_bytes.load(Ordering::Relaxed));
        entry.idle_rounds = if entry.written_bytes == written_bytes { entry.idle_rounds + 1 } else { 0 };
        entry.written_bytes = written_bytes;
        if entry.idle_rounds >= IDLE_ROUNDS_MAX {
            return Err(error);
        }
        let what = format!("{}, from peers or later", entry.plan.what());
        self.shared.tell(Event::Retry { what, reason: error.to_string() }).await;
        self.stalled.push(Stalled { entry, error, ticks: 0 });
        Ok(())
    }

    /// Looks after entries that the origin did not give: peers may have brought them, or may still, or not.
    pub(super) async fn look_at_stalled(&mut self) {
        for mut stalled in std::mem::take(&mut self.stalled) {
            let Some(work) = self.open.get(&stalled.entry.file).and_then(|open| open.work.clone()) else { continue };
            stalled.ticks += 1;
            if work.ledger().is_entry_complete(stalled.entry.entry) {
                continue;
            }
            if stalled.ticks > STALLED_TICKS_MIN && !self.board.may_bring(&work) {
                self.fail_file(stalled.entry.file, stalled.error).await;
            } else if stalled.ticks > STALLED_TICKS_MAX {
                self.entries.push_back(stalled.entry);
            } else {
                self.stalled.push(stalled);
            }
        }
    }

    /// Finds files that became complete while nobody looked, and those for which nobody does anything more: what
    /// the origin gave may have been proved wrong by a peer that has left since.
    pub(super) async fn look_at_open(&mut self) {
        let with_work = self.open.iter().filter(|(_, open)| open.work.is_some());
        let numbers: Vec<usize> = with_work.map(|(number, _)| *number).collect();
        for number in numbers {
            self.verify_if_complete(number);
            let is_waiting = self.entries.iter().any(|entry| entry.file == number)
                || self.stalled.iter().any(|stalled| stalled.entry.file == number);
            let Some(open) = self.open.get_mut(&number) else { continue };
            let Some(work) = open.work.as_ref().filter(|_| open.fetches == 0 && !is_waiting) else { continue };
            let missing_bytes = work.ledger().missing_bytes();
            if open.idle.is_over(missing_bytes) {
                // The origin has given all that it was asked for, so something of what was there or came was wrong.
                work.partial.discard();
                let reason = format!("no source brought the last {missing_bytes} bytes");
                let path = open.group.file().path.clone();
                self.fail_file(number, Error::Integrity { path, reason }).await;
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
    fn drop_file(&mut self, number: usize) -> Option<OpenFile> {
        let open = self.open.remove(&number)?;
        open.tasks.iter().for_each(AbortHandle::abort);
        self.board.remove(number);
        self.entries.retain(|waiting| waiting.file != number);
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

#[cfg(test)]
mod tests {
    use super::{IDLE_TICKS_MAX, Idle};

    #[test]
    fn given_a_file_that_gains_nothing_when_its_ticks_are_over_then_given_up() {
        let mut idle = Idle::default();
        let mut ticks_until_over = |missing_bytes| (1..1_000).find(|_| idle.is_over(missing_bytes)).unwrap();

        // The first look sees a change; after another one the ticks begin anew.
        assert_eq!(IDLE_TICKS_MAX + 2, ticks_until_over(7));
        assert_eq!(IDLE_TICKS_MAX + 2, ticks_until_over(6));
    }
}
