//! In which order the requests of one peer are answered.

use bep_xet::{Message, Object, Range, RangeRequest};

use super::*;
use crate::peer::frames::Frame;

const CHUNK_KIND: u8 = 0x15;

/// Asks for the whole file.
fn ask(seeding: &mut Seeding<Handle>, id: u32, urgent: bool, now: Instant) {
    let file = Object::file(tree().file_hash());
    let range = Range { urgent, ..Range::file_bytes(file, 0, u64::from(CHUNKS * CHUNK_BYTES)) };
    let mut payload = BytesMut::new();
    Message::RangeRequest(RangeRequest { id, range }).encode(&mut payload);
    let message = bt_wire::Message::Extended { id: OUR_UT_XET, payload: payload.freeze() };
    seeding.handle_message(Frame::Message(message), now).unwrap();
    let job = seeding.poll_event().unwrap();
    seeding.handle_found(find(job, true), now).unwrap();
}

/// The requests whose chunks are sent, one for each chunk, until nothing is left to read.
fn answered(seeding: &mut Seeding<Handle>, now: Instant) -> Vec<u32> {
    let mut ids = Vec::new();
    loop {
        seeding.send_more(now).unwrap();
        let batch = seeding.begin_reading();
        let is_idle = batch.is_none();
        batch.into_iter().for_each(|batch| seeding.handle_found(read(batch), now).unwrap());
        let sent: Vec<Frame> = std::iter::from_fn(|| seeding.poll_message(now)).collect();
        for frame in &sent {
            if let Frame::Split { head, .. } = frame
                && head[0] == CHUNK_KIND
            {
                ids.push(u32::from_be_bytes(*head[1..].first_chunk().unwrap()));
            }
        }
        if is_idle && sent.is_empty() {
            return ids;
        }
    }
}

#[test]
fn given_an_urgent_request_when_others_are_being_answered_then_it_goes_before_what_is_not_read_of_them() {
    let now = Pair::<Proving>::new().now;
    let mut seeding = Seeding::<Handle>::new(session(now));
    ask(&mut seeding, 1, false, now);
    ask(&mut seeding, 2, false, now);
    let begun = seeding.begin_reading().unwrap();
    assert!(seeding.begin_reading().is_none());
    ask(&mut seeding, 3, true, now);
    ask(&mut seeding, 4, true, now);
    seeding.handle_found(read(begun), now).unwrap();

    let ids = answered(&mut seeding, now);

    let all = CHUNKS as usize;
    assert_eq!([1; 4], ids[..4]);
    assert!(ids[4..4 + 2 * all].iter().all(|id| [3, 4].contains(id)), "{ids:?}");
    // In turn, a batch each.
    assert_eq!([3, 3, 3, 3, 4, 4, 4, 4, 3], ids[4..13]);
    assert_eq!([2, 2, 2, 2, 1, 1, 1, 1, 2], ids[4 + 2 * all..][..9]);
    assert_eq!(4 * all, ids.len());
}

#[test]
fn given_a_request_that_is_cancelled_when_its_turn_comes_then_the_turn_is_another_ones() {
    let now = Pair::<Proving>::new().now;
    let mut seeding = Seeding::<Handle>::new(session(now));
    ask(&mut seeding, 1, true, now);
    ask(&mut seeding, 2, false, now);
    assert!(seeding.wants_to_read());

    let mut payload = BytesMut::new();
    Message::Cancel { id: 1 }.encode(&mut payload);
    let message = bt_wire::Message::Extended { id: OUR_UT_XET, payload: payload.freeze() };
    seeding.handle_message(Frame::Message(message), now).unwrap();

    assert_eq!(vec![2; CHUNKS as usize], answered(&mut seeding, now));
}
