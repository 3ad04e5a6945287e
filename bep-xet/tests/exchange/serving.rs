//! Answering requests.

use bep_xet::{
    End, Error, Event, Have, HaveEntry, HaveQuery, HaveState, ManifestForm, ManifestQuery, PeerRequestId, Proof,
    ProofLevel, Range, Schemes, Sibling, Status, StopReason, Unit,
};

use super::*;

fn entry(object: Object) -> HaveEntry {
    HaveEntry { object, state: HaveState::All }
}

fn have_query(id: u32, subscribe: bool, objects: impl IntoIterator<Item = Object>) -> Message {
    Message::HaveQuery(HaveQuery { id, subscribe, objects: objects.into_iter().collect() })
}

/// An exchange of which the peer has asked for something.
fn asked(message: Message) -> (Exchange, PeerRequestId) {
    let mut us = exchange(start());
    us.handle_message(message, start()).unwrap();
    match us.poll_event() {
        Some(Event::HaveAsked { id, .. } | Event::ManifestAsked { id, .. } | Event::RangeAsked { id, .. }) => (us, id),
        other => panic!("{other:?}"),
    }
}

/// The request is ended at once, and nobody hears of it.
fn check_ended(message: Message, expected: Status) {
    let mut us = exchange(start());

    us.handle_message(message.clone(), start()).unwrap();

    assert_eq!(None, us.poll_event(), "{message:?}");
    let messages = messages(&mut us);
    assert!(matches!(&messages[..], [Message::End(End { id: 4, status, .. })] if *status == expected), "{messages:?}");
}

#[test]
fn given_a_range_that_is_asked_for_when_it_is_served_then_data_and_end_are_sent_in_order() {
    let now = start();
    let range = Range { with_manifest: true, ..chunks(0, 4) };
    let (mut us, id) = asked(range_request(4, range));
    assert!(us.is_open(id));

    us.send_manifest(id, 4, 0, leaves(4), None, now).unwrap();
    us.send_chunk(id, 0, record(10), now).unwrap();
    us.send_chunk(id, 3, record(20), now).unwrap();
    us.end(id, Status::Done, 4, Duration::ZERO).unwrap();

    let expected = [
        Message::Manifest(Manifest { id: 4, total: 4, first: 0, leaves: leaves(4), proof: None }),
        Message::Chunk(Chunk { id: 4, index: 0, record: record(10) }),
        Message::Chunk(Chunk { id: 4, index: 3, record: record(20) }),
        Message::End(End::new(4, Status::Done).with_next(4)),
    ];
    assert_eq!(expected, messages(&mut us)[..]);
    assert!(!us.is_open(id));
    for refused in [us.send_chunk(id, 4, record(1), now), us.end(id, Status::Done, 4, Duration::ZERO)] {
        assert_eq!(Err(Error::NotOpen { id: 4 }), refused);
    }
}

#[test]
fn given_what_the_peer_did_not_ask_for_when_we_would_send_it_then_that_is_refused_and_nothing_changes() {
    let now = start();
    let range = Range { accept: Schemes::RAW, with_manifest: true, ..chunks(2, 4) };
    let (mut us, id) = asked(range_request(4, range));
    let refused = |result: Result<(), Error>| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Misuse { .. }) && !error.is_peer_fault(), "{error}");
    };

    refused(us.send_chunk(id, 2, record(10), now));
    refused(us.send_have(id, vec![entry(xorb(1))], now));
    refused(us.send_manifest(id, 4, 0, leaves(4), Some(Proof { offset: 0, levels: vec![] }), now));
    refused(us.send_manifest(id, 4, 0, leaves(0), None, now));
    refused(us.send_manifest(id, 4, 0, leaves(8_193), None, now));
    us.send_manifest(id, 4, 0, leaves(4), None, now).unwrap();
    refused(us.send_manifest(id, 4, 0, leaves(4), None, now));
    refused(us.send_chunk(id, 1, record(10), now));
    refused(us.send_chunk(id, 4, record(10), now));
    refused(us.send_chunk(id, 2, record_of(Scheme::Lz4, 10), now));
    refused(us.send_chunk(id, 2, record(10).slice(..9), now));
    us.send_chunk(id, 2, record(10), now).unwrap();
    refused(us.send_chunk(id, 2, record(10), now));

    assert_eq!(2, messages(&mut us).len());
}

#[test]
fn given_a_proof_that_no_peer_reads_when_we_would_send_it_then_that_is_refused() {
    let now = start();
    let (mut us, id) = asked(manifest_request(4, ManifestQuery::run(file(1), 0, 9)));
    let side = |count| vec![Sibling { hash: [0; 32], size: 1 }; count];
    let level = |left, right| ProofLevel { left: side(left), right: side(right) };
    let mut send = |levels| us.send_manifest(id, 1, 0, leaves(1), Some(Proof { offset: 0, levels }), now);

    for levels in [vec![level(9, 0)], vec![level(0, 9)], vec![level(0, 0); 33]] {
        assert!(matches!(send(levels), Err(Error::Misuse { .. })));
    }
    assert_eq!(Ok(()), send(vec![level(8, 8); 32]));
}

#[test]
fn given_a_question_about_objects_when_answered_in_parts_then_each_object_is_told_of_once() {
    let now = start();
    let query = have_query(4, false, [xorb(3), xorb(1), xorb(2), xorb(1)]);
    let mut us = exchange(now);
    us.handle_message(query, now).unwrap();
    let Some(Event::HaveAsked { id, objects, subscribe: false }) = us.poll_event() else { panic!("nothing asked") };
    assert_eq!([xorb(1), xorb(2), xorb(3)], objects[..]);

    us.send_have(id, vec![entry(xorb(3))], now).unwrap();
    assert!(us.send_have(id, vec![entry(xorb(3))], now).is_err());
    assert!(us.send_have(id, vec![entry(xorb(9))], now).is_err());
    us.send_have(id, vec![entry(xorb(1)), entry(xorb(2))], now).unwrap();
    assert!(us.send_news([entry(xorb(1))]).is_ok(), "nobody subscribed, so nothing is sent");

    let sent: Vec<_> = messages(&mut us)
        .into_iter()
        .map(|message| match message {
            Message::Have(Have { id: 4, entries }) => entries.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!([1, 2], sent[..]);
}

#[test]
fn given_a_subscription_when_there_are_news_then_they_are_sent_with_id_zero_also_after_the_end() {
    let (mut us, id) = asked(have_query(4, true, [xorb(1), xorb(2)]));
    us.end(id, Status::Done, 0, Duration::ZERO).unwrap();
    messages(&mut us);

    us.send_news([entry(xorb(2)), entry(xorb(3))]).unwrap();

    assert_eq!([Message::Have(Have { id: 0, entries: vec![entry(xorb(2))] })], messages(&mut us)[..]);
}

#[test]
fn given_answers_that_are_long_when_sent_then_they_are_split_at_what_the_peer_takes() {
    let now = start();
    let mut peer = XetHandshake::new(&Limits::default(), None);
    peer.frame_bytes_max = 2 + 7 + 36 * 10;
    let mut us = Exchange::new(Config::default(), Limits::default(), &peer, now);
    us.handle_message(have_query(4, false, (0..25).map(xorb)), now).unwrap();
    let Some(Event::HaveAsked { id, objects, .. }) = us.poll_event() else { panic!("nothing asked") };

    us.send_have(id, objects.into_iter().map(entry).collect(), now).unwrap();

    let sizes: Vec<_> = messages(&mut us).iter().map(Message::encoded_bytes).collect();
    assert_eq!([367, 367, 187], sizes[..]);
    us.handle_message(range_request(5, chunks(0, 4)), now).unwrap();
    let Some(Event::RangeAsked { id, .. }) = us.poll_event() else { panic!("nothing asked") };
    assert_eq!(Err(Error::TooLargeForPeer { bytes: 417, max: 367 }), us.send_chunk(id, 0, record(400), now));
    assert_eq!(Ok(()), us.send_chunk(id, 0, record(350), now), "nothing had changed");
}

#[test]
fn given_requests_that_cannot_be_answered_when_they_come_then_they_are_ended_with_the_reason() {
    let bytes = |start, end| Range::file_bytes(file(1), start, end);
    let unknown_form = ManifestQuery { form: ManifestForm::Unknown(9), ..ManifestQuery::whole(xorb(1)) };

    check_ended(Message::UnknownRequest { kind: 0x99, id: 4, body: Bytes::new() }, Status::Unsupported);
    check_ended(manifest_request(4, unknown_form), Status::Unsupported);
    check_ended(manifest_request(4, ManifestQuery::run(file(1), 9, 9)), Status::Error);
    check_ended(range_request(4, Range { unit: Unit::Unknown(2), ..chunks(0, 4) }), Status::Unsupported);
    check_ended(range_request(4, Range { object: xorb(1), ..bytes(0, 9) }), Status::Unsupported);
    check_ended(range_request(4, chunks(4, 4)), Status::Error);
    check_ended(range_request(4, bytes(9, 0)), Status::Error);
    check_ended(range_request(4, chunks(0, 8_193)), Status::TooLarge);
    check_ended(range_request(4, bytes(0, 64 * KIB * KIB + 1)), Status::TooLarge);
    check_ended(range_request(4, bytes(1, u64::MAX)), Status::TooLarge);
    check_ended(range_request(4, Range { start: 1, end: u64::MAX, ..chunks(0, 4) }), Status::TooLarge);
}

#[test]
fn given_more_requests_or_bytes_than_we_allow_when_they_come_then_the_excess_is_busy() {
    let now = start();
    let mut limits = Limits::default();
    limits.requests_max = 3;
    limits.requested_bytes_max = 256 * KIB;
    limits.queried_objects_max = 2;
    let mut us = exchange_with(Config::default(), limits, now);
    let mut is_taken = |message| {
        us.handle_message(message, now).unwrap();
        let event = us.poll_event();
        match (us.poll_message(), event) {
            (None, Some(Event::RangeAsked { id, .. } | Event::HaveAsked { id, .. })) => {
                Some((us.requested_bytes(), id))
            }
            (Some(Message::End(End { status: Status::Busy, retry_ms: 1_000, .. })), None) => None,
            other => panic!("{other:?}"),
        }
    };

    assert!(is_taken(range_request(1, chunks(0, 3))).is_some());
    assert_eq!(None, is_taken(range_request(2, chunks(0, 2))), "320 KiB");
    assert_eq!(Some(256 * KIB), is_taken(range_request(3, chunks(0, 1))).map(|(bytes, _)| bytes));
    assert_eq!(None, is_taken(have_query(4, false, (0..3).map(xorb))), "three objects");
    assert!(is_taken(have_query(5, false, (0..2).map(xorb))).is_some());
    assert_eq!(None, is_taken(have_query(6, false, [])), "three requests");
}

#[test]
fn given_a_peer_that_asks_one_thing_after_the_other_when_each_is_answered_then_none_is_busy() {
    let now = start();
    let mut limits = Limits::default();
    limits.requested_bytes_max = 128 * KIB;
    limits.queried_objects_max = 2;
    let mut us = exchange_with(Config::default(), limits, now);

    for _ in 0..100 {
        us.handle_message(have_query(1, false, [xorb(1), xorb(2)]), now).unwrap();
        us.handle_message(range_request(2, chunks(0, 2)), now).unwrap();
        let [Event::HaveAsked { id: question, .. }, Event::RangeAsked { id: range, .. }] = events(&mut us)[..] else {
            panic!("not asked")
        };
        us.send_have(question, vec![entry(xorb(1))], now).unwrap();
        us.send_chunk(range, 0, record(9), now).unwrap();
        assert_eq!(64 * KIB, us.requested_bytes());
        for id in [question, range] {
            us.end(id, Status::Done, 2, Duration::ZERO).unwrap();
        }
        assert_eq!((4, 0), (messages(&mut us).len(), us.requested_bytes()));
    }
}

#[test]
fn given_a_range_beyond_the_whole_window_when_it_comes_then_it_is_too_large_and_not_busy_for_ever() {
    let mut limits = Limits::default();
    limits.requested_bytes_max = 256 * KIB;
    let mut us = exchange_with(Config::default(), limits, start());

    us.handle_message(range_request(4, chunks(0, 5)), start()).unwrap();

    assert!(matches!(messages(&mut us)[..], [Message::End(End { status: Status::TooLarge, .. })]));
}

#[test]
fn given_too_many_subscriptions_when_they_come_then_the_question_is_too_large() {
    let mut limits = Limits::default();
    limits.subscriptions_max = 2;
    let mut us = exchange_with(Config::default(), limits, start());

    us.handle_message(have_query(1, true, [xorb(1), xorb(2)]), start()).unwrap();
    us.handle_message(have_query(2, true, [xorb(2)]), start()).unwrap();
    us.handle_message(have_query(3, true, [xorb(3)]), start()).unwrap();

    assert_eq!(2, events(&mut us).len());
    assert!(matches!(messages(&mut us)[..], [Message::End(End { id: 3, status: Status::TooLarge, .. })]));
}

#[test]
fn given_an_id_that_is_in_use_when_it_is_used_again_then_the_peer_is_at_fault() {
    let now = start();
    let again = |us: &mut Exchange, message| us.handle_message(message, now).unwrap_err();
    for message in [
        range_request(4, chunks(0, 4)),
        manifest_request(4, ManifestQuery::whole(xorb(1))),
        have_query(4, false, [xorb(1)]),
    ] {
        let (mut us, id) = asked(range_request(4, chunks(0, 4)));
        assert_eq!(Error::IdInUse { id: 4 }, again(&mut us, message.clone()));

        us.end(id, Status::Done, 0, Duration::ZERO).unwrap();
        assert_eq!(Error::IdInUse { id: 4 }, again(&mut us, message.clone()), "the END was not sent");
        messages(&mut us);
        assert_eq!(Ok(()), us.handle_message(message, now));
    }
    assert_eq!(Error::IdInUse { id: 0 }, again(&mut exchange(now), range_request(0, chunks(0, 4))));
    assert!(Error::IdInUse { id: 0 }.is_peer_fault());
}

#[test]
fn given_an_unknown_request_when_its_id_cannot_be_answered_then_it_is_passed_over() {
    let now = start();
    let (mut us, id) = asked(range_request(4, chunks(0, 4)));

    for unanswerable in [0, 4] {
        us.handle_message(Message::UnknownRequest { kind: 0xff, id: unanswerable, body: Bytes::new() }, now).unwrap();
    }

    assert_eq!((None, None), (us.poll_event(), us.poll_message()));
    assert!(us.is_open(id));
}

#[test]
fn given_an_id_that_is_used_again_when_the_old_request_is_answered_then_that_is_refused() {
    let now = start();
    let (mut us, old) = asked(range_request(4, chunks(0, 4)));
    us.end(old, Status::Done, 0, Duration::ZERO).unwrap();
    messages(&mut us);

    us.handle_message(range_request(4, chunks(0, 4)), now).unwrap();

    assert_eq!(Err(Error::NotOpen { id: 4 }), us.send_chunk(old, 0, record(1), now));
    assert_eq!(Err(Error::NotOpen { id: 4 }), us.end(old, Status::Done, 0, Duration::ZERO));
    assert_eq!(1, us.peer_requests());
}

#[test]
fn given_a_request_when_the_peer_cancels_it_then_what_waited_is_dropped_and_it_ends_once() {
    let now = start();
    let (mut us, id) = asked(range_request(4, chunks(0, 4)));
    us.handle_message(range_request(5, chunks(0, 4)), now).unwrap();
    let Some(Event::RangeAsked { id: other, .. }) = us.poll_event() else { panic!("nothing asked") };
    us.send_chunk(id, 0, record(10), now).unwrap();
    us.send_chunk(other, 0, record(20), now).unwrap();

    us.handle_message(Message::Cancel { id: 4 }, now).unwrap();
    us.handle_message(Message::Cancel { id: 4 }, now).unwrap();

    assert_eq!([Event::Stopped { id, reason: StopReason::Cancelled }], events(&mut us)[..]);
    let expected =
        [Message::Chunk(Chunk { id: 5, index: 0, record: record(20) }), Message::End(End::new(4, Status::Cancelled))];
    assert_eq!(expected, messages(&mut us)[..]);
    assert_eq!(Err(Error::NotOpen { id: 4 }), us.send_chunk(id, 1, record(10), now));
    assert!(us.is_open(other));
}
