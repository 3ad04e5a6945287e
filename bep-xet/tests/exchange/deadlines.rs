//! Everything that waits has a deadline.

use bep_xet::{Deadline, End, Error, Event, Status, StopReason};

use super::*;

#[test]
fn given_a_silent_peer_when_the_deadline_passes_then_the_request_is_cancelled_and_kept_until_its_end() {
    let now = start();
    let mut us = exchange(now);
    let id = us.request_range(chunks(0, 4), DEADLINES, now).unwrap();
    messages(&mut us);
    assert_eq!((Some(now + 5 * SECOND), Some("an answer of the peer")), (us.poll_timeout(), us.timeout_reason()));

    us.handle_timeout(now + 5 * SECOND - Duration::from_millis(1));
    assert_eq!(None, us.poll_event());
    us.handle_timeout(now + 5 * SECOND);

    assert_eq!([Event::RequestTimedOut { id, deadline: Deadline::Progress }], events(&mut us)[..]);
    assert_eq!([Message::Cancel { id: 1 }], messages(&mut us)[..]);
    assert_eq!((1, 256 * KIB), (us.open_requests(), us.outstanding_bytes()));
    us.handle_message(Message::End(End::new(1, Status::Cancelled)), now + 6 * SECOND).unwrap();
    assert!(matches!(us.poll_event(), Some(Event::Ended { status: Status::Cancelled, .. })));
    assert_eq!((0, 0), (us.open_requests(), us.outstanding_bytes()));
}

#[test]
fn given_a_slow_peer_when_chunks_come_then_each_extends_the_deadline_but_not_the_total() {
    let now = start();
    let mut us = exchange(now);
    let id = us.request_range(chunks(0, 9), DEADLINES, now).unwrap();

    for (index, at) in [(0, 4), (1, 8), (2, 11)] {
        let at = now + at * SECOND;
        us.handle_timeout(at);
        us.handle_message(chunk(id, index, 10), at).unwrap();
        assert!(matches!(events(&mut us)[..], [Event::Chunk { .. }]));
    }

    assert_eq!(Some(now + 12 * SECOND), us.poll_timeout());
    us.handle_timeout(now + 12 * SECOND);
    assert_eq!([Event::RequestTimedOut { id, deadline: Deadline::Total }], events(&mut us)[..]);
}

#[test]
fn given_a_list_before_chunks_when_it_comes_then_it_extends_the_deadline() {
    let now = start();
    let mut us = exchange(now);
    let range = bep_xet::Range { with_manifest: true, ..chunks(0, 4) };
    let id = us.request_range(range, DEADLINES, now).unwrap();

    us.handle_message(whole(id, 4), now + 4 * SECOND).unwrap();

    assert_eq!(Some(now + 9 * SECOND), us.poll_timeout());
}

#[test]
fn given_an_end_that_never_comes_when_its_time_is_over_then_the_connection_fails() {
    let now = start();
    let mut us = exchange(now);
    let id = us.request_range(chunks(0, 4), DEADLINES, now).unwrap();
    us.cancel(id, now);
    // A peer that is there, and sends what was cancelled for ever.
    us.handle_message(chunk(id, 0, 10), now + 29 * SECOND).unwrap();
    assert_eq!(Some("the end of a cancelled request"), us.timeout_reason());

    us.handle_timeout(now + 30 * SECOND);

    let [Event::Failed { error }] = &events(&mut us)[..] else { panic!("no failure") };
    assert_eq!(Error::EndOverdue { id: 1 }, *error);
    assert!(!error.is_peer_fault(), "the network may be slow");
    assert_eq!(None, us.poll_timeout());
    assert!(!us.can_request(1));
    us.handle_message(chunk(id, 1, 10), now + 31 * SECOND).unwrap();
    us.handle_timeout(now + 100 * SECOND);
    assert_eq!(None, us.poll_event());
}

#[test]
fn given_absurd_deadlines_when_a_request_is_made_then_nothing_overflows() {
    let now = start();
    let mut config = Config::default();
    for wait in [&mut config.end_within, &mut config.answer_within, &mut config.ping_after, &mut config.pong_within] {
        *wait = Duration::MAX;
    }
    let mut us = exchange_with(config, Limits::default(), now);
    let forever = Deadlines { progress: Duration::MAX, total: Duration::MAX };

    let id = us.request_range(chunks(0, 4), forever, now).unwrap();
    us.handle_message(range_request(1, chunks(0, 4)), now).unwrap();
    us.cancel(id, now);
    us.ping(now);

    assert_eq!(Some(now + 24 * 60 * 60 * SECOND), us.poll_timeout());
}

#[test]
fn given_a_request_of_the_peer_that_we_leave_when_its_time_is_over_then_it_is_ended_for_us() {
    let now = start();
    let mut us = exchange(now);
    us.handle_message(range_request(9, chunks(0, 4)), now).unwrap();
    let Some(Event::RangeAsked { id, .. }) = us.poll_event() else { panic!("nothing asked") };
    us.send_chunk(id, 0, record(10), now + 20 * SECOND).unwrap();
    let keep_alive = now + 50 * SECOND;
    us.handle_message(Message::Pong { nonce: 0 }, keep_alive).unwrap();

    assert_eq!(Some(now + 80 * SECOND), us.poll_timeout());
    us.handle_timeout(now + 80 * SECOND);

    let ended = End::new(9, Status::Busy).with_retry(SECOND);
    assert_eq!(Event::Stopped { id, reason: StopReason::Expired }, us.poll_event().unwrap());
    assert_eq!([Message::Ping { nonce: 1 }, Message::End(ended)], messages(&mut us)[..], "what waited is dropped");
    assert_eq!(Err(Error::NotOpen { id: 9 }), us.send_chunk(id, 1, record(10), now));
    assert_eq!((0, 0), (us.peer_requests(), us.requested_bytes()));
}

#[test]
fn given_a_silent_peer_when_a_ping_is_not_answered_then_the_connection_fails() {
    let now = start();
    let mut us = exchange(now);
    assert_eq!((Some(now + 30 * SECOND), Some("a word from the peer")), (us.poll_timeout(), us.timeout_reason()));

    us.handle_timeout(now + 30 * SECOND);
    assert_eq!([Message::Ping { nonce: 1 }], messages(&mut us)[..]);
    us.handle_timeout(now + 50 * SECOND);

    let [Event::Failed { error: Error::PongOverdue }] = events(&mut us)[..] else { panic!("no failure") };
    assert_eq!(None, us.poll_timeout());
}

#[test]
fn given_a_ping_when_it_is_answered_then_the_round_trip_is_told() {
    let now = start();
    let mut us = exchange(now);

    us.ping(now);
    us.ping(now);
    assert_eq!([Message::Ping { nonce: 1 }], messages(&mut us)[..], "one at a time");
    us.handle_message(Message::Pong { nonce: 1 }, now + SECOND).unwrap();

    assert_eq!([Event::Pong { round_trip: SECOND }], events(&mut us)[..]);
}
