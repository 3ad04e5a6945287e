//! Where in a document something is, for errors.

use alloc::format;
use alloc::string::String;

use crate::Kind;
use crate::document::{Node, key_bytes};

/// Steps that a path has at most.
const PATH_STEPS_MAX: usize = 8;
/// Bytes that are shown of a key.
const PATH_KEY_BYTES_MAX: usize = 32;

/// The way from the first node to another: keys, and positions in lists. What is open ends behind all nodes.
///
/// It steps over what is beside the way, so it costs what the largest lists on it have items.
pub(crate) fn path(nodes: &[Node], input: &[u8], target: usize) -> String {
    let mut path = String::new();
    let mut at = 0;
    for steps in 0.. {
        let kind = nodes.get(at).and_then(|node| node.kind);
        let (Some(kind @ (Kind::List | Kind::Dict)), true) = (kind, at < target) else { break };
        let step = if kind == Kind::List { Some(item(nodes, at, target)) } else { pair(nodes, at, target) };
        let Some(step) = step else { break };
        if steps == PATH_STEPS_MAX {
            path.push_str("...");
            break;
        }
        match step {
            Step::Item { position, node } => {
                path.push_str(&format!("[{position}]"));
                at = node;
            }
            Step::Key { node } => {
                let key = key_bytes(nodes, input, node);
                let separator = if path.is_empty() { "" } else { "." };
                let shown = key[..key.len().min(PATH_KEY_BYTES_MAX)].escape_ascii();
                let rest = if key.len() > PATH_KEY_BYTES_MAX { "..." } else { "" };
                path.push_str(&format!("{separator}{shown}{rest}"));
                at = node + 1;
            }
        }
    }
    path
}

enum Step {
    Item {
        position: usize,
        node: usize,
    },
    /// The value is behind it.
    Key {
        node: usize,
    },
}

/// The item of a list that the target is or is within.
fn item(nodes: &[Node], list: usize, target: usize) -> Step {
    let (mut node, mut position) = (list + 1, 0);
    while node < target && nodes[node].next as usize <= target {
        (node, position) = (nodes[node].next as usize, position + 1);
    }
    Step::Item { position, node }
}

/// The pair of a dictionary whose value the target is or is within; `None` if it is a key.
fn pair(nodes: &[Node], dict: usize, target: usize) -> Option<Step> {
    let mut node = dict + 1;
    while node < target {
        let value = node + 1;
        if value == target || nodes[value].next as usize > target {
            return Some(Step::Key { node });
        }
        node = nodes[value].next as usize;
    }
    None
}
