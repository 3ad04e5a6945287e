//! Files against the xorbs that they are made of.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use xet_cas::shard::ShardFile;
use xet_cas::{ChunkHash, ChunkRange, Error, FileHash, Leaf, RangeHash, Term, XorbHash};

use super::samples::config;
use super::shard::described;
use super::vectors::leaf;

struct Xorbs(HashMap<XorbHash, Vec<Leaf>>);

impl Xorbs {
    fn new(xorbs: impl IntoIterator<Item = Vec<Leaf>>) -> Self {
        Self(xorbs.into_iter().map(|leaves| (Leaf::xorb_hash(&leaves), leaves)).collect())
    }

    fn leaves(&self, xorb: XorbHash) -> Result<&[Leaf], Error> {
        self.0.get(&xorb).map(Vec::as_slice).ok_or(unknown())
    }

    fn verify(&self, file: &ShardFile) -> Result<(), Error> {
        file.verify(|xorb| self.leaves(xorb))
    }
}

/// What a store says of a xorb that it does not have.
fn unknown() -> Error {
    Error::Reconstruction { reason: "unknown xorb".into() }
}

/// Chunks 0 to 9 and 10 to 19, and a file of [2, 5) of the second and [0, 4) of the first.
fn sample() -> (Xorbs, ShardFile) {
    let xorbs = [(0..10).map(leaf).collect::<Vec<_>>(), (10..20).map(leaf).collect()];
    let file = file(&[(&xorbs[1], 2..5), (&xorbs[0], 0..4)]);
    (Xorbs::new(xorbs), file)
}

fn file(runs: &[(&Vec<Leaf>, std::ops::Range<usize>)]) -> ShardFile {
    let term = |(xorb, run): &(&Vec<Leaf>, std::ops::Range<usize>)| Term {
        xorb: Leaf::xorb_hash(xorb),
        chunks: ChunkRange { start: run.start as u32, end: run.end as u32 },
        unpacked_length: xorb[run.clone()].iter().map(|leaf| leaf.length).sum(),
    };
    let leaves: Vec<Leaf> = runs.iter().flat_map(|(xorb, run)| &xorb[run.clone()]).copied().collect();
    let verification = |(xorb, run): &(&Vec<Leaf>, std::ops::Range<usize>)| {
        RangeHash::of(xorb[run.clone()].iter().map(|leaf| &leaf.hash))
    };
    ShardFile {
        hash: Leaf::file_hash(&leaves),
        terms: runs.iter().map(term).collect(),
        verification: Some(runs.iter().map(verification).collect()),
        sha256: None,
    }
}

#[test]
fn given_the_files_of_the_vectors_when_verified_then_they_hold() {
    let shard = described();
    let xorbs = Xorbs::new([shard.xorbs[0].leaves.clone()]);
    for file in &shard.files {
        assert_eq!(Ok(()), xorbs.verify(file));
    }
}

#[test]
fn given_an_empty_file_when_verified_then_its_name_is_zero() {
    let (xorbs, _) = sample();
    let empty = |hash| ShardFile { hash, terms: vec![], verification: Some(vec![]), sha256: None };

    assert_eq!(Ok(()), xorbs.verify(&empty(FileHash::ZERO)));
    assert!(matches!(xorbs.verify(&empty(FileHash::from_bytes([1; 32]))), Err(Error::FileHash { .. })));
}

#[test]
fn given_a_file_without_verification_when_verified_then_the_rest_is_checked() {
    let (xorbs, mut file) = sample();
    file.verification = None;
    assert_eq!(Ok(()), xorbs.verify(&file));

    file.terms.swap(0, 1);
    assert!(matches!(xorbs.verify(&file), Err(Error::FileHash { .. })));
}

#[test]
fn given_a_term_outside_of_its_xorb_when_verified_then_refused() {
    for (start, end) in [(0, 11), (9, 11), (10, 11), (3, 3), (4, 3), (u32::MAX, 0), (0, u32::MAX)] {
        let (xorbs, mut file) = sample();
        file.terms[1].chunks = ChunkRange { start, end };

        let expected = Error::OutOfBounds { what: "last chunk of a term", value: end.into(), min: 1, max: 10 };
        assert_eq!(Err(expected), xorbs.verify(&file), "{start}..{end}");
    }
}

#[test]
fn given_a_term_of_another_length_when_verified_then_refused() {
    let (xorbs, mut file) = sample();
    file.terms[0].unpacked_length += 1;

    let refused = xorbs.verify(&file);

    assert!(matches!(refused, Err(Error::Mismatch { what: "unpacked length of a term and its chunks", .. })));
}

#[test]
fn given_a_wrong_range_hash_or_too_few_when_verified_then_refused() {
    let (xorbs, mut file) = sample();
    file.verification.as_mut().unwrap()[1] = RangeHash::ZERO;
    assert!(matches!(xorbs.verify(&file), Err(Error::Reconstruction { .. })));

    file.verification.as_mut().unwrap().pop();
    assert!(matches!(xorbs.verify(&file), Err(Error::Mismatch { .. })));
}

#[test]
fn given_a_xorb_that_is_not_there_when_verified_then_what_the_store_says() {
    let (_, file) = sample();

    assert_eq!(Err(unknown()), Xorbs::new([]).verify(&file));
}

#[test]
fn given_terms_in_another_order_when_verified_then_refused() {
    let (xorbs, mut file) = sample();
    file.terms.reverse();
    file.verification.as_mut().unwrap().reverse();

    assert!(matches!(xorbs.verify(&file), Err(Error::FileHash { .. })));
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn given_any_file_when_verified_then_it_holds_and_with_any_other_chunk_in_a_xorb_it_does_not(
        sizes in vec(1..40_u64, 1..5),
        runs in vec((any::<Index>(), any::<Index>(), any::<Index>()), 1..8),
        changed in any::<Index>(),
    ) {
        let mut next = 0;
        let xorbs: Vec<Vec<Leaf>> = sizes
            .iter()
            .map(|size| {
                next += size;
                (next - size..next).map(leaf).collect()
            })
            .collect();
        let run = |(xorb, a, b): &(Index, Index, Index)| {
            let xorb = xorb.get(&xorbs);
            let (a, b) = (a.index(xorb.len()), b.index(xorb.len()));
            (xorb, a.min(b)..a.max(b) + 1)
        };
        let runs: Vec<_> = runs.iter().map(run).collect();
        let file = file(&runs);
        let mut stored = Xorbs::new(xorbs.clone());
        prop_assert_eq!(Ok(()), stored.verify(&file));

        // The store says that another chunk of the same length is in a place that the file names.
        let (xorb, run) = changed.get(&runs);
        stored.0.get_mut(&Leaf::xorb_hash(xorb)).unwrap()[run.start].hash = ChunkHash::of(b"another");
        prop_assert!(stored.verify(&file).is_err());
        let without_verification = ShardFile { verification: None, ..file };
        prop_assert!(matches!(stored.verify(&without_verification), Err(Error::FileHash { .. })), "no file hash");
    }
}
