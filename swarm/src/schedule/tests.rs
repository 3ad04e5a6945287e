//! The scheduler with sources, a store and a clock that are modelled.

mod model;
mod step;
mod turns;

use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;

use self::model::{CHUNK_BYTES, Faults, Model, Peer};
use super::{BLOCK_BYTES, SourceMode};

const MB: f64 = 1e6;

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// A gigabyte in two files.
fn gigabyte(mode: SourceMode) -> Model {
    let mut model = Model::new(mode, 7);
    for file in 0..2 {
        model.add_file(file, &[&[60, 4], &[64], &[64], &[64], &[30, 2, 32], &[64], &[64], &[52]]);
    }
    model
}

/// With an origin of 50 MB/s and these peers.
fn pulled(mode: SourceMode, peers: &[Peer]) -> Model {
    let mut model = gigabyte(mode);
    model.origin_rate = 50.0 * MB;
    peers.iter().for_each(|peer| model.connect(*peer));
    model.run();
    model
}

#[test]
fn given_the_origin_alone_when_pulled_then_at_its_rate_and_nothing_twice() {
    let model = pulled(SourceMode::Auto, &[]);

    assert!(seconds(model.elapsed()) < 1.02 * model.total() / (50.0 * MB), "{:?}", model.elapsed());
    assert_eq!(0, model.wasted_bytes);
}

#[test]
fn given_peers_and_the_origin_when_pulled_then_at_nearly_the_sum_of_their_rates() {
    for count in [1, 2, 4] {
        let model = pulled(SourceMode::Auto, &vec![Peer::of(50.0 * MB); count]);

        let sum = 50.0 * MB * (count + 1) as f64;
        let part = model.total() / sum / seconds(model.elapsed());
        assert!(part > 0.9, "{count} peers: {part}, {} wasted", model.wasted_bytes);
        model.check_waste();
        model.check_requests();
    }
}

#[test]
fn given_peers_that_are_of_no_use_when_pulled_then_no_slower_than_without_them() {
    let alone = seconds(pulled(SourceMode::Auto, &[]).elapsed());
    let good = Peer::of(50.0 * MB);
    let silent = Peer { faults: Faults { is_silent: true, ..Faults::default() }, ..good };
    let liar = Peer { faults: Faults { lies_after: Some(1), ..Faults::default() }, ..good };
    let late = Peer { faults: Faults { stops_after: Some(10), ..Faults::default() }, ..good };
    let burst = Peer { faults: Faults { bursts: true, ..Faults::default() }, ..Peer::of(0.5 * MB) };
    let reverse = Peer { faults: Faults { is_reverse: true, ..Faults::default() }, ..good };
    for (name, peers) in [
        ("silent", vec![silent]),
        ("slow", vec![Peer::of(0.5 * MB)]),
        ("very slow", vec![Peer::of(0.005 * MB)]),
        ("lying", vec![liar]),
        ("25 lying", vec![liar; 25]),
        ("25 silent", vec![silent; 25]),
        ("25 slow", vec![Peer::of(0.5 * MB); 25]),
        ("25 that stop", vec![late; 25]),
        ("bursts", vec![burst; 3]),
        ("in reverse", vec![reverse]),
        ("all kinds", vec![silent, liar, late, burst, reverse, Peer::of(0.5 * MB)]),
    ] {
        let model = pulled(SourceMode::Auto, &peers);

        let time = seconds(model.elapsed());
        assert!(time <= 1.05 * alone + 0.5, "{name}: {time} s, alone {alone} s; {} wasted", model.wasted_bytes);
        model.check_waste();
        model.check_requests();
    }
}

#[test]
fn given_peers_first_when_peers_have_all_then_the_origin_is_not_asked_and_when_they_are_gone_it_is() {
    let model = pulled(SourceMode::PeersFirst, &[Peer::of(100.0 * MB)]);
    assert_eq!(0, model.origin_bytes);

    let mut model = gigabyte(SourceMode::PeersFirst);
    model.origin_rate = 50.0 * MB;
    model.connect(Peer { faults: Faults { leaves_after: Some(100), ..Faults::default() }, ..Peer::of(100.0 * MB) });
    model.run();
    assert!(model.origin_bytes > 0);

    let silent = Peer { faults: Faults { is_silent: true, ..Faults::default() }, ..Peer::of(MB) };
    let model = pulled(SourceMode::PeersFirst, &[silent]);
    assert!(seconds(model.elapsed()) < 1.02 * model.total() / (50.0 * MB) + 6.0, "{:?}", model.elapsed());
}

#[test]
fn given_peers_only_when_nobody_has_it_then_given_up_and_never_asked_of_the_origin() {
    let mut model = gigabyte(SourceMode::PeersOnly);
    model.origin_rate = 50.0 * MB;
    model.run();
    assert_eq!(2, model.abandoned.len());
    assert!(seconds(model.elapsed()) < 2.0, "{:?}", model.elapsed());

    let model = pulled(SourceMode::PeersOnly, &[Peer::of(100.0 * MB), Peer::of(50.0 * MB)]);
    assert!(model.abandoned.is_empty());
    assert_eq!(0, model.origin_bytes);
}

#[test]
fn given_fast_peers_behind_a_full_link_when_pulled_then_the_origin_is_spared() {
    let mut model = Model::new(SourceMode::Auto, 3);
    (0..8).for_each(|file| model.add_file(file, &[&[64][..]; 32]));
    (model.origin_rate, model.link_rate) = (50.0 * MB, Some(500.0 * MB));
    model.connect(Peer::of(900.0 * MB));
    model.run();

    let share = model.origin_bytes as f64 / model.total();
    assert!(
        share < 0.08,
        "{share} of everything from the origin in {:?}, {} wasted",
        model.elapsed(),
        model.wasted_bytes
    );
}

#[test]
fn given_sources_without_any_latency_when_pulled_then_they_do_not_get_in_each_others_way() {
    for seed in 0..40 {
        let mut model = Model::new(SourceMode::Auto, seed);
        (0..13).for_each(|file| model.add_file(file, &[&[64], &[10]]));
        model.first_step = Duration::from_millis(1);
        model.origin_rate = 1_600.0 * MB;
        model.origin_latency(Duration::from_millis(1));
        let latency = Duration::ZERO;
        model.connect(Peer { latency, ..Peer::of(1_400.0 * MB) });
        model.run();

        model.check_waste();
        model.check_requests();
        let sum = seconds(model.elapsed()) / (model.total() / (3_000.0 * MB));
        assert!(sum < 1.2, "{sum} of the best time, with {} bytes twice; seed {seed}", model.wasted_bytes);
    }
}

#[test]
fn given_sources_that_all_fail_at_once_and_return_when_pulled_then_it_goes_on() {
    let mut model = gigabyte(SourceMode::Auto);
    model.origin_rate = 50.0 * MB;
    model.origin_fails = Some((Duration::from_secs(3), Duration::from_secs(7)));
    let peer = Peer { returns_after: Some(Duration::from_millis(400)), ..Peer::of(50.0 * MB) };
    model.connect(Peer { faults: Faults { leaves_after: Some(225), ..Faults::default() }, ..peer });
    model.run();

    assert!(model.abandoned.is_empty(), "{:?}", model.abandoned);
    assert!(model.is_complete());
    model.check_waste();
}

#[test]
fn given_peers_that_come_and_go_every_second_when_pulled_then_what_they_brought_is_kept() {
    let mut model = gigabyte(SourceMode::Auto);
    model.origin_rate = 20.0 * MB;
    let restless = Peer { returns_after: Some(Duration::from_secs(1)), ..Peer::of(50.0 * MB) };
    let restless = Peer { faults: Faults { leaves_after: Some(95), ..Faults::default() }, ..restless };
    (0..4).for_each(|_| model.connect(restless));
    model.run();

    let alone = model.total() / (20.0 * MB);
    assert!(seconds(model.elapsed()) < 0.5 * alone, "{:?}, alone {alone} s", model.elapsed());
}

#[test]
fn given_ten_thousand_tiny_files_when_pulled_then_each_once() {
    let mut model = Model::new(SourceMode::Auto, 1);
    model.origin_rate = 500.0 * MB;
    (0..2).for_each(|_| model.connect(Peer::of(100.0 * MB)));
    for file in 0..10_000 {
        model.add_file_of_bytes(file, 1 + file as u64 % 3);
    }
    model.run();

    assert!(model.is_complete());
    model.check_waste();
}

#[test]
fn given_a_limit_when_pulled_then_it_holds_whoever_brings_it() {
    for (limit, file_bytes) in [(10_000_000, 200 * 1024 * 1024), (1, 40)] {
        let mut model = Model::with_limit(SourceMode::Auto, 1, NonZeroU64::new(limit));
        model.origin_rate = 50.0 * MB;
        model.connect(Peer::of(50.0 * MB));
        model.add_file_of_bytes(0, file_bytes);
        model.run();

        assert!(model.is_complete());
        // What was taken at once, of both sources, is over sooner.
        let slack = 2.0 + 3.0 * BLOCK_BYTES as f64 / limit as f64;
        let least = file_bytes as f64 / limit as f64;
        assert!(seconds(model.elapsed()) > least - slack, "{:?}, at least {least} s", model.elapsed());
        if limit > 1 {
            assert!(seconds(model.elapsed()) < least * 1.1 + 1.0, "{:?}, at least {least} s", model.elapsed());
        }
    }
}

#[test]
fn given_an_origin_that_gives_an_entry_never_when_no_peer_has_it_then_that_entry_is_named() {
    let mut model = Model::new(SourceMode::Auto, 1);
    model.origin_rate = 50.0 * MB;
    model.origin_fails = Some((Duration::ZERO, Duration::from_secs(1_000)));
    model.add_file(0, &[&[64]]);
    model.run();

    assert_eq!([(0, Some(0))], model.abandoned[..]);
}

fn faults() -> impl Strategy<Value = Faults> {
    let after = || prop::option::weighted(0.2, 1_u32..200);
    (prop::bool::weighted(0.1), after(), after(), after(), prop::bool::weighted(0.2), prop::bool::weighted(0.2))
        .prop_map(|(is_silent, stops_after, lies_after, leaves_after, is_reverse, bursts)| Faults {
            is_silent,
            stops_after,
            lies_after,
            leaves_after,
            is_reverse,
            bursts,
        })
}

fn peers() -> impl Strategy<Value = Vec<Peer>> {
    let returns = prop::option::weighted(0.3, (1_u64..5_000).prop_map(Duration::from_millis));
    let peer =
        (5_000.0..200.0 * MB, 0_u64..300, faults(), returns).prop_map(|(rate, latency, faults, returns_after)| Peer {
            faults,
            latency: Duration::from_millis(latency),
            returns_after,
            ..Peer::of(rate)
        });
    prop::collection::vec(peer, 0..8)
}

fn files() -> impl Strategy<Value = Vec<Vec<Vec<u64>>>> {
    let entry = prop::collection::vec(1_u64..40, 1..5);
    prop::collection::vec(prop::collection::vec(entry, 1..6), 1..5)
}

proptest! {
    /// Every chunk reaches the store exactly once, whatever the order of answers, cancels and faults; there is always
    /// a time at which something happens by itself; and little comes twice.
    #[test]
    fn given_any_sources_when_pulled_then_every_chunk_is_stored_once_and_little_comes_twice(
        files in files(),
        peers in peers(),
        origin_rate in MB..100.0 * MB,
        fails in prop::option::weighted(0.3, (0_u64..5_000, 0_u64..8_000)),
        gives_parts: bool,
        seed: u64,
    ) {
        let mut model = Model::new(SourceMode::Auto, seed);
        model.origin_rate = origin_rate;
        model.gives_parts = gives_parts;
        model.origin_fails = fails.map(|(from, to)| (Duration::from_millis(from), Duration::from_millis(from + to)));
        for (number, entries) in files.iter().enumerate() {
            let entries: Vec<&[u64]> = entries.iter().map(Vec::as_slice).collect();
            model.add_file(number, &entries);
        }
        peers.iter().for_each(|peer| model.connect(*peer));
        model.run();

        // An origin that is gone for longer than it is asked again is given up, if no peer is left.
        prop_assert!(model.is_complete() || (fails.is_some() && !model.abandoned.is_empty()));
        // What a CAS does not give in parts comes as a whole again.
        if gives_parts {
            model.check_waste();
        }
        model.check_requests();
    }
}

#[test]
fn a_chunk_of_the_model_is_a_part_of_a_block() {
    assert_eq!(0, BLOCK_BYTES % CHUNK_BYTES);
}
