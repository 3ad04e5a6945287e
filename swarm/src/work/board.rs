//! Where the files of a pull and its sources come together: the scheduler, told by many tasks what happens, wakes those
//! that have something to do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, mpsc};
use xet_cas::{ByteRange, Leaf};

use super::FileWork;
use crate::Error;
use crate::ledger::{Recurrence, Source, TakenList};
use crate::peer::Collecting;
use crate::schedule::{Ability, Command, Config, FileNumber, ORIGIN, Outcome, RequestNumber, Scheduler, SourceNumber};

/// All files of a pull that sources may work on at this moment.
#[derive(Debug)]
pub(crate) struct Board {
    files: Mutex<Vec<Arc<FileWork>>>,
    scheduler: Mutex<Scheduler>,
    /// Told when a source may have something to do.
    wakers: Mutex<HashMap<SourceNumber, Arc<Notify>>>,
    /// Told when the origin may have something to do.
    pub(crate) origin: Arc<Notify>,
    /// Xorbs that are held until they have proved themselves.
    pub(crate) collecting: Collecting,
    /// Where it is told that a file may be complete: its number.
    progress: mpsc::Sender<usize>,
}

impl Board {
    pub(crate) fn new(config: Config, progress: mpsc::Sender<usize>) -> Self {
        let origin = Arc::new(Notify::new());
        Self {
            files: Mutex::default(),
            scheduler: Mutex::new(Scheduler::new(config, now())),
            wakers: Mutex::new(HashMap::from([(ORIGIN, origin.clone())])),
            origin,
            collecting: Collecting::new(),
            progress,
        }
    }

    /// Tells the scheduler something, or asks it. Held for moments only; whoever has a ledger's lock may call this, and
    /// not the other way round.
    pub(crate) fn schedule<T>(&self, act: impl FnOnce(&mut Scheduler, Instant) -> T) -> T {
        let (result, woken) = {
            let mut scheduler = lock(&self.scheduler);
            (act(&mut scheduler, now()), scheduler.take_woken())
        };
        if !woken.is_empty() {
            let wakers = lock(&self.wakers);
            woken.iter().filter_map(|source| wakers.get(source)).for_each(|waker| waker.notify_one());
        }
        result
    }

    pub(crate) fn add(&self, file: Arc<FileWork>) {
        let (number, is_shareable, specs) = (file.number, file.is_shareable, file.ledger().specs());
        lock(&self.files).push(file);
        self.schedule(|scheduler, now| scheduler.add_file(number, &specs, is_shareable, now));
    }

    pub(crate) fn remove(&self, number: FileNumber) {
        lock(&self.files).retain(|file| file.number != number);
        self.schedule(|scheduler, now| scheduler.remove_file(number, now));
    }

    /// The files that peers may be asked for.
    pub(crate) fn shareable(&self) -> Vec<Arc<FileWork>> {
        lock(&self.files).iter().filter(|file| file.is_shareable).cloned().collect()
    }

    /// Tells what of a file was written whole since that was last told, and when it is complete.
    pub(crate) fn tell_finished(&self, work: &FileWork) {
        // Under the ledger's lock, so that what others tell of the file comes in the order in which it was.
        let mut ledger = work.ledger();
        let finished = ledger.take_finished();
        if !finished.is_empty() {
            self.schedule(|scheduler, now| {
                finished.into_iter().for_each(|what| scheduler.finished(work.number, what, now));
            });
        }
        if ledger.is_complete() && self.progress.try_send(work.number).is_err() {
            tracing::trace!("that a file is complete is noticed later");
        }
    }

    /// Tells that bytes came that were there.
    pub(crate) fn came_twice(&self, bytes: u64) {
        if bytes > 0 {
            self.schedule(|scheduler, _| scheduler.came_twice(bytes));
        }
    }

    /// Takes a proved list, and returns what is elsewhere in the file already. `None` if it is not that of the plan.
    pub(crate) fn take_list(
        &self,
        work: &FileWork,
        range: ByteRange,
        list: Vec<(u64, Leaf)>,
    ) -> Option<Vec<Recurrence>> {
        let mut ledger = work.ledger();
        let Some(TakenList { region, blocks, recurrences }) = ledger.take_list(range, list)? else {
            return Some(Vec::new());
        };
        self.schedule(|scheduler, now| scheduler.listed(work.number, region, &blocks, now));
        Some(recurrences)
    }

    /// Copies chunks that are already in the file, and leaves those that cannot be copied to peers. Returns the bytes
    /// written.
    pub(crate) fn copy_within(
        &self,
        work: &FileWork,
        recurrences: &[Recurrence],
        source: Source,
    ) -> Result<u64, Error> {
        let (copied, from) = work.copy_within(recurrences, source);
        if let Some(from) = from {
            let mut ledger = work.ledger();
            let blocks = ledger.cannot_copy(&recurrences[from..]);
            self.schedule(|scheduler, _| {
                blocks.into_iter().for_each(|(region, block)| scheduler.add_block(work.number, region, block));
            });
        }
        copied
    }
}

/// A peer's place at the board, from when it is dialled until it is gone.
#[derive(Debug)]
pub(crate) struct PeerSeat {
    board: Arc<Board>,
    number: SourceNumber,
    woken: Arc<Notify>,
}

impl PeerSeat {
    pub(crate) fn new(board: &Arc<Board>) -> Self {
        let number = board.schedule(|scheduler, _| scheduler.add_peer());
        let woken = Arc::new(Notify::new());
        lock(&board.wakers).insert(number, woken.clone());
        Self { board: board.clone(), number, woken }
    }

    /// Told when there may be something to do.
    pub(crate) fn woken(&self) -> Arc<Notify> {
        self.woken.clone()
    }

    /// It is known what the peer can be asked for.
    pub(crate) fn meet(&self, ability: Ability) {
        self.board.schedule(|scheduler, _| scheduler.meet_peer(self.number, ability));
    }

    /// It is known whether the peer has a file.
    pub(crate) fn decide(&self, file: FileNumber, has: bool) {
        self.board.schedule(|scheduler, _| scheduler.decide(self.number, file, has));
    }

    /// The next thing for the peer to do.
    pub(crate) fn poll(&self) -> Option<Command> {
        self.board.schedule(|scheduler, now| scheduler.poll(self.number, now))
    }

    /// New bytes of a request came.
    pub(crate) fn received(&self, request: RequestNumber, bytes: u64) {
        self.board.schedule(|scheduler, now| scheduler.received(request, bytes, now));
    }

    /// A request ended.
    pub(crate) fn ended(&self, request: RequestNumber, outcome: Outcome) {
        self.board.schedule(|scheduler, now| scheduler.ended(request, outcome, now));
    }
}

impl Drop for PeerSeat {
    fn drop(&mut self) {
        lock(&self.board.wakers).remove(&self.number);
        self.board.schedule(|scheduler, now| scheduler.remove_peer(self.number, now));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "the board is a shell: it tells the scheduler what time it is")]
fn now() -> Instant {
    Instant::now()
}
