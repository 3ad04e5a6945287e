use xet_cas::{ByteRange, ChunkHash, ChunkRange, FetchEntry, Leaf, Reconstruction, Term, XorbHash};

use super::{BLOCK_BYTES, CLAIMS_MAX, Claim, Ledger, Recurrence, Reserved, Source, Task};
use crate::plan::FilePlan;
use crate::present::Present;

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
    let entry = FetchEntry { xorb: XORB, chunks, bytes: ByteRange { start: 0, end: 1 }, url: String::new() };
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

#[test]
fn given_origin_and_peer_when_they_meet_then_every_byte_counts_once() {
    let mut ledger = ledger(&[(0, 100)]);
    let Some(Task::List(range)) = ledger.claim(1, CLAIMS_MAX) else { panic!("no list was wanted") };
    assert_eq!(Some(Vec::new()), ledger.take_list(range, list(range, 0)));

    let mut from_front = 0;
    while let Some(Task::Block(block)) = ledger.claim(1, CLAIMS_MAX) {
        for (offset, leaf) in block.chunks() {
            write(&mut ledger, *offset, *leaf, Source::Lan);
        }
        for _ in 0..30 {
            if from_front < 100 {
                write(&mut ledger, u64::from(from_front * CHUNK), leaf(from_front), Source::Origin);
                from_front += 1;
            }
        }
    }

    assert!(ledger.is_complete() && ledger.is_entry_complete(0));
    let [lan, wan, origin, _] = ledger.by_source();
    assert_eq!(100 * u64::from(CHUNK), lan + wan + origin);
    assert!(lan > 0 && origin > 0 && wan == 0);
    assert_eq!(Some((0..100).map(leaf).collect::<Vec<_>>()), ledger.take_leaves());
}

#[test]
fn given_a_run_that_is_there_and_missing_elsewhere_when_begun_then_its_entry_is_not_complete() {
    // A pull was killed between writing a run and writing its copies.
    let runs = [(0, 3), (3, 5), (0, 3), (0, 3)];
    let mut present = Present::default();
    (0..3).for_each(|index| present.insert(u64::from(index * CHUNK), leaf(index)));
    present.insert(u64::from(9 * CHUNK), leaf(1));
    let mut ledger = ledger_with(&runs, &present);

    assert!(!ledger.is_entry_complete(0));
    let mut asked = 0;
    while let Some(task) = ledger.claim(1, CLAIMS_MAX) {
        match task {
            Task::List(range) => {
                let first = if range.start == u64::from(3 * CHUNK) { 3 } else { 0 };
                for copy in ledger.take_list(range, list(range, first)).unwrap() {
                    write(&mut ledger, copy.offset, copy.leaf, Source::Local);
                }
            }
            Task::Xorb(task) => panic!("nobody asked for xorbs: {task:?}"),
            Task::Block(block) => {
                for (offset, leaf) in block.chunks() {
                    asked += 1;
                    for place in ledger.copies_of(*offset).into_iter().chain([*offset]) {
                        write(&mut ledger, place, *leaf, Source::Lan);
                    }
                }
            }
        }
    }

    assert!(ledger.is_complete() && ledger.is_entry_complete(0) && asked > 0);
    let order = [0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2].map(leaf);
    assert_eq!(Some(order.to_vec()), ledger.take_leaves());
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
fn given_two_peers_when_they_claim_then_from_the_back_and_not_the_same_until_the_end() {
    let mut ledger = ledger(&[(0, 100)]);
    let Some(Task::List(range)) = ledger.claim(1, CLAIMS_MAX) else { panic!("no list was wanted") };
    assert_eq!(Some(Vec::new()), ledger.take_list(range, list(range, 0)));

    let mut claimed = Vec::new();
    for peer in [1, 2].into_iter().cycle() {
        let Some(Task::Block(block)) = ledger.claim(peer, 1) else { break };
        if claimed.contains(&block.range) {
            break;
        }
        assert!(block.range.length() <= BLOCK_BYTES);
        claimed.push(block.range);
    }

    assert!(claimed.windows(2).all(|pair| pair[0].start == pair[1].end), "{claimed:?}");
    assert_eq!(range.length(), claimed.iter().map(ByteRange::length).sum::<u64>());
}

#[test]
fn given_a_peer_that_leaves_when_released_then_others_get_its_blocks() {
    let mut ledger = ledger(&[(0, 10)]);
    let Some(Task::List(range)) = ledger.claim(1, CLAIMS_MAX) else { panic!("no list was wanted") };
    ledger.release_all(1);
    assert_eq!(Some(Task::List(range)), ledger.claim(2, CLAIMS_MAX));
    assert_eq!(Some(Vec::new()), ledger.take_list(range, list(range, 0)));
    let Some(Task::Block(block)) = ledger.claim(2, CLAIMS_MAX) else { panic!("no block was wanted") };

    ledger.release(2, Claim::Range(block.range));

    assert_eq!(Some(Task::Block(block)), ledger.claim(3, CLAIMS_MAX));
}

#[test]
fn given_a_list_of_another_range_when_taken_then_refused() {
    let mut ledger = ledger(&[(0, 10), (20, 30)]);
    let Some(Task::List(range)) = ledger.claim(1, CLAIMS_MAX) else { panic!("no list was wanted") };
    let short = ByteRange { start: range.start, end: range.end - u64::from(CHUNK) };

    assert_eq!(None, ledger.take_list(range, list(short, 0)));
    assert_eq!(None, ledger.take_list(short, list(short, 0)));
    assert_eq!(None, ledger.take_list(ByteRange { start: range.start + 1, ..range }, list(range, 0)));
    assert_eq!(None, ledger.take_list(range, Vec::new()));
    assert_eq!(Some(Vec::new()), ledger.take_list(range, list(range, 0)));
}

#[test]
fn given_chunks_that_recur_when_a_peer_sends_them_once_then_they_go_everywhere() {
    let mut ledger = ledger(&[(0, 5), (5, 6), (0, 5), (5, 6), (5, 6)]);
    let mut peer_bytes = 0;
    while let Some(task) = ledger.claim(1, CLAIMS_MAX) {
        match task {
            Task::List(range) => {
                let first = if range.length() == u64::from(CHUNK) { 5 } else { 0 };
                assert!(ledger.take_list(range, list(range, first)).is_some());
            }
            Task::Block(block) => {
                for (offset, leaf) in block.chunks() {
                    peer_bytes += u64::from(leaf.length);
                    for copy in ledger.copies_of(*offset).into_iter().chain([*offset]) {
                        write(&mut ledger, copy, *leaf, Source::Wan);
                    }
                }
            }
            Task::Xorb(task) => panic!("nobody asked for xorbs: {task:?}"),
        }
    }

    assert!(ledger.is_complete());
    assert_eq!(6 * u64::from(CHUNK), peer_bytes);
    let order = (0..6).chain(0..6).chain([5]).map(leaf).collect::<Vec<_>>();
    assert_eq!(Some(order), ledger.take_leaves());
}

#[test]
fn given_runs_that_overlap_when_peers_bring_them_then_what_they_share_is_asked_once() {
    // Chunks 0 to 19, and 5 to 24 of the same xorb behind them.
    let mut ledger = ledger(&[(0, 20), (5, 25)]);
    let (first, second) = (ByteRange { start: 0, end: 2_000_000 }, ByteRange { start: 2_000_000, end: 4_000_000 });
    assert_eq!(Some(Vec::new()), ledger.take_list(first, list(first, 0)));
    write(&mut ledger, 500_000, leaf(5), Source::Lan);

    let copies = ledger.take_list(second, list(second, 5)).unwrap();
    assert_eq!([Recurrence { leaf: leaf(5), written_at: 500_000, offset: 2_000_000 }], copies[..]);
    assert_eq!([2_100_000], ledger.copies_of(600_000)[..]);
    write(&mut ledger, 2_000_000, leaf(5), Source::Lan);
    let mut peer_bytes = 0;
    while let Some(Task::Block(block)) = ledger.claim(1, CLAIMS_MAX) {
        for (offset, leaf) in block.chunks() {
            peer_bytes += u64::from(leaf.length);
            for place in ledger.copies_of(*offset).into_iter().chain([*offset]) {
                write(&mut ledger, place, *leaf, Source::Lan);
            }
        }
    }

    assert!(ledger.is_complete());
    // All of the first run, whose block holds the chunk that was there already, and five of the second.
    assert_eq!(25 * u64::from(CHUNK), peer_bytes);
}

#[test]
fn given_chunks_that_could_not_be_copied_when_said_then_peers_are_asked_for_them() {
    let mut ledger = ledger(&[(0, 5), (1, 5)]);
    let (first, second) = (ByteRange { start: 0, end: 500_000 }, ByteRange { start: 500_000, end: 900_000 });
    ledger.take_list(first, list(first, 0)).unwrap();
    (0..5).for_each(|index| write(&mut ledger, u64::from(index * CHUNK), leaf(index), Source::Lan));
    let copies = ledger.take_list(second, list(second, 1)).unwrap();
    assert_eq!((4, None), (copies.len(), ledger.claim(1, CLAIMS_MAX)));

    ledger.cannot_copy(&copies[1..3]);

    let claimed: Vec<_> = std::iter::from_fn(|| ledger.claim(1, CLAIMS_MAX)).map(|task| task.claim()).collect();
    let expected = [700_000, 600_000].map(|start| Claim::Range(ByteRange { start, end: start + 100_000 }));
    assert_eq!(expected, claimed[..]);
}

#[test]
fn given_a_proved_list_when_the_origin_differs_then_it_shows() {
    let mut ledger = ledger(&[(0, 10)]);
    write(&mut ledger, 0, leaf(9), Source::Origin);
    let Some(Task::List(range)) = ledger.claim(1, CLAIMS_MAX) else { panic!("no list was wanted") };
    assert_eq!(Some(Vec::new()), ledger.take_list(range, list(range, 0)));

    // What was written before is forgotten, what comes later is refused.
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
