//! Asking peers of the legacy dialects: what comes is handed on when it is proven, and not before.

use bep_xet::{
    ChunkError, ChunkNotFound, ChunkRequest, ChunkResponse, Deadline, Dialect, Error, ManifestQuery, Status,
};

use super::legacy::*;
use super::*;

/// A request for chunks of the xorb, with or without its list.
fn asked(start: u32, end: u32, with_list: bool) -> (Exchange, RequestId) {
    asked_at(self::start(), start, end, with_list)
}

fn asked_at(now: Instant, start: u32, end: u32, with_list: bool) -> (Exchange, RequestId) {
    let stored = stored();
    let mut us = legacy(Dialect::Ranged, now);
    let range = range_of(&stored, start, end);
    let id = match with_list {
        true => us.request_listed_range(range, list(&stored), DEADLINES, now).unwrap(),
        false => us.request_range(range, DEADLINES, now).unwrap(),
    };
    messages(&mut us);
    (us, id)
}

fn asked_chunk() -> (Exchange, RequestId) {
    let now = start();
    let mut us = legacy(Dialect::Base, now);
    let range = Range::chunks(Object::chunk(ChunkHash::of(b"hello")), ChunkRange { start: 0, end: 1 });
    let id = us.request_range(range, DEADLINES, now).unwrap();
    messages(&mut us);
    (us, id)
}

fn ended(status: Status, next: u64) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Ended { status: s, next: n, .. } if (*s, *n) == (status, next))
}

/// What comes is not handed on, and nobody is to blame.
fn check_unproven(mut us: Exchange, id: RequestId, message: Message) {
    us.handle_message(message, start()).unwrap();

    let events = events(&mut us);
    let [Event::Unproven { id: unproven }, end] = &events[..] else { panic!("{events:?}") };
    assert_eq!(id, *unproven);
    assert!(ended(Status::NotFound, 0)(end), "{end:?}");
    assert_eq!((0, 0), (us.open_requests(), us.outstanding_bytes()));
}

fn check_fault(mut us: Exchange, message: Message, expected: impl Fn(&Error) -> bool) {
    let error = us.handle_message(message, start()).unwrap_err();

    assert!(expected(&error) && error.is_peer_fault(), "{error}");
    assert!(proven(&events(&mut us)).is_empty());
}

#[test]
fn given_a_legacy_peer_when_it_is_asked_then_the_request_is_that_of_its_dialect() {
    let (now, stored) = (start(), stored());
    let mut ranged = legacy(Dialect::Ranged, now);
    let mut base = legacy(Dialect::Base, now);
    let chunk = ChunkHash::of(b"hello");

    ranged.request_range(range_of(&stored, 1, 3), DEADLINES, now).unwrap();
    base.request_range(Range::chunks(Object::chunk(chunk), ChunkRange { start: 0, end: 1 }), DEADLINES, now).unwrap();

    let chunks = Some(ChunkRange { start: 1, end: 3 });
    let expected = ChunkRequest { id: 1, hash: *stored.hash().as_bytes(), chunks };
    assert_eq!([Message::ChunkRequest(expected)], messages(&mut ranged)[..]);
    let expected = ChunkRequest { id: 1, hash: *chunk.as_bytes(), chunks: None };
    assert_eq!([Message::ChunkRequest(expected)], messages(&mut base)[..]);
}

#[test]
fn given_what_a_dialect_cannot_say_when_it_is_asked_then_that_is_refused_and_nothing_is_sent() {
    let (now, stored) = (start(), stored());
    let chunk = |start, end| Range::chunks(Object::chunk(ChunkHash::of(b"hello")), ChunkRange { start, end });
    let xorb = range_of(&stored, 0, 1);
    let mut us = [legacy(Dialect::Base, now), legacy(Dialect::Ranged, now), exchange(now)];
    let [base, ranged, v2] = &mut us;

    for refused in [
        base.request_range(xorb, DEADLINES, now),
        base.request_range(chunk(1, 2), DEADLINES, now),
        base.request_range(chunk(0, 2), DEADLINES, now),
        base.request_listed_range(xorb, list(&stored), DEADLINES, now),
        base.query_have([xorb.object], false, DEADLINES, now),
        ranged.request_range(chunk(0, 1), DEADLINES, now),
        ranged.request_range(Range { with_manifest: true, ..xorb }, DEADLINES, now),
        ranged.request_range(Range::file_bytes(file(1), 0, 9), DEADLINES, now),
        ranged.query_have([xorb.object], false, DEADLINES, now),
        ranged.request_manifest(ManifestQuery::whole(xorb.object), DEADLINES, now),
        v2.request_listed_range(xorb, list(&stored), DEADLINES, now),
    ] {
        assert!(matches!(refused, Err(Error::NotSpoken { .. })), "{refused:?}");
    }
    let beyond = ranged.request_listed_range(range_of(&stored, 0, 6), list(&stored), DEADLINES, now);
    assert!(matches!(beyond, Err(Error::Misuse { .. })), "{beyond:?}");
    for us in &mut us {
        assert!(messages(us).is_empty());
        assert_eq!(0, us.open_requests());
    }
}

#[test]
fn given_a_whole_xorb_when_it_has_come_then_it_proves_itself_and_not_a_byte_before() {
    let (mut us, id) = asked(1, 3, false);
    let data = Bytes::from(stored().records);
    let (front, last) = (data.slice(..data.len() - 1), data.slice(data.len() - 1..));
    let head = ChunkResponse { id: 1, chunk_offset: Some(0), length: data.len() as u32, data: front };

    us.handle_message(Message::ChunkResponse(head), start()).unwrap();
    assert_eq!(None, us.poll_event());
    us.handle_message(Message::ChunkData(last), start()).unwrap();

    let events = events(&mut us);
    assert_eq!(expected(0, 5), proven(&events));
    assert!(matches!(&events[0], Event::Proven { id: proven, is_whole: true, .. } if *proven == id));
    assert!(ended(Status::Done, 3)(&events[1]), "{events:?}");
    assert_eq!((2, 0), (events.len(), us.outstanding_bytes()));
}

#[test]
fn given_a_xorb_with_footer_when_it_has_come_then_the_footer_is_passed_over() {
    let stored = stored();
    for with_list in [false, true] {
        let (mut us, id) = asked(0, 5, with_list);
        let data = [&stored.records[..], &stored.footer.encode()].concat();

        us.handle_message(response(id, Some(0), data), start()).unwrap();

        assert_eq!(expected(0, 5), proven(&events(&mut us)));
    }
}

#[test]
fn given_data_that_proves_nothing_when_it_has_come_then_it_is_dropped_and_nobody_is_blamed() {
    let stored = stored();
    let other = stored_of(&[vec![5; 500], vec![6; 600]]);
    let mut flipped = stored.records.clone();
    flipped[3_000] ^= 1;
    let mut no_record = stored.records.clone();
    no_record[0] = 1;
    let tiny = Bytes::from(record(1).repeat(8_193));

    for (what, chunk_offset, data) in [
        ("another xorb", 0, other.records.into()),
        ("the front of it", 0, records(&stored, 0, 4)),
        ("its end, which the offset says", 1, records(&stored, 1, 5)),
        ("its end, which the offset hides", 0, records(&stored, 1, 5)),
        ("the whole, from another offset", 1, stored.records.clone().into()),
        ("a changed byte", 0, flipped.into()),
        ("a record that is none", 0, no_record.into()),
        ("nothing", 0, Bytes::new()),
        ("a cut record", 0, records(&stored, 0, 1).slice(..9)),
        ("more chunks than a xorb has", 0, tiny),
    ] {
        println!("{what}");
        let (us, id) = asked(0, 5, false);
        check_unproven(us, id, response(id, Some(chunk_offset), data));
    }
}

#[test]
fn given_more_data_than_may_be_held_when_it_comes_then_it_is_passed_over() {
    let (now, stored) = (start(), stored());
    let mut limits = Limits::default();
    limits.collected_bytes_max = stored.records.len() as u64 - 1;
    let mut us = legacy_with(Dialect::Ranged, Config::default(), limits, now);
    let id = us.request_range(range_of(&stored, 0, 5), DEADLINES, now).unwrap();
    check_unproven(us, id, response(id, Some(0), stored.records.clone()));

    let mut limits = Limits::default();
    limits.collected_bytes_max = 0;
    let mut us = legacy_with(Dialect::Ranged, Config::default(), limits, now);
    let id = us.request_listed_range(range_of(&stored, 0, 5), list(&stored), DEADLINES, now).unwrap();
    us.handle_message(response(id, Some(0), stored.records), now).unwrap();
    assert_eq!(5, proven(&events(&mut us)).len(), "what a list proves is not held");
}

#[test]
fn given_a_list_when_chunks_come_then_each_is_handed_on_at_once() {
    let (mut us, id) = asked(1, 3, true);
    let data = records(&stored(), 1, 4);
    let first_ends = records(&stored(), 1, 2).len();
    let head =
        ChunkResponse { id: 1, chunk_offset: Some(1), length: data.len() as u32, data: data.slice(..first_ends) };

    us.handle_message(Message::ChunkResponse(head), start()).unwrap();
    let events_of_the_front = events(&mut us);
    us.handle_message(Message::ChunkData(data.slice(first_ends..)), start()).unwrap();

    assert!(matches!(events_of_the_front[..], [Event::Proven { id: of, is_whole: false, .. }] if of == id));
    assert_eq!(expected(1, 2), proven(&events_of_the_front));
    let events = events(&mut us);
    assert_eq!(expected(2, 4), proven(&events));
    assert!(ended(Status::Done, 3)(&events[1]));
}

#[test]
fn given_a_list_when_less_comes_than_was_asked_for_then_the_end_says_what_is_missing() {
    for (from, to, next) in [(0, 2, 2), (0, 1, 1), (2, 5, 1), (3, 4, 1)] {
        let (mut us, id) = asked(1, 5, true);

        us.handle_message(response(id, Some(from), records(&stored(), from, to)), start()).unwrap();

        let events = events(&mut us);
        assert_eq!(expected(from as usize, to as usize), proven(&events));
        assert!(ended(Status::NotFound, next)(&events[1]), "{from} to {to}: {events:?}");
    }
}

#[test]
fn given_a_list_when_something_else_comes_then_that_is_a_lie() {
    let stored = stored();
    let other = stored_of(&[vec![5; 500]]);
    let mut no_record = stored.records.clone();
    no_record[0] = 1;
    let is_other_chunk = |error: &Error| matches!(error, Error::ChunkHash { .. });
    let is_no_record = |error: &Error| matches!(error, Error::Record { .. });

    for (chunk_offset, data) in [
        (0, Bytes::from(other.records)),
        (0, records(&stored, 1, 2)),
        (1, records(&stored, 0, 1)),
        (5, records(&stored, 0, 1)),
        (u32::MAX, records(&stored, 0, 1)),
    ] {
        let (us, id) = asked(0, 5, true);
        check_fault(us, response(id, Some(chunk_offset), data), is_other_chunk);
    }
    let (us, id) = asked(0, 5, true);
    check_fault(us, response(id, Some(0), no_record), is_no_record);
}

#[test]
fn given_a_chunk_of_the_base_dialect_when_it_comes_then_it_is_checked_at_once() {
    let (mut us, id) = asked_chunk();
    us.handle_message(response(id, None, "hello"), start()).unwrap();
    let got = events(&mut us);
    assert_eq!([(0, b"hello".to_vec())], proven(&got)[..]);
    assert!(matches!(got[0], Event::Proven { is_whole: true, .. }));
    assert!(ended(Status::Done, 1)(&got[1]));

    let (us, id) = asked_chunk();
    check_fault(us, response(id, None, "hellO"), |error| matches!(error, Error::ChunkHash { .. }));
    for bytes in [0, 131_073] {
        let (us, id) = asked_chunk();
        check_fault(us, response(id, None, vec![7; bytes]), |error| matches!(error, Error::OutOfBounds { .. }));
    }
}

#[test]
fn given_an_answer_without_data_when_it_comes_then_the_request_ends() {
    let not_found = |hash| Message::ChunkNotFound(ChunkNotFound { id: 1, hash });
    let error = |text| Message::ChunkError(ChunkError { id: 1, code: 500, text: Bytes::from_static(text) });

    for (message, status, detail) in [
        (not_found(None), Status::NotFound, ""),
        (not_found(Some([9; 32])), Status::NotFound, ""),
        (error(b""), Status::Error, "error 500: "),
        (error(b"no\x1b[31m"), Status::Error, "error 500: no\\x1b[31m"),
    ] {
        let (mut us, id) = asked(2, 5, false);
        us.handle_message(message, start()).unwrap();
        let expected = Event::Ended { id, status, next: 2, retry: Duration::ZERO, detail: detail.into() };
        assert_eq!([expected], events(&mut us)[..]);
        assert_eq!((0, 0), (us.open_requests(), us.outstanding_bytes()));
    }
}

#[test]
fn given_what_was_never_asked_for_when_it_comes_then_it_is_a_fault() {
    let data = || Message::ChunkData(Bytes::from_static(b"more"));
    let head = |id| Message::ChunkResponse(ChunkResponse { id, chunk_offset: Some(0), length: 9, data: Bytes::new() });
    let not_found = |id| Message::ChunkNotFound(ChunkNotFound { id, hash: None });

    for message in [head(0), head(2), not_found(2), not_found(0)] {
        let (us, _) = asked(0, 5, false);
        check_fault(us, message, |error| matches!(error, Error::NeverAsked { .. }));
    }
    let (us, _) = asked(0, 5, false);
    check_fault(us, data(), |error| matches!(error, Error::NotAskedFor { .. }));
    for second in [head(1), not_found(1)] {
        let (mut us, _) = asked(0, 5, false);
        us.handle_message(not_found(1), start()).unwrap();
        check_fault(us, second, |error| matches!(error, Error::EndedTwice { id: 1 }));
    }
    for inside in [head(1), not_found(1), Message::ChunkData(vec![0; 10].into())] {
        let (mut us, _) = asked(0, 5, false);
        us.handle_message(head(1), start()).unwrap();
        check_fault(us, inside, |error| matches!(error, Error::NotAskedFor { .. }));
    }
}

#[test]
fn given_no_request_when_a_long_frame_begins_then_it_is_refused_and_with_one_it_is_not() {
    const MIB: u64 = 1024 * 1024;
    let (now, stored) = (start(), stored());
    let mut us = legacy(Dialect::Ranged, now);
    assert_eq!(MIB, us.frame_bytes_max());
    assert!(us.begin_payload(MIB - 1).is_err_and(|error| error.is_peer_fault()));

    let id = us.request_range(range_of(&stored, 0, 5), DEADLINES, now).unwrap();
    assert_eq!(ChunkResponse::DATA_BYTES_MAX + 13 + 2, us.frame_bytes_max());
    assert!(us.begin_payload(us.frame_bytes_max() - 1).is_err());
    us.handle_message(response(id, Some(0), stored.records), now).unwrap();
    assert_eq!(MIB, us.frame_bytes_max());

    let (base, _) = asked_chunk();
    assert_eq!(MIB, base.frame_bytes_max());
    assert_eq!(MIB, exchange(now).frame_bytes_max());
}

#[test]
fn given_a_peer_that_may_send_whole_xorbs_when_one_is_asked_for_then_the_window_is_full() {
    let (now, stored) = (start(), stored());
    let mut config = Config::default();
    config.window_bytes = 1_000;
    for config in [Config::default(), config] {
        let mut us = legacy_with(Dialect::Ranged, config, Limits::default(), now);
        let range = range_of(&stored, 0, 1);
        assert!(us.can_request_range(&range));

        us.request_range(range, DEADLINES, now).unwrap();

        assert!(!us.can_request_range(&range));
        assert_eq!(us.window_bytes(), us.outstanding_bytes());
        assert_eq!(Err(Error::WindowFull), us.request_range(range, DEADLINES, now));
    }
}

#[test]
fn given_data_that_trickles_when_it_comes_then_it_is_progress_but_not_beyond_the_total() {
    let now = start();
    let (mut us, id) = asked_at(now, 0, 5, false);
    let head = ChunkResponse { id: 1, chunk_offset: Some(0), length: 999, data: Bytes::new() };
    us.handle_message(Message::ChunkResponse(head), now + 4 * SECOND).unwrap();
    for at in [8, 11] {
        us.handle_timeout(now + at * SECOND);
        us.handle_message(Message::ChunkData(Bytes::from_static(b"x")), now + at * SECOND).unwrap();
        assert_eq!(None, us.poll_event());
    }

    us.handle_timeout(now + 12 * SECOND);

    assert_eq!([Event::RequestTimedOut { id, deadline: Deadline::Total }], events(&mut us)[..]);
}

#[test]
fn given_a_request_that_took_too_long_when_its_answer_comes_then_it_is_dropped_and_the_request_ends_once() {
    let now = start();
    let (mut us, id) = asked_at(now, 0, 5, false);
    us.handle_timeout(now + 5 * SECOND);
    assert_eq!([Event::RequestTimedOut { id, deadline: Deadline::Progress }], events(&mut us)[..]);
    assert!(messages(&mut us).is_empty(), "there is no word for it");
    assert!(us.frame_bytes_max() > 1 << 20, "the answer may be on its way");

    us.handle_message(response(id, Some(0), stored().records), now + 9 * SECOND).unwrap();

    let events = events(&mut us);
    assert!(matches!(events[..], [Event::Ended { status: Status::Cancelled, .. }]), "{events:?}");
    assert_eq!((0, 0, None), (us.open_requests(), us.outstanding_bytes(), us.poll_timeout()));
}

#[test]
fn given_a_request_that_was_cancelled_inside_of_its_data_when_the_rest_comes_then_it_is_dropped() {
    let now = start();
    let (mut us, id) = asked_at(now, 0, 5, true);
    let data = Bytes::from(stored().records);
    let head = ChunkResponse { id: 1, chunk_offset: Some(0), length: data.len() as u32, data: data.slice(..99) };
    us.handle_message(Message::ChunkResponse(head), now).unwrap();

    assert!(us.cancel(id, now) && !us.cancel(id, now));
    us.handle_message(Message::ChunkData(data.slice(99..)), now).unwrap();

    assert!(matches!(events(&mut us)[..], [Event::Ended { status: Status::Cancelled, .. }]));
    assert!(messages(&mut us).is_empty());
}

#[test]
fn given_an_answer_that_never_comes_when_its_time_is_over_then_the_connection_fails() {
    let now = start();
    let (mut us, id) = asked_at(now, 0, 5, false);
    us.cancel(id, now);

    us.handle_timeout(now + 30 * SECOND);

    let [Event::Failed { error }] = &events(&mut us)[..] else { panic!("no failure") };
    assert_eq!(Error::EndOverdue { id: 1 }, *error);
    assert!(!error.is_peer_fault());
    assert_eq!(None, us.poll_timeout());
}

#[test]
fn given_a_legacy_peer_that_is_silent_when_nothing_is_open_then_it_is_not_pinged() {
    let now = start();
    for dialect in [Dialect::Base, Dialect::Ranged] {
        let mut us = legacy(dialect, now);
        assert_eq!(None, us.poll_timeout());

        us.handle_timeout(now + 3_600 * SECOND);
        us.ping(now);

        assert_eq!((None, None), (us.poll_event(), us.poll_message()));
    }
}

#[test]
fn given_messages_that_a_dialect_does_not_have_when_they_come_then_nothing_happens() {
    let now = start();
    let id = exchange(now).request_range(chunks(0, 1), DEADLINES, now).unwrap();
    let of_v2 = [
        chunk(id, 0, 9),
        whole(id, 1),
        range_request(1, chunks(0, 1)),
        Message::Ping { nonce: 1 },
        Message::Cancel { id: 1 },
        Message::UnknownRequest { kind: 0x80, id: 1, body: Bytes::new() },
        Message::Unknown { kind: 0x55, body: Bytes::new() },
    ];
    let of_legacy = [
        response(id, None, "hello"),
        Message::ChunkData(Bytes::from_static(b"x")),
        Message::ChunkRequest(ChunkRequest { id: 1, hash: [0; 32], chunks: None }),
        Message::ChunkNotFound(ChunkNotFound { id: 1, hash: None }),
        Message::ChunkError(ChunkError { id: 1, code: 0, text: Bytes::new() }),
    ];

    for message in of_v2 {
        let (mut us, _) = asked(0, 5, false);
        us.handle_message(message, now).unwrap();
        assert_eq!((None, None, 1), (us.poll_event(), us.poll_message(), us.open_requests()));
    }
    for message in of_legacy {
        let mut us = exchange(now);
        us.handle_message(message, now).unwrap();
        assert_eq!((None, None), (us.poll_event(), us.poll_message()));
    }
}
