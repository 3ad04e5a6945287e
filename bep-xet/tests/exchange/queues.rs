//! What waits to be sent is bounded, and control goes first.

use bep_xet::{End, Error, Event, HaveEntry, HaveQuery, HaveState, PeerRequestId, Status};

use super::*;

fn asked(us: &mut Exchange, id: u32) -> PeerRequestId {
    us.handle_message(range_request(id, chunks(0, 100)), start()).unwrap();
    match us.poll_event() {
        Some(Event::RangeAsked { id, .. }) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn given_data_that_waits_when_there_is_enough_of_it_then_no_more_is_taken() {
    let now = start();
    let mut config = Config::default();
    config.data_queued_bytes_max = 100_000;
    let mut us = exchange_with(config, Limits::default(), now);
    let id = asked(&mut us, 1);

    us.send_chunk(id, 0, record(60_000), now).unwrap();
    assert!(us.wants_data());
    us.send_chunk(id, 1, record(60_000), now).unwrap();
    assert!(!us.wants_data());
    assert_eq!(Err(Error::QueueFull), us.send_chunk(id, 2, record(1), now));

    us.poll_message().unwrap();
    assert!(us.wants_data());
    assert_eq!(Ok(()), us.send_chunk(id, 2, record(1), now), "the refused one had not counted");
    us.end(id, Status::Done, 3, Duration::ZERO).unwrap();
}

#[test]
fn given_data_that_waits_when_there_is_something_to_control_then_that_is_sent_first() {
    let now = start();
    let mut us = exchange(now);
    let id = asked(&mut us, 1);
    us.send_chunk(id, 0, record(10), now).unwrap();
    us.end(id, Status::Done, 1, Duration::ZERO).unwrap();
    us.request_range(chunks(0, 4), DEADLINES, now).unwrap();
    us.handle_message(Message::Ping { nonce: 77 }, now).unwrap();

    assert_eq!(Some(Message::Pong { nonce: 77 }), us.poll_control());
    assert_eq!(Some(range_request(1, chunks(0, 4))), us.poll_control());
    assert_eq!(None, us.poll_control());
    assert!(matches!(messages(&mut us)[..], [Message::Chunk(_), Message::End(_)]));
}

#[test]
fn given_a_flood_of_pings_when_nothing_is_sent_then_the_oldest_are_forgotten() {
    let now = start();
    let mut us = exchange(now);

    for nonce in 0..10_000 {
        us.handle_message(Message::Ping { nonce }, now).unwrap();
    }

    let expected: Vec<_> = (9_984..10_000).map(|nonce| Message::Pong { nonce }).collect();
    assert_eq!(expected, messages(&mut us));
}

#[test]
fn given_a_peer_that_asks_and_does_not_read_when_it_goes_on_then_it_is_at_fault() {
    let now = start();
    let unread = |message: &dyn Fn(u32) -> Message| {
        let mut us = exchange(now);
        let refused = (1..).find_map(|id| us.handle_message(message(id), now).err().map(|error| (id, error)));
        let (id, error) = refused.unwrap();
        assert!(error.is_peer_fault());
        assert_eq!(Error::Flood { unread: 1_024 }, error);
        id
    };

    assert_eq!(1_025, unread(&|id| range_request(id, chunks(0, 1))));
    assert_eq!(1_025, unread(&|id| Message::UnknownRequest { kind: 0x80, id, body: Bytes::new() }));
}

#[test]
fn given_a_peer_that_reads_when_it_asks_for_ever_then_it_is_answered_for_ever() {
    let now = start();
    let mut us = exchange(now);

    for id in 1..5_000 {
        us.handle_message(Message::UnknownRequest { kind: 0x80, id, body: Bytes::new() }, now).unwrap();
        assert_eq!([Message::End(End::new(id, Status::Unsupported))], messages(&mut us)[..]);
    }
}

#[test]
fn given_control_messages_that_wait_when_there_are_enough_then_no_more_answers_and_requests_are_taken() {
    let now = start();
    let mut config = Config::default();
    config.control_queued_bytes_max = 150;
    let mut us = exchange_with(config, Limits::default(), now);
    let entry = |name| HaveEntry { object: xorb(name), state: HaveState::All };
    let objects = (0..8).map(xorb).collect();
    us.handle_message(Message::HaveQuery(HaveQuery { id: 1, subscribe: true, objects }), now).unwrap();
    let Some(Event::HaveAsked { id, .. }) = us.poll_event() else { panic!("nothing asked") };

    assert!(matches!(us.send_have(id, (0..8).map(entry).collect(), now), Err(Error::Misuse { .. })));
    let request = us.request_range(chunks(0, 4), DEADLINES, now).unwrap();
    assert_eq!(Ok(()), us.send_have(id, vec![entry(0)], now));
    assert_eq!(Err(Error::QueueFull), us.send_have(id, vec![entry(1), entry(2)], now));
    assert_eq!(Err(Error::QueueFull), us.send_news([entry(1), entry(2)]));
    assert_eq!(Err(Error::QueueFull), us.request_range(chunks(0, 4), DEADLINES, now));
    assert!(us.cancel(request, now), "what ends something is always taken");

    assert_eq!(3, messages(&mut us).len());
    assert_eq!(Ok(()), us.send_have(id, vec![entry(1), entry(2)], now));
    assert_eq!(2, number(us.request_range(chunks(0, 4), DEADLINES, now).unwrap()));
}
