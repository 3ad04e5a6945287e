//! The rules of the formats written down a second time, in the slowest and plainest way.

use xet_cas::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, ChunkHash, Leaf};

use super::vectors::{hex32, section};

/// Where chunks end: every byte is hashed and every length is looked at.
pub(super) fn chunk_ends(file: &[u8]) -> Vec<u64> {
    let (mut ends, mut start, mut gear) = (Vec::new(), 0, 0_u64);
    for (i, byte) in file.iter().enumerate() {
        gear = (gear << 1).wrapping_add(gearhash::DEFAULT_TABLE[usize::from(*byte)]);
        let end = i + 1;
        let length = end - start;
        if (length >= CHUNK_BYTES_MIN && gear >> 48 == 0) || length == CHUNK_BYTES_MAX {
            ends.push(end as u64);
            (start, gear) = (end, 0);
        }
    }
    if start < file.len() {
        ends.push(file.len() as u64);
    }
    ends
}

/// A node of the hash tree: its hash as text, and how many bytes lie under it.
pub(super) type Node = (String, u64);

pub(super) fn node(leaf: &Leaf) -> Node {
    (leaf.hash.to_string(), leaf.length.into())
}

/// All levels above the leaves, the root last, each as its groups; none for a list of one or of nothing.
pub(super) fn levels(nodes: &[Node]) -> Vec<Vec<Vec<Node>>> {
    if nodes.len() < 2 {
        return Vec::new();
    }
    let groups = groups(nodes);
    let parents: Vec<Node> = groups.iter().map(|group| parent(group)).collect();
    [vec![groups], levels(&parents)].concat()
}

/// The root; `None` of an empty list.
pub(super) fn root(nodes: &[Node]) -> Option<Node> {
    match nodes {
        [] => None,
        [only] => Some(only.clone()),
        _ => root(&groups(nodes).iter().map(|group| parent(group)).collect::<Vec<_>>()),
    }
}

pub(super) fn parent(group: &[Node]) -> Node {
    let text: String = group.iter().map(|(hash, size)| format!("{hash} : {size}\n")).collect();
    let key = hex32(&section("keys_raw")["internal_node_key"]);
    let hash = ChunkHash::from_bytes(blake3::keyed_hash(&key, text.as_bytes()).into());
    (hash.to_string(), group.iter().map(|(_, size)| size).sum())
}

fn groups(mut nodes: &[Node]) -> Vec<Vec<Node>> {
    let mut groups = Vec::new();
    while !nodes.is_empty() {
        let (group, rest) = nodes.split_at(group_length(nodes));
        groups.push(group.to_vec());
        nodes = rest;
    }
    groups
}

fn group_length(nodes: &[Node]) -> usize {
    if nodes.len() <= 2 {
        return nodes.len();
    }
    let end = nodes.len().min(9);
    (2..end).find(|i| ends_group(&nodes[*i])).map_or(end, |i| i + 1)
}

/// The last word of the hash is divisible by four: so is its last digit.
fn ends_group((hash, _): &Node) -> bool {
    hash.ends_with(['0', '4', '8', 'c'])
}
