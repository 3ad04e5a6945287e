use xet_cas::proof::{Standing, verify_xorb_list};
use xet_cas::{CHUNK_BYTES_MAX, Error, Leaf, Term, XorbHash, xorb};

use super::plain::{file_bytes, run, samples, terms};
use super::vectors::leaf;

#[test]
fn given_the_lists_of_the_vectors_when_verified_under_their_counts_then_they_are_the_chunks() {
    let mut verified = 0;
    for leaves in samples().into_iter().map(|sample| sample.leaves) {
        let xorb = Leaf::xorb_hash(&leaves);
        let bytes = file_bytes(&leaves);
        let candidate = verify_xorb_list(xorb, leaves.clone());
        if bytes > xorb::RAW_BYTES_MAX {
            assert!(matches!(candidate, Err(Error::OutOfBounds { .. })));
            continue;
        }
        let candidate = candidate.unwrap();
        verified += 1;

        let list = candidate.clone().of_size(leaves.len() as u32, bytes).unwrap();

        assert_eq!((xorb, &leaves[..], leaves.len()), (list.xorb(), list.leaves(), candidate.count()));
        assert_eq!((0, bytes), (list.bytes().start, list.bytes().end));
        assert_eq!(list.get(leaves.len() - 1), list.leaf_at(bytes - 1));
        assert_eq!((None, None), (list.get(leaves.len()), list.leaf_at(bytes)));
        let mut plan = terms(&leaves, [1, leaves.len() - 1]);
        plan.iter_mut().for_each(|term| term.xorb = xorb);
        assert_eq!(Ok(Standing::Verified(list)), candidate.clone().under(&plan));
        assert!(matches!(candidate.clone().under(&plan[1..]), Ok(Standing::Candidate(_))));
        assert!(candidate.clone().of_size(leaves.len() as u32 + 1, bytes).is_err());
        assert!(candidate.of_size(leaves.len() as u32, bytes + 1).is_err());
    }
    assert!(verified > 50, "{verified}");
}

#[test]
fn given_a_list_with_anything_changed_when_verified_then_refused() {
    for leaves in samples().into_iter().map(|sample| sample.leaves).filter(|leaves| (2..70).contains(&leaves.len())) {
        let xorb = Leaf::xorb_hash(&leaves);
        let refused = |changed: Vec<Leaf>| {
            let error = verify_xorb_list(xorb, changed.clone());
            changed == leaves || matches!(error, Err(Error::XorbHash { .. } | Error::OutOfBounds { .. }))
        };
        for at in 0..leaves.len() {
            for byte in 0..Leaf::ENCODED_BYTES {
                let mut encoded = leaves[at].encode();
                encoded[byte] ^= 1 << (byte % 8);
                let mut changed = leaves.clone();
                changed[at] = Leaf::decode(&encoded);
                assert!(refused(changed));
            }
            assert!(refused([&leaves[..at], &leaves[at + 1..]].concat()));
            assert!(refused([&leaves[..at], &leaves[at..=at], &leaves[at..]].concat()));
            assert!(refused([&leaves[at..], &leaves[..at]].concat()));
        }
    }
}

#[test]
fn given_a_list_of_one_when_its_length_is_another_then_only_a_plan_or_the_chunk_tells() {
    let chunk = Leaf::of(b"the only chunk");
    let xorb = Leaf::xorb_hash(&[chunk]);
    let longer = Leaf { length: chunk.length + 1, ..chunk };
    let plan = [Term { xorb, chunks: run(0, 1), unpacked_length: chunk.length }];

    let candidate = verify_xorb_list(xorb, vec![longer]).unwrap();

    assert!(candidate.clone().under(&plan).is_err());
    assert!(candidate.clone().of_size(1, chunk.length.into()).is_err());
    assert!(candidate.promote(&chunk).is_err());
    let right = verify_xorb_list(xorb, vec![chunk]).unwrap();
    assert!(matches!(right.clone().under(&plan), Ok(Standing::Verified(_))));
    assert!(right.promote(&chunk).is_ok());
}

#[test]
fn given_the_plan_of_another_xorb_when_a_list_is_held_against_it_then_nothing_is_settled() {
    let leaves: Vec<Leaf> = (0..20).map(leaf).collect();
    let candidate = verify_xorb_list(Leaf::xorb_hash(&leaves), leaves.clone()).unwrap();
    let elsewhere = terms(&leaves, [3]);

    assert_ne!(elsewhere[0].xorb, Leaf::xorb_hash(&leaves));
    assert_eq!(Ok(Standing::Candidate(candidate.clone())), candidate.under(&elsewhere));
}

#[test]
fn given_a_list_past_the_limits_of_a_xorb_when_verified_then_refused() {
    let of = |count: usize, length: usize| vec![Leaf { length: length as u32, ..leaf(0) }; count];

    for leaves in
        [of(0, 1), of(xorb::CHUNKS_MAX + 1, 1), of(1, 0), of(1, CHUNK_BYTES_MAX + 1), of(513, CHUNK_BYTES_MAX)]
    {
        let verified = verify_xorb_list(Leaf::xorb_hash(&leaves), leaves);
        assert!(matches!(verified, Err(Error::OutOfBounds { .. })));
    }
    for leaves in [of(xorb::CHUNKS_MAX, 1), of(512, CHUNK_BYTES_MAX)] {
        assert!(verify_xorb_list(Leaf::xorb_hash(&leaves), leaves).is_ok());
    }
    assert!(verify_xorb_list(XorbHash::ZERO, Vec::new()).is_err());
}
