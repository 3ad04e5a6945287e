//! What scripts about the legacy dialects share.

use std::sync::Arc;

use bep_xet::{ChunkResponse, Dialect, ProvenChunk};
use xet_cas::CompressionPolicy;
use xet_cas::xorb::{Builder, Record, Records, Serialized};

use super::*;

/// An exchange with a peer of a legacy dialect.
pub(super) fn legacy(dialect: Dialect, now: Instant) -> Exchange {
    legacy_with(dialect, Config::default(), Limits::default(), now)
}

pub(super) fn legacy_with(dialect: Dialect, config: Config, limits: Limits, now: Instant) -> Exchange {
    let client = (dialect == Dialect::Ranged).then_some("zest/0.4");
    let exchange = Exchange::for_peer(config, limits, client, None, now).unwrap();
    assert_eq!(dialect, exchange.dialect());
    exchange
}

/// The chunks of the xorb that is asked for: some compress, some do not.
pub(super) fn raw_chunks() -> Vec<Vec<u8>> {
    vec![vec![1; 20_000], noise(1, 9_000), b"a".to_vec(), vec![7; 131_072], noise(2, 70_000)]
}

/// Bytes that do not compress.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(super) fn stored() -> Serialized {
    stored_of(&raw_chunks())
}

pub(super) fn stored_of(chunks: &[Vec<u8>]) -> Serialized {
    let mut builder = Builder::new(CompressionPolicy::Auto);
    for chunk in chunks {
        builder.push(Leaf::of(chunk), chunk).unwrap();
    }
    builder.finish()
}

pub(super) fn list(stored: &Serialized) -> Arc<[Leaf]> {
    stored.footer.leaves().into()
}

/// Serialized bytes of these chunks.
pub(super) fn records(stored: &Serialized, start: u32, end: u32) -> Bytes {
    let range = stored.footer.byte_range(ChunkRange { start, end }).unwrap();
    Bytes::copy_from_slice(&stored.records[range.start as usize..range.end as usize])
}

pub(super) fn range_of(stored: &Serialized, start: u32, end: u32) -> Range {
    Range::chunks(Object::xorb(stored.hash()), ChunkRange { start, end })
}

/// A response that is all here.
pub(super) fn response(id: RequestId, chunk_offset: Option<u32>, data: impl Into<Bytes>) -> Message {
    let data = data.into();
    Message::ChunkResponse(ChunkResponse { id: number(id), chunk_offset, length: data.len() as u32, data })
}

/// The bytes of a chunk as the record has them.
pub(super) fn raw(chunk: &ProvenChunk) -> Vec<u8> {
    let mut scratch = Vec::new();
    let record: Record<'_> = Records::new(chunk.record()).next().unwrap().unwrap();
    record.decode(&mut scratch).unwrap().to_vec()
}

/// The chunks that were handed on, each checked against its leaf.
pub(super) fn proven(events: &[Event]) -> Vec<(u32, Vec<u8>)> {
    let mut chunks = Vec::new();
    for event in events {
        let Event::Proven { chunks: proven, .. } = event else { continue };
        for chunk in proven {
            assert_eq!(chunk.leaf(), Leaf::of(&raw(chunk)));
            chunks.push((chunk.index(), raw(chunk)));
        }
    }
    chunks
}

/// Those chunks of the xorb.
pub(super) fn expected(start: usize, end: usize) -> Vec<(u32, Vec<u8>)> {
    (0..).zip(raw_chunks()).skip(start).take(end - start).collect()
}
