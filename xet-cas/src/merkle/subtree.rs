//! A run of leaves, reduced as far as it can be while its neighbours are not known.
//!
//! Where groups end depends on where the first one begins, so within a run only groups that lie between two boundaries that
//! would be drawn anyhow can become nodes of the next level. Such a boundary is behind the middle one of three nodes in a row
//! that may end a group and stand 3 to 7 apart: a group that begins before the first ends at it or reaches the second, none
//! is full before that.

use std::ops::Range;

use super::{GROUP_NODES_MAX, GROUP_NODES_MIN, Groups, Leaf, Node};
use crate::hash::is_cut_point;
use crate::{Error, FileHash, XorbHash};

/// Summarizes a run of a list of leaves, so that the root of the list can be computed from such summaries of all of it
/// without the leaves themselves. Usually takes room for some dozens of nodes a level.
///
/// A run without hashes that may end a group (`n` times the same chunk, for one) cannot be reduced and keeps its
/// leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MerkleHashSubtree {
    pub(crate) levels: Vec<SubtreeLevel>,
    pub(crate) at_start: bool,
    pub(crate) at_end: bool,
}

/// Nodes of a level that are not under a node of the next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SubtreeLevel {
    /// Those before the others.
    pub(crate) left: Vec<Node>,
    /// Those behind them.
    pub(crate) right: Vec<Node>,
}

impl MerkleHashSubtree {
    /// Summarizes a run of leaves. `at_start` and `at_end`: whether the list begins and ends with it.
    pub fn of(leaves: &[Leaf], at_start: bool, at_end: bool) -> Self {
        let nodes = SubtreeLevel { left: leaves.iter().map(Node::from).collect(), right: vec![] };
        Self::join(&[nodes], &[], at_start, at_end)
    }

    /// Appends the run that follows.
    ///
    /// # Errors
    /// [`Error::Subtree`] if nothing can follow this run, or `next` follows nothing.
    pub fn append(&mut self, next: &Self) -> Result<(), Error> {
        if self.at_end || next.at_start {
            return Err(Error::Subtree {
                reason: "what ends the list is not its last run, or what starts it not the first",
            });
        }
        *self = Self::join(&self.levels, &next.levels, self.at_start, next.at_end);
        Ok(())
    }

    /// Whether the list begins with this run.
    pub fn is_at_start(&self) -> bool {
        self.at_start
    }

    /// Whether the list ends with this run.
    pub fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// The name of a xorb that holds these chunks; `None` if the run is not a whole list.
    pub fn xorb_hash(&self) -> Option<XorbHash> {
        Some(self.root()?.map_or(XorbHash::ZERO, XorbHash::from_bytes))
    }

    /// The name of a file made of these chunks; `None` if the run is not a whole list.
    pub fn file_hash(&self) -> Option<FileHash> {
        Some(self.root()?.map_or(FileHash::ZERO, |root| FileHash::from_root(root, None)))
    }

    /// The root of a whole list, which has none if it is empty.
    fn root(&self) -> Option<Option<[u8; 32]>> {
        let (top, below) = self.levels.split_last()?;
        let is_whole = self.at_start && self.at_end && below.iter().all(|level| *level == SubtreeLevel::default());
        match (top.left.as_slice(), top.right.as_slice()) {
            ([], []) if is_whole && below.is_empty() => Some(None),
            ([root], []) if is_whole => Some(Some(root.hash)),
            _ => None,
        }
    }

    /// Puts a subtree together from its levels, as they were read from somewhere.
    ///
    /// The deployed client lists both parts of a level as the left one where it appended a short run. The left part ends at
    /// the first boundary that is drawn in any case, so it can be told from the other.
    #[cfg(feature = "api")]
    pub(crate) fn from_levels(mut levels: Vec<SubtreeLevel>, at_start: bool, at_end: bool) -> Result<Self, Error> {
        trim(&mut levels);
        if let Some((_, below)) = levels.split_last_mut() {
            for level in below {
                let boundary =
                    if at_start { Some(0) } else { stable_part(&level.left, false, true).map(|part| part.start) };
                if let Some(boundary) = boundary {
                    let right = level.left.split_off(boundary);
                    level.right.splice(..0, right);
                }
            }
        }
        let subtree = Self { levels, at_start, at_end };
        if at_start && at_end && subtree.root().is_none() {
            return Err(Error::Subtree { reason: "a whole list is not reduced to its root" });
        }
        Ok(subtree)
    }

    /// Reduces two runs level by level. What lies between the higher levels of both is closed on the sides of these: it
    /// begins and ends where groups do. What it is reduced to belongs between the next levels.
    fn join(before: &[SubtreeLevel], behind: &[SubtreeLevel], at_start: bool, at_end: bool) -> Self {
        let (mut levels, mut reduced) = (Vec::new(), Vec::new());
        // Whether nothing is left over below this level, so that it begins or ends where the list does.
        let (mut is_first, mut is_last) = (at_start, at_end);
        while levels.len() < before.len().max(behind.len()) || !reduced.is_empty() {
            let (before_above, behind_above) = (levels.len() + 1 < before.len(), levels.len() + 1 < behind.len());
            let level = |levels: &[SubtreeLevel], at: usize| levels.get(at).cloned().unwrap_or_default();
            let (a, b) = (level(before, levels.len()), level(behind, levels.len()));
            let (mut left, mut middle) =
                if before_above { (a.left, a.right) } else { (vec![], [a.left, a.right].concat()) };
            middle.append(&mut reduced);
            middle.extend(b.left);
            let mut right = b.right;
            if !behind_above {
                middle.append(&mut right);
            }
            let is_root = middle.len() <= 1 && !before_above && !behind_above;
            let part = stable_part(&middle, before_above || is_first, behind_above || is_last).filter(|_| !is_root);
            let at_all_events = if before_above { 0 } else { middle.len() };
            let part = part.unwrap_or(at_all_events..at_all_events);
            reduced = Groups::of(middle[part.clone()].iter().copied()).parents;
            right.splice(..0, middle.split_off(part.end));
            middle.truncate(part.start);
            left.append(&mut middle);
            is_first &= left.is_empty();
            is_last &= right.is_empty();
            levels.push(SubtreeLevel { left, right });
        }
        trim(&mut levels);
        Self { levels, at_start, at_end }
    }
}

fn trim(levels: &mut Vec<SubtreeLevel>) {
    while levels.len() > 1 && levels.last() == Some(&SubtreeLevel::default()) {
        levels.pop();
    }
}

/// The nodes between the first and the last boundary that are drawn whatever the neighbours are. A side that is closed
/// counts as one.
fn stable_part(nodes: &[Node], starts: bool, ends: bool) -> Option<Range<usize>> {
    let cuts: Vec<usize> = (0..nodes.len()).filter(|at| is_cut_point(&nodes[*at].hash)).collect();
    let start = if starts { 0 } else { cuts.windows(3).find_map(stable_boundary)? };
    let behind = &cuts[cuts.partition_point(|cut| *cut < start)..];
    let end = if ends { nodes.len() } else { behind.windows(3).rev().find_map(stable_boundary)? };
    Some(start..end)
}

/// The boundary behind the middle one of three nodes in a row that may end a group, if it is drawn in any case.
fn stable_boundary(cuts: &[usize]) -> Option<usize> {
    let is_stable = cuts.windows(2).all(|pair| (GROUP_NODES_MIN..GROUP_NODES_MAX - 1).contains(&(pair[1] - pair[0])));
    is_stable.then(|| cuts[1] + 1)
}
