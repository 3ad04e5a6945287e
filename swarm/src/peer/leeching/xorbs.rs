//! Asking a peer of the ranged dialect: whole xorbs, as nothing less proves itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bep_xet::{Deadlines, Event, Exchange, Object, Range, RequestId};
use xet_cas::{Leaf, XorbHash};

use super::{Asking, ChunkStarts, FileNumber, LeechEvent, WantedFile, unless_full};
use crate::ledger::Task;
use crate::peer::PeerError;
use crate::schedule::{Ability, Outcome, RequestNumber};

/// Asks for xorbs. Which of them the peer has the dialect cannot ask, so that it may have any.
#[derive(Debug, Default)]
pub(in crate::peer) struct Xorbs {
    requests: BTreeMap<RequestId, Request>,
    events: VecDeque<LeechEvent>,
}

#[derive(Debug)]
struct Request {
    request: RequestNumber,
    xorb: XorbHash,
    /// Of the list, if it was known before.
    starts: Option<ChunkStarts>,
    /// Something of it came, and is being written.
    is_proven: bool,
}

impl Asking for Xorbs {
    const ABILITY: Ability = Ability::Xorbs;
    /// What is late cannot be cancelled, and nothing else comes before its end.
    const LATE_MAX: u32 = 1;
    /// Five minutes by default: 64 MiB at 220 KB/s.
    const TOTAL_DEADLINES: u32 = 30;

    fn query(&mut self, files: Vec<WantedFile>, _: &mut Exchange, _: Deadlines, _: Instant) -> Result<bool, PeerError> {
        for WantedFile { number: file, .. } in files {
            self.events.push_back(LeechEvent::Decided { file, holds: true });
        }
        Ok(true)
    }

    fn forget(&mut self, _: FileNumber) {}

    fn request(
        &mut self,
        _: FileNumber,
        request: RequestNumber,
        task: Task,
        exchange: &mut Exchange,
        deadlines: Deadlines,
        now: Instant,
    ) -> Result<bool, PeerError> {
        let Task::Xorb(task) = task else { return Ok(false) };
        let range = Range::chunks(Object::xorb(task.xorb), task.chunks);
        let list = task.whole_list();
        let starts = list.as_deref().map(|list| starts(list.iter()));
        let asked = match list {
            Some(list) => exchange.request_listed_range(range, list, deadlines, now),
            None => exchange.request_range(range, deadlines, now),
        };
        let Some(id) = unless_full(asked)? else { return Ok(false) };
        self.requests.insert(id, Request { request, xorb: task.xorb, starts, is_proven: false });
        Ok(true)
    }

    fn cancel(&mut self, request: RequestNumber, exchange: &mut Exchange, now: Instant) {
        let id = self.requests.iter().find(|(_, open)| open.request == request).map(|(id, _)| *id);
        if let Some(id) = id {
            self.requests.remove(&id);
            exchange.cancel(id, now);
        }
    }

    fn handle_event(&mut self, event: Event, _: Deadlines) -> Result<(), PeerError> {
        match event {
            Event::Proven { id, chunks, is_whole } => {
                let Some(Request { request, xorb, starts: listed, is_proven }) = self.requests.get_mut(&id) else {
                    return Ok(());
                };
                let starts = match listed {
                    Some(starts) => starts.clone(),
                    None if is_whole => starts(chunks.iter().map(|chunk| chunk.leaf()).collect::<Vec<_>>().iter()),
                    None => return Ok(()),
                };
                *is_proven = true;
                self.events.push_back(LeechEvent::OfXorb { request: *request, xorb: *xorb, starts, chunks });
            }
            Event::Ended { id, .. } => self.give_up(id),
            _ => {}
        }
        Ok(())
    }

    fn give_up(&mut self, id: RequestId) {
        if let Some(Request { request, is_proven, .. }) = self.requests.remove(&id) {
            let outcome = if is_proven { Outcome::Done } else { Outcome::Failed };
            self.events.push_back(LeechEvent::Ended { request, outcome });
        }
    }

    fn poll_event(&mut self) -> Option<LeechEvent> {
        self.events.pop_front()
    }
}

fn starts<'a>(leaves: impl Iterator<Item = &'a Leaf>) -> ChunkStarts {
    let ends = leaves.scan(0, |end, leaf| {
        *end += u64::from(leaf.length);
        Some(*end)
    });
    Arc::from_iter(std::iter::once(0).chain(ends))
}
