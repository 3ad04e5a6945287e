//! The hash tree over a list of chunks. Groups of 3 to 9 nodes are cut where a node's own hash says so,
//! and each group becomes one node of the next level, until one is left: the root.
//!
//! Node text carries no level and a list of one is its own root, so an inner level of a tree, taken
//! as a list of leaves, has the same root. Whoever checks a list must therefore also check counts and
//! byte sums against something it trusts.

mod subtree;
pub use subtree::MerkleHashSubtree;
#[cfg(feature = "api")]
pub(crate) use subtree::SubtreeLevel;

use crate::hash::{is_cut_point, node_hash, text};
use crate::{ChunkHash, FileHash, XorbHash};

/// A group ends at its third node at the earliest.
pub(crate) const GROUP_NODES_MIN: usize = 3;
/// A group ends at its ninth node at the latest.
pub(crate) const GROUP_NODES_MAX: usize = 9;
/// Room for the text of one group: 64 digits, " : ", up to 20 digits, a line feed, nine times.
const GROUP_TEXT_BYTES_MAX: usize = GROUP_NODES_MAX * (64 + 3 + 20 + 1);

/// One chunk in the list of a xorb or file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// Hash of the chunk's uncompressed bytes.
    pub hash: ChunkHash,
    /// Uncompressed length, bytes.
    pub length: u32,
}

impl Leaf {
    /// Bytes of a leaf in stored lists: raw hash, then the length as little-endian u32.
    pub const ENCODED_BYTES: usize = 36;

    /// Hashes a chunk's bytes. They must not be longer than 4 GiB (a chunk is at most 128 KiB).
    pub fn of(data: &[u8]) -> Self {
        Self { hash: ChunkHash::of(data), length: data.len() as u32 }
    }

    /// The name of a xorb that holds these chunks. No chunks: the zero hash.
    pub fn xorb_hash(leaves: &[Self]) -> XorbHash {
        builder(leaves).finish_xorb()
    }

    /// The name of a file made of these chunks. No chunks (an empty file): the zero hash.
    pub fn file_hash(leaves: &[Self]) -> FileHash {
        Self::file_hash_salted(leaves, None)
    }

    /// [`file_hash`](Self::file_hash) with a salt of one's own; `None` is the deployed default.
    pub fn file_hash_salted(leaves: &[Self], salt: Option<&[u8; 32]>) -> FileHash {
        builder(leaves).finish().map_or(FileHash::ZERO, |root| FileHash::from_root(root, salt))
    }

    /// The stored form.
    pub fn encode(&self) -> [u8; Self::ENCODED_BYTES] {
        let mut out = [0; Self::ENCODED_BYTES];
        out[..32].copy_from_slice(self.hash.as_bytes());
        out[32..].copy_from_slice(&self.length.to_le_bytes());
        out
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8; Self::ENCODED_BYTES]) -> Self {
        Self {
            hash: ChunkHash::from_bytes(std::array::from_fn(|i| bytes[i])),
            length: u32::from_le_bytes(std::array::from_fn(|i| bytes[32 + i])),
        }
    }
}

fn builder(leaves: &[Leaf]) -> RootBuilder {
    let mut builder = RootBuilder::new();
    for leaf in leaves {
        builder.push(leaf);
    }
    builder
}

/// Reduces a list of leaves to its root as it arrives, keeping at most one open group a level.
#[derive(Debug, Clone, Default)]
pub struct RootBuilder {
    levels: Vec<Level>,
}

#[derive(Debug, Clone, Default)]
struct Level {
    /// The group that is not complete yet.
    open: Vec<Node>,
    /// Whether a group of this level has already become a node of the next.
    closed_any: bool,
}

/// A node of the tree at any level. Its hash is a chunk's or that of its children's text; it does not
/// say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    /// The hash.
    pub hash: [u8; 32],
    /// Uncompressed bytes under it.
    pub size: u64,
}

impl From<&Leaf> for Node {
    fn from(leaf: &Leaf) -> Self {
        Self { hash: *leaf.hash.as_bytes(), size: leaf.length.into() }
    }
}

impl RootBuilder {
    /// Starts with an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: &Leaf) {
        self.push_node(0, leaf.into());
    }

    /// The name of the xorb whose chunks were pushed.
    pub fn finish_xorb(self) -> XorbHash {
        self.finish().map_or(XorbHash::ZERO, XorbHash::from_bytes)
    }

    /// The name of the file whose chunks were pushed.
    pub fn finish_file(self) -> FileHash {
        self.finish().map_or(FileHash::ZERO, |root| FileHash::from_root(root, None))
    }

    fn finish(mut self) -> Option<[u8; 32]> {
        let mut at = 0;
        loop {
            let level = self.levels.get_mut(at)?;
            match level.open.as_slice() {
                [only] if !level.closed_any => return Some(only.hash),
                [] => {}
                // A lone node at the end of a level is hashed again; it is not carried up.
                group => {
                    let parent = parent(group);
                    level.open.clear();
                    self.push_node(at + 1, parent);
                }
            }
            at += 1;
        }
    }

    fn push_node(&mut self, mut at: usize, mut node: Node) {
        loop {
            if self.levels.len() == at {
                self.levels.push(Level::default());
            }
            let level = &mut self.levels[at];
            level.open.push(node);
            if !ends_group(level.open.len(), &node) {
                return;
            }
            node = parent(&level.open);
            level.open.clear();
            level.closed_any = true;
            at += 1;
        }
    }
}

/// A level of the tree above the leaves: the groups of the level below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups {
    /// One node a group.
    pub(crate) parents: Vec<Node>,
    /// Where each group begins in the level below.
    pub(crate) starts: Vec<u32>,
    /// Whether the last group ended by the rule, as opposed to by the end of its level.
    pub(crate) last_is_complete: bool,
}

impl Groups {
    /// Cuts a level, or the rest of one from the beginning of a group, into groups. At most 2^32 nodes.
    pub(crate) fn of(nodes: impl Iterator<Item = Node>) -> Self {
        let mut groups = Self { last_is_complete: true, ..Self::default() };
        let mut open = Vec::with_capacity(GROUP_NODES_MAX);
        for (node, at) in nodes.zip(0..) {
            if open.is_empty() {
                groups.starts.push(at);
            }
            open.push(node);
            if ends_group(open.len(), &node) {
                groups.parents.push(parent(&open));
                open.clear();
            }
        }
        if !open.is_empty() {
            groups.last_is_complete = false;
            groups.parents.push(parent(&open));
        }
        groups
    }
}

/// The grouping rule: whether the node that makes its group this long ends it.
fn ends_group(length: usize, node: &Node) -> bool {
    length == GROUP_NODES_MAX || (length >= GROUP_NODES_MIN && is_cut_point(&node.hash))
}

fn parent(group: &[Node]) -> Node {
    let mut node_text = Vec::with_capacity(GROUP_TEXT_BYTES_MAX);
    let mut size = 0_u64;
    for node in group {
        node_text.extend_from_slice(&text(&node.hash));
        node_text.extend_from_slice(format!(" : {}\n", node.size).as_bytes());
        size = size.saturating_add(node.size);
    }
    Node { hash: node_hash(&node_text), size }
}
