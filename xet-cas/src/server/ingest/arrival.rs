//! How far a file has come in, for whoever reads it meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::Term;
use crate::reconstruction::describe::file_bytes;

/// A file that is coming in. The last bytes of it are not handed out before all of it was verified, so that nobody
/// gets to the end of what is not what it should be.
pub(in super::super) struct Arrival {
    /// Bytes of the whole file.
    size: u64,
    state: Mutex<State>,
    seen: watch::Sender<Seen>,
}

#[derive(Default)]
struct State {
    /// The first terms of the file, whose xorbs are stored.
    terms: Vec<Term>,
    /// Bytes that they hold.
    settled_bytes: u64,
    /// The chunks behind them.
    unsettled: VecDeque<Bytes>,
    unsettled_bytes: u64,
}

/// What there is to wait for.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// Bytes of settled terms.
    settled: u64,
    /// Bytes that have come.
    there: u64,
    ended: Option<Result<(), Failure>>,
}

/// Why a file did not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Failure {
    /// Whose fault it is, in words.
    pub(in super::super) reason: Arc<str>,
}

/// Bytes that are there.
#[derive(Debug)]
pub(in super::super) enum Part {
    /// The terms that hold them and what is before them, and how far those reach.
    Stored(Vec<Term>, u64),
    /// Themselves.
    Memory(Bytes),
    /// All of the file is in the store.
    Kept,
}

#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "an upload is read when it is complete"))]
impl Arrival {
    pub(in super::super) fn new(size: u64) -> Self {
        Self { size, state: Mutex::default(), seen: watch::Sender::default() }
    }

    /// Bytes of the whole file.
    pub(in super::super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds what has come. `terms` are all that are settled.
    pub(super) fn grow(&self, terms: &[Term], chunks: impl Iterator<Item = Bytes>) {
        let mut state = self.state();
        for chunk in chunks {
            state.unsettled_bytes += chunk.len() as u64;
            state.unsettled.push_back(chunk);
        }
        let added = &terms[state.terms.len().min(terms.len())..];
        let settled = file_bytes(added);
        state.terms.extend_from_slice(added);
        state.settled_bytes += settled;
        let mut settled = settled;
        while settled > 0
            && let Some(chunk) = state.unsettled.pop_front()
        {
            state.unsettled_bytes -= chunk.len() as u64;
            settled = settled.saturating_sub(chunk.len() as u64);
        }
        let (settled, there) = (state.settled_bytes, state.settled_bytes + state.unsettled_bytes);
        drop(state);
        self.seen.send_modify(|seen| (seen.settled, seen.there) = (settled, there));
    }

    /// Bytes that have come and are in no settled term.
    pub(super) fn unsettled_bytes(&self) -> u64 {
        self.state().unsettled_bytes
    }

    /// The file is in the store, or will not come.
    pub(in super::super) fn end(&self, ended: Result<(), Failure>) {
        self.seen.send_modify(|seen| _ = seen.ended.get_or_insert(ended));
    }

    /// Waits until the file is in the store.
    pub(in super::super) async fn ended(&self) -> Result<(), Failure> {
        self.wait(|_| false).await
    }

    /// Waits until the terms up to this byte are there, and returns them; `None`: all of the file is in the store.
    pub(in super::super) async fn terms_until(&self, end: u64) -> Result<Option<Vec<Term>>, Failure> {
        self.wait(|seen| end < self.size && seen.settled >= end).await?;
        if matches!(self.seen.borrow().ended, Some(Ok(()))) {
            return Ok(None);
        }
        Ok(Some(self.state().terms.clone()))
    }

    /// Waits for the bytes from `at` on.
    pub(in super::super) async fn part_from(&self, at: u64) -> Result<Part, Failure> {
        let last = self.size.saturating_sub(1);
        self.wait(|seen| seen.there.min(last) > at).await?;
        let state = self.state();
        if matches!(self.seen.borrow().ended, Some(Ok(()))) {
            return Ok(Part::Kept);
        }
        if at < state.settled_bytes {
            return Ok(Part::Stored(state.terms.clone(), state.settled_bytes.min(last)));
        }
        let mut start = state.settled_bytes;
        for chunk in &state.unsettled {
            let end = start + chunk.len() as u64;
            if at < end {
                return Ok(Part::Memory(chunk.slice((at - start) as usize..(end.min(last) - start) as usize)));
            }
            start = end;
        }
        Ok(Part::Kept)
    }

    /// Waits for this, or for the end.
    async fn wait(&self, enough: impl Fn(&Seen) -> bool) -> Result<(), Failure> {
        let waited = self.seen.subscribe().wait_for(|seen| seen.ended.is_some() || enough(seen)).await.map(|seen| {
            // What has come stays good after a failure only as long as it is not relied upon.
            seen.ended.clone().unwrap_or(Ok(()))
        });
        // The sender lives in self.
        waited.unwrap_or(Ok(()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
