//! The two sides of a session, tied together without a connection and without a clock.

mod legacy;
mod urgent;

use std::time::{Duration, Instant};

use bep_xet::{Exchange, ObjectKind, XetHandshake};
use bytes::{BufMut as _, Bytes, BytesMut};
use xet_cas::proof::{Outline, Tree};
use xet_cas::xorb::RecordHeader;
use xet_cas::{ByteRange, ChunkRange, Leaf, Scheme, Term};

use super::PeerError;
use super::leeching::{Asking, LeechEvent, Leeching, Proving, WantedFile};
use super::seeding::{Batch, Found, Job, List, NoList, Run, Seeding, Whole};
use super::session::{OUR_UT_XET, Protocol, Session};
use crate::ledger::{Ledger, Source, Task};
use crate::plan::FilePlan;
use crate::schedule::Outcome;
use crate::work::Desk;

const CHUNKS: u32 = 60;
const CHUNK_BYTES: u32 = 50_000;
const DEADLINE: Duration = Duration::from_secs(10);

fn chunk(index: u32) -> Vec<u8> {
    index.to_le_bytes().repeat(CHUNK_BYTES as usize / 4)
}

fn tree() -> Tree {
    Tree::new((0..CHUNKS).map(|index| Leaf::of(&chunk(index))).collect()).unwrap()
}

fn terms() -> Vec<Term> {
    let (xorb, chunks) = (tree().xorb_hash(), ChunkRange { start: 0, end: CHUNKS });
    vec![Term { xorb, chunks, unpacked_length: CHUNKS * CHUNK_BYTES }]
}

fn ledger() -> Ledger {
    let entry = xet_cas::FetchEntry {
        xorb: terms()[0].xorb,
        chunks: terms()[0].chunks,
        bytes: ByteRange { start: 0, end: 1 },
        url: "".into(),
    };
    let bytes = u64::from(CHUNKS * CHUNK_BYTES);
    let plan = xet_cas::Reconstruction { offset_into_first_term: 0, terms: terms(), entries: vec![entry] };
    Ledger::new(&FilePlan::new(plan, bytes).unwrap(), bytes, &crate::present::Present::default())
}

fn session(now: Instant) -> Session {
    let limits = bep_xet::Limits::default();
    let handshake = XetHandshake::new(&limits, None);
    Session::new(Exchange::new(bep_xet::Config::default(), limits, &handshake, now), OUR_UT_XET, now)
}

/// A file as a seeder has it: here, whether reading works.
type Handle = bool;

fn find(job: Job, is_readable: bool) -> Found<Handle> {
    let tree = tree();
    match job {
        Job::Have { id, objects } => {
            Found::Have { id, held: objects.into_iter().map(|object| (object, true)).collect() }
        }
        Job::Manifest { id, query } => {
            let chunks = tree.chunks_in(ByteRange { start: query.start, end: query.end }).unwrap();
            let proof = tree.run_proof(chunks).unwrap();
            let wire = super::seed::wire_proof(&proof);
            let list = List { total: CHUNKS, first: chunks.start, leaves: proof.leaves, proof: Some(wire) };
            Found::Manifest { id, list: Ok(list) }
        }
        Job::Range { id, range } => {
            let chunks = tree.chunks_in(ByteRange { start: range.start, end: range.end }).unwrap();
            Found::Range { id, run: Some(Run { file: is_readable, first: 0, chunks }), range }
        }
        Job::Whole { id, object } => {
            let chunks = match object.kind {
                ObjectKind::Xorb => (tree.xorb_hash().as_bytes() == &object.hash).then_some(0..CHUNKS),
                _ => (0..CHUNKS).find(|at| Leaf::of(&chunk(*at)).hash.as_bytes() == &object.hash).map(|at| at..at + 1),
            };
            let whole = chunks.map(|chunks| {
                let is_raw = object.kind == ObjectKind::Chunk;
                let header = if is_raw { 0 } else { RecordHeader::BYTES as u32 };
                let chunks = ChunkRange { start: chunks.start, end: chunks.end };
                let bytes = u64::from(chunks.count() * (header + CHUNK_BYTES));
                Whole { file: is_readable, chunks, bytes, is_raw }
            });
            Found::Whole { id, whole }
        }
    }
}

/// Reads a batch: four chunks at most.
fn read(Batch { file, chunks, .. }: Batch<Handle>) -> Found<Handle> {
    let record = |index| {
        let data = chunk(index);
        let header = RecordHeader { scheme: Scheme::None, stored_length: CHUNK_BYTES, raw_length: CHUNK_BYTES };
        let mut record = BytesMut::from(&header.encode()[..]);
        record.put_slice(&data);
        file.then(|| Bytes::from(record))
    };
    Found::Read { records: (chunks.start..chunks.end).take(4).map(record).collect() }
}

struct Pair<A> {
    now: Instant,
    leeching: Leeching<A>,
    seeding: Seeding<Handle>,
    events: Vec<LeechEvent>,
}

impl Pair<Proving> {
    fn new() -> Self {
        Self::with(session)
    }
}

impl<A: Asking> Pair<A> {
    /// A file is wanted of a peer that serves it.
    fn with(session: impl Fn(Instant) -> Session) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an origin for fake time; nothing reads the clock again")]
        let now = Instant::now();
        let mut pair = Self {
            now,
            leeching: Leeching::new(session(now), DEADLINE),
            seeding: Seeding::new(session(now)),
            events: Vec::new(),
        };
        let bytes = u64::from(CHUNKS * CHUNK_BYTES);
        let outline = Outline::new(&terms());
        let wanted = WantedFile { number: 7, hash: tree().file_hash(), bytes, outline };
        assert!(pair.leeching.query(vec![wanted], now).unwrap());
        pair
    }

    /// Carries messages and jobs until nothing moves.
    fn settle(&mut self, is_readable: bool) -> Result<(), PeerError> {
        loop {
            let mut moved = false;
            while let Some(message) = self.leeching.poll_message(self.now) {
                self.seeding.handle_message(message, self.now)?;
                moved = true;
            }
            self.seeding.send_more(self.now)?;
            while let Some(job) = self.seeding.poll_event() {
                self.seeding.handle_found(find(job, is_readable), self.now)?;
                moved = true;
            }
            if let Some(batch) = self.seeding.begin_reading() {
                self.seeding.handle_found(read(batch), self.now)?;
                moved = true;
            }
            while let Some(message) = self.seeding.poll_message(self.now) {
                self.leeching.handle_message(message, self.now)?;
                self.events.extend(std::iter::from_fn(|| self.leeching.poll_event()));
                moved = true;
            }
            if !moved {
                return Ok(());
            }
        }
    }

    /// Asks for as much as the scheduler wants.
    fn ask(&mut self, desk: &mut Desk) -> usize {
        let mut asked = 0;
        while let Some((request, task)) = desk.next() {
            if !self.leeching.request(7, request, task, self.now).unwrap() {
                desk.ended(request, Outcome::NotAsked);
                break;
            }
            asked += 1;
        }
        asked
    }
}

fn desk<A: Asking>() -> Desk {
    Desk::new(ledger(), A::ABILITY)
}

#[test]
fn given_a_file_that_the_peer_has_when_asked_for_then_every_chunk_comes_once_and_is_proved_first() {
    let (mut pair, mut desk) = (Pair::new(), desk::<Proving>());

    pair.settle(true).unwrap();
    while pair.ask(&mut desk) > 0 {
        pair.settle(true).unwrap();
        for event in std::mem::take(&mut pair.events) {
            match event {
                LeechEvent::Listed { range, list, .. } => assert_eq!(Some(Vec::new()), desk.take_list(range, list)),
                LeechEvent::Received { records, .. } => {
                    for received in records {
                        assert_eq!(received.leaf, Leaf::of(&received.record[RecordHeader::BYTES..]));
                        assert!(!desk.ledger.is_written(received.offset), "it came twice");
                        desk.write(received.offset, received.leaf, Source::Lan);
                    }
                }
                LeechEvent::Ended { request, outcome } => desk.ended(request, outcome),
                LeechEvent::Decided { .. } | LeechEvent::Left { .. } | LeechEvent::OfXorb { .. } => {}
            }
        }
    }

    assert!(desk.ledger.is_complete());
    assert_eq!(u64::from(CHUNKS * CHUNK_BYTES), pair.seeding.take_sent_bytes());
}

#[test]
fn given_a_file_that_changes_underneath_when_read_then_it_is_left_and_its_bytes_released() {
    let (mut pair, mut desk) = (Pair::new(), desk::<Proving>());
    pair.settle(true).unwrap();
    pair.ask(&mut desk);
    pair.settle(true).unwrap();
    let Some(LeechEvent::Listed { range, list, .. }) =
        pair.events.drain(..).find(|event| matches!(event, LeechEvent::Listed { .. }))
    else {
        panic!("no list came")
    };
    assert_eq!(Some(Vec::new()), desk.take_list(range, list));

    assert!(pair.ask(&mut desk) > 0);
    pair.settle(false).unwrap();

    assert!(pair.events.contains(&LeechEvent::Left { file: 7 }));
    assert!(pair.events.iter().any(|event| matches!(event, LeechEvent::Ended { outcome: Outcome::Failed, .. })));
    assert_eq!(0, pair.seeding.take_sent_bytes());
}

#[test]
fn given_a_silent_peer_when_time_passes_then_what_it_was_asked_is_released_and_the_second_pause_ends_it() {
    let (mut pair, mut desk) = (Pair::new(), desk::<Proving>());
    pair.settle(true).unwrap();
    pair.events.clear();

    let Some((request, task)) = desk.next() else { panic!("nothing to ask for") };
    let Task::List(range) = task else { panic!("not a list: {task:?}") };
    assert!(pair.leeching.request(7, request, task, pair.now).unwrap());
    pair.now += DEADLINE;
    pair.leeching.handle_timeout(pair.now).unwrap();

    let outcome = Outcome::Failed;
    assert_eq!(Some(LeechEvent::Ended { request, outcome }), pair.leeching.poll_event());
    assert!(pair.leeching.request(7, request + 1, Task::List(range), pair.now).unwrap());
    pair.now += DEADLINE;
    assert!(matches!(pair.leeching.handle_timeout(pair.now), Err(PeerError::TooSlow)));
}

#[test]
fn given_a_peer_that_does_not_say_what_it_has_when_time_passes_then_it_is_decided() {
    let mut pair = Pair::new();

    pair.now += DEADLINE;
    pair.leeching.handle_timeout(pair.now).unwrap();

    assert_eq!(Some(LeechEvent::Decided { file: 7, holds: false }), pair.leeching.poll_event());
}

#[test]
fn given_a_list_too_long_when_asked_for_then_the_peer_is_left_without_blame() {
    let (mut pair, mut desk) = (Pair::new(), desk::<Proving>());
    pair.settle(true).unwrap();
    pair.ask(&mut desk);

    while let Some(message) = pair.leeching.poll_message(pair.now) {
        pair.seeding.handle_message(message, pair.now).unwrap();
    }
    while let Some(job) = pair.seeding.poll_event() {
        let Job::Manifest { id, .. } = job else { panic!("not a list: {job:?}") };
        pair.seeding.handle_found(Found::Manifest { id, list: Err(NoList::TooLarge) }, pair.now).unwrap();
    }
    pair.settle(true).unwrap();

    assert!(pair.events.contains(&LeechEvent::Left { file: 7 }));
}
