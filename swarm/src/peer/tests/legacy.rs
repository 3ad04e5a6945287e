//! The legacy dialects, in both roles.

use std::collections::BTreeMap;

use bep_xet::{ChunkNotFound, ChunkRequest, ChunkResponse, Config, Dialect, Limits, Message, Schemes};
use xet_cas::ChunkHash;

use super::*;
use crate::peer::frames::Frame;
use crate::peer::leeching::{ByHash, Xorbs};
use crate::peer::session::STILL_MAX;

fn legacy(dialect: Dialect, now: Instant) -> Session {
    let client = (dialect == Dialect::Ranged).then_some("zest/0.4");
    let exchange = Exchange::for_peer(Config::default(), Limits::default(), client, None, now).unwrap();
    assert_eq!(dialect, exchange.dialect());
    Session::new(exchange, OUR_UT_XET, now)
}

fn ranged(now: Instant) -> Session {
    legacy(Dialect::Ranged, now)
}

fn base(now: Instant) -> Session {
    legacy(Dialect::Base, now)
}

#[expect(clippy::disallowed_methods, reason = "a point to begin from")]
fn start() -> Instant {
    Instant::now()
}

/// The whole file as a peer stores it.
fn records() -> Bytes {
    let records = (0..CHUNKS).flat_map(|start| {
        let chunks = ChunkRange { start, end: start + 1 };
        let Found::Read { records } = read(Batch { file: true, chunks, accept: Schemes::RAW }) else {
            panic!("nothing was read")
        };
        records
    });
    records.map(|record| record.unwrap()).collect::<Vec<_>>().concat().into()
}

/// The frames of a message, the data of which may end early.
fn frames(message: &Message) -> Vec<Frame> {
    let mut payload = BytesMut::new();
    message.encode(&mut payload);
    let head = Frame::Payload { id: OUR_UT_XET, bytes: message.payload_bytes().unwrap() };
    vec![head, Frame::Piece(payload.freeze())]
}

/// The response to the first request, of which only `data` comes for now.
fn response(length: usize, data: Bytes) -> Vec<Frame> {
    frames(&Message::ChunkResponse(ChunkResponse { id: 1, chunk_offset: Some(0), length: length as u32, data }))
}

fn listed() -> Vec<(u64, Leaf)> {
    let leaf = |at: u32| (u64::from(at * CHUNK_BYTES), Leaf::of(&chunk(at)));
    (0..CHUNKS).map(leaf).collect()
}

fn whole_file() -> ByteRange {
    ByteRange { start: 0, end: u64::from(CHUNKS * CHUNK_BYTES) }
}

/// Writes what came, each chunk checked against what belongs there; panics if one comes twice.
fn write(events: Vec<LeechEvent>, desk: &mut Desk) -> Vec<LeechEvent> {
    let mut others = Vec::new();
    let expected: BTreeMap<u64, Leaf> = listed().into_iter().collect();
    let put = |desk: &mut Desk, offset: u64, record: &Bytes| {
        let leaf = Leaf::of(&record[RecordHeader::BYTES..]);
        assert_eq!(expected[&offset], leaf);
        assert!(!desk.ledger.is_written(offset), "it came twice");
        desk.write(offset, leaf, Source::Lan);
    };
    for event in events {
        match event {
            LeechEvent::Received { records, .. } => {
                records.iter().for_each(|received| put(desk, received.offset, &received.record));
            }
            LeechEvent::OfXorb { xorb, starts, chunks, .. } => {
                let places = desk.ledger.places_of(xorb, &starts);
                for chunk in chunks {
                    assert_eq!([(ChunkRange { start: 0, end: CHUNKS }, 0)], places[..]);
                    put(desk, starts[chunk.index() as usize], chunk.record());
                }
            }
            LeechEvent::Ended { request, outcome } => {
                desk.ended(request, outcome);
                others.push(LeechEvent::Ended { request, outcome });
            }
            other => others.push(other),
        }
    }
    others
}

/// A peer that is asked for the xorb of the file and whose answer is for the test to give.
fn asked_for_xorb(is_listed: bool) -> (Pair<Xorbs>, Desk) {
    let (mut pair, mut desk) = (Pair::<Xorbs>::with(ranged), desk::<Xorbs>());
    if is_listed {
        desk.take_list(whole_file(), listed()).unwrap();
    }
    assert_eq!(1, pair.ask(&mut desk));
    while pair.leeching.poll_message(pair.now).is_some() {}
    (pair, desk)
}

fn drained<A: Asking>(pair: &mut Pair<A>) -> Vec<LeechEvent> {
    std::iter::from_fn(|| pair.leeching.poll_event()).collect()
}

impl<A: Asking> Pair<A> {
    fn take(&mut self, frames: Vec<Frame>) -> Result<(), PeerError> {
        frames.into_iter().try_for_each(|frame| self.leeching.handle_message(frame, self.now))
    }
}

#[test]
fn given_a_ranged_peer_when_asked_then_the_whole_xorb_comes_and_fills_the_file() {
    for is_listed in [false, true] {
        let (mut pair, mut desk) = (Pair::<Xorbs>::with(ranged), desk::<Xorbs>());
        if is_listed {
            desk.take_list(whole_file(), listed()).unwrap();
        }

        assert_eq!(1, pair.ask(&mut desk));
        pair.settle(true).unwrap();
        let more = drained(&mut pair);
        pair.events.extend(more);
        let rest = write(std::mem::take(&mut pair.events), &mut desk);

        assert!(desk.ledger.is_complete(), "with list: {is_listed}");
        let is_done = |event: &LeechEvent| matches!(event, LeechEvent::Ended { outcome: Outcome::Done, .. });
        assert!(rest.iter().any(is_done), "{rest:?}");
        assert_eq!(records().len() as u64, pair.seeding.take_sent_bytes());
    }
}

#[test]
fn given_a_base_peer_when_a_list_is_proved_then_its_chunks_come_by_their_hash_and_not_before() {
    let (mut pair, mut desk) = (Pair::<ByHash>::with(base), desk::<ByHash>());
    assert_eq!(0, pair.ask(&mut desk));
    desk.take_list(whole_file(), listed()).unwrap();

    while pair.ask(&mut desk) > 0 {
        pair.settle(true).unwrap();
        let more = drained(&mut pair);
        pair.events.extend(more);
        write(std::mem::take(&mut pair.events), &mut desk);
    }

    assert!(desk.ledger.is_complete());
    assert_eq!(whole_file().end, pair.seeding.take_sent_bytes());
}

#[test]
fn given_a_base_peer_that_has_not_the_chunk_when_asked_then_it_is_left_and_the_block_released() {
    let (mut pair, mut desk) = (Pair::<ByHash>::with(base), desk::<ByHash>());
    desk.take_list(whole_file(), listed()).unwrap();
    assert!(pair.ask(&mut desk) > 0);
    while pair.leeching.poll_message(pair.now).is_some() {}
    drained(&mut pair);

    pair.take(frames(&Message::ChunkNotFound(ChunkNotFound { id: 1, hash: None }))).unwrap();

    let events = drained(&mut pair);
    let expected = [LeechEvent::Ended { request: 0, outcome: Outcome::Failed }, LeechEvent::Left { file: 7 }];
    assert_eq!(expected, events[..]);
}

#[test]
fn given_a_long_frame_when_no_request_justifies_it_then_it_is_refused_as_it_begins() {
    let long = Frame::Payload { id: OUR_UT_XET, bytes: 2 * 1024 * 1024 };
    let mut idle = ranged(start());
    let error = idle.handle_message(long.clone(), start()).unwrap_err();
    assert!(error.is_peer_fault(), "{error}");

    let (mut pair, _) = asked_for_xorb(false);
    pair.take(vec![long]).unwrap();
    let (mut pair, _) = asked_for_xorb(false);
    let longest = Frame::Payload { id: OUR_UT_XET, bytes: ChunkResponse::DATA_BYTES_MAX + 14 };
    assert!(pair.take(vec![longest]).unwrap_err().is_peer_fault());
}

#[test]
fn given_a_lie_in_the_data_when_nothing_is_known_of_the_xorb_then_nothing_of_it_counts_and_it_is_not_asked_again() {
    let (mut pair, mut desk) = asked_for_xorb(false);
    let mut data = BytesMut::from(&records()[..]);
    data[70_000] ^= 1;

    pair.take(response(data.len(), data.freeze())).unwrap();

    let rest = write(drained(&mut pair), &mut desk);
    assert_eq!(whole_file().length(), desk.ledger.missing_bytes());
    assert!(rest.contains(&LeechEvent::Ended { request: 0, outcome: Outcome::Failed }), "{rest:?}");
    assert_eq!(0, pair.ask(&mut desk));
    assert!(!desk.may_bring());
}

#[test]
fn given_a_lie_in_the_data_when_the_list_is_known_then_it_is_proved_and_what_came_before_counts() {
    let (mut pair, mut desk) = asked_for_xorb(true);
    let mut data = BytesMut::from(&records()[..]);
    data[170_000] ^= 1;
    let data = data.freeze();

    pair.take(response(data.len(), data.slice(..110_000))).unwrap();
    let error = pair.take(vec![Frame::Piece(data.slice(110_000..))]).unwrap_err();

    assert!(error.is_peer_fault(), "{error}");
    write(drained(&mut pair), &mut desk);
    assert_eq!(whole_file().length() - u64::from(2 * CHUNK_BYTES), desk.ledger.missing_bytes());
}

#[test]
fn given_part_of_a_xorb_when_it_comes_then_nobody_is_to_blame() {
    let (mut pair, mut desk) = asked_for_xorb(false);
    let half = records().slice(..CHUNKS as usize / 2 * (CHUNK_BYTES as usize + RecordHeader::BYTES));

    pair.take(response(half.len(), half)).unwrap();

    write(drained(&mut pair), &mut desk);
    assert_eq!(whole_file().length(), desk.ledger.missing_bytes());
}

#[test]
fn given_silence_in_the_middle_when_time_passes_then_the_peer_is_left_without_blame() {
    let (mut pair, _) = asked_for_xorb(false);
    let data = records();
    pair.take(response(data.len(), data.slice(..100_000))).unwrap();

    pair.now += DEADLINE;
    let error = pair.leeching.handle_timeout(pair.now).unwrap_err();

    assert!(matches!(error, PeerError::TooSlow), "{error}");
    assert!(drained(&mut pair).contains(&LeechEvent::Ended { request: 0, outcome: Outcome::Failed }));
}

#[test]
fn given_a_response_that_drips_without_end_when_time_passes_then_the_peer_is_left_all_the_same() {
    let (mut pair, _) = asked_for_xorb(false);
    let began = pair.now;
    pair.take(response(60_000_000, Bytes::new())).unwrap();

    let ended = loop {
        pair.now += DEADLINE - Duration::from_secs(1);
        pair.take(vec![Frame::Piece(Bytes::from_static(&[0]))]).unwrap();
        if pair.leeching.poll_timeout().is_some_and(|due| due <= pair.now) {
            break pair.leeching.handle_timeout(pair.now);
        }
    };

    assert!(matches!(ended, Err(PeerError::TooSlow)), "{ended:?}");
    assert!(pair.now - began <= DEADLINE * (Xorbs::TOTAL_DEADLINES + 1));
}

#[test]
fn given_a_still_connection_when_its_deadline_passes_then_it_ends_and_what_moves_puts_that_off() {
    let now = start();
    for dialect in [Dialect::Base, Dialect::Ranged] {
        let mut session = legacy(dialect, now);
        assert_eq!(Some(now + STILL_MAX), session.poll_timeout());

        let later = now + STILL_MAX / 2;
        session.handle_message(Frame::Message(bt_wire::Message::KeepAlive), later).unwrap();
        session.handle_timeout(now + STILL_MAX).unwrap();
        let ended = session.handle_timeout(later + STILL_MAX);
        assert!(matches!(ended, Err(PeerError::Deadline { .. })), "{ended:?}");
    }
}

#[test]
fn given_a_thousand_requests_at_once_when_served_then_one_job_is_open_and_each_has_an_answer() {
    const REQUESTS: u32 = 1_000;
    let now = start();
    let mut seeding = Seeding::<Handle>::new(base(now));
    let request = |id| {
        let hash = *ChunkHash::of(&chunk(id % CHUNKS)).as_bytes();
        frames(&Message::ChunkRequest(ChunkRequest { id, hash, chunks: None }))
    };

    for frame in (0..REQUESTS).flat_map(request) {
        seeding.handle_message(frame, now).unwrap();
    }
    let (mut answers, mut most_jobs) = (0, 0);
    loop {
        // However often it is asked to go on before a job is done.
        (0..3).for_each(|_| seeding.send_more(now).unwrap());
        let jobs: Vec<_> = std::iter::from_fn(|| seeding.poll_event()).collect();
        let batch = seeding.begin_reading();
        let found: Vec<_> = jobs.into_iter().map(|job| find(job, true)).chain(batch.map(read)).collect();
        most_jobs = most_jobs.max(found.len());
        let is_idle = found.is_empty();
        found.into_iter().for_each(|found| seeding.handle_found(found, now).unwrap());
        let sent: Vec<_> = std::iter::from_fn(|| seeding.poll_message(now)).collect();
        answers += sent.iter().filter(|frame| is_answer(frame)).count();
        if is_idle && sent.is_empty() {
            break;
        }
    }

    assert_eq!((REQUESTS as usize, 1), (answers, most_jobs));
    let within = Limits::default().requests_max as u64;
    assert_eq!(within * u64::from(CHUNK_BYTES), seeding.take_sent_bytes());
}

fn is_answer(frame: &Frame) -> bool {
    matches!(frame, Frame::Payload { .. } | Frame::Message(bt_wire::Message::Extended { .. }))
}

#[test]
fn given_a_file_that_changes_underneath_when_a_response_has_begun_then_the_connection_ends() {
    let now = start();
    let mut seeding = Seeding::<Handle>::new(ranged(now));
    let chunks = Some(ChunkRange { start: 0, end: CHUNKS });
    let ask = |id| ChunkRequest { id, hash: *tree().xorb_hash().as_bytes(), chunks };
    let asked_for = |seeding: &mut Seeding<Handle>, id, is_readable| {
        frames(&Message::ChunkRequest(ask(id)))
            .into_iter()
            .for_each(|frame| seeding.handle_message(frame, now).unwrap());
        seeding.send_more(now).unwrap();
        let job = seeding.poll_event().unwrap();
        seeding.handle_found(find(job, is_readable), now).unwrap();
        seeding.send_more(now).unwrap();
        read(seeding.begin_reading().unwrap())
    };

    // Before the first byte there is simply nothing.
    let nothing = asked_for(&mut seeding, 1, false);
    seeding.handle_found(nothing, now).unwrap();
    let first = asked_for(&mut seeding, 2, true);
    seeding.handle_found(first, now).unwrap();
    while seeding.begin_reading().is_none() {
        while seeding.poll_message(now).is_some() {}
        seeding.send_more(now).unwrap();
    }
    let ended = seeding.handle_found(Found::Read { records: vec![None] }, now);

    assert!(matches!(ended, Err(PeerError::Xet(bep_xet::Error::ResponseCut { id: 2 }))), "{ended:?}");
}

#[test]
fn given_what_is_not_there_when_asked_for_then_not_found_names_nothing_but_what_was_asked() {
    let now = start();
    for (dialect, chunks) in [(Dialect::Base, None), (Dialect::Ranged, Some(ChunkRange { start: 0, end: 9 }))] {
        let mut seeding = Seeding::<Handle>::new(legacy(dialect, now));
        let request = Message::ChunkRequest(ChunkRequest { id: 5, hash: [9; 32], chunks });
        frames(&request).into_iter().for_each(|frame| seeding.handle_message(frame, now).unwrap());

        seeding.send_more(now).unwrap();
        let job = seeding.poll_event().unwrap();
        seeding.handle_found(find(job, true), now).unwrap();

        let sent: Vec<_> = std::iter::from_fn(|| seeding.poll_message(now)).collect();
        let expected = frames(&Message::ChunkNotFound(ChunkNotFound { id: 5, hash: Some([9; 32]) }));
        let Some(Frame::Message(bt_wire::Message::Extended { payload, .. })) = sent.last() else { panic!("{sent:?}") };
        assert_eq!(expected[1], Frame::Piece(payload.clone()));
    }
}

#[test]
fn given_a_response_in_pieces_of_any_size_when_it_comes_then_the_same_is_proven() {
    let data = records();
    for at_once in [1_013, 65_536, data.len()] {
        let (mut pair, mut desk) = asked_for_xorb(false);
        pair.take(response(data.len(), Bytes::new())).unwrap();
        for piece in data.chunks(at_once) {
            pair.take(vec![Frame::Piece(Bytes::copy_from_slice(piece))]).unwrap();
        }
        write(drained(&mut pair), &mut desk);
        assert!(desk.ledger.is_complete(), "{at_once} at once");
    }
}
