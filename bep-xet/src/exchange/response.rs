//! What comes for a request in a legacy dialect: collected off to the side, and handed on when it has proved itself.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use xet_cas::xorb::{RAW_BYTES_MAX, Record, RecordHeader, Records};
use xet_cas::{CHUNK_BYTES_MAX, ChunkHash, ChunkRange, Leaf, RootBuilder, Scheme, XorbHash};

use super::event::ProvenChunk;
use crate::wire::bounded;
use crate::{ChunkResponse, Error, Limits};

/// The answer to one of our requests in a legacy dialect.
#[derive(Debug)]
pub(super) enum Response {
    /// Of one chunk, as it is, behind the header that a record has.
    Chunk { hash: ChunkHash, record: BytesMut },
    /// Of chunks of a xorb.
    Xorb(Box<XorbResponse>),
}

/// What a complete response has shown.
#[derive(Debug)]
pub(super) struct Proof {
    /// All chunks of the object, which prove themselves; empty if a list has proved them one by one.
    pub(super) chunks: Vec<ProvenChunk>,
    /// First chunk that was asked for and did not come; `None` if the data proves nothing.
    pub(super) next: Option<u64>,
}

impl Response {
    pub(super) fn of_chunk(hash: ChunkHash) -> Self {
        Self::Chunk { hash, record: BytesMut::new() }
    }

    pub(super) fn of_xorb(hash: XorbHash, asked: ChunkRange, list: Option<Arc<[Leaf]>>) -> Self {
        Self::Xorb(Box::new(XorbResponse {
            hash,
            asked,
            list,
            first: 0,
            next: 0,
            partial: BytesMut::new(),
            held: Vec::new(),
            root: RootBuilder::new(),
            raw_bytes: 0,
            scratch: Vec::new(),
            state: Reading::Records,
        }))
    }

    /// First chunk that was asked for, and one past the last.
    pub(super) fn asked(&self) -> (u64, u64) {
        match self {
            Self::Chunk { .. } => (0, 1),
            Self::Xorb(xorb) => (xorb.asked.start.into(), xorb.asked.end.into()),
        }
    }

    /// A response begins.
    ///
    /// # Errors
    /// One that is longer than what was asked for can be.
    pub(super) fn begin(&mut self, head: &ChunkResponse, limits: &Limits) -> Result<(), Error> {
        match self {
            Self::Chunk { record, .. } => {
                bounded("length of a chunk", head.length.into(), 1, CHUNK_BYTES_MAX as u64)?;
                reserve_exact(record, RecordHeader::BYTES + head.length as usize);
                let header = RecordHeader { scheme: Scheme::None, stored_length: head.length, raw_length: head.length };
                record.put_slice(&header.encode());
            }
            Self::Xorb(xorb) => {
                xorb.first = head.chunk_offset.unwrap_or_default();
                xorb.next = xorb.first;
                // The hash of a xorb binds nothing but all of it, and all of it has to be held.
                let is_too_long = u64::from(head.length) > limits.collected_bytes_max;
                if xorb.list.is_none() && (xorb.first > 0 || is_too_long) {
                    xorb.give_up();
                }
            }
        }
        Ok(())
    }

    /// Takes more of the data. Returns the chunks that are proven by it.
    ///
    /// # Errors
    /// A chunk that is not the one of the list.
    pub(super) fn data(&mut self, id: u32, data: Bytes, limits: &Limits) -> Result<Vec<ProvenChunk>, Error> {
        match self {
            Self::Chunk { record, .. } => {
                record.put_slice(&data);
                Ok(Vec::new())
            }
            Self::Xorb(xorb) => xorb.data(id, &data, limits),
        }
    }

    /// The data is complete.
    ///
    /// # Errors
    /// A chunk that is not the one that was asked for.
    pub(super) fn finish(&mut self, id: u32) -> Result<Proof, Error> {
        match self {
            Self::Chunk { hash, record } => {
                let leaf = Leaf::of(&record[RecordHeader::BYTES..]);
                if leaf.hash != *hash {
                    return Err(Error::ChunkHash { id, index: 0 });
                }
                let record = std::mem::take(record).freeze();
                Ok(Proof { chunks: vec![ProvenChunk::new(0, leaf, record)], next: Some(1) })
            }
            Self::Xorb(xorb) => Ok(xorb.finish()),
        }
    }

    /// Nobody wants it any more: nothing is kept.
    pub(super) fn give_up(&mut self) {
        match self {
            Self::Chunk { record, .. } => *record = BytesMut::new(),
            Self::Xorb(xorb) => xorb.give_up(),
        }
    }
}

/// Chunk records, one behind the other, as they come.
#[derive(Debug)]
pub(super) struct XorbResponse {
    hash: XorbHash,
    asked: ChunkRange,
    /// What the chunks of the xorb are, if that is known.
    list: Option<Arc<[Leaf]>>,
    /// Index of the first chunk, and of the one that comes next.
    first: u32,
    next: u32,
    /// The front of a record.
    partial: BytesMut,
    /// Chunks that wait for the last one to prove them.
    held: Vec<ProvenChunk>,
    root: RootBuilder,
    raw_bytes: u64,
    scratch: Vec<u8>,
    state: Reading,
}

#[derive(Debug, PartialEq, Eq)]
enum Reading {
    Records,
    /// A footer stands behind the records; nothing there is of use.
    Behind,
    /// The data cannot prove itself any more.
    Hopeless,
}

impl XorbResponse {
    fn data(&mut self, id: u32, mut data: &[u8], limits: &Limits) -> Result<Vec<ProvenChunk>, Error> {
        let mut proven = Vec::new();
        while !data.is_empty() && self.state == Reading::Records {
            let wanted = match self.partial.first_chunk() {
                None => RecordHeader::BYTES,
                // A footer begins with a marker that no header begins with.
                Some(front) if Records::new(front).next().is_none() => {
                    self.partial.clear();
                    self.state = Reading::Behind;
                    break;
                }
                Some(front) => match RecordHeader::decode(front) {
                    Ok(header) => header.record_bytes(),
                    Err(source) => {
                        self.fail(Error::Record { id, index: self.next, source })?;
                        break;
                    }
                },
            };
            let missing = wanted - self.partial.len();
            let (taken, rest) = data.split_at(missing.min(data.len()));
            reserve_exact(&mut self.partial, wanted);
            self.partial.put_slice(taken);
            data = rest;
            if wanted > RecordHeader::BYTES && self.partial.len() == wanted {
                let record = std::mem::take(&mut self.partial).freeze();
                proven.extend(self.record(id, record, limits)?);
            }
        }
        Ok(proven)
    }

    /// Takes a record. Returns its chunk, if the list has it.
    fn record(&mut self, id: u32, record: Bytes, limits: &Limits) -> Result<Option<ProvenChunk>, Error> {
        let index = self.next;
        let leaf = match self.read(&record) {
            Ok(leaf) => leaf,
            Err(source) => return self.fail(Error::Record { id, index, source }).map(|()| None),
        };
        self.next = self.next.saturating_add(1);
        let chunk = ProvenChunk::new(index, leaf, record);
        if let Some(list) = &self.list {
            return match list.get(index as usize) {
                Some(expected) if *expected == leaf => Ok(Some(chunk)),
                _ => Err(Error::ChunkHash { id, index }),
            };
        }
        self.raw_bytes += u64::from(leaf.length);
        if self.held.len() >= limits.leaves_max || self.raw_bytes > RAW_BYTES_MAX {
            self.give_up();
            return Ok(None);
        }
        self.root.push(&leaf);
        self.held.push(chunk);
        Ok(None)
    }

    fn read(&mut self, record: &Bytes) -> Result<Leaf, xet_cas::Error> {
        let (front, payload) = record.split_first_chunk().unwrap_or((&[0; RecordHeader::BYTES], &[]));
        let record = Record { header: RecordHeader::decode(front)?, payload };
        Ok(Leaf::of(record.decode(&mut self.scratch)?))
    }

    /// What is no record is a lie only where a list says that there is one: honest peers may cut a xorb anywhere.
    fn fail(&mut self, error: Error) -> Result<(), Error> {
        if self.list.is_some() {
            return Err(error);
        }
        self.give_up();
        Ok(())
    }

    fn give_up(&mut self) {
        self.state = Reading::Hopeless;
        self.partial = BytesMut::new();
        self.held = Vec::new();
        self.scratch = Vec::new();
    }

    fn finish(&mut self) -> Proof {
        let total = self.next;
        let (mut chunks, root) = (std::mem::take(&mut self.held), std::mem::take(&mut self.root));
        let is_whole = match &self.list {
            Some(list) => self.first == 0 && total as usize == list.len(),
            None => self.state != Reading::Hopeless && total > 0 && root.finish_xorb() == self.hash,
        };
        if self.list.is_none() && !is_whole {
            chunks.clear();
            return Proof { chunks, next: None };
        }
        let ChunkRange { start, end } = self.asked;
        let next = if is_whole {
            end
        } else if self.first <= start && start <= total {
            total.min(end)
        } else {
            start
        };
        Proof { chunks, next: Some(next.into()) }
    }
}

/// Makes room for a record, and no more: thousands of them are held.
fn reserve_exact(buffer: &mut BytesMut, bytes: usize) {
    if buffer.capacity() < bytes {
        let mut exact = BytesMut::with_capacity(bytes);
        exact.put_slice(buffer);
        *buffer = exact;
    }
}
