//! Chunk lists to prove, and proofs cut from them a second time, in the plainest way.

use serde_json::Value;
use xet_cas::proof::{Node, ProofLevel, RunProof};
use xet_cas::{ByteRange, CHUNK_BYTES_MAX, ChunkHash, ChunkRange, FileHash, Leaf, Term, XorbHash};

use super::naive;
use super::vectors::{cases, hash, leaf, number, numbers, section, text};

/// A list of the vectors that can be a file, and its name.
pub(super) struct Sample {
    pub(super) leaves: Vec<Leaf>,
    pub(super) file: FileHash,
}

/// All `merkle` vectors but those that no file has: of no chunks, and of chunks of 0 bytes or 8 GiB. Two
/// of the vectors end in chunks of more than 128 KiB: the length is cut down, and their name computed.
pub(super) fn samples() -> Vec<Sample> {
    cases(&section("merkle")["cases"]).iter().filter_map(sample).collect()
}

fn sample(case: &Value) -> Option<Sample> {
    let mut leaves = leaves(case)?;
    let mut file = hash(&case["file_hash"]);
    if leaves.iter().any(|leaf| leaf.length as usize > CHUNK_BYTES_MAX) {
        leaves.iter_mut().for_each(|leaf| leaf.length = leaf.length.min(CHUNK_BYTES_MAX as u32));
        file = Leaf::file_hash(&leaves);
    }
    (!leaves.is_empty() && leaves.iter().all(|leaf| leaf.length > 0)).then_some(Sample { leaves, file })
}

fn leaves(case: &Value) -> Option<Vec<Leaf>> {
    if let Some(pairs) = case["pairs"].as_array() {
        return pairs.iter().map(|pair| entry(&(text(&pair[0]).into(), number(&pair[1])))).collect();
    }
    let indices = if case["leaf_indices"].is_array() {
        numbers(&case["leaf_indices"])
    } else {
        let first = number(&case["leaves"]["first"]);
        (first..first + number(&case["leaves"]["count"])).collect()
    };
    Some(indices.into_iter().map(leaf).collect())
}

/// A node as an entry of a list, whatever it stands for; `None` if it is too large to look like one.
pub(super) fn entry((hash, size): &naive::Node) -> Option<Leaf> {
    Some(Leaf { hash: hash.parse().unwrap(), length: u32::try_from(*size).ok()? })
}

pub(super) fn file_bytes(leaves: &[Leaf]) -> u64 {
    leaves.iter().map(|leaf| u64::from(leaf.length)).sum()
}

pub(super) fn run(start: usize, count: usize) -> ChunkRange {
    ChunkRange { start: start as u32, end: (start + count) as u32 }
}

/// The bytes of a run of the list.
pub(super) fn bytes(leaves: &[Leaf], run: ChunkRange) -> ByteRange {
    ByteRange { start: file_bytes(&leaves[..run.start as usize]), end: file_bytes(&leaves[..run.end as usize]) }
}

/// Terms with these numbers of chunks, all of one xorb.
pub(super) fn terms(leaves: &[Leaf], counts: impl IntoIterator<Item = usize>) -> Vec<Term> {
    let mut start = 0;
    let term = |count| {
        let chunks = run(start, count);
        start += count;
        let unpacked_length = bytes(leaves, chunks).length() as u32;
        Term { xorb: XorbHash::ZERO, chunks, unpacked_length }
    };
    counts.into_iter().map(term).collect()
}

/// The levels above a list, each as its groups, and the list itself as nodes.
pub(super) struct Plain {
    pub(super) nodes: Vec<naive::Node>,
    levels: Vec<Vec<Vec<naive::Node>>>,
}

impl Plain {
    pub(super) fn new(leaves: &[Leaf]) -> Self {
        let nodes: Vec<naive::Node> = leaves.iter().map(naive::node).collect();
        let levels = naive::levels(&nodes);
        Self { nodes, levels }
    }

    /// The same tree without its lowest levels, from the one above the leaves to the root alone.
    pub(super) fn inner(&self) -> impl Iterator<Item = Self> {
        (0..self.levels.len()).map(|at| {
            let nodes = self.levels[at].iter().map(|group| naive::parent(group)).collect();
            Self { nodes, levels: self.levels[at + 1..].to_vec() }
        })
    }

    /// The nodes of the lowest level as entries; `None` if they are too large to look like chunks.
    pub(super) fn entries(&self) -> Option<Vec<Leaf>> {
        self.nodes.iter().map(entry).collect()
    }

    /// The proof for a run of the lowest level.
    pub(super) fn proof(&self, run: ChunkRange) -> Option<RunProof> {
        let (mut start, mut end) = (run.start as usize, run.end as usize);
        let leaves = self.nodes[start..end].iter().map(entry).collect::<Option<_>>()?;
        let offset = self.nodes[..start].iter().map(|(_, size)| size).sum();
        let mut levels = Vec::new();
        for groups in &self.levels {
            let mut level = ProofLevel::default();
            let (mut at, mut parents) = (0, Vec::new());
            for (parent, group) in groups.iter().enumerate() {
                if at < end && start < at + group.len() {
                    parents.push(parent);
                    for (i, child) in (at..).zip(group) {
                        if i < start {
                            level.left.push(node(child));
                        } else if i >= end {
                            level.right.push(node(child));
                        }
                    }
                }
                at += group.len();
            }
            (start, end) = (parents[0], parents[parents.len() - 1] + 1);
            levels.push(level);
        }
        Some(RunProof { first_leaf: run.start, leaves, offset, levels })
    }
}

fn node((hash, size): &naive::Node) -> Node {
    Node { hash: *hash.parse::<ChunkHash>().unwrap().as_bytes(), size: *size }
}
