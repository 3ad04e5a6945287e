//! Proofs that reduce to the hash they are offered for and still are not proofs: trees that the grouping
//! rule does not make, and the right tree in another form than the one that is cut from it.

use xet_cas::proof::{Node, ProofLevel, RunProof, Tree};
use xet_cas::{ChunkHash, Error, FileHash, Leaf};

use super::naive;
use super::plain::{entry, file_bytes, run};
use super::vectors::leaf;

#[test]
fn given_siblings_of_a_neighbour_group_when_verified_then_refused() {
    // Groups of three and one.
    let leaves = cutting(4);
    let tree = Tree::new(leaves.clone()).unwrap();
    let nodes: Vec<Node> = leaves.iter().map(Node::from).collect();

    let first = RunProof {
        first_leaf: 0,
        leaves: leaves[..1].to_vec(),
        offset: 0,
        levels: vec![level(&[], &nodes[1..]), level(&[], &[])],
    };
    let last = RunProof {
        first_leaf: 3,
        leaves: leaves[3..].to_vec(),
        offset: file_bytes(&leaves[..3]),
        levels: vec![level(&nodes[..3], &[]), level(&[], &[])],
    };

    assert_eq!(Some("a sibling on the right belongs to another group"), broken(first, &tree));
    assert_eq!(Some("a sibling on the left belongs to another group"), broken(last, &tree));
}

#[test]
fn given_a_level_above_the_root_when_verified_then_refused() {
    for count in [1, 2, 3, 9, 20] {
        let leaves: Vec<Leaf> = (0..count).map(leaf).collect();
        let tree = Tree::new(leaves.clone()).unwrap();
        let mut proof = tree.run_proof(run(0, 1)).unwrap();
        proof.levels.push(ProofLevel::default());
        let root = naive::root(&leaves.iter().map(naive::node).collect::<Vec<_>>()).unwrap();

        let verified = proof.verify(named(&naive::parent(&[root])), tree.bytes());

        assert!(matches!(verified, Err(Error::Proof { reason: "a level goes on above the root" })), "{verified:?}");
    }
}

#[test]
fn given_a_group_that_is_cut_short_when_verified_then_refused() {
    // Two groups of two: the rule makes one of four.
    let nodes: Vec<naive::Node> = [0, 3, 4, 7].map(|i| naive::node(&leaf(i))).into();
    let parents = [naive::parent(&nodes[..2]), naive::parent(&nodes[2..])];
    let [left, right] = [0, 1].map(|at| Node::from(&entry(&parents[at]).unwrap()));
    let bytes = nodes.iter().map(|(_, size)| size).sum();
    let proof = |first: usize, offset, above| RunProof {
        first_leaf: first as u32,
        leaves: nodes[first..first + 2].iter().map(|node| entry(node).unwrap()).collect(),
        offset,
        levels: vec![ProofLevel::default(), above],
    };

    let first = proof(0, 0, level(&[], &[right])).verify(named(&naive::parent(&parents)), bytes);
    assert!(matches!(first, Err(Error::Proof { reason: "siblings stand to the right of the end of a level" })));

    // From the other group, which ends where the level ends, it does not show that the one before was cut
    // short. No file is named by such a tree: whoever gave the hash made it by the rule.
    let last = proof(2, parents[0].1, level(&[left], &[]));
    assert!(last.clone().verify(named(&naive::parent(&parents)), bytes).is_ok());
    assert!(last.verify(named(&naive::root(&nodes).unwrap()), bytes).is_err());
}

#[test]
fn given_a_group_that_goes_past_a_cut_point_when_verified_then_refused() {
    let leaves = cutting(4);
    let four: Vec<naive::Node> = leaves.iter().map(naive::node).collect();
    let whole = RunProof { first_leaf: 0, leaves: leaves.clone(), offset: 0, levels: vec![ProofLevel::default()] };

    let verified = whole.verify(named(&naive::parent(&four)), file_bytes(&leaves));

    assert!(matches!(verified, Err(Error::Proof { reason: "the last level has more than one group" })));
}

#[test]
fn given_a_longer_or_shorter_run_with_the_same_neighbours_when_verified_then_as_good_as_the_first() {
    let leaves: Vec<Leaf> = (0..20).map(leaf).collect();
    let tree = Tree::new(leaves).unwrap();
    let mut proof = tree.run_proof(run(3, 1)).unwrap();
    assert!(!proof.levels[0].right.is_empty());

    let taken_in = proof.levels[0].right.remove(0);
    proof.leaves.push(Leaf { hash: ChunkHash::from_bytes(taken_in.hash), length: taken_in.size as u32 });

    assert_eq!(tree.run_proof(run(3, 2)).unwrap(), proof);
}

/// Leaves each of which may end a group.
fn cutting(count: usize) -> Vec<Leaf> {
    (0..).map(leaf).filter(|leaf| leaf.hash.to_string().ends_with(['0', '4', '8', 'c'])).take(count).collect()
}

fn level(left: &[Node], right: &[Node]) -> ProofLevel {
    ProofLevel { left: left.to_vec(), right: right.to_vec() }
}

fn broken(proof: RunProof, tree: &Tree) -> Option<&'static str> {
    match proof.verify(tree.file_hash(), tree.bytes()) {
        Err(Error::Proof { reason }) => Some(reason),
        _ => None,
    }
}

/// The file whose tree has this root.
fn named(root: &naive::Node) -> FileHash {
    let root: ChunkHash = root.0.parse().unwrap();
    FileHash::from_bytes(*blake3::keyed_hash(&[0; 32], root.as_bytes()).as_bytes())
}
