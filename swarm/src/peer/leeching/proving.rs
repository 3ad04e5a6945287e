//! Asking a peer of version 2: lists are proved before chunks are asked for, so every chunk comes with the hash that it
//! must have.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bep_xet::{
    Deadlines, Event, Exchange, HaveEntry, HaveState, Manifest, ManifestQuery, Object, Range, RequestId, Sibling,
    Status,
};
use bytes::Bytes;
use xet_cas::ByteRange;
use xet_cas::proof::{Node, ProofLevel, RunProof, Standing};
use xet_cas::xorb::RecordHeader;

use super::{Asking, BATCH_BYTES, FileNumber, LeechEvent, ReceivedRecord, WantedFile, unless_full};
use crate::ledger::{BlockTask, Task};
use crate::peer::PeerError;
use crate::schedule::{Ability, Outcome, RequestNumber};

/// Asks for lists of files, and for what they list.
#[derive(Debug, Default)]
pub(in crate::peer) struct Proving {
    files: BTreeMap<FileNumber, File>,
    requests: BTreeMap<RequestId, Request>,
    events: VecDeque<LeechEvent>,
}

#[derive(Debug)]
struct File {
    wanted: WantedFile,
    /// `None` until the peer has said.
    holds: Option<bool>,
}

#[derive(Debug)]
enum Request {
    Have {
        files: Vec<FileNumber>,
    },
    List {
        request: RequestNumber,
        file: FileNumber,
        range: ByteRange,
        is_answered: bool,
        is_listed: bool,
    },
    Block {
        request: RequestNumber,
        file: FileNumber,
        task: BlockTask,
        next: usize,
        batch: Vec<ReceivedRecord>,
        batch_bytes: usize,
    },
}

impl Asking for Proving {
    const ABILITY: Ability = Ability::Prove;
    /// One may be an accident of the network.
    const LATE_MAX: u32 = 2;
    const TOTAL_DEADLINES: u32 = 6;

    fn query(
        &mut self,
        files: Vec<WantedFile>,
        exchange: &mut Exchange,
        deadlines: Deadlines,
        now: Instant,
    ) -> Result<bool, PeerError> {
        let objects: Vec<_> = files.iter().map(|wanted| Object::file(wanted.hash)).collect();
        let asked = exchange.query_have(objects, false, deadlines, now);
        let Some(id) = unless_full(asked)? else { return Ok(false) };
        self.requests.insert(id, Request::Have { files: files.iter().map(|wanted| wanted.number).collect() });
        self.files.extend(files.into_iter().map(|wanted| (wanted.number, File { wanted, holds: None })));
        Ok(true)
    }

    fn forget(&mut self, file: FileNumber) {
        self.files.remove(&file);
    }

    fn request(
        &mut self,
        file: FileNumber,
        request: RequestNumber,
        task: Task,
        exchange: &mut Exchange,
        deadlines: Deadlines,
        now: Instant,
    ) -> Result<bool, PeerError> {
        let Some(File { wanted, .. }) = self.files.get(&file) else { return Ok(false) };
        let object = Object::file(wanted.hash);
        let (asked, open) = match task {
            Task::List(range) => {
                // A little more, where the range alone would not show at which level of the tree it is.
                let settling = wanted.outline.settling(range);
                let query = ManifestQuery::run(object, settling.start, settling.end);
                let asked = exchange.request_manifest(query, deadlines, now);
                (asked, Request::List { request, file, range, is_answered: false, is_listed: false })
            }
            Task::Block(task) => {
                let asked = Range::file_bytes(object, task.range.start, task.range.end);
                let asked = exchange.request_range(asked, deadlines, now);
                (asked, Request::Block { request, file, task, next: 0, batch: Vec::new(), batch_bytes: 0 })
            }
            Task::Xorb(_) => return Ok(false),
        };
        let id = unless_full(asked)?;
        Ok(id.map(|id| self.requests.insert(id, open)).is_some())
    }

    fn cancel(&mut self, request: RequestNumber, exchange: &mut Exchange, now: Instant) {
        let is_it = |open: &Request| open.number() == Some(request);
        let Some(id) = self.requests.iter().find(|(_, open)| is_it(open)).map(|(id, _)| *id) else { return };
        // What has come of it, and is good, is not thrown away.
        if let Some(Request::Block { request, file, batch, .. }) = self.requests.remove(&id)
            && !batch.is_empty()
        {
            self.events.push_back(LeechEvent::Received { file, request, records: batch });
        }
        exchange.cancel(id, now);
    }

    fn handle_event(&mut self, event: Event, deadlines: Deadlines) -> Result<(), PeerError> {
        match event {
            Event::Have { id: Some(id), entries } => self.decide(id, &entries),
            Event::Manifest { id, manifest } => self.take_list(id, manifest)?,
            Event::Chunk { id, header, record, .. } => self.take_chunk(id, header, record)?,
            Event::Ended { id, status, retry, .. } => {
                // A peer that is busy for longer than others may be late is of no use for this file.
                let is_useful = status == Status::Done || (status == Status::Busy && retry <= deadlines.progress);
                self.end(id, status, is_useful)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn give_up(&mut self, id: RequestId) {
        if let Some(request) = self.requests.remove(&id) {
            self.release(request);
        }
    }

    fn poll_event(&mut self) -> Option<LeechEvent> {
        self.events.pop_front()
    }
}

impl Proving {
    fn decide(&mut self, id: RequestId, entries: &[HaveEntry]) {
        let Some(Request::Have { files }) = self.requests.get(&id) else { return };
        for number in files {
            let Some(file) = self.files.get_mut(number).filter(|file| file.holds.is_none()) else { continue };
            let object = Object::file(file.wanted.hash);
            if entries.iter().any(|entry| entry.object == object && entry.state == HaveState::All) {
                file.holds = Some(true);
                self.events.push_back(LeechEvent::Decided { file: *number, holds: true });
            }
        }
    }

    /// Checks a list against the file's hash.
    fn take_list(&mut self, id: RequestId, manifest: Manifest) -> Result<(), PeerError> {
        let Some(Request::List { file, range, is_answered, .. }) = self.requests.get_mut(&id) else { return Ok(()) };
        *is_answered = true;
        let (file, range) = (*file, *range);
        let Some(File { wanted, .. }) = self.files.get(&file) else { return Ok(()) };
        let lied = |what: String| PeerError::Lied(format!("its list of {} is false: {what}", wanted.hash));
        let run = run_proof(manifest).ok_or_else(|| lied("it has no proof".into()))?;
        let candidate = run.verify(wanted.hash, wanted.bytes).map_err(|error| lied(error.to_string()))?;
        let Standing::Verified(run) = candidate.under(&wanted.outline).map_err(|error| lied(error.to_string()))? else {
            // It may be right or wrong, and nobody can be blamed for it.
            self.leave(file);
            return Ok(());
        };
        let listed = (0..).map_while(|at| run.get(at)).map(|(start, leaf)| (start, *leaf));
        let list: Vec<_> = listed.filter(|(start, _)| (range.start..range.end).contains(start)).collect();
        let end = list.last().map_or(range.start, |(start, leaf)| start + u64::from(leaf.length));
        if list.first().is_none_or(|(start, _)| *start != range.start) || end != range.end {
            return Err(lied("it is of other bytes than were asked for".into()));
        }
        self.events.push_back(LeechEvent::Listed { file, range, list });
        if let Some(Request::List { is_listed, .. }) = self.requests.get_mut(&id) {
            *is_listed = true;
        }
        Ok(())
    }

    /// Collects a chunk for the next batch.
    fn take_chunk(&mut self, id: RequestId, header: RecordHeader, record: Bytes) -> Result<(), PeerError> {
        let Some(Request::Block { request, file, task, next, batch, batch_bytes }) = self.requests.get_mut(&id) else {
            return Ok(());
        };
        let Some((offset, leaf)) = task.chunks().get(*next).copied() else {
            return Err(PeerError::Lied("it sends more chunks than were asked for".into()));
        };
        if header.raw_length != leaf.length {
            let reason = format!("a chunk has {} bytes, proved are {}", header.raw_length, leaf.length);
            return Err(PeerError::Lied(reason));
        }
        *next += 1;
        *batch_bytes += record.len();
        batch.push(ReceivedRecord { offset, leaf, record });
        if *batch_bytes >= BATCH_BYTES || *next == task.chunks().len() {
            *batch_bytes = 0;
            let (request, file, records) = (*request, *file, std::mem::take(batch));
            self.events.push_back(LeechEvent::Received { file, request, records });
        }
        Ok(())
    }

    fn end(&mut self, id: RequestId, status: Status, is_useful: bool) -> Result<(), PeerError> {
        let Some(request) = self.requests.remove(&id) else { return Ok(()) };
        match request {
            Request::List { request: number, file, is_answered, is_listed, .. } => {
                if !is_useful || (!is_answered && status == Status::Done) {
                    self.leave(file);
                }
                if is_listed {
                    self.events.push_back(LeechEvent::Ended { request: number, outcome: Outcome::Done });
                } else {
                    self.release(request);
                }
            }
            Request::Block { request: number, file, ref task, next, .. } => {
                if !is_useful {
                    self.leave(file);
                }
                if next == task.chunks().len() {
                    self.events.push_back(LeechEvent::Ended { request: number, outcome: Outcome::Done });
                } else {
                    self.release(request);
                    if status == Status::Done {
                        // It claims to have everything and to have sent all of it.
                        return Err(PeerError::Lied("it ends an answer before its last chunk".into()));
                    }
                }
            }
            Request::Have { .. } => self.release(request),
        }
        Ok(())
    }

    /// Gives up on what was asked. What arrived is handed on.
    fn release(&mut self, request: Request) {
        match request {
            Request::Have { files } => {
                for number in files {
                    if let Some(file) = self.files.get_mut(&number).filter(|file| file.holds.is_none()) {
                        file.holds = Some(false);
                        self.events.push_back(LeechEvent::Decided { file: number, holds: false });
                    }
                }
            }
            Request::List { request, .. } => {
                self.events.push_back(LeechEvent::Ended { request, outcome: Outcome::Failed });
            }
            Request::Block { request, file, batch, .. } => {
                if !batch.is_empty() {
                    self.events.push_back(LeechEvent::Received { file, request, records: batch });
                }
                self.events.push_back(LeechEvent::Ended { request, outcome: Outcome::Failed });
            }
        }
    }

    /// Asks the peer no more for a file that it turns out not to give.
    fn leave(&mut self, number: FileNumber) {
        if let Some(file) = self.files.get_mut(&number).filter(|file| file.holds == Some(true)) {
            file.holds = Some(false);
            self.events.push_back(LeechEvent::Left { file: number });
        }
    }
}

impl Request {
    fn number(&self) -> Option<RequestNumber> {
        match self {
            Self::Have { .. } => None,
            Self::List { request, .. } | Self::Block { request, .. } => Some(*request),
        }
    }
}

fn run_proof(manifest: Manifest) -> Option<RunProof> {
    let node = |sibling: &Sibling| Node { hash: sibling.hash, size: sibling.size };
    let proof = manifest.proof?;
    let level = |level: &bep_xet::ProofLevel| ProofLevel {
        left: level.left.iter().map(node).collect(),
        right: level.right.iter().map(node).collect(),
    };
    let levels = proof.levels.iter().map(level).collect();
    Some(RunProof { first_leaf: manifest.first, leaves: manifest.leaves, offset: proof.offset, levels })
}
