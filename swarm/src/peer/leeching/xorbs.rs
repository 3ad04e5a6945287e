//! Asking a peer of the ranged dialect: whole xorbs, as nothing less proves itself.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bep_xet::{Deadlines, Event, Exchange, Object, Range, RequestId};
use xet_cas::{Leaf, XorbHash};

use super::{Asking, ChunkStarts, FileNumber, LeechEvent, WantedFile, unless_full};
use crate::ledger::{Claim, Ledger, PeerNumber, Task};
use crate::peer::PeerError;

/// Asks for one xorb at a time, each once unless a file comes later: the dialect has no question what there is.
#[derive(Debug, Default)]
pub(in crate::peer) struct Xorbs {
    /// Files that the peer may bring something of.
    files: BTreeSet<FileNumber>,
    requests: BTreeMap<RequestId, Request>,
    /// Xorbs that the peer was asked for since the newest file is there. No more than the plans of the pull name.
    tried: HashSet<XorbHash>,
    events: VecDeque<LeechEvent>,
}

#[derive(Debug)]
struct Request {
    file: FileNumber,
    xorb: XorbHash,
    /// Of the list, if it was known before.
    starts: Option<ChunkStarts>,
}

impl Asking for Xorbs {
    /// What is late cannot be cancelled, and nothing else comes before its end.
    const LATE_MAX: u32 = 1;
    /// Five minutes by default: 64 MiB at 220 KB/s.
    const TOTAL_DEADLINES: u32 = 30;

    fn query(&mut self, files: Vec<WantedFile>, _: &mut Exchange, _: Deadlines, _: Instant) -> Result<bool, PeerError> {
        // A xorb that was brought before a file was there was not written into it.
        self.tried.clear();
        for WantedFile { number: file, .. } in files {
            self.files.insert(file);
            self.events.push_back(LeechEvent::Decided { file, holds: true });
        }
        Ok(true)
    }

    fn forget(&mut self, file: FileNumber) {
        self.files.remove(&file);
    }

    fn holds(&self, file: FileNumber) -> bool {
        self.files.contains(&file)
    }

    fn has_room(&self, exchange: &Exchange) -> bool {
        self.requests.is_empty() && exchange.can_request(exchange.window_bytes())
    }

    fn claim(&self, ledger: &mut Ledger, peer: PeerNumber, claims_max: usize) -> Option<Task> {
        ledger.claim_xorb(peer, claims_max, |xorb| !self.tried.contains(xorb))
    }

    fn request(
        &mut self,
        file: FileNumber,
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
        self.tried.insert(task.xorb);
        self.requests.insert(id, Request { file, xorb: task.xorb, starts });
        Ok(true)
    }

    fn nothing_claimed(&mut self, file: FileNumber, ledger: &Ledger) {
        let is_asked = self.requests.values().any(|request| request.file == file);
        if !is_asked && !ledger.wants_xorb(|xorb| !self.tried.contains(xorb)) && self.files.remove(&file) {
            self.events.push_back(LeechEvent::Left { file });
        }
    }

    fn handle_event(&mut self, event: Event, _: Deadlines) -> Result<(), PeerError> {
        match event {
            Event::Proven { id, chunks, is_whole } => {
                let Some(Request { xorb, starts: listed, .. }) = self.requests.get(&id) else { return Ok(()) };
                let starts = match listed {
                    Some(starts) => starts.clone(),
                    None if is_whole => starts(chunks.iter().map(|chunk| chunk.leaf()).collect::<Vec<_>>().iter()),
                    None => return Ok(()),
                };
                self.events.push_back(LeechEvent::OfXorb { xorb: *xorb, starts, chunks });
            }
            Event::Ended { id, .. } => self.give_up(id),
            _ => {}
        }
        Ok(())
    }

    fn give_up(&mut self, id: RequestId) {
        if let Some(Request { file, xorb, .. }) = self.requests.remove(&id) {
            self.events.push_back(LeechEvent::Released { file, claim: Claim::Xorb(xorb) });
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
