use xet_cas::{ByteRange, ChunkHash, ChunkRange, FetchEntry, Leaf, Reconstruction, Term, XorbHash};

use super::{Ledger, Recurrence, Reserved, Source, TakenList, Task};
use crate::plan::FilePlan;
use crate::present::Present;
use crate::schedule::{Ability, BLOCK_BYTES, BlockSpec, Finished, What};
use crate::work::Desk;

const XORB: XorbHash = XorbHash::from_bytes([7; 32]);
const CHUNK: u32 = 100_000;

fn leaf(index: u32) -> Leaf {
    Leaf { hash: ChunkHash::of(&index.to_le_bytes()), length: CHUNK }
}

/// A file of one entry with these runs of chunks, all of the same length.
fn ledger(runs: &[(u32, u32)]) -> Ledger {
    ledger_with(runs, &Present::default())
}

fn ledger_with(runs: &[(u32, u32)], present: &Present) -> Ledger {
    let term = |(start, end): &(u32, u32)| Term {
        xorb: XORB,
        chunks: ChunkRange { start: *start, end: *end },
        unpacked_length: (end - start) * CHUNK,
    };
    let terms: Vec<Term> = runs.iter().map(term).collect();
    let bytes = terms.iter().map(|term| u64::from(term.unpacked_length)).sum();
    let chunks = ChunkRange { start: 0, end: runs.iter().map(|run| run.1).max().unwrap() };
    let entry = FetchEntry { xorb: XORB, chunks, bytes: ByteRange { start: 0, end: 1 }, url: "".into() };
    let reconstruction = Reconstruction { offset_into_first_term: 0, terms, entries: vec![entry] };
    Ledger::new(&FilePlan::new(reconstruction, bytes).unwrap(), bytes, present)
}

fn list(range: ByteRange, first: u32) -> Vec<(u64, Leaf)> {
    let count = (range.length() / u64::from(CHUNK)) as u32;
    (0..count).map(|i| (range.start + u64::from(i * CHUNK), leaf(first + i))).collect()
}

fn write(ledger: &mut Ledger, offset: u64, leaf: Leaf, source: Source) {
    if ledger.reserve(offset, leaf) == Reserved::Yours {
        ledger.written(offset, source);
    }
}

fn taken(ledger: &mut Ledger, range: ByteRange, list: Vec<(u64, Leaf)>) -> TakenList {
    ledger.take_list(range, list).expect("it is refused").expect("it is known")
}

fn chunks(from: u32, to: u32) -> ByteRange {
    ByteRange { start: u64::from(from * CHUNK), end: u64::from(to * CHUNK) }
}

/// Has a peer bring everything; `first` is the first chunk of a list. Returns the bytes that it was asked for.
fn bring(desk: &mut Desk, first: impl Fn(ByteRange) -> u32) -> u64 {
    let mut bytes = 0;
    while let Some((_, task)) = desk.next() {
        match task {
            Task::List(range) => {
                for copy in desk.take_list(range, list(range, first(range))).unwrap() {
                    desk.write(copy.offset, copy.leaf, Source::Local);
                }
            }
            Task::Block(block) => {
                for (offset, leaf) in block.chunks() {
                    bytes += u64::from(leaf.length);
                    desk.write(*offset, *leaf, Source::Lan);
                }
            }
            Task::Xorb(task) => panic!("nobody asked for xorbs: {task:?}"),
        }
    }
    bytes
}

#[test]
fn given_origin_and_peer_when_they_meet_then_every_byte_counts_once() {
    let mut desk = Desk::new(ledger(&[(0, 100)]), Ability::Prove);
    (0..30).for_each(|index| desk.write(u64::from(index * CHUNK), leaf(index), Source::Origin));

    let peer_bytes = bring(&mut desk, |_| 0);

    assert!(desk.ledger.is_complete());
    let [lan, wan, origin, _] = desk.ledger.by_source();
    assert_eq!([70 * u64::from(CHUNK), 0, 30 * u64::from(CHUNK)], [lan, wan, origin]);
    assert_eq!(lan, peer_bytes, "what is there was asked for");
    assert_eq!(Some((0..100).map(leaf).collect::<Vec<_>>()), desk.ledger.take_leaves());
}

#[test]
fn given_a_run_that_is_there_and_missing_elsewhere_when_begun_then_its_entry_is_not_complete() {
    // A pull was killed between writing a run and writing its copies.
    let runs = [(0, 3), (3, 5), (0, 3), (0, 3)];
    let mut present = Present::default();
    (0..3).for_each(|index| present.insert(u64::from(index * CHUNK), leaf(index)));
    present.insert(u64::from(9 * CHUNK), leaf(1));
    let mut desk = Desk::new(ledger_with(&runs, &present), Ability::Prove);

    let asked = bring(&mut desk, |range| if range.start == u64::from(3 * CHUNK) { 3 } else { 0 });

    assert!(desk.ledger.is_complete() && asked > 0);
    let order = [0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2].map(leaf);
    assert_eq!(Some(order.to_vec()), desk.ledger.take_leaves());
}

#[test]
fn given_chunks_that_overlap_when_offered_then_only_the_first_is_written() {
    let long = Leaf { length: 2 * CHUNK, ..leaf(7) };
    let mut ledger = ledger(&[(0, 10)]);
    write(&mut ledger, u64::from(CHUNK), leaf(1), Source::Origin);

    assert_eq!(Reserved::Differs, ledger.reserve(0, long));
    assert_eq!(Reserved::Differs, ledger.reserve(u64::from(CHUNK), leaf(2)));
    assert_eq!(Reserved::Taken, ledger.reserve(u64::from(CHUNK), leaf(1)));
    assert_eq!(Reserved::Differs, ledger.reserve(u64::from(CHUNK + CHUNK / 2), leaf(1)));
    assert_eq!(Reserved::Yours, ledger.reserve(0, leaf(0)));
    assert_eq!(Reserved::Yours, ledger.reserve(u64::from(2 * CHUNK), long));
}

#[test]
fn given_a_list_when_taken_then_blocks_of_all_of_it_and_each_is_told_when_it_is_written() {
    let mut ledger = ledger(&[(0, 100)]);
    write(&mut ledger, u64::from(99 * CHUNK), leaf(99), Source::Origin);
    let TakenList { region, blocks, recurrences } = taken(&mut ledger, chunks(0, 100), list(chunks(0, 100), 0));

    assert!(recurrences.is_empty() && region == 0);
    assert!(blocks.iter().all(|block| block.bytes <= BLOCK_BYTES));
    assert!(blocks.windows(2).all(|pair| pair[0].start + pair[0].bytes == pair[1].start));
    assert_eq!(99 * u64::from(CHUNK), blocks.iter().map(|block| block.missing_bytes).sum::<u64>());
    let mut finished = Vec::new();
    for index in (0..99).rev() {
        write(&mut ledger, u64::from(index * CHUNK), leaf(index), Source::Lan);
        finished.extend(ledger.take_finished());
    }
    let expected = (0..blocks.len() as u32).rev().map(|block| Finished::Block(0, block));
    assert_eq!(expected.collect::<Vec<_>>(), finished);
    assert_eq!(None, ledger.task(What::Block(0, 0)));
}

#[test]
fn given_a_region_without_a_list_when_it_is_written_then_told() {
    let mut ledger = ledger(&[(0, 2), (5, 6)]);
    assert_eq!(Some((1, 5)), ledger.place(u64::from(2 * CHUNK) + 5));
    for index in 0..2 {
        assert!(ledger.take_finished().is_empty());
        write(&mut ledger, u64::from(index * CHUNK), leaf(index), Source::Origin);
    }

    assert_eq!([Finished::Region(0)], ledger.take_finished()[..]);
    assert_eq!((None, true), (ledger.task(What::List(0)), ledger.task(What::List(1)).is_some()));
}

#[test]
fn given_a_block_of_which_some_is_there_when_asked_for_then_from_the_first_to_the_last_that_is_missing() {
    let mut ledger = ledger(&[(0, 10)]);
    taken(&mut ledger, chunks(0, 10), list(chunks(0, 10), 0));
    for index in [0, 1, 4, 9] {
        write(&mut ledger, u64::from(index * CHUNK), leaf(index), Source::Lan);
    }

    let Some(Task::Block(block)) = ledger.task(What::Block(0, 0)) else { panic!("nothing is missing") };

    assert_eq!(chunks(2, 9), block.range);
    assert_eq!(list(chunks(2, 9), 2), block.chunks());
}

#[test]
fn given_a_list_of_another_range_when_taken_then_refused() {
    let mut ledger = ledger(&[(0, 10), (20, 30)]);
    let range = chunks(10, 20);
    let short = ByteRange { start: range.start, end: range.end - u64::from(CHUNK) };

    assert_eq!(None, ledger.take_list(range, list(short, 0)));
    assert_eq!(None, ledger.take_list(short, list(short, 0)));
    assert_eq!(None, ledger.take_list(ByteRange { start: range.start + 1, ..range }, list(range, 0)));
    assert_eq!(None, ledger.take_list(range, Vec::new()));
    assert_eq!(1, taken(&mut ledger, range, list(range, 0)).region);
    assert_eq!(Some(None), ledger.take_list(range, list(range, 0)), "it is known");
}

#[test]
fn given_chunks_that_recur_when_a_peer_sends_them_once_then_they_go_everywhere() {
    let mut desk = Desk::new(ledger(&[(0, 5), (5, 6), (0, 5), (5, 6), (5, 6)]), Ability::Prove);

    let peer_bytes = bring(&mut desk, |range| if range.length() == u64::from(CHUNK) { 5 } else { 0 });

    assert!(desk.ledger.is_complete());
    assert_eq!(6 * u64::from(CHUNK), peer_bytes);
    let order = (0..6).chain(0..6).chain([5]).map(leaf).collect::<Vec<_>>();
    assert_eq!(Some(order), desk.ledger.take_leaves());
}

#[test]
fn given_runs_that_overlap_when_peers_bring_them_then_what_they_share_is_asked_once() {
    // Chunks 0 to 19, and 5 to 24 of the same xorb behind them.
    let mut desk = Desk::new(ledger(&[(0, 20), (5, 25)]), Ability::Prove);
    let (first, second) = (chunks(0, 20), chunks(20, 40));
    assert_eq!(Some(Vec::new()), desk.take_list(first, list(first, 0)));
    desk.write(500_000, leaf(5), Source::Lan);

    let copies = desk.take_list(second, list(second, 5)).unwrap();
    assert_eq!([Recurrence { leaf: leaf(5), written_at: 500_000, offset: 2_000_000 }], copies[..]);
    assert_eq!([2_100_000], desk.ledger.copies_of(600_000)[..]);
    desk.write(2_000_000, leaf(5), Source::Lan);
    let peer_bytes = bring(&mut desk, |_| panic!("all lists are known"));

    assert!(desk.ledger.is_complete());
    // All of the first run, whose block holds the chunk that was there already, and five of the second.
    assert_eq!(25 * u64::from(CHUNK), peer_bytes);
}

#[test]
fn given_chunks_that_could_not_be_copied_when_said_then_peers_are_asked_for_them() {
    let mut desk = Desk::new(ledger(&[(0, 5), (1, 5)]), Ability::Prove);
    let (first, second) = (chunks(0, 5), chunks(5, 9));
    desk.take_list(first, list(first, 0)).unwrap();
    (0..5).for_each(|index| desk.write(u64::from(index * CHUNK), leaf(index), Source::Lan));
    let copies = desk.take_list(second, list(second, 1)).unwrap();
    assert_eq!((4, None), (copies.len(), desk.next()));

    desk.cannot_copy(&copies[1..3]);

    let ranges: Vec<_> = std::iter::from_fn(|| desk.next())
        .map(|(_, task)| match task {
            Task::Block(block) => block.range,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!([chunks(7, 8), chunks(6, 7)], ranges[..]);
    let spec =
        |start: u32| BlockSpec { start: u64::from(start * CHUNK), bytes: CHUNK.into(), missing_bytes: CHUNK.into() };
    assert_eq!([(1, spec(3))], desk.ledger.cannot_copy(&copies[3..])[..]);
}

#[test]
fn given_a_proved_list_when_the_origin_differs_then_it_shows() {
    let mut ledger = ledger(&[(0, 10)]);
    write(&mut ledger, 0, leaf(9), Source::Origin);
    let blocks = taken(&mut ledger, chunks(0, 10), list(chunks(0, 10), 0)).blocks;

    // What was written before is forgotten, what comes later is refused.
    assert_eq!(10 * u64::from(CHUNK), blocks.iter().map(|block| block.missing_bytes).sum::<u64>());
    assert_eq!(10 * u64::from(CHUNK), ledger.missing_bytes());
    assert_eq!([0; 4], ledger.by_source());
    assert_eq!(Reserved::Differs, ledger.reserve(0, leaf(9)));
    assert_eq!(Reserved::Yours, ledger.reserve(0, leaf(0)));
}

#[test]
fn given_a_chunk_that_could_not_be_written_when_given_back_then_another_source_may_write_it() {
    let mut ledger = ledger(&[(0, 1)]);
    assert_eq!(Reserved::Yours, ledger.reserve(0, leaf(0)));
    assert_eq!(Reserved::Taken, ledger.reserve(0, leaf(0)));

    ledger.take_back(0);

    assert_eq!(Reserved::Yours, ledger.reserve(0, leaf(0)));
    ledger.written(0, Source::Lan);
    ledger.take_back(0);
    assert_eq!(Reserved::Taken, ledger.reserve(0, leaf(0)));
    assert!(ledger.is_complete());
    assert_eq!(Reserved::Taken, ledger.reserve(u64::from(CHUNK) / 2, leaf(3)), "written into a complete file");
}
