//! How far a file has come in, for whoever reads it meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::reconstruction::describe::file_bytes;
use crate::{FileHash, Term};

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
    ended: Option<Result<FileHash, Failure>>,
}

/// Why a file did not come.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub(in super::super) struct Failure {
    reason: Arc<str>,
}

impl Failure {
    pub(in super::super) fn new(reason: impl Into<Arc<str>>) -> Self {
        Self { reason: reason.into() }
    }
}

/// Terms that are there.
#[derive(Debug)]
pub(in super::super) enum Terms {
    /// The first ones of the file.
    First(Vec<Term>),
    /// All of the file is in the store, under this hash.
    Kept(FileHash),
}

/// Bytes that are there.
#[derive(Debug)]
pub(in super::super) enum Part {
    /// The terms that hold them and what is before them, and how far those reach.
    Stored(Vec<Term>, u64),
    /// Themselves.
    Memory(Bytes),
    /// All of the file is in the store, under this hash.
    Kept(FileHash),
}

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

    /// The file is in the store, or will not come. What was said first counts.
    pub(in super::super) fn end(&self, ended: Result<FileHash, Failure>) {
        self.seen.send_modify(|seen| _ = seen.ended.get_or_insert(ended));
    }

    /// Waits until the file is in the store, and returns under which hash.
    pub(in super::super) async fn ended(&self) -> Result<FileHash, Failure> {
        self.wait(|_| false).await?.ok_or_else(|| Failure::new("it was given up"))
    }

    /// Waits until the terms up to this byte are there, and returns them.
    pub(in super::super) async fn terms_until(&self, end: u64) -> Result<Terms, Failure> {
        let ended = self.wait(|seen| end < self.size && seen.settled >= end).await?;
        Ok(ended.map_or_else(|| Terms::First(self.state().terms.clone()), Terms::Kept))
    }

    /// Waits for the bytes from `at` on, which must be inside the file.
    pub(in super::super) async fn part_from(&self, at: u64) -> Result<Part, Failure> {
        let last = self.size.saturating_sub(1);
        if let Some(file) = self.wait(|seen| seen.there.min(last) > at).await? {
            return Ok(Part::Kept(file));
        }
        let state = self.state();
        if at < state.settled_bytes {
            return Ok(Part::Stored(state.terms.clone(), state.settled_bytes.min(last)));
        }
        let mut start = state.settled_bytes;
        for chunk in &state.unsettled {
            let end = start + chunk.len() as u64;
            if at < end.min(last) {
                return Ok(Part::Memory(chunk.slice((at - start) as usize..(end.min(last) - start) as usize)));
            }
            start = end;
        }
        Err(Failure::new("it has come to an end early"))
    }

    /// Waits for this, or for the end; returns the file's hash then.
    async fn wait(&self, enough: impl Fn(&Seen) -> bool) -> Result<Option<FileHash>, Failure> {
        match self.seen.subscribe().wait_for(|seen| seen.ended.is_some() || enough(seen)).await {
            Ok(seen) => seen.ended.clone().transpose(),
            // The sender lives in self.
            Err(_) => Err(Failure::new("it was given up")),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Arrival, Failure, Part, Terms};
    use crate::{ChunkRange, FileHash, Term, XorbHash};

    const FILE: FileHash = FileHash::from_bytes([7; 32]);

    fn term(chunks: u32, bytes: u32) -> Term {
        Term { xorb: XorbHash::ZERO, chunks: ChunkRange { start: 0, end: chunks }, unpacked_length: bytes }
    }

    fn chunks(lengths: &[usize]) -> impl Iterator<Item = Bytes> {
        lengths.iter().map(|length| Bytes::from(vec![0; *length])).collect::<Vec<_>>().into_iter()
    }

    async fn part(arrival: &Arrival, at: u64) -> Result<(&'static str, u64), Failure> {
        Ok(match arrival.part_from(at).await? {
            Part::Stored(_, end) => ("stored", end),
            Part::Memory(bytes) => ("memory", at + bytes.len() as u64),
            Part::Kept(_) => ("kept", arrival.size()),
        })
    }

    #[tokio::test]
    async fn given_chunks_when_terms_settle_then_those_are_read_from_xorbs_and_the_rest_from_memory() {
        let arrival = Arrival::new(100);
        arrival.grow(&[], chunks(&[10, 20, 30]));
        assert_eq!(("memory", 10), part(&arrival, 0).await.unwrap());
        assert_eq!(("memory", 30), part(&arrival, 15).await.unwrap());

        arrival.grow(&[term(2, 30)], chunks(&[5]));

        assert_eq!(("stored", 30), part(&arrival, 15).await.unwrap());
        assert_eq!(("memory", 60), part(&arrival, 30).await.unwrap());
        assert_eq!(("memory", 65), part(&arrival, 60).await.unwrap());
        assert_eq!(35, arrival.unsettled_bytes());
        assert!(matches!(arrival.terms_until(30).await.unwrap(), Terms::First(terms) if terms.len() == 1));
    }

    #[tokio::test]
    async fn given_all_bytes_when_it_is_not_verified_then_the_last_one_is_held_back() {
        let arrival = Arrival::new(30);
        arrival.grow(&[term(3, 30)], chunks(&[10, 10, 10]));
        assert_eq!(("stored", 29), part(&arrival, 0).await.unwrap());
        let mut last = Box::pin(part(&arrival, 29));
        let mut whole = Box::pin(arrival.terms_until(30));
        assert!(futures::poll!(&mut last).is_pending() && futures::poll!(&mut whole).is_pending());

        arrival.end(Ok(FILE));

        assert_eq!(("kept", 30), last.await.unwrap());
        assert!(matches!(whole.await.unwrap(), Terms::Kept(FILE)));
        assert_eq!(FILE, arrival.ended().await.unwrap());
    }

    #[tokio::test]
    async fn given_a_file_that_fails_when_read_then_nothing_of_it_is_given_any_more() {
        let arrival = Arrival::new(30);
        arrival.grow(&[term(1, 10)], chunks(&[10]));

        arrival.end(Err(Failure::new("it lied")));
        arrival.end(Ok(FILE));

        assert_eq!("it lied", part(&arrival, 0).await.unwrap_err().to_string());
        assert!(arrival.terms_until(10).await.is_err() && arrival.ended().await.is_err());
    }
}
