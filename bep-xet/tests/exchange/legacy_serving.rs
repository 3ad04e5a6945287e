//! Answering peers of the legacy dialects.

use bep_xet::{
    ChunkError, ChunkNotFound, ChunkRequest, ChunkResponse, Dialect, Error, PeerRequestId, Status, StopReason,
};

use super::legacy::*;
use super::*;

const CHUNKS: ChunkRange = ChunkRange { start: 3, end: 1 };

fn chunk_request(id: u32, dialect: Dialect) -> Message {
    let chunks = (dialect == Dialect::Ranged).then_some(CHUNKS);
    Message::ChunkRequest(ChunkRequest { id, hash: [1; 32], chunks })
}

fn ask(us: &mut Exchange, id: u32, now: Instant) -> PeerRequestId {
    us.handle_message(chunk_request(id, us.dialect()), now).unwrap();
    match us.poll_event() {
        Some(Event::XorbAsked { id, .. } | Event::ChunkAsked { id, .. }) => id,
        other => panic!("{other:?}"),
    }
}

/// An exchange of which the peer has asked for something, under the id 0: there are programs that count from there.
fn asked(dialect: Dialect) -> (Exchange, PeerRequestId) {
    asked_at(start(), dialect)
}

fn asked_at(now: Instant, dialect: Dialect) -> (Exchange, PeerRequestId) {
    let mut us = legacy(dialect, now);
    let id = ask(&mut us, 0, now);
    (us, id)
}

fn head(id: u32, length: u32) -> Message {
    Message::ChunkResponse(ChunkResponse { id, chunk_offset: Some(0), length, data: Bytes::new() })
}

fn data(bytes: &'static [u8]) -> Message {
    Message::ChunkData(Bytes::from_static(bytes))
}

fn refused(id: u32, code: u32) -> Message {
    Message::ChunkError(ChunkError { id, code, text: Bytes::new() })
}

#[test]
fn given_a_request_when_it_comes_then_its_event_says_what_is_asked_for() {
    let mut us = legacy(Dialect::Ranged, start());
    us.handle_message(chunk_request(0, Dialect::Ranged), start()).unwrap();
    let event = us.poll_event();
    let Some(Event::XorbAsked { xorb, chunks: CHUNKS, .. }) = event else { panic!("{event:?}") };
    assert_eq!(XorbHash::from_bytes([1; 32]), xorb);

    let mut us = legacy(Dialect::Base, start());
    us.handle_message(chunk_request(0, Dialect::Base), start()).unwrap();
    let event = us.poll_event();
    let Some(Event::ChunkAsked { chunk, .. }) = event else { panic!("{event:?}") };
    assert_eq!(ChunkHash::from_bytes([1; 32]), chunk);
}

#[test]
fn given_a_response_when_its_data_is_sent_then_the_request_ends_with_the_last_of_it() {
    let now = start();
    let (mut us, id) = asked(Dialect::Ranged);

    us.begin_response(id, 5, now).unwrap();
    us.send_data(id, Bytes::from_static(b"he"), now).unwrap();
    assert!(us.is_open(id));
    us.send_data(id, Bytes::from_static(b"llo"), now).unwrap();

    assert_eq!([head(0, 5), data(b"he"), data(b"llo")], messages(&mut us)[..]);
    assert_eq!((false, 0), (us.is_open(id), us.peer_requests()));
    assert_eq!(Err(Error::NotOpen { id: 0 }), us.end(id, Status::Done, 0, Duration::ZERO));
}

#[test]
fn given_a_response_that_is_not_complete_when_other_messages_wait_then_they_do_not_come_between() {
    let now = start();
    let (mut us, first) = asked(Dialect::Ranged);
    let second = ask(&mut us, 7, now);
    us.begin_response(first, 5, now).unwrap();
    assert_eq!(Some(head(0, 5)), us.poll_message());

    us.end(second, Status::NotFound, 0, Duration::ZERO).unwrap();
    us.request_range(range_of(&stored(), 0, 1), DEADLINES, now).unwrap();
    assert_eq!((None, None), (us.poll_message(), us.poll_control()), "the frame is not complete");
    us.send_data(first, Bytes::from_static(b"hello"), now).unwrap();

    assert_eq!(None, us.poll_control());
    let messages = messages(&mut us);
    let not_found = Message::ChunkNotFound(ChunkNotFound { id: 7, hash: Some([1; 32]) });
    assert!(
        matches!(&messages[..], [last, answer, Message::ChunkRequest(_)] if *last == data(b"hello") && *answer == not_found),
        "{messages:?}"
    );
}

#[test]
fn given_two_requests_when_they_are_answered_then_one_after_the_other() {
    let now = start();
    let (mut us, first) = asked(Dialect::Ranged);
    let second = ask(&mut us, 1, now);
    us.begin_response(first, 5, now).unwrap();
    assert!(us.wants_data() && !us.wants_response());
    assert_eq!(Err(Error::QueueFull), us.begin_response(second, 5, now));

    us.send_data(first, Bytes::from_static(b"hello"), now).unwrap();
    us.begin_response(second, 1, now).unwrap();
    us.send_data(second, Bytes::from_static(b"x"), now).unwrap();

    assert_eq!([head(0, 5), data(b"hello"), head(1, 1), data(b"x")], messages(&mut us)[..]);
}

#[test]
fn given_data_that_is_not_taken_when_more_is_sent_then_it_has_to_wait() {
    let now = start();
    let (mut us, id) = asked(Dialect::Ranged);
    let piece = Bytes::from(vec![7; 128 * 1024]);
    us.begin_response(id, 3 * 128 * 1024, now).unwrap();
    us.send_data(id, piece.clone(), now).unwrap();

    assert!(!us.wants_data());
    assert_eq!(Err(Error::QueueFull), us.send_data(id, piece.clone(), now));

    assert_eq!(2, messages(&mut us).len());
    us.send_data(id, piece, now).unwrap();
}

#[test]
fn given_what_cannot_be_sent_when_we_would_send_it_then_that_is_refused_and_nothing_changes() {
    let now = start();
    let misuse = |result: Result<(), Error>| assert!(matches!(result, Err(Error::Misuse { .. })), "{result:?}");
    for (dialect, bytes_max) in [(Dialect::Ranged, ChunkResponse::DATA_BYTES_MAX), (Dialect::Base, 131_072)] {
        let (mut us, id) = asked(dialect);

        misuse(us.send_data(id, Bytes::new(), now));
        misuse(us.begin_response(id, 0, now));
        misuse(us.begin_response(id, bytes_max + 1, now));
        misuse(us.begin_response(id, u64::MAX, now));
        misuse(us.send_chunk(id, 0, record(9), now));
        misuse(us.send_have(id, vec![], now).and(Err(Error::Misuse { what: "nothing is sent" })));
        us.begin_response(id, bytes_max, now).unwrap();
        assert_eq!(Err(Error::QueueFull), us.begin_response(id, bytes_max, now));
        misuse(us.send_data(id, vec![0; bytes_max as usize + 1].into(), now));

        assert_eq!(1, messages(&mut us).len());
        assert!(us.is_open(id));
    }
    let mut us = exchange(now);
    us.handle_message(range_request(1, chunks(0, 1)), now).unwrap();
    let Some(Event::RangeAsked { id, .. }) = us.poll_event() else { panic!("nothing asked") };
    misuse(us.begin_response(id, 9, now));
    misuse(us.send_data(id, Bytes::new(), now));
}

#[test]
fn given_an_end_without_data_when_it_is_sent_then_the_peer_is_told_in_its_words() {
    for (status, expected) in [
        (Status::NotFound, Message::ChunkNotFound(ChunkNotFound { id: 0, hash: Some([1; 32]) })),
        (Status::Busy, refused(0, 2)),
        (Status::Refused, refused(0, 3)),
        (Status::Error, refused(0, 4)),
    ] {
        let (mut us, id) = asked(Dialect::Base);
        us.end(id, status, 0, SECOND).unwrap();
        assert_eq!([expected], messages(&mut us)[..]);
        assert_eq!(0, us.peer_requests());
    }
}

#[test]
fn given_a_response_that_has_begun_when_it_is_given_up_then_the_connection_fails() {
    let now = start();
    let (mut us, id) = asked(Dialect::Ranged);
    us.begin_response(id, 5, now).unwrap();

    us.end(id, Status::Error, 0, Duration::ZERO).unwrap();

    assert_eq!([Event::Failed { error: Error::ResponseCut { id: 0 } }], events(&mut us)[..]);
    assert_eq!(None, us.poll_timeout());
}

#[test]
fn given_a_request_that_we_leave_when_its_time_is_over_then_it_is_ended_for_us() {
    let now = start();
    let (mut us, id) = asked_at(now, Dialect::Ranged);
    assert_eq!(Some(now + 60 * SECOND), us.poll_timeout());

    us.handle_timeout(now + 60 * SECOND);

    assert_eq!([Event::Stopped { id, reason: StopReason::Expired }], events(&mut us)[..]);
    assert_eq!([refused(0, 2)], messages(&mut us)[..]);
    assert_eq!(Err(Error::NotOpen { id: 0 }), us.begin_response(id, 5, now));
}

#[test]
fn given_a_peer_that_does_not_read_when_a_response_takes_too_long_then_the_connection_fails() {
    let now = start();
    let (mut us, id) = asked_at(now, Dialect::Ranged);
    us.begin_response(id, 500_000, now).unwrap();
    us.send_data(id, vec![0; 200_000].into(), now + 50 * SECOND).unwrap();
    us.handle_timeout(now + 100 * SECOND);
    assert_eq!(None, us.poll_event(), "what is sent is progress");

    us.handle_timeout(now + 110 * SECOND);

    assert_eq!([Event::Failed { error: Error::ResponseCut { id: 0 } }], events(&mut us)[..]);
}

#[test]
fn given_more_requests_than_are_taken_when_they_come_then_the_excess_is_told_and_a_flood_is_a_fault() {
    let mut limits = Limits::default();
    (limits.requests_max, limits.unread_requests_max) = (2, 4);
    let mut us = legacy_with(Dialect::Ranged, Config::default(), limits, start());
    for id in 0..4 {
        us.handle_message(chunk_request(id, Dialect::Ranged), start()).unwrap();
    }
    assert_eq!((2, 2), (events(&mut us).len(), us.peer_requests()));

    let flood = us.handle_message(chunk_request(4, Dialect::Ranged), start());
    assert_eq!(Err(Error::Flood { unread: 4 }), flood);

    assert_eq!([refused(2, 2), refused(3, 2)], messages(&mut us)[..]);
    us.handle_message(chunk_request(4, Dialect::Ranged), start()).unwrap();
}

#[test]
fn given_an_id_when_it_is_used_again_then_only_after_its_answer_was_sent() {
    let now = start();
    let (mut us, id) = asked(Dialect::Ranged);
    let again = |us: &mut Exchange| us.handle_message(chunk_request(0, Dialect::Ranged), start());
    assert_eq!(Err(Error::IdInUse { id: 0 }), again(&mut us));
    us.begin_response(id, 5, now).unwrap();
    us.send_data(id, Bytes::from_static(b"hello"), now).unwrap();
    assert_eq!(Err(Error::IdInUse { id: 0 }), again(&mut us));

    us.poll_message();
    assert_eq!(Err(Error::IdInUse { id: 0 }), again(&mut us), "its data is not sent");
    us.poll_message();
    again(&mut us).unwrap();

    let Some(Event::XorbAsked { id: second, .. }) = us.poll_event() else { panic!("nothing asked") };
    us.end(second, Status::NotFound, 0, Duration::ZERO).unwrap();
    assert_eq!(Err(Error::IdInUse { id: 0 }), again(&mut us));
    us.poll_message();
    again(&mut us).unwrap();
}
