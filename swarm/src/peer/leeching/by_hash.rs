//! Asking a peer of the base dialect: chunks by their hash, as others have proved them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bep_xet::{Deadlines, Event, Exchange, Object, ProvenChunk, Range, RequestId, Status};
use xet_cas::{CHUNK_BYTES_MAX, ChunkRange};

use super::{Asking, BATCH_BYTES, FileNumber, LeechEvent, ReceivedRecord, WantedFile, unless_full};
use crate::ledger::{BlockTask, Claim, Ledger, PeerNumber, Task};
use crate::peer::PeerError;

/// Number of a block among those that the peer was asked for.
type BlockNumber = u64;

/// Asks for the chunks of blocks whose list is known. A peer that has not one of them is left: the dialect has no
/// question what there is.
#[derive(Debug, Default)]
pub(in crate::peer) struct ByHash {
    /// Files that the peer may bring something of.
    files: BTreeSet<FileNumber>,
    blocks: BTreeMap<BlockNumber, Block>,
    next_block: BlockNumber,
    /// Chunks that wait until there is room for their request: those of one block at most.
    waiting: VecDeque<(BlockNumber, usize)>,
    requests: BTreeMap<RequestId, (BlockNumber, usize)>,
    events: VecDeque<LeechEvent>,
}

#[derive(Debug)]
struct Block {
    file: FileNumber,
    task: BlockTask,
    /// Chunks that have not come.
    missing: usize,
    batch: Vec<ReceivedRecord>,
    batch_bytes: usize,
}

impl Asking for ByHash {
    /// What is late cannot be cancelled.
    const LATE_MAX: u32 = 1;
    const TOTAL_DEADLINES: u32 = 6;

    fn query(&mut self, files: Vec<WantedFile>, _: &mut Exchange, _: Deadlines, _: Instant) -> Result<bool, PeerError> {
        for WantedFile { number: file, .. } in files {
            self.files.insert(file);
            self.events.push_back(LeechEvent::Decided { file, holds: false });
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
        self.waiting.is_empty() && exchange.can_request(CHUNK_BYTES_MAX as u64)
    }

    fn claim(&self, ledger: &mut Ledger, peer: PeerNumber, claims_max: usize) -> Option<Task> {
        ledger.claim_listed(peer, claims_max)
    }

    fn request(
        &mut self,
        file: FileNumber,
        task: Task,
        exchange: &mut Exchange,
        deadlines: Deadlines,
        now: Instant,
    ) -> Result<bool, PeerError> {
        let Task::Block(task) = task else { return Ok(false) };
        let (block, missing) = (self.next_block, task.chunks().len());
        self.next_block += 1;
        self.waiting.extend((0..missing).map(|index| (block, index)));
        self.blocks.insert(block, Block { file, task, missing, batch: Vec::new(), batch_bytes: 0 });
        self.go_on(exchange, deadlines, now)?;
        Ok(true)
    }

    fn go_on(&mut self, exchange: &mut Exchange, deadlines: Deadlines, now: Instant) -> Result<(), PeerError> {
        while let Some((number, index)) = self.waiting.front().copied() {
            let wanted = self.blocks.get(&number).and_then(|block| block.task.chunks().get(index));
            if let Some((_, leaf)) = wanted {
                let range = Range::chunks(Object::chunk(leaf.hash), ChunkRange { start: 0, end: 1 });
                let Some(id) = unless_full(exchange.request_range(range, deadlines, now))? else { break };
                self.requests.insert(id, (number, index));
            }
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn handle_event(&mut self, event: Event, _: Deadlines) -> Result<(), PeerError> {
        match event {
            Event::Proven { id, chunks, .. } => self.take_chunks(id, chunks),
            Event::Ended { id, status: Status::Done, .. } => drop(self.requests.remove(&id)),
            Event::Ended { id, .. } => {
                let block = self.requests.get(&id).and_then(|(number, _)| self.blocks.get(number));
                let file = block.map(|block| block.file);
                self.give_up(id);
                if let Some(file) = file {
                    self.files.remove(&file);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn give_up(&mut self, id: RequestId) {
        let Some((number, _)) = self.requests.remove(&id) else { return };
        let Some(Block { file, task, batch, .. }) = self.blocks.remove(&number) else { return };
        self.waiting.retain(|(waiting, _)| *waiting != number);
        if !batch.is_empty() {
            self.events.push_back(LeechEvent::Received { file, records: batch });
        }
        self.events.push_back(LeechEvent::Released { file, claim: Claim::Range(task.range) });
    }

    fn poll_event(&mut self) -> Option<LeechEvent> {
        self.events.pop_front()
    }
}

impl ByHash {
    fn take_chunks(&mut self, id: RequestId, chunks: Vec<ProvenChunk>) {
        let Some((number, index)) = self.requests.get(&id) else { return };
        let Some(block) = self.blocks.get_mut(number) else { return };
        let Some((offset, leaf)) = block.task.chunks().get(*index).copied() else { return };
        let Some(chunk) = chunks.into_iter().next() else { return };
        block.missing -= 1;
        block.batch_bytes += chunk.record().len();
        block.batch.push(ReceivedRecord { offset, leaf, record: chunk.record().clone() });
        let is_complete = block.missing == 0;
        if is_complete || block.batch_bytes >= BATCH_BYTES {
            block.batch_bytes = 0;
            let (file, records) = (block.file, std::mem::take(&mut block.batch));
            self.events.push_back(LeechEvent::Received { file, records });
        }
        if is_complete {
            // It stays claimed: its last batch may not be written yet.
            self.blocks.remove(number);
        }
    }
}
