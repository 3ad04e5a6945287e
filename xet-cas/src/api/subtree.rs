//! JSON of a run of leaves, reduced: what a CAS says of the parts of a file that an edit leaves alone.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::merkle::{Node, SubtreeLevel};
use crate::{ChunkHash, Error, MerkleHashSubtree};

/// Levels of a subtree at most. A tree over 2^64 leaves has fewer.
const LEVELS_MAX: u64 = 64;

/// `nodes` are the left parts of all levels, the leaves' first, then the right parts, the leaves' last.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SubtreeJson {
    nodes: Vec<NodeJson>,
    /// Counts of the left and the right part, the leaves' first.
    levels: Vec<(u64, u64)>,
    at_start: bool,
    at_end: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct NodeJson {
    hash: String,
    size: u64,
}

impl From<&Node> for NodeJson {
    fn from(node: &Node) -> Self {
        // A node's hash is written as every other.
        Self { hash: ChunkHash::from_bytes(node.hash).to_string(), size: node.size }
    }
}

impl From<&MerkleHashSubtree> for SubtreeJson {
    fn from(subtree: &MerkleHashSubtree) -> Self {
        let left = subtree.levels.iter().map(|level| &level.left);
        let right = subtree.levels.iter().rev().map(|level| &level.right);
        Self {
            nodes: left.chain(right).flatten().map(NodeJson::from).collect(),
            levels: subtree.levels.iter().map(|level| (level.left.len() as u64, level.right.len() as u64)).collect(),
            at_start: subtree.at_start,
            at_end: subtree.at_end,
        }
    }
}

impl TryFrom<SubtreeJson> for MerkleHashSubtree {
    type Error = Error;

    fn try_from(json: SubtreeJson) -> Result<Self, Error> {
        let hash = |text: &str| text.parse::<ChunkHash>().map(|hash| *hash.as_bytes());
        let mut nodes = json.nodes.iter().map(|node| Ok(Node { hash: hash(&node.hash)?, size: node.size }));
        let mut take = |count: u64| {
            let taken =
                nodes.by_ref().take(usize::try_from(count).unwrap_or(usize::MAX)).collect::<Result<Vec<_>, _>>()?;
            Error::check_equal("nodes of a subtree and of its levels", taken.len() as u64, count)?;
            Ok(taken)
        };
        Error::check_bounds("levels of a subtree", json.levels.len() as u64, 1, LEVELS_MAX)?;
        let mut levels = Vec::new();
        for (left, _) in &json.levels {
            levels.push(SubtreeLevel { left: take(*left)?, right: vec![] });
        }
        for (level, (_, right)) in levels.iter_mut().zip(&json.levels).rev() {
            level.right = take(*right)?;
        }
        Error::check_equal("nodes of a subtree behind its levels", nodes.count() as u64, 0)?;
        Self::from_levels(levels, json.at_start, json.at_end)
    }
}

/// As the deployed CAS writes it. With the feature `client` or `server`.
impl Serialize for MerkleHashSubtree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        SubtreeJson::from(self).serialize(serializer)
    }
}

/// As the deployed CAS writes it. With the feature `client` or `server`.
impl<'de> Deserialize<'de> for MerkleHashSubtree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        SubtreeJson::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
    }
}
