//! The proof of a run of chunks, as it travels, and its check.

use super::{CandidateRun, DEPTH_MAX, RUN_LEAVES_MAX, SIDE_NODES_MAX, check_lengths};
use crate::merkle::{Groups, Node};
use crate::{Error, FileHash, Leaf};

/// That a run of chunks stands at an offset of a file. Nothing in it is to be believed before
/// [`verify`](Self::verify).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunProof {
    /// Index of the first chunk in the file, as the sender says: a hint that no proof binds.
    pub first_leaf: u32,
    /// The chunks of the run.
    pub leaves: Vec<Leaf>,
    /// Where the run begins in the file.
    pub offset: u64,
    /// What completes the run's groups, from the leaves upwards; none for a file of one chunk.
    pub levels: Vec<ProofLevel>,
}

/// What stands at one level beside the nodes over the run, within their groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProofLevel {
    /// From the beginning of the first group to the run.
    pub left: Vec<Node>,
    /// From the run to the end of the last group.
    pub right: Vec<Node>,
}

impl RunProof {
    /// Checks that the run reduces to the file, and that it stands at its offset. `file_bytes` must come
    /// from a source that is trusted, as the file's hash does. The run may still stand at an inner level of
    /// the tree ([module documentation](super)), so the result is a candidate.
    ///
    /// Costs a hash for each group, and memory for the run twice; limits are checked first.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`], [`Error::Proof`], [`Error::FileHash`] or [`Error::Mismatch`], each of which
    /// proves that the sender is at fault.
    pub fn verify(self, file: FileHash, file_bytes: u64) -> Result<CandidateRun, Error> {
        self.check_limits(file_bytes)?;
        let root = self.reduce()?;
        let actual = FileHash::from_root(root.hash, None);
        if actual != file {
            return Err(Error::FileHash { claimed: file, actual });
        }
        Error::check_equal("proved and known bytes of a file", root.size, file_bytes)?;
        let left = self.levels.iter().flat_map(|level| &level.left);
        let offset = left.fold(0_u64, |sum, node| sum.saturating_add(node.size));
        Error::check_equal("proved and stated offset of a run", offset, self.offset)?;
        Ok(CandidateRun::new(self, file, file_bytes))
    }

    fn check_limits(&self, file_bytes: u64) -> Result<(), Error> {
        Error::check_bounds("chunks of a run", self.leaves.len() as u64, 1, RUN_LEAVES_MAX as u64)?;
        Error::check_bounds("levels of a proof", self.levels.len() as u64, 0, DEPTH_MAX as u64)?;
        check_lengths(&self.leaves)?;
        for side in self.levels.iter().flat_map(|level| [&level.left, &level.right]) {
            Error::check_bounds("siblings on one side", side.len() as u64, 0, SIDE_NODES_MAX as u64)?;
            for node in side {
                Error::check_bounds("bytes under a sibling", node.size, 1, file_bytes)?;
            }
        }
        Ok(())
    }

    /// Rebuilds the groups of every level up to the root.
    fn reduce(&self) -> Result<Node, Error> {
        let broken = |reason| Err(Error::Proof { reason });
        let mut nodes: Vec<Node> = self.leaves.iter().map(Node::from).collect();
        // Whether the last node is known to be the last of its level.
        let mut at_end = false;
        // Whether a lone node was hashed again and nothing was seen to its left.
        let mut lone = false;
        for ProofLevel { left, right } in &self.levels {
            let count = left.len() + nodes.len() + right.len();
            let groups = Groups::of(left.iter().chain(&nodes).chain(right).copied());
            if groups.starts.get(1).is_some_and(|second| *second as usize <= left.len()) {
                return broken("a sibling on the left belongs to another group");
            }
            if groups.starts.last().is_some_and(|last| *last as usize >= count - right.len()) {
                return broken("a sibling on the right belongs to another group");
            }
            if at_end && !right.is_empty() {
                return broken("siblings stand to the right of the end of a level");
            }
            at_end |= !groups.last_is_complete;
            lone = left.is_empty() && (lone || count == 1);
            nodes = groups.parents;
        }
        match nodes[..] {
            [_] if lone => broken("a level goes on above the root"),
            [root] => Ok(root),
            _ => broken("the last level has more than one group"),
        }
    }
}
