//! The part of peers that bring whole xorbs: which ones a file needs, and where their chunks belong.

use std::sync::Arc;

use xet_cas::{ChunkRange, Leaf, XorbHash};

use super::{Ledger, List, Region, Task};

/// A xorb that is asked of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct XorbTask {
    pub(crate) xorb: XorbHash,
    /// Up to the last one that the file needs.
    pub(crate) chunks: ChunkRange,
    /// What is known of its front.
    list: Option<Arc<[(u64, Leaf)]>>,
}

impl XorbTask {
    /// The whole list of the xorb, if that is known: it proves itself.
    pub(crate) fn whole_list(&self) -> Option<Arc<[Leaf]>> {
        let leaves: Arc<[Leaf]> = self.list.as_ref()?.iter().map(|(_, leaf)| *leaf).collect();
        (leaves.len() >= self.chunks.end as usize && Leaf::xorb_hash(&leaves) == self.xorb).then_some(leaves)
    }
}

impl Ledger {
    /// The xorb that an entry is of, up to the last chunk that the file needs; `None` if nothing of it is missing.
    pub(super) fn xorb_task(&self, entry: u32) -> Option<Task> {
        let xorb = self.regions[self.entries.get(entry as usize)?.clone()].first()?.xorb;
        let end = self.regions_of(xorb).map(|region| region.chunks.end).max()?;
        let list = self.regions_of(xorb).find_map(|region| match &region.list {
            List::Known { leaves, .. } if region.chunks.start == 0 => Some(leaves.clone()),
            _ => None,
        });
        let is_missing = self.regions_of(xorb).any(|region| region.missing_bytes > 0);
        is_missing.then_some(Task::Xorb(XorbTask { xorb, chunks: ChunkRange { start: 0, end }, list }))
    }

    /// About how many bytes all of a xorb has, by what is known of it: up to the last chunk that the file needs.
    pub(super) fn xorb_bytes(&self, xorb: XorbHash) -> u64 {
        let (mut bytes, mut chunks, mut end) = (0, 0, 0);
        for region in self.regions_of(xorb) {
            bytes += region.range.length();
            chunks += u64::from(region.chunks.count());
            end = end.max(u64::from(region.chunks.end));
        }
        bytes.saturating_mul(end).checked_div(chunks).unwrap_or(0).max(bytes)
    }

    /// Which chunks of a xorb belong where in the file, for what is missing. `starts`: where each chunk begins in the
    /// xorb's uncompressed bytes, and where the last one ends. Where the plan has other lengths nothing belongs.
    pub(crate) fn places_of(&self, xorb: XorbHash, starts: &[u64]) -> Vec<(ChunkRange, u64)> {
        let place = |region: &Region| {
            let (start, end) = (starts.get(region.chunks.start as usize)?, starts.get(region.chunks.end as usize)?);
            let fits = region.missing_bytes > 0 && end.checked_sub(*start) == Some(region.range.length());
            fits.then_some((region.chunks, region.range.start))
        };
        self.regions_of(xorb).filter_map(place).collect()
    }

    fn regions_of(&self, xorb: XorbHash) -> impl Iterator<Item = &Region> {
        self.regions.iter().filter(move |region| region.xorb == xorb)
    }
}

#[cfg(test)]
mod tests {
    use xet_cas::{ByteRange, ChunkRange, FetchEntry, Leaf, Reconstruction, Term, XorbHash};

    use super::super::{Ledger, Source, Task};
    use crate::plan::FilePlan;
    use crate::present::Present;
    use crate::schedule::{Ability, Outcome, What};
    use crate::work::Desk;

    fn leaves(seed: u8) -> Vec<Leaf> {
        (0..20_u8).map(|index| Leaf::of(&[seed, index].repeat(500 + usize::from(index)))).collect()
    }

    fn bytes(leaves: &[Leaf]) -> u32 {
        leaves.iter().map(|leaf| leaf.length).sum()
    }

    /// A file of runs of xorbs: which one, and which of its chunks.
    fn ledger(runs: &[(u8, u32, u32)]) -> Ledger {
        let (mut terms, mut entries) = (Vec::new(), Vec::<FetchEntry>::new());
        for (seed, start, end) in runs.iter().copied() {
            let list = leaves(seed);
            let (xorb, chunks) = (Leaf::xorb_hash(&list), ChunkRange { start, end });
            terms.push(Term { xorb, chunks, unpacked_length: bytes(&list[start as usize..end as usize]) });
            entries.push(FetchEntry { xorb, chunks, bytes: ByteRange { start: 0, end: 1 }, url: "".into() });
        }
        let total = terms.iter().map(|term| u64::from(term.unpacked_length)).sum();
        let plan = Reconstruction { offset_into_first_term: 0, terms, entries };
        Ledger::new(&FilePlan::new(plan, total).unwrap(), total, &Present::default())
    }

    fn xorb_of(seed: u8) -> XorbHash {
        Leaf::xorb_hash(&leaves(seed))
    }

    fn asked(desk: &mut Desk) -> Option<(u64, XorbHash)> {
        match desk.next()? {
            (request, Task::Xorb(task)) => Some((request, task.xorb)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn given_xorbs_when_a_peer_does_not_bring_them_then_each_is_asked_for_once_and_one_at_a_time() {
        let mut desk = Desk::new(ledger(&[(1, 0, 20), (2, 0, 20)]), Ability::Xorbs);

        let (request, first) = asked(&mut desk).unwrap();
        assert_eq!(None, asked(&mut desk));
        desk.ended(request, Outcome::Failed);
        let (request, second) = asked(&mut desk).unwrap();
        assert!(desk.may_bring());
        desk.ended(request, Outcome::Failed);

        let mut both = [first, second];
        both.sort_by_key(|xorb| *xorb == xorb_of(2));
        assert_eq!([xorb_of(1), xorb_of(2)], both);
        assert_eq!(None, asked(&mut desk));
        assert!(!desk.may_bring());
    }

    #[test]
    fn given_a_xorb_of_which_little_is_needed_when_asked_then_it_is_not() {
        let mut desk = Desk::new(ledger(&[(1, 15, 20), (2, 10, 20)]), Ability::Xorbs);

        let (request, xorb) = asked(&mut desk).unwrap();
        assert_eq!(xorb_of(2), xorb);
        desk.ended(request, Outcome::Failed);
        assert_eq!(None, asked(&mut desk));
        assert!(!desk.may_bring());
    }

    #[test]
    fn given_a_known_list_when_the_xorb_is_claimed_then_it_is_told_only_if_it_is_all_of_it() {
        for (end, is_whole) in [(20, true), (19, false)] {
            let mut ledger = ledger(&[(1, 0, end)]);
            let mut offset = 0;
            let list = leaves(1).into_iter().take(end as usize).map(|leaf| {
                offset += u64::from(leaf.length);
                (offset - u64::from(leaf.length), leaf)
            });
            let list: Vec<_> = list.collect();
            ledger.take_list(ByteRange { start: 0, end: offset }, list).unwrap();

            let Some(Task::Xorb(task)) = ledger.task(What::Whole(0)) else { panic!("nothing is missing") };

            assert_eq!(is_whole.then(|| leaves(1)), task.whole_list().map(|list| list.to_vec()));
        }
    }

    #[test]
    fn given_chunks_of_a_xorb_when_placed_then_everywhere_the_plan_says_and_only_where_lengths_agree() {
        let mut ledger = ledger(&[(1, 0, 12), (2, 0, 20), (1, 4, 20)]);
        let list = leaves(1);
        let mut starts = vec![0];
        starts.extend(list.iter().scan(0, |end, leaf| {
            *end += u64::from(leaf.length);
            Some(*end)
        }));
        let (first, second) = (bytes(&list[..12]), bytes(&leaves(2)));

        let run = |start, end| ChunkRange { start, end };
        let last = u64::from(first + second);
        assert_eq!([(run(0, 12), 0), (run(4, 20), last)], ledger.places_of(xorb_of(1), &starts)[..]);
        assert_eq!([(run(0, 12), 0)], ledger.places_of(xorb_of(1), &starts[..13])[..]);
        let shifted: Vec<u64> = starts.iter().enumerate().map(|(at, start)| start + u64::from(at > 4)).collect();
        assert_eq!([] as [(ChunkRange, u64); 0], ledger.places_of(xorb_of(1), &shifted)[..]);

        // What is there already needs no place.
        for (start, leaf) in starts.iter().zip(&list).take(12) {
            assert_eq!(super::super::Reserved::Yours, ledger.reserve(*start, *leaf));
            ledger.written(*start, Source::Lan);
        }
        assert_eq!([(run(4, 20), last)], ledger.places_of(xorb_of(1), &starts)[..]);
    }
}
