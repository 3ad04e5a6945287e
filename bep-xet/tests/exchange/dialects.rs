//! Both roles in every dialect, over a connection in memory, and peers that do not keep to the rules.

use std::collections::VecDeque;

use bep_xet::{Dialect, Error, PeerRequestId, ProvenChunk, Status};
use proptest::prelude::*;
use xet_cas::xorb::{Records, Serialized};

use super::legacy::*;
use super::line::{Line, pair};
use super::*;

const DIALECTS: [Dialect; 3] = [Dialect::Base, Dialect::Ranged, Dialect::V2];

/// A program that serves one xorb in every dialect.
struct Seeder {
    stored: Serialized,
    /// What is being sent: the request, and what is left of its answer.
    sending: VecDeque<(PeerRequestId, Answer)>,
}

enum Answer {
    Data { bytes: Bytes, is_begun: bool },
    Chunks { next: u32, end: u32 },
}

impl Seeder {
    fn new(stored: Serialized) -> Self {
        Self { stored, sending: VecDeque::new() }
    }

    fn turn(&mut self, exchange: &mut Exchange, now: Instant) {
        while let Some(event) = exchange.poll_event() {
            let (id, answer) = match event {
                Event::XorbAsked { id, xorb, .. } => {
                    let bytes = Bytes::from(self.stored.records.clone());
                    (id, (xorb == self.stored.hash()).then_some(Answer::Data { bytes, is_begun: false }))
                }
                Event::ChunkAsked { id, chunk } => {
                    let found = raw_chunks().into_iter().find(|raw| ChunkHash::of(raw) == chunk);
                    (id, found.map(|raw| Answer::Data { bytes: raw.into(), is_begun: false }))
                }
                Event::RangeAsked { id, range } => {
                    let is_held = range.object == Object::xorb(self.stored.hash());
                    let (next, end) = (range.start as u32, range.end as u32);
                    (id, is_held.then_some(Answer::Chunks { next, end }))
                }
                other => panic!("{other:?}"),
            };
            match answer {
                Some(answer) => self.sending.push_back((id, answer)),
                None => exchange.end(id, Status::NotFound, 0, Duration::ZERO).unwrap(),
            }
        }
        while let Some((id, answer)) = self.sending.front_mut() {
            let (id, is_done) = match answer {
                Answer::Data { bytes, is_begun } => {
                    if !*is_begun && !exchange.wants_response() || !exchange.wants_data() {
                        return;
                    }
                    if !*is_begun {
                        exchange.begin_response(*id, bytes.len() as u64, now).unwrap();
                        *is_begun = true;
                    }
                    if !exchange.wants_data() {
                        return;
                    }
                    exchange.send_data(*id, bytes.split_to(bytes.len().min(50_000)), now).unwrap();
                    (*id, bytes.is_empty())
                }
                Answer::Chunks { next, end } => {
                    if !exchange.wants_data() {
                        return;
                    }
                    let record = records(&self.stored, *next, *next + 1);
                    exchange.send_chunk(*id, *next, record, now).unwrap();
                    *next += 1;
                    if *next == *end {
                        exchange.end(*id, Status::Done, (*end).into(), Duration::ZERO).unwrap();
                    }
                    (*id, *next == *end)
                }
            };
            if is_done {
                assert!(!exchange.is_open(id));
                self.sending.pop_front();
            }
        }
    }
}

/// What the asking side got in the end.
#[derive(Default)]
struct Got {
    proven: Vec<ProvenChunk>,
    unchecked: Vec<(u32, Bytes)>,
    ended: Vec<(RequestId, Status)>,
}

impl Got {
    fn take(&mut self, exchange: &mut Exchange) {
        for event in events(exchange) {
            match event {
                Event::Proven { chunks, .. } => self.proven.extend(chunks),
                Event::Chunk { index, record, .. } => self.unchecked.push((index, record)),
                Event::Ended { id, status, .. } => self.ended.push((id, status)),
                Event::Unproven { .. } | Event::RequestTimedOut { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Until nothing moves.
fn talk(line: &mut Line, seeder: &mut Seeder, got: &mut Got) -> Result<(), Error> {
    loop {
        let mut moved = 0;
        for side in 0..2 {
            moved += line.write(side);
            line.read(1 - side)?;
        }
        seeder.turn(&mut line.sides[1], line.now);
        got.take(&mut line.sides[0]);
        if moved == 0 && line.write(1) == 0 {
            return Ok(());
        }
        line.read(0)?;
        got.take(&mut line.sides[0]);
    }
}

/// What is asked for in a dialect: the whole xorb.
fn wanted(dialect: Dialect) -> Vec<Range> {
    match dialect {
        Dialect::Base => {
            let chunk =
                |raw: Vec<u8>| Range::chunks(Object::chunk(ChunkHash::of(&raw)), ChunkRange { start: 0, end: 1 });
            raw_chunks().into_iter().map(chunk).collect()
        }
        Dialect::Ranged | Dialect::V2 => vec![range_of(&stored(), 0, 5)],
    }
}

#[test]
fn given_two_sides_of_any_dialect_when_one_asks_then_it_gets_what_the_other_has() {
    let now = start();
    for dialect in DIALECTS {
        for piece_bytes in [1, 7, 16_384, usize::MAX] {
            let mut line = Line::new(pair(dialect, now), piece_bytes, now);
            let (mut seeder, mut got) = (Seeder::new(stored()), Got::default());
            for range in wanted(dialect) {
                line.sides[0].request_range(range, DEADLINES, now).unwrap();
            }

            talk(&mut line, &mut seeder, &mut got).unwrap();

            let unchecked = got.unchecked.iter().map(|(_, record)| {
                let mut scratch = Vec::new();
                let record = Records::new(record).next().unwrap().unwrap();
                record.decode(&mut scratch).unwrap().to_vec()
            });
            let chunks: Vec<Vec<u8>> = got.proven.iter().map(raw).chain(unchecked).collect();
            assert!(raw_chunks() == chunks, "{dialect} in pieces of {piece_bytes}");
            assert!(got.ended.iter().all(|(_, status)| *status == Status::Done));
            assert_eq!(wanted(dialect).len(), got.ended.len());
            assert_eq!((0, 0), (line.sides[0].outstanding_bytes(), line.sides[1].requested_bytes()));
        }
    }
}

#[test]
fn given_a_peer_that_has_nothing_when_it_is_asked_in_any_dialect_then_every_request_ends_once() {
    let now = start();
    for dialect in DIALECTS {
        let mut line = Line::new(pair(dialect, now), 5, now);
        let mut seeder = Seeder::new(stored_of(&[vec![9; 99]]));
        let mut got = Got::default();
        let object = match dialect {
            Dialect::Base => Object::chunk(ChunkHash::of(b"nobody has this")),
            Dialect::Ranged | Dialect::V2 => xorb(5),
        };
        let range = Range::chunks(object, ChunkRange { start: 0, end: 1 });
        let id = line.sides[0].request_range(range, DEADLINES, now).unwrap();

        talk(&mut line, &mut seeder, &mut got).unwrap();

        assert_eq!([(id, Status::NotFound)], got.ended[..]);
        assert_eq!(0, line.sides[1].peer_requests());
    }
}

#[test]
fn given_both_sides_of_a_legacy_dialect_when_both_ask_then_both_get_it() {
    let now = start();
    for dialect in [Dialect::Base, Dialect::Ranged] {
        let mut line = Line::new(pair(dialect, now), 999, now);
        let mut seeders = [Seeder::new(stored()), Seeder::new(stored())];
        let mut got = [0, 0];
        for side in &mut line.sides {
            for range in wanted(dialect) {
                side.request_range(range, DEADLINES, now).unwrap();
            }
        }

        for _ in 0..50 {
            for side in 0..2 {
                line.write(side);
                line.read(1 - side).unwrap();
            }
            for (side, seeder) in seeders.iter_mut().enumerate() {
                // What is asked is for the seeder, the rest for us: taken apart by hand, as both share the events.
                let exchange = &mut line.sides[side];
                let mut asked = Vec::new();
                for event in events(exchange) {
                    match event {
                        Event::XorbAsked { id, .. } => asked.push((id, seeder.stored.records.clone().into())),
                        Event::ChunkAsked { id, chunk } => {
                            let raw = raw_chunks().into_iter().find(|raw| ChunkHash::of(raw) == chunk).unwrap();
                            asked.push((id, raw.into()));
                        }
                        Event::Proven { chunks, .. } => got[side] += chunks.len(),
                        Event::Ended { status, .. } => assert_eq!(Status::Done, status),
                        other => panic!("{other:?}"),
                    }
                }
                let begin = |(id, bytes)| (id, Answer::Data { bytes, is_begun: false });
                seeder.sending.extend(asked.into_iter().map(begin));
                seeder.turn(exchange, now);
            }
        }

        assert_eq!([5, 5], got);
    }
}

#[test]
fn given_frames_that_no_message_has_when_they_begin_then_they_are_refused_before_anything_is_read() {
    let now = start();
    for dialect in DIALECTS {
        for with_request in [false, true] {
            for bytes in [0, u64::from(u32::MAX) - 2, u64::MAX] {
                let [mut us, _] = pair(dialect, now);
                if with_request {
                    us.request_range(wanted(dialect)[0], DEADLINES, now).unwrap();
                }
                let refused = us.begin_payload(bytes);
                assert!(refused.as_ref().is_err_and(Error::is_peer_fault), "{dialect} {bytes}: {refused:?}");
            }
            let [mut us, _] = pair(dialect, now);
            assert!(us.handle_payload(Bytes::new(), now).is_err_and(|error| error.is_peer_fault()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn given_bytes_that_are_changed_on_the_way_when_they_arrive_then_nothing_wrong_is_handed_on(
        is_ranged: bool,
        with_list: bool,
        at: prop::sample::Index,
        flip in 1..=255_u8,
        cut: Option<prop::sample::Index>,
        piece_bytes in 1..100_000_usize,
    ) {
        let now = start();
        let dialect = if is_ranged { Dialect::Ranged } else { Dialect::Base };
        let mut line = Line::new(pair(dialect, now), piece_bytes, now);
        let mut config = Config::default();
        config.data_queued_bytes_max = 1 << 20;
        line.sides[1] = legacy_with(dialect, config, Limits::default(), now);
        let (mut seeder, mut got) = (Seeder::new(stored()), Got::default());
        for range in wanted(dialect) {
            let us = &mut line.sides[0];
            match with_list && is_ranged {
                true => us.request_listed_range(range, list(&stored()), DEADLINES, now).unwrap(),
                false => us.request_range(range, DEADLINES, now).unwrap(),
            };
        }
        line.write(0);
        line.read(1).unwrap();
        seeder.turn(&mut line.sides[1], now);
        line.write(1);
        let bytes = line.bytes_to(0);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }

        let read = line.read(0);
        got.take(&mut line.sides[0]);

        if let Err(error) = &read {
            prop_assert!(error.is_peer_fault(), "{}", error);
        }
        let whole = raw_chunks();
        for chunk in &got.proven {
            prop_assert!(whole.contains(&raw(chunk)));
            prop_assert!(!is_ranged || whole[chunk.index() as usize] == raw(chunk));
        }
        // Whatever it was, time ends it.
        if read.is_ok() {
            let us = &mut line.sides[0];
            us.handle_timeout(now + 12 * SECOND);
            us.handle_timeout(now + 100 * SECOND);
            let failed = events(us).iter().any(|event| matches!(event, Event::Failed { .. }));
            prop_assert!(us.open_requests() == 0 || failed);
        }
    }
}
