//! The files of a faulty peer, with what it needs to lie about them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use bep_xet::{Proof, ProofLevel, Sibling};
use bytes::{BufMut as _, Bytes, BytesMut};
use xet_cas::proof::{Node, Tree};
use xet_cas::xorb::RecordHeader;
use xet_cas::{ByteRange, ChunkHash, ChunkRange, Compressor, Leaf, Scheme, chunks};

use super::PeerFault;

/// Uncompressed bytes of the LZ4 frame that claims to be one chunk.
const BOMB_BYTES: usize = 32 * 1024 * 1024;

/// All files, by the hash that they are asked for by.
#[derive(Debug)]
pub(super) struct Files {
    by_hash: BTreeMap<[u8; 32], Served>,
    /// A frame that decodes to far more than a chunk.
    pub(super) bomb: Bytes,
}

/// A file as it is served, which need not be what it is.
#[derive(Debug)]
pub(super) struct Served {
    content: Bytes,
    tree: Tree,
    /// The list to send in place of the chunks.
    instead: Option<InnerLevel>,
}

impl Files {
    pub(super) fn new(files: impl IntoIterator<Item = Vec<u8>>, fault: PeerFault) -> io::Result<Self> {
        let mut by_hash = BTreeMap::new();
        for file in files {
            let tree = tree_of(&file)?;
            let hash = *tree.file_hash().as_bytes();
            by_hash.insert(hash, Served::new(file, tree, fault)?);
        }
        let bomb = match fault {
            PeerFault::Lz4Bomb => {
                Bytes::copy_from_slice(Compressor::new().compress(Scheme::Lz4, &vec![0; BOMB_BYTES]).1)
            }
            _ => Bytes::new(),
        };
        Ok(Self { by_hash, bomb })
    }

    pub(super) fn get(&self, hash: &[u8; 32]) -> Option<&Served> {
        self.by_hash.get(hash)
    }
}

fn tree_of(file: &[u8]) -> io::Result<Tree> {
    Tree::new(chunks(file).map(Leaf::of).collect()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl Served {
    fn new(mut file: Vec<u8>, mut tree: Tree, fault: PeerFault) -> io::Result<Self> {
        let mut instead = None;
        match fault {
            PeerFault::ProvesAnotherFile => {
                file.iter_mut().for_each(|byte| *byte ^= 0x55);
                tree = tree_of(&file)?;
            }
            PeerFault::ListsInnerLevel(level) => instead = InnerLevel::of(&tree, level.into()),
            _ => {}
        }
        Ok(Self { content: file.into(), tree, instead })
    }

    pub(super) fn chunk_count(&self) -> u32 {
        self.tree.leaves().len() as u32
    }

    /// The chunks that hold these bytes.
    pub(super) fn chunks_in(&self, start: u64, end: u64) -> Option<ChunkRange> {
        self.tree.chunks_in(ByteRange { start, end })
    }

    pub(super) fn chunk(&self, index: u32) -> Option<Bytes> {
        let range = self.tree.bytes_of(ChunkRange { start: index, end: index.checked_add(1)? })?;
        Some(self.content.slice(range.start as usize..range.end as usize))
    }

    /// Index of the first entry, the entries, and what proves them.
    pub(super) fn list(&self, chunks: ChunkRange) -> Option<(u32, Vec<Leaf>, Proof)> {
        if let Some(inner) = &self.instead {
            let levels = vec![ProofLevel::default(); inner.levels_above];
            return Some((0, inner.nodes.clone(), Proof { offset: 0, levels }));
        }
        let run = self.tree.run_proof(chunks).ok()?;
        let siblings = |nodes: &[Node]| nodes.iter().map(|node| Sibling { hash: node.hash, size: node.size }).collect();
        let level = |level: &xet_cas::proof::ProofLevel| ProofLevel {
            left: siblings(&level.left),
            right: siblings(&level.right),
        };
        let levels = run.levels.iter().map(level).collect();
        Some((run.first_leaf, run.leaves, Proof { offset: run.offset, levels }))
    }
}

/// All nodes of a level of a tree, as if they were chunks.
#[derive(Debug)]
struct InnerLevel {
    nodes: Vec<Leaf>,
    levels_above: usize,
}

impl InnerLevel {
    /// The level, or the next one above it of which every node can be had. `None` for a tree of one chunk.
    fn of(tree: &Tree, level: usize) -> Option<Self> {
        let depth = tree.depth();
        (level.min(depth)..=depth).filter(|level| *level > 0).find_map(|level| {
            let nodes = nodes_at(tree, level)?;
            Some(Self { nodes, levels_above: depth - level })
        })
    }
}

/// Collected from the proofs of single chunks, in which every node stands but those that are alone in their group.
fn nodes_at(tree: &Tree, level: usize) -> Option<Vec<Leaf>> {
    let root = Node { hash: *tree.xorb_hash().as_bytes(), size: tree.bytes() };
    if level == tree.depth() {
        return Some(vec![leaf(&root)]);
    }
    let mut by_offset = BTreeMap::new();
    for index in 0..tree.leaves().len() as u32 {
        let chunk = ChunkRange { start: index, end: index + 1 };
        let proof = tree.run_proof(chunk).ok()?;
        let mut own: Range<u64> = range(tree.bytes_of(chunk)?);
        for (at, beside) in proof.levels.iter().enumerate() {
            let [mut start, mut end] = [own.start, own.end];
            for node in beside.left.iter().rev() {
                start -= node.size;
                if at == level {
                    by_offset.insert(start, leaf(node));
                }
            }
            for node in &beside.right {
                if at == level {
                    by_offset.insert(end, leaf(node));
                }
                end += node.size;
            }
            own = start..end;
        }
    }
    let mut end = 0;
    for (offset, node) in &by_offset {
        (*offset == end).then_some(())?;
        end += u64::from(node.length);
    }
    (end == tree.bytes()).then(|| by_offset.into_values().collect())
}

fn range(bytes: ByteRange) -> Range<u64> {
    bytes.start..bytes.end
}

fn leaf(node: &Node) -> Leaf {
    Leaf { hash: ChunkHash::from_bytes(node.hash), length: u32::try_from(node.size).unwrap_or(u32::MAX) }
}

/// A chunk as it is, with its header.
pub(super) fn record(scheme: Scheme, payload: &[u8], raw_length: usize) -> Bytes {
    let header = RecordHeader { scheme, stored_length: payload.len() as u32, raw_length: raw_length as u32 };
    let mut record = BytesMut::with_capacity(header.record_bytes());
    record.put_slice(&header.encode());
    record.put_slice(payload);
    record.freeze()
}

#[cfg(test)]
mod tests {
    use super::{InnerLevel, tree_of};
    use crate::model::small_chunks;

    #[test]
    fn given_a_file_of_small_chunks_when_its_levels_are_collected_then_each_reduces_to_its_root() {
        let tree = tree_of(&small_chunks(60, 1)).unwrap();

        assert_eq!(60, tree.leaves().len());
        assert!(tree.depth() >= 3, "{}", tree.depth());
        for level in 1..=tree.depth() {
            let inner = InnerLevel::of(&tree, level).unwrap();
            assert_eq!(tree.depth() - level, inner.levels_above);
            assert_eq!(tree.xorb_hash(), xet_cas::Leaf::xorb_hash(&inner.nodes), "level {level}");
        }
    }
}
