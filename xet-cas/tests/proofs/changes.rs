//! A proof with anything changed in it proves nothing.

use xet_cas::proof::{Node, RunProof, Tree};
use xet_cas::{ChunkHash, FileHash, Leaf};

use super::plain::{Sample, run, samples};

#[test]
fn given_a_proof_with_one_bit_changed_when_verified_then_refused() {
    each_proof(|proof, tree| {
        let flips = flips(&proof);
        assert!(flips.len() >= proof.leaves.len() * 36 + 8);
        for (at, change) in flips.into_iter().enumerate() {
            let mut changed = proof.clone();
            change.apply(&mut changed, 1 << (at % 8));
            assert_ne!(proof, changed);
            refused(changed, tree);
        }
    });
}

#[test]
fn given_a_proof_with_something_left_out_doubled_or_moved_when_verified_then_refused() {
    each_proof(|proof, tree| {
        for changed in rearranged(&proof).into_iter().filter(|changed| *changed != proof) {
            refused(changed, tree);
        }
    });
}

#[test]
fn given_a_proof_of_a_run_when_offered_for_any_other_file_length_or_offset_then_refused() {
    each_proof(|proof, tree| {
        let (file, bytes) = (tree.file_hash(), tree.bytes());
        for other in [FileHash::ZERO, FileHash::from_bytes(*tree.xorb_hash().as_bytes())] {
            assert!(proof.clone().verify(other, bytes).is_err());
        }
        for other in [0, 1, bytes - 1, bytes + 1, u64::MAX] {
            assert!(other == bytes || proof.clone().verify(file, other).is_err());
        }
        for other in [0, 1, proof.offset.wrapping_sub(1), proof.offset + 1, bytes, u64::MAX] {
            assert!(other == proof.offset || RunProof { offset: other, ..proof.clone() }.verify(file, bytes).is_err());
        }
    });
}

#[test]
fn given_siblings_without_number_or_size_when_verified_then_refused_before_anything_is_hashed() {
    let leaves: Vec<Leaf> = (0..20).map(super::vectors::leaf).collect();
    let tree = Tree::new(leaves).unwrap();
    let proof = tree.run_proof(run(3, 2)).unwrap();
    let node = Node { hash: [1; 32], size: 1 };
    let with = |change: &dyn Fn(&mut RunProof)| {
        let mut changed = proof.clone();
        change(&mut changed);
        matches!(changed.verify(tree.file_hash(), tree.bytes()), Err(xet_cas::Error::OutOfBounds { .. }))
    };

    assert!(with(&|proof| proof.leaves.clear()));
    assert!(with(&|proof| proof.leaves[0].length = 0));
    assert!(with(&|proof| proof.leaves[0].length = 131_073));
    assert!(with(&|proof| proof.levels[0].left = vec![node; 9]));
    assert!(with(&|proof| proof.levels[0].right = vec![node; 1_000_000]));
    assert!(with(&|proof| proof.levels.resize_with(22, Default::default)));
    assert!(with(&|proof| proof.levels[1].right.push(Node { size: 0, ..node })));
    assert!(with(&|proof| proof.levels[1].right.push(Node { size: u64::MAX, ..node })));
}

fn refused(changed: RunProof, tree: &Tree) {
    let error = changed.clone().verify(tree.file_hash(), tree.bytes()).expect_err(&format!("{changed:?}"));
    assert!(error.is_peer_fault());
}

/// Runs of one chunk from every start of the short vectors and some of the long ones, and runs of all lengths
/// of the shortest.
fn each_proof(check: impl Fn(RunProof, &Tree)) {
    for Sample { leaves, .. } in samples() {
        let tree = Tree::new(leaves).unwrap();
        let count = tree.leaves().len();
        for start in (0..count).step_by(count.div_ceil(20)) {
            check(tree.run_proof(run(start, 1)).unwrap(), &tree);
            if start > 0 && count <= 20 {
                check(tree.run_proof(run(0, start + 1)).unwrap(), &tree);
            }
        }
    }
}

/// A byte of a proof that stands for something. `first_leaf` is a hint and stands for nothing.
#[derive(Clone, Copy)]
enum Place {
    Leaf(usize, usize),
    Offset(usize),
    Sibling { level: usize, right: bool, at: usize, byte: usize },
}

impl Place {
    fn apply(self, proof: &mut RunProof, bits: u8) {
        match self {
            Self::Leaf(at, byte) => {
                let mut encoded = proof.leaves[at].encode();
                encoded[byte] ^= bits;
                proof.leaves[at] = Leaf::decode(&encoded);
            }
            Self::Offset(byte) => proof.offset ^= u64::from(bits) << (8 * byte),
            Self::Sibling { level, right, at, byte } => {
                let level = &mut proof.levels[level];
                let node = &mut if right { &mut level.right } else { &mut level.left }[at];
                match node.hash.get_mut(byte) {
                    Some(byte) => *byte ^= bits,
                    None => node.size ^= u64::from(bits) << (8 * (byte - 32)),
                }
            }
        }
    }
}

fn flips(proof: &RunProof) -> Vec<Place> {
    let leaves = (0..proof.leaves.len()).flat_map(|at| (0..36).map(move |byte| Place::Leaf(at, byte)));
    let siblings = proof.levels.iter().enumerate().flat_map(|(level, sides)| {
        let left = (0..sides.left.len()).map(|at| (false, at));
        let places = left.chain((0..sides.right.len()).map(|at| (true, at)));
        places.flat_map(move |(right, at)| (0..40).map(move |byte| Place::Sibling { level, right, at, byte }))
    });
    leaves.chain((0..8).map(Place::Offset)).chain(siblings).collect()
}

fn rearranged(proof: &RunProof) -> Vec<RunProof> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut RunProof)| {
        let mut changed = proof.clone();
        change(&mut changed);
        all.push(changed);
    };
    for at in 0..proof.leaves.len() {
        add(&|proof| _ = proof.leaves.remove(at));
        add(&|proof| proof.leaves.insert(at, proof.leaves[at]));
        add(&|proof| proof.leaves.rotate_left(at));
    }
    add(&|proof| proof.levels.push(Default::default()));
    add(&|proof| proof.levels.insert(0, Default::default()));
    for level in 0..proof.levels.len() {
        add(&|proof| _ = proof.levels.remove(level));
        add(&|proof| proof.levels.insert(level, proof.levels[level].clone()));
        add(&|proof| proof.levels.swap(0, level));
        for right in [false, true] {
            for at in 0..at_side(&mut proof.clone(), level, right).len() {
                add(&|proof| _ = taken(proof, level, right, at));
                add(&|proof| {
                    let node = taken(proof, level, right, at);
                    at_side(proof, level, right).splice(at..at, [node, node]);
                });
                add(&|proof| at_side(proof, level, right).rotate_left(at));
                // To the other side, both ends of it.
                add(&|proof| {
                    let node = taken(proof, level, right, at);
                    at_side(proof, level, !right).push(node);
                });
                add(&|proof| {
                    let node = taken(proof, level, right, at);
                    at_side(proof, level, !right).insert(0, node);
                });
                // To another level.
                for other in (0..proof.levels.len()).filter(|other| *other != level) {
                    add(&|proof| {
                        let node = taken(proof, level, right, at);
                        at_side(proof, other, right).push(node);
                    });
                }
                // Into the run without a word about the offset.
                if !right {
                    add(&|proof| {
                        let node = taken(proof, level, right, at);
                        proof.leaves.insert(0, chunk(&node));
                    });
                }
            }
        }
    }
    all
}

fn at_side(proof: &mut RunProof, level: usize, right: bool) -> &mut Vec<Node> {
    let level = &mut proof.levels[level];
    if right { &mut level.right } else { &mut level.left }
}

fn taken(proof: &mut RunProof, level: usize, right: bool, at: usize) -> Node {
    at_side(proof, level, right).remove(at)
}

fn chunk(node: &Node) -> Leaf {
    Leaf { hash: ChunkHash::from_bytes(node.hash), length: node.size as u32 }
}
