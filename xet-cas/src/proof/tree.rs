//! All levels of the tree over a list of chunks, to cut proofs from.

use std::ops::Range;

use super::{ProofLevel, RUN_LEAVES_MAX, RunProof, check_lengths};
use crate::merkle::{Groups, Node};
use crate::{ByteRange, ChunkRange, Error, FileHash, Leaf, XorbHash};

/// The tree over the chunks of a file or xorb, whole in memory: 36 bytes a leaf, and about 10 for the
/// levels above it (46 MB for a million chunks, which are about 64 GB of data). Immutable, so it can be
/// shared between threads.
#[derive(Debug, Clone)]
pub struct Tree {
    leaves: Vec<Leaf>,
    /// From the groups of leaves up to the root; none over a single leaf.
    levels: Vec<Groups>,
}

impl Tree {
    /// Builds all levels, in about the time that it takes to compute the root.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if the list is empty or longer than 2^32 − 1, or a chunk's length is not in
    /// 1..=[`CHUNK_BYTES_MAX`](crate::CHUNK_BYTES_MAX): no verifier would take a proof of it.
    pub fn new(leaves: Vec<Leaf>) -> Result<Self, Error> {
        Error::check_bounds("chunks of a tree", leaves.len() as u64, 1, u32::MAX.into())?;
        check_lengths(&leaves)?;
        let mut levels = Vec::new();
        let mut below = leaves.len();
        while below > 1 {
            let mut groups = match levels.last() {
                None => Groups::of(leaves.iter().map(Node::from)),
                Some(Groups { parents, .. }) => Groups::of(parents.iter().copied()),
            };
            groups.parents.shrink_to_fit();
            groups.starts.shrink_to_fit();
            below = groups.parents.len();
            levels.push(groups);
        }
        Ok(Self { leaves, levels })
    }

    /// The list it is built over.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// Levels above the leaves.
    pub fn depth(&self) -> usize {
        self.levels.len()
    }

    /// Uncompressed bytes of all chunks.
    pub fn bytes(&self) -> u64 {
        self.node(self.depth(), 0).size
    }

    /// The name of a file made of these chunks.
    pub fn file_hash(&self) -> FileHash {
        FileHash::from_root(self.node(self.depth(), 0).hash, None)
    }

    /// The name of a xorb that holds these chunks.
    pub fn xorb_hash(&self) -> XorbHash {
        XorbHash::from_bytes(self.node(self.depth(), 0).hash)
    }

    /// The chunks that hold these bytes, or what there is of them; `None` if there are none.
    pub fn chunks_in(&self, bytes: ByteRange) -> Option<ChunkRange> {
        let end = bytes.end.min(self.bytes());
        if bytes.start >= end {
            return None;
        }
        Some(ChunkRange { start: self.chunk_with(bytes.start), end: self.chunk_with(end - 1) + 1 })
    }

    /// The bytes that these chunks hold; `None` if the run is reversed or goes past the end.
    pub fn bytes_of(&self, chunks: ChunkRange) -> Option<ByteRange> {
        if chunks.start > chunks.end || chunks.end as usize > self.leaves.len() {
            return None;
        }
        Some(ByteRange { start: self.start_of(chunks.start), end: self.start_of(chunks.end) })
    }

    /// Cuts the proof for a run.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] if the run is empty, goes past the end or has more than
    /// [`RUN_LEAVES_MAX`] chunks.
    pub fn run_proof(&self, chunks: ChunkRange) -> Result<RunProof, Error> {
        Error::check_bounds("chunks of a run", chunks.count().into(), 1, RUN_LEAVES_MAX as u64)?;
        Error::check_bounds("last chunk of a run", chunks.end.into(), 1, self.leaves.len() as u64)?;
        let mut run = chunks.start as usize..chunks.end as usize;
        let leaves = self.leaves[run.clone()].to_vec();
        let mut offset = 0;
        let mut levels = Vec::with_capacity(self.depth());
        for (below, groups) in self.levels.iter().enumerate() {
            let parents = groups.holding(run.start)..groups.holding(run.end - 1) + 1;
            let children = self.children(below, parents.clone());
            let left = self.nodes(below, children.start..run.start);
            let right = self.nodes(below, run.end..children.end);
            offset += left.iter().map(|node| node.size).sum::<u64>();
            levels.push(ProofLevel { left, right });
            run = parents;
        }
        Ok(RunProof { first_leaf: chunks.start, leaves, offset, levels })
    }

    fn chunk_with(&self, byte: u64) -> u32 {
        let (mut at, mut before) = (0, 0);
        for below in (0..self.depth()).rev() {
            // The last child needs no look: if it is none of the others, it is that one.
            let mut children = self.children(below, at..at + 1);
            at = children.end - 1;
            children.end = at;
            for child in children {
                let size = self.node(below, child).size;
                if byte - before < size {
                    at = child;
                    break;
                }
                before += size;
            }
        }
        at as u32
    }

    fn start_of(&self, chunk: u32) -> u64 {
        let mut at = chunk as usize;
        if at == self.leaves.len() {
            return self.bytes();
        }
        let mut start = 0;
        for (below, groups) in self.levels.iter().enumerate() {
            let parent = groups.holding(at);
            let children = self.children(below, parent..parent + 1);
            start += (children.start..at).map(|node| self.node(below, node).size).sum::<u64>();
            at = parent;
        }
        start
    }

    /// The nodes of level `below` (0: the leaves) that these of the level above stand over.
    fn children(&self, below: usize, parents: Range<usize>) -> Range<usize> {
        let starts = &self.levels[below].starts;
        let end = starts.get(parents.end).map_or_else(|| self.width(below), |start| *start as usize);
        starts[parents.start] as usize..end
    }

    fn width(&self, level: usize) -> usize {
        level.checked_sub(1).map_or(self.leaves.len(), |above| self.levels[above].parents.len())
    }

    fn node(&self, level: usize, at: usize) -> Node {
        level.checked_sub(1).map_or_else(|| Node::from(&self.leaves[at]), |above| self.levels[above].parents[at])
    }

    fn nodes(&self, level: usize, range: Range<usize>) -> Vec<Node> {
        range.map(|at| self.node(level, at)).collect()
    }
}

impl Groups {
    /// Which group holds this node of the level below.
    fn holding(&self, node: usize) -> usize {
        self.starts.partition_point(|start| *start as usize <= node) - 1
    }
}
