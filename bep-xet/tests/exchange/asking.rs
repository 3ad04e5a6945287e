//! Making requests: ids, the window, pauses, cancelling.

use bep_xet::{
    Config, End, Error, Event, Exchange, HaveQuery, Limits, ManifestForm, ManifestQuery, Message, RETRY_MAX, RETRY_MIN,
    Range, Status, Unit, XetHandshake,
};
use std::time::Duration;

use super::*;

fn end(id: bep_xet::RequestId, status: Status) -> Message {
    Message::End(End::new(number(id), status))
}

#[test]
fn given_requests_when_made_then_they_are_sent_in_order_with_ids_from_one_up() {
    let now = start();
    let mut us = exchange(now);

    let query = us.query_have([xorb(2), xorb(1), xorb(2)], true, DEADLINES, now).unwrap();
    let list = us.request_manifest(ManifestQuery::whole(xorb(1)), DEADLINES, now).unwrap();
    let range = us.request_range(chunks(0, 4), DEADLINES, now).unwrap();

    assert_eq!([1, 2, 3], [query, list, range].map(number));
    let expected = [
        Message::HaveQuery(HaveQuery { id: 1, subscribe: true, objects: vec![xorb(1), xorb(2)] }),
        manifest_request(2, ManifestQuery::whole(xorb(1))),
        range_request(3, chunks(0, 4)),
    ];
    assert_eq!(expected, messages(&mut us)[..]);
    assert_eq!(3, us.open_requests());
}

#[test]
fn given_requests_that_make_no_sense_when_made_then_they_are_refused_and_take_no_id() {
    let now = start();
    let mut us = exchange(now);
    let form = ManifestForm::Unknown(4);
    let unit = Unit::Unknown(4);
    let bytes = |start, end| Range::file_bytes(file(1), start, end);

    for range in [
        chunks(4, 4),
        chunks(5, 4),
        chunks(0, 8_193),
        bytes(7, 7),
        bytes(0, 64 * KIB * KIB + 1),
        bytes(0, u64::MAX),
        Range { object: xorb(1), ..bytes(0, 1) },
        Range { unit, ..chunks(0, 4) },
    ] {
        assert!(matches!(us.request_range(range, DEADLINES, now), Err(Error::Misuse { .. })), "{range:?}");
    }
    for query in [ManifestQuery::run(file(1), 5, 5), ManifestQuery { form, ..ManifestQuery::whole(xorb(1)) }] {
        assert!(matches!(us.request_manifest(query, DEADLINES, now), Err(Error::Misuse { .. })));
    }
    assert!(us.query_have([], false, DEADLINES, now).is_err());
    let many = (0..1_025_u32).map(|i| {
        let mut object = xorb(1);
        object.hash[..4].copy_from_slice(&i.to_be_bytes());
        object
    });
    assert!(us.query_have(many.clone(), false, DEADLINES, now).is_err());
    assert!(us.query_have(many.clone().take(1_024), true, DEADLINES, now).is_ok());
    assert!(us.query_have(many.skip(1_024), true, DEADLINES, now).is_err(), "1,024 subscriptions are all");

    let largest = us.request_range(bytes(0, 64 * KIB * KIB), DEADLINES, now);
    assert_eq!(2, number(largest.unwrap()));
}

#[test]
fn given_the_window_of_the_peer_when_it_is_full_then_nothing_more_is_asked_until_bytes_come() {
    let now = start();
    let mut peer = XetHandshake::new(&Limits::default(), None);
    peer.outstanding_bytes = 256 * KIB;
    let mut us = Exchange::new(Config::default(), Limits::default(), &peer, now);

    let first = us.request_range(Range::file_bytes(file(1), 0, 200 * KIB), DEADLINES, now).unwrap();
    assert_eq!((256 * KIB, 200 * KIB), (us.window_bytes(), us.outstanding_bytes()));
    assert!(us.can_request(56 * KIB) && !us.can_request(56 * KIB + 1));
    assert_eq!(Err(Error::WindowFull), us.request_range(chunks(0, 1), DEADLINES, now));

    us.handle_message(chunk(first, 0, 8 * KIB as u32), now).unwrap();
    assert!(us.can_request(64 * KIB));
    let second = us.request_range(chunks(0, 1), DEADLINES, now).unwrap();
    assert_eq!(256 * KIB, us.outstanding_bytes());

    us.handle_message(end(first, Status::NotFound), now).unwrap();
    assert_eq!(64 * KIB, us.outstanding_bytes());
    us.handle_message(end(second, Status::Done), now).unwrap();
    assert_eq!(0, us.outstanding_bytes());
}

#[test]
fn given_our_own_window_when_it_is_smaller_than_the_peers_then_it_counts() {
    let now = start();
    let mut config = Config::default();
    config.window_bytes = 100 * KIB;
    config.requests_max = 2;
    let mut us = exchange_with(config, Limits::default(), now);

    assert!(us.can_request(100 * KIB) && !us.can_request(101 * KIB));
    us.request_range(chunks(0, 1), DEADLINES, now).unwrap();
    us.request_manifest(ManifestQuery::whole(xorb(1)), DEADLINES, now).unwrap();

    assert!(!us.can_request(1));
    assert_eq!(Err(Error::WindowFull), us.request_manifest(ManifestQuery::whole(xorb(1)), DEADLINES, now));
}

#[test]
fn given_a_range_of_chunks_when_they_come_then_the_window_frees_as_what_is_left_shrinks() {
    let now = start();
    let mut us = exchange(now);
    let id = us.request_range(chunks(0, 2_000), DEADLINES, now).unwrap();
    assert_eq!(64 * KIB * KIB, us.outstanding_bytes());

    us.handle_message(chunk(id, 499, 10), now).unwrap();
    assert_eq!(64 * KIB * KIB, us.outstanding_bytes(), "1,500 chunks are left");
    us.handle_message(chunk(id, 1_989, 10), now).unwrap();
    assert_eq!(640 * KIB, us.outstanding_bytes());
    us.handle_message(chunk(id, 1_999, 10), now).unwrap();
    assert_eq!(0, us.outstanding_bytes());
}

#[test]
fn given_a_busy_peer_when_its_time_is_over_then_it_is_asked_again_and_not_before() {
    for (retry_ms, wait) in [(0, RETRY_MIN), (2_000, 2 * SECOND), (u32::MAX, RETRY_MAX), (120_000, RETRY_MAX)] {
        let now = start();
        let mut us = exchange(now);
        let id = us.request_range(chunks(0, 4), DEADLINES, now).unwrap();

        let busy = End { retry_ms, next: 3, ..End::new(number(id), Status::Busy) };
        us.handle_message(Message::End(busy), now).unwrap();

        let ended = Event::Ended { id, status: Status::Busy, next: 3, retry: wait, detail: Bytes::new() };
        assert_eq!([ended], events(&mut us)[..]);
        assert!(!us.can_request(1));
        let just_before = now + wait - Duration::from_millis(1);
        assert_eq!(Err(Error::Busy), us.request_range(chunks(0, 4), DEADLINES, just_before));
        assert_eq!(Err(Error::Busy), us.query_have([xorb(1)], false, DEADLINES, just_before));

        if wait < 30 * SECOND {
            assert_eq!((Some(now + wait), Some("a busy peer")), (us.poll_timeout(), us.timeout_reason()));
        }
        us.handle_timeout(now + wait);
        assert_eq!(Some(Event::Resumed), us.poll_event());
        assert!(us.can_request(1));
        assert!(us.request_range(chunks(0, 4), DEADLINES, now + wait).is_ok());
    }
}

#[test]
fn given_a_busy_peer_when_it_unchokes_us_then_it_is_asked_at_once() {
    let now = start();
    let mut us = exchange(now);
    let id = us.request_range(chunks(0, 4), DEADLINES, now).unwrap();
    us.handle_message(Message::End(End::new(number(id), Status::Busy).with_retry(9 * SECOND)), now).unwrap();
    events(&mut us);

    us.handle_unchoke();

    assert_eq!([Event::Resumed], events(&mut us)[..]);
    assert!(us.request_range(chunks(0, 4), DEADLINES, now).is_ok());
    us.handle_unchoke();
    assert_eq!(None, us.poll_event(), "there was no pause");
}

#[test]
fn given_a_request_when_cancelled_then_it_stays_open_until_its_end_and_data_is_dropped() {
    let now = start();
    let mut us = exchange(now);
    let id = us.request_range(chunks(0, 4), DEADLINES, now).unwrap();
    messages(&mut us);

    assert!(us.cancel(id, now));
    assert!(!us.cancel(id, now), "once is enough");
    assert_eq!([Message::Cancel { id: 1 }], messages(&mut us)[..]);

    us.handle_message(chunk(id, 0, 100), now).unwrap();
    assert_eq!(None, us.poll_event());
    assert_eq!((256 * KIB, 1), (us.outstanding_bytes(), us.open_requests()));
    let next = us.request_range(chunks(0, 4), DEADLINES, now).unwrap();
    assert_eq!(2, number(next), "the id is not used again");

    us.handle_message(end(id, Status::Cancelled), now).unwrap();
    let ended = Event::Ended { id, status: Status::Cancelled, next: 0, retry: Duration::ZERO, detail: Bytes::new() };
    assert_eq!([ended], events(&mut us)[..]);
    assert!(!us.cancel(id, now));
    assert_eq!(256 * KIB, us.outstanding_bytes());
}

#[test]
fn given_a_peer_that_takes_short_frames_only_when_asked_much_then_the_request_is_refused() {
    let now = start();
    let mut peer = XetHandshake::new(&Limits::default(), None);
    peer.frame_bytes_max = 2 + 8 + 33;
    let mut us = Exchange::new(Config::default(), Limits::default(), &peer, now);

    assert_eq!(
        Err(Error::TooLargeForPeer { bytes: 74, max: 41 }),
        us.query_have([xorb(1), xorb(2)], false, DEADLINES, now)
    );
    let id = us.query_have([xorb(1)], false, DEADLINES, now);

    assert_eq!(1, number(id.unwrap()));
}
