//! Proofs that chunks belong to a file or xorb, for whoever has them from a stranger.
//!
//! A file's hash is the root of a tree over its (chunk hash, length) list, keyed once more. A [`RunProof`]
//! holds the leaves of a run of chunks and, level by level, the nodes beside them that complete their
//! groups: some 40 nodes for any file, so that the first chunk can be checked after about 2 KB. A xorb's
//! list is short enough to travel whole ([`verify_xorb_list`]).
//!
//! ```
//! use xet_cas::proof::{Outline, Standing, Tree};
//! use xet_cas::{ByteRange, ChunkRange, Leaf, Term, XorbHash};
//!
//! // Who has the file cuts a proof for a range of its bytes.
//! let leaves: Vec<Leaf> = (0..1000_u32).map(|i| Leaf::of(&i.to_le_bytes())).collect();
//! let tree = Tree::new(leaves.clone())?;
//! let chunks = tree.chunks_in(ByteRange { start: 2000, end: 2020 }).expect("inside the file");
//! let proof = tree.run_proof(chunks)?;
//!
//! // Who wants it knows its name and length from the Hub, and its terms from the CAS.
//! let terms = [Term {
//!     xorb: XorbHash::ZERO,
//!     chunks: ChunkRange { start: 0, end: 1000 },
//!     unpacked_length: 4000,
//! }];
//! let run = proof.verify(tree.file_hash(), 4000)?;
//! # let chunk = 505_u32.to_le_bytes();
//! match run.under(&Outline::new(&terms))? {
//!     Standing::Verified(run) => assert_eq!(Some((2000, &leaves[500])), run.leaf_at(2002)),
//!     // Part of a term does not tell: the first chunk that arrives does.
//!     Standing::Candidate(run) => assert!(run.promote(&Leaf::of(&chunk)).is_err()),
//! }
//! # Ok::<(), xet_cas::Error>(())
//! ```
//!
//! # What is checked
//!
//! A node's hash binds the exact text of its children, hashes and sizes, so nothing but the nodes of the
//! true tree reduces to its root. All groups on the way are rebuilt whole, by the same rule and the same
//! code that hashes files, from the leftmost sibling on. So the verifier holds more than the hash asks of
//! it: siblings are those of the outermost groups and no others, no group contains a cut point before its
//! end, a group that is not ended by the rule is the last of its level (nothing stands to its right at any
//! level above), and a lone node is hashed again only as the tail of a level (something stands to its left).
//! What it cannot see is that the first group begins where the group before it ends; that, too, is bound by
//! the parent's text.
//!
//! The sizes of the siblings on the left add up to the run's byte offset, all sizes together to the file's
//! length: both are proved. The *index* of a chunk is not, as nothing states how many chunks lie under a
//! sibling: an index that comes with a proof is a hint, and proofs are for files, never for xorbs.
//!
//! # Levels can be confused
//!
//! Node text does not say at which level it stands, and a list of one is its own root. So the nodes of an
//! inner level, given out as leaves, reduce to the same root as the leaves do. No wrong byte gets in
//! this way, as data would have to hash to an inner node under another key. But honest senders of right
//! chunks would look like liars. Therefore what reduces is a *candidate* only:
//! [`CandidateRun`], [`CandidateList`]. It is neither stored nor passed on, and a chunk that does not match
//! it blames nobody. It is settled by
//!
//! - **a plan**: how many chunks lie in some part of it, from a source that is trusted
//!   ([`CandidateRun::under`], [`CandidateList::under`], [`CandidateList::of_size`]). An inner level has fewer
//!   nodes for the same bytes, with one exception: the last node of a level may stand over a single chunk,
//!   so a count of one at the end of a file says nothing;
//! - **a chunk** that matches one of its entries: then all entries are chunks, as they stand at one level
//!   ([`CandidateRun::promote`], [`CandidateList::promote`]);
//! - **depth**, for runs: all leaves of a file stand at the same depth, so one settled run settles all others
//!   of that file ([`CandidateRun::at_depth`]);
//! - **a rival**: of two that reduce, the deeper or longer one is right ([`CandidateRun::or_deeper`],
//!   [`CandidateList::or_longer`]).
//!
//! The root of a one-chunk tree is the chunk's hash, which does not bind its length: for files the
//! length of the file does, for xorbs the plan or the chunk.

use crate::merkle::{GROUP_NODES_MAX, GROUP_NODES_MIN};
use crate::{CHUNK_BYTES_MAX, Error, Leaf};

pub use crate::merkle::Node;

mod tree;
pub use tree::Tree;

mod run;
pub use run::{ProofLevel, RunProof};

mod outline;
pub use outline::Outline;

mod entries;

mod settle;
pub use settle::{CandidateRun, Standing, VerifiedRun};

mod list;
pub use list::{CandidateList, VerifiedList, verify_xorb_list};

/// Leaves of a run at most. A request is for 64 MiB at most, which is 8,192 of the smallest chunks that
/// the deployed chunker cuts (8 KiB); twice that leaves room for shorter ones at the ends of files, and
/// the proof (590 KB) still fits a frame of 1 MiB.
pub const RUN_LEAVES_MAX: usize = 16_384;
/// Siblings on one side at most: a group of nine, one of which is in the run.
pub const SIDE_NODES_MAX: usize = GROUP_NODES_MAX - 1;
/// Levels above the leaves at most. Every group but the last of a level has three nodes or more, so that
/// 2^32 leaves are one node after 21 levels.
pub const DEPTH_MAX: usize = 21;

const _: () = assert!(levels_above(1 << 32) == DEPTH_MAX);

const fn levels_above(mut nodes: u64) -> usize {
    let mut levels = 0;
    while nodes > 1 {
        nodes = nodes.div_ceil(GROUP_NODES_MIN as u64);
        levels += 1;
    }
    levels
}

fn check_lengths(leaves: &[Leaf]) -> Result<(), Error> {
    leaves
        .iter()
        .try_for_each(|leaf| Error::check_bounds("length of a chunk", leaf.length.into(), 1, CHUNK_BYTES_MAX as u64))
}
