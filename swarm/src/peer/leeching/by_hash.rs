//! Asking a peer of the base dialect: chunks by their hash, as others have proved them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bep_xet::{Deadlines, Event, Exchange, Object, ProvenChunk, Range, RequestId, Status};
use xet_cas::ChunkRange;

use super::{Asking, BATCH_BYTES, FileNumber, LeechEvent, ReceivedRecord, WantedFile, unless_full};
use crate::ledger::{BlockTask, Task};
use crate::peer::PeerError;
use crate::schedule::{Ability, Outcome, RequestNumber};

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
    request: RequestNumber,
    file: FileNumber,
    task: BlockTask,
    /// Chunks that have not come.
    missing: usize,
    batch: Vec<ReceivedRecord>,
    batch_bytes: usize,
}

impl Asking for ByHash {
    const ABILITY: Ability = Ability::ByHash;
    /// What is late cannot be cancelled.
    const LATE_MAX: u32 = 1;
    const TOTAL_DEADLINES: u32 = 6;

    fn query(&mut self, files: Vec<WantedFile>, _: &mut Exchange, _: Deadlines, _: Instant) -> Result<bool, PeerError> {
        for WantedFile { number: file, .. } in files {
            self.files.insert(file);
            self.events.push_back(LeechEvent::Decided { file, holds: true });
        }
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
        let Task::Block(task) = task else { return Ok(false) };
        if !self.waiting.is_empty() {
            return Ok(false);
        }
        let (block, missing) = (self.next_block, task.chunks().len());
        self.next_block += 1;
        self.waiting.extend((0..missing).map(|index| (block, index)));
        self.blocks.insert(block, Block { request, file, task, missing, batch: Vec::new(), batch_bytes: 0 });
        self.go_on(exchange, deadlines, now)?;
        Ok(true)
    }

    fn cancel(&mut self, request: RequestNumber, exchange: &mut Exchange, now: Instant) {
        let number = self.blocks.iter().find(|(_, block)| block.request == request).map(|(number, _)| *number);
        let Some(number) = number else { return };
        let of_block = self.requests.iter().filter(|(_, (block, _))| *block == number);
        for id in of_block.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.requests.remove(&id);
            exchange.cancel(id, now);
        }
        self.waiting.retain(|(waiting, _)| *waiting != number);
        if let Some(Block { file, request, batch, .. }) = self.blocks.remove(&number)
            && !batch.is_empty()
        {
            self.events.push_back(LeechEvent::Received { file, request, records: batch });
        }
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
                if let Some(file) = file
                    && self.files.remove(&file)
                {
                    self.events.push_back(LeechEvent::Left { file });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn give_up(&mut self, id: RequestId) {
        let Some((number, _)) = self.requests.remove(&id) else { return };
        let Some(Block { request, file, batch, .. }) = self.blocks.remove(&number) else { return };
        self.waiting.retain(|(waiting, _)| *waiting != number);
        if !batch.is_empty() {
            self.events.push_back(LeechEvent::Received { file, request, records: batch });
        }
        self.events.push_back(LeechEvent::Ended { request, outcome: Outcome::Failed });
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
            let (request, file, records) = (block.request, block.file, std::mem::take(&mut block.batch));
            self.events.push_back(LeechEvent::Received { file, request, records });
        }
        if is_complete {
            self.events.push_back(LeechEvent::Ended { request: block.request, outcome: Outcome::Done });
            self.blocks.remove(number);
        }
    }
}
