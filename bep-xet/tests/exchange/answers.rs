//! What a peer may answer, and what it may not.

use bep_xet::{End, Error, Event, Have, HaveEntry, HaveState, ManifestQuery, Range, Schemes, Status};

use super::*;

/// The last of these messages is refused with an error that is the peer's fault.
fn check_fault(us: &mut Exchange, messages: impl IntoIterator<Item = Message>, expected: impl Fn(&Error) -> bool) {
    let messages: Vec<Message> = messages.into_iter().collect();
    let (last, before) = messages.split_last().unwrap();
    for message in before {
        us.handle_message(message.clone(), start()).unwrap();
    }

    let error = us.handle_message(last.clone(), start()).unwrap_err();

    assert!(expected(&error) && error.is_peer_fault(), "{error}");
}

fn have(id: u32, objects: impl IntoIterator<Item = Object>) -> Message {
    let entry = |object| HaveEntry { object, state: HaveState::All };
    Message::Have(Have { id, entries: objects.into_iter().map(entry).collect() })
}

fn done(id: RequestId) -> Message {
    Message::End(End::new(number(id), Status::Done))
}

#[test]
fn given_chunks_in_order_when_they_come_then_each_is_told_of() {
    let now = start();
    let mut us = exchange(now);
    let id = us.request_range(chunks(3, 7), DEADLINES, now).unwrap();

    for (index, length) in [(3, 100), (5, 131_072), (6, 1)] {
        us.handle_message(chunk(id, index, length), now).unwrap();
        let header = RecordHeader { scheme: Scheme::None, stored_length: length, raw_length: length };
        assert_eq!([Event::Chunk { id, index, header, record: record(length) }], events(&mut us)[..]);
    }
}

#[test]
fn given_chunks_out_of_order_repeated_or_outside_when_they_come_then_the_peer_is_at_fault() {
    let now = start();
    for (before, index) in [(4, 4), (4, 3), (3, 7), (3, u32::MAX)] {
        let mut us = exchange(now);
        let id = us.request_range(chunks(3, 7), DEADLINES, now).unwrap();
        check_fault(&mut us, [chunk(id, before, 10), chunk(id, index, 10)], |error| {
            matches!(error, Error::ChunkOutOfRange { .. })
        });
    }
    let mut us = exchange(now);
    let id = us.request_range(chunks(3, 7), DEADLINES, now).unwrap();
    check_fault(&mut us, [chunk(id, 2, 10)], |error| {
        *error == Error::ChunkOutOfRange { id: 1, index: 2, min: 3, max: 6 }
    });
}

#[test]
fn given_chunks_of_a_cancelled_request_when_out_of_order_then_the_peer_is_at_fault_all_the_same() {
    let now = start();
    let mut us = exchange(now);
    let id = us.request_range(chunks(3, 7), DEADLINES, now).unwrap();
    us.cancel(id, now);

    check_fault(&mut us, [chunk(id, 4, 10), chunk(id, 4, 10)], |error| matches!(error, Error::ChunkOutOfRange { .. }));
}

#[test]
fn given_a_range_in_bytes_when_the_chunks_are_longer_than_it_then_the_peer_is_at_fault() {
    let now = start();
    let mut us = exchange(now);
    let id = us.request_range(Range::file_bytes(file(1), 1_000, 1_002), DEADLINES, now).unwrap();
    // A byte of each of the two chunks is in the range.
    let longest = [chunk(id, 8, 131_072), chunk(id, 9, 131_072)];

    check_fault(&mut us, longest.into_iter().chain([chunk(id, 10, 1)]), |error| {
        *error == Error::TooManyBytes { id: 1 }
    });
}

#[test]
fn given_a_chunk_that_is_none_or_in_another_scheme_when_it_comes_then_the_peer_is_at_fault() {
    let now = start();
    let ask = |us: &mut Exchange| {
        let id = us.request_range(Range { accept: Schemes::RAW, ..chunks(0, 4) }, DEADLINES, now).unwrap();
        number(id)
    };
    let with = |id, record| Message::Chunk(Chunk { id, index: 0, record });

    let mut us = exchange(now);
    let id = ask(&mut us);
    check_fault(&mut us, [with(id, record_of(Scheme::Lz4, 10))], |error| {
        *error == Error::SchemeNotAccepted { id: 1, index: 0, scheme: 1 }
    });
    for record in [record(10).slice(..17), Bytes::from([&record(10)[..], b"x"].concat()), vec![255; 20].into()] {
        let mut us = exchange(now);
        let id = ask(&mut us);
        check_fault(&mut us, [with(id, record)], |error| matches!(error, Error::Record { .. }));
    }
}

#[test]
fn given_answers_to_requests_that_were_never_made_when_they_come_then_the_peer_is_at_fault() {
    let now = start();
    let answers = |id: u32| {
        [
            Message::Chunk(Chunk { id, index: 0, record: record(1) }),
            Message::Manifest(Manifest { id, total: 1, first: 0, leaves: leaves(1), proof: None }),
            have(id, [xorb(1)]),
            Message::End(End::new(id, Status::Done)),
        ]
    };
    for answer in answers(0).into_iter().chain(answers(2)) {
        let mut us = exchange(now);
        us.request_range(chunks(0, 4), DEADLINES, now).unwrap();
        check_fault(&mut us, [answer], |error| matches!(error, Error::NeverAsked { .. }));
    }
}

#[test]
fn given_answers_of_another_kind_when_they_come_then_the_peer_is_at_fault() {
    let now = start();
    let check = |ask: &dyn Fn(&mut Exchange) -> RequestId, answer: &dyn Fn(RequestId) -> Message| {
        let mut us = exchange(now);
        let id = ask(&mut us);
        check_fault(&mut us, [answer(id)], |error| matches!(error, Error::NotAskedFor { .. }));
    };
    let query = |us: &mut Exchange| us.query_have([xorb(1)], true, DEADLINES, now).unwrap();
    let list = |us: &mut Exchange| us.request_manifest(ManifestQuery::whole(xorb(1)), DEADLINES, now).unwrap();
    let proof = |us: &mut Exchange| us.request_manifest(ManifestQuery::run(file(1), 0, 9), DEADLINES, now).unwrap();
    let range = |us: &mut Exchange| us.request_range(chunks(0, 4), DEADLINES, now).unwrap();
    let a_chunk = |id| chunk(id, 0, 10);
    let a_list = |id| whole(id, 4);
    let a_proof = |id| run(id, 0, 4);
    let a_have = |id| have(number(id), [xorb(1)]);
    let another_have = |id| have(number(id), [xorb(2)]);
    let a_double_have = |id| have(number(id), [xorb(1), xorb(1)]);

    check(&query, &a_chunk);
    check(&query, &a_list);
    check(&query, &another_have);
    check(&query, &a_double_have);
    check(&list, &a_chunk);
    check(&list, &a_have);
    check(&list, &a_proof);
    check(&proof, &a_list);
    check(&range, &a_have);
    check(&range, &a_list);
}

#[test]
fn given_a_list_that_is_asked_for_first_when_a_chunk_comes_before_it_or_it_comes_twice_then_the_peer_is_at_fault() {
    let now = start();
    let ask = |object: Object| {
        let mut us = exchange(now);
        let range = Range { object, with_manifest: true, ..chunks(0, 4) };
        let id = us.request_range(range, DEADLINES, now).unwrap();
        (us, id)
    };
    let is_fault = |error: &Error| matches!(error, Error::NotAskedFor { .. });

    let (mut us, id) = ask(xorb(1));
    check_fault(&mut us, [chunk(id, 0, 10)], is_fault);
    let (mut us, id) = ask(xorb(1));
    check_fault(&mut us, [whole(id, 4), chunk(id, 0, 10), whole(id, 4)], is_fault);
    let (mut us, id) = ask(xorb(1));
    check_fault(&mut us, [run(id, 0, 4)], is_fault);
    let (mut us, id) = ask(file(1));
    check_fault(&mut us, [whole(id, 4)], is_fault);
    let (mut us, id) = ask(file(1));
    check_fault(&mut us, [run(id, 0, 4), chunk(id, 3, 10), chunk(id, 4, 10)], |error| {
        matches!(error, Error::ChunkOutOfRange { .. })
    });
}

#[test]
fn given_a_range_in_bytes_when_its_list_has_come_then_chunks_outside_of_the_list_are_a_fault() {
    let now = start();
    for index in [89, 92] {
        let mut us = exchange(now);
        let range = Range { with_manifest: true, ..Range::file_bytes(file(1), 0, 64 * KIB) };
        let id = us.request_range(range, DEADLINES, now).unwrap();
        check_fault(&mut us, [run(id, 90, 2), chunk(id, index, 10)], |error| {
            matches!(error, Error::ChunkOutOfRange { min: 90, max: 91, .. })
        });
    }
}

#[test]
fn given_a_list_that_was_asked_for_when_it_comes_then_it_is_told_of_once() {
    let now = start();
    let mut us = exchange(now);
    let id = us.request_manifest(ManifestQuery::run(file(1), 0, 9), DEADLINES, now).unwrap();

    us.handle_message(run(id, 2, 3), now).unwrap();

    let Some(Event::Manifest { id: told, manifest }) = us.poll_event() else { panic!("no list") };
    assert_eq!((id, 2, 3), (told, manifest.first, manifest.leaves.len()));
    check_fault(&mut us, [run(id, 2, 3)], |error| matches!(error, Error::NotAskedFor { .. }));
}

#[test]
fn given_answers_about_objects_in_parts_when_they_come_then_each_part_is_told_of() {
    let now = start();
    let mut us = exchange(now);
    let id = us.query_have([xorb(1), xorb(2), xorb(3)], false, DEADLINES, now).unwrap();

    us.handle_message(have(1, [xorb(3), xorb(1)]), now).unwrap();
    us.handle_message(have(1, [xorb(2)]), now).unwrap();

    let told: Vec<_> = events(&mut us)
        .into_iter()
        .map(|event| match event {
            Event::Have { id: Some(told), entries } if told == id => entries.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!([2, 1], told[..]);
    check_fault(&mut us, [have(1, [xorb(2)])], |error| matches!(error, Error::NotAskedFor { .. }));
}

#[test]
fn given_a_subscription_when_news_come_then_those_about_other_objects_are_left_out() {
    let now = start();
    let mut us = exchange(now);
    us.query_have([xorb(9)], false, DEADLINES, now).unwrap();
    check_fault(&mut us, [have(0, [xorb(9)])], |error| matches!(error, Error::NeverAsked { .. }));

    let id = us.query_have([xorb(1)], true, DEADLINES, now).unwrap();
    us.handle_message(done(id), now).unwrap();
    events(&mut us);
    us.handle_message(have(0, [xorb(1), xorb(9)]), now).unwrap();
    us.handle_message(have(0, [xorb(1)]), now).unwrap();

    for event in events(&mut us) {
        let Event::Have { id: None, entries } = event else { panic!("{event:?}") };
        assert_eq!([xorb(1)], entries.iter().map(|entry| entry.object).collect::<Vec<_>>()[..]);
    }
}

#[test]
fn given_a_request_that_has_ended_when_data_comes_late_then_it_is_dropped_unseen_and_a_second_end_is_a_fault() {
    let now = start();
    let mut us = exchange(now);
    let id = us.request_range(chunks(0, 4), DEADLINES, now).unwrap();
    us.handle_message(done(id), now).unwrap();
    events(&mut us);

    // What is dropped is not looked at: this is no chunk record.
    us.handle_message(Message::Chunk(Chunk { id: 1, index: 99, record: vec![255; 20].into() }), now).unwrap();
    us.handle_message(whole(id, 4), now).unwrap();
    assert_eq!(None, us.poll_event());

    check_fault(&mut us, [done(id)], |error| *error == Error::EndedTwice { id: 1 });
}

#[test]
fn given_a_request_that_has_ended_when_more_comes_late_than_was_asked_for_then_the_peer_is_at_fault() {
    let now = start();
    let mut us = exchange(now);
    let id = us.request_range(Range::file_bytes(file(1), 0, 64 * KIB), DEADLINES, now).unwrap();
    us.handle_message(done(id), now).unwrap();

    let refused = (0..100).position(|index| us.handle_message(chunk(id, index, 65_536), now).is_err());

    // Twice what was asked for, and what chunks at the ends of a range may stick out.
    assert_eq!(Some(9), refused);
    check_fault(&mut us, [chunk(id, 100, 65_536)], |error| *error == Error::LateData);
}

#[test]
fn given_a_request_that_was_answered_in_full_when_more_comes_then_the_peer_is_at_fault_at_once() {
    let now = start();
    let mut us = exchange(now);
    let id = us.request_range(chunks(0, 1), DEADLINES, now).unwrap();

    check_fault(&mut us, [chunk(id, 0, 10), done(id), chunk(id, 0, 10)], |error| *error == Error::LateData);
}

#[test]
fn given_messages_that_are_not_known_when_they_come_then_they_are_passed_over() {
    let now = start();
    let mut us = exchange(now);

    for kind in [0x00, 0x01, 0x0f, 0x1a, 0x40, 0x7f] {
        us.handle_message(Message::Unknown { kind, body: Bytes::from_static(b"any") }, now).unwrap();
    }
    us.handle_message(Message::Pong { nonce: 5 }, now).unwrap();
    us.handle_message(Message::Cancel { id: 5 }, now).unwrap();

    assert_eq!((None, None), (us.poll_event(), us.poll_message()));
}
