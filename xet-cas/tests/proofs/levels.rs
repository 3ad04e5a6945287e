//! Inner levels of the tree, offered as chunks: they reduce to the same root, and never pass.

use xet_cas::proof::{CandidateRun, Outline, Standing, Tree, verify_xorb_list};
use xet_cas::{ByteRange, Leaf, Term};

use super::plain::{Plain, Sample, bytes, file_bytes, run, samples, terms};

#[test]
fn given_an_inner_level_as_a_list_when_the_counts_are_known_then_refused() {
    let mut reduced = 0;
    each_inner_level(|Sample { leaves, .. }, inner| {
        let xorb = Leaf::xorb_hash(leaves);
        let Some(candidate) = inner.entries().and_then(|entries| verify_xorb_list(xorb, entries).ok()) else { return };
        reduced += 1;
        let known = |counts: &[usize]| -> Vec<Term> {
            terms(leaves, counts.iter().copied()).into_iter().map(|term| Term { xorb, ..term }).collect()
        };

        assert!(candidate.clone().of_size(leaves.len() as u32, file_bytes(leaves)).is_err());
        for first in 1..=leaves.len() {
            assert!(candidate.clone().under(&known(&[first])).is_err());
        }
        // Its bytes are those of the xorb, and say nothing.
        assert_eq!(file_bytes(leaves), inner.nodes.iter().map(|(_, size)| size).sum::<u64>());
        // What lies in the middle of the xorb never settles it in its favour.
        for term in &known(&vec![1; leaves.len()])[1..] {
            let settled = candidate.clone().under(&[*term]);
            assert!(!matches!(settled, Ok(Standing::Verified(_))));
        }
    });
    assert!(reduced > 100, "{reduced}");
}

#[test]
fn given_an_inner_level_as_a_list_when_no_counts_are_known_then_held_and_overturned() {
    let mut reduced = 0;
    each_inner_level(|Sample { leaves, .. }, inner| {
        let xorb = Leaf::xorb_hash(leaves);
        let Some(held) = inner.entries().and_then(|entries| verify_xorb_list(xorb, entries).ok()) else { return };
        let Ok(right) = verify_xorb_list(xorb, leaves.clone()) else { return };
        reduced += 1;
        let received = leaves[leaves.len() / 2];

        assert_eq!(Ok(Standing::Candidate(held.clone())), held.clone().under(&[]));
        let held = held.promote(&received).expect_err("no chunk hashes to an inner node");
        assert_eq!(right, held.clone().or_longer(right.clone()));
        assert_eq!(right, right.clone().or_longer(held));
        assert_eq!(leaves, right.promote(&received).unwrap().leaves());
    });
    assert!(reduced > 100, "{reduced}");
}

#[test]
fn given_an_inner_level_as_a_run_when_the_counts_are_known_then_refused() {
    let (mut reduced, mut undecided) = (0, 0);
    each_inner_run(|sample, candidate, last_of_level| {
        reduced += 1;
        let leaves = &sample.leaves;
        let one_by_one = Outline::new(&terms(leaves, vec![1; leaves.len()]));
        let in_one = Outline::new(&terms(leaves, [leaves.len()]));

        match candidate.clone().under(&one_by_one) {
            Err(error) => assert!(error.is_peer_fault()),
            // A lone node over the file's last chunk: as many, and as long.
            Ok(standing) => {
                assert!(last_of_level);
                assert_eq!(Standing::Candidate(candidate.clone()), standing);
                undecided += 1;
            }
        }
        match candidate.clone().under(&in_one) {
            Err(error) => assert!(error.is_peer_fault()),
            Ok(standing) => {
                assert_ne!(file_bytes(leaves), candidate.bytes().length());
                assert_eq!(Standing::Candidate(candidate), standing);
            }
        }
    });
    assert!(reduced > 500 && undecided > 10, "{reduced} {undecided}");
}

#[test]
fn given_an_inner_level_as_a_run_when_no_counts_are_known_then_held_and_overturned() {
    let mut reduced = 0;
    each_inner_run(|Sample { leaves, file }, held, _| {
        reduced += 1;
        let tree = Tree::new(leaves.clone()).unwrap();
        let range = tree.chunks_in(held.bytes()).unwrap();
        let right = tree.run_proof(range).unwrap().verify(*file, tree.bytes()).unwrap();
        let received = leaves[range.start as usize];
        // Of another file.
        let elsewhere = Outline::new(&terms(leaves, [1]));

        assert_eq!(Ok(Standing::Candidate(held.clone())), held.clone().under(&elsewhere));
        let held = held.promote(&received).expect_err("no chunk hashes to an inner node");
        assert_eq!(right, held.clone().or_deeper(right.clone()));
        assert_eq!(right, right.clone().or_deeper(held.clone()));
        let right = right.promote(&received).unwrap();
        assert!(held.at_depth(right.depth()).is_err_and(|error| error.is_peer_fault()));
    });
    assert!(reduced > 500, "{reduced}");
}

#[test]
fn given_what_an_outline_asks_for_when_answered_with_an_inner_level_then_refused() {
    let mut reduced = 0;
    each_inner_level(|Sample { leaves, file }, inner| {
        let whole = file_bytes(leaves);
        for count in [1, 2, 5, leaves.len()] {
            let outline = Outline::new(&terms(leaves, leaves.chunks(count).map(<[Leaf]>::len)));
            for start in (0..leaves.len()).step_by(leaves.len().div_ceil(50)) {
                let range = outline.settling(bytes(leaves, run(start, 1)));
                // All nodes that hold a byte of the range.
                let Some(proof) = inner.proof(inner_run(inner, range)) else { continue };
                let Ok(candidate) = proof.verify(*file, whole) else { continue };
                reduced += 1;

                assert!(candidate.under(&outline).is_err());
            }
        }
    });
    assert!(reduced > 500, "{reduced}");
}

fn inner_run(inner: &Plain, range: ByteRange) -> xet_cas::ChunkRange {
    let ends = inner.nodes.iter().scan(0, |end, (_, size)| {
        *end += size;
        Some(*end)
    });
    let ends: Vec<u64> = ends.collect();
    let start = ends.partition_point(|end| *end <= range.start);
    let end = ends.partition_point(|end| *end < range.end) + 1;
    run(start, end - start)
}

/// All levels above the leaves, up to the root alone, of all vectors.
fn each_inner_level(mut check: impl FnMut(&Sample, &Plain)) {
    for sample in samples() {
        for inner in Plain::new(&sample.leaves).inner() {
            check(&sample, &inner);
        }
    }
}

/// Runs of one and of all nodes of these levels that reduce to the file, and whether the last node is all.
fn each_inner_run(mut check: impl FnMut(&Sample, CandidateRun, bool)) {
    each_inner_level(|sample, inner| {
        let count = inner.nodes.len();
        let ones = (0..count).step_by(count.div_ceil(100)).chain([count - 1]).map(|at| run(at, 1));
        for range in ones.chain([run(0, count)]) {
            let Some(proof) = inner.proof(range) else { continue };
            let Ok(candidate) = proof.verify(sample.file, file_bytes(&sample.leaves)) else { continue };
            check(sample, candidate, range == run(count - 1, 1));
        }
    });
}
