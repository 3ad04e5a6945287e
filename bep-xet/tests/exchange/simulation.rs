//! Two exchanges over a pair of queues, driven by a script that proptest writes. Both sides keep to the rules, so
//! neither may ever call the other at fault, whatever is sent, held back, cancelled or late. A script that fails is
//! made short and printed, with its seed.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::side::{Side, Step};
use super::*;

fn step() -> impl Strategy<Value = Step> {
    let ask_range = any::<(bool, bool, bool, u16, u16)>();
    prop_oneof![
        1 => any::<(bool, u8)>().prop_map(|(subscribe, objects)| Step::AskHave { subscribe, objects }),
        1 => any::<bool>().prop_map(|of_file| Step::AskManifest { of_file }),
        4 => ask_range.prop_map(|(of_file, in_bytes, with_manifest, start, count)| {
            Step::AskRange { of_file, in_bytes, with_manifest, start, count }
        }),
        1 => any::<u8>().prop_map(|which| Step::Cancel { which }),
        8 => (any::<u8>(), 0..4_u8, 1..131_073_u32)
            .prop_map(|(which, index, length)| Step::Serve { which, index, length }),
        3 => any::<(u8, u8, u32)>().prop_map(|(which, status, retry_ms)| Step::End { which, status, retry_ms }),
        1 => any::<u8>().prop_map(|name| Step::News { name }),
        1 => Just(Step::Ping),
        1 => Just(Step::Unchoke),
        8 => (1..8_u8, any::<bool>()).prop_map(|(count, only_control)| Step::Send { count, only_control }),
        8 => (1..8_u8).prop_map(|count| Step::Deliver { count }),
        2 => (0..3_000_u16).prop_map(|ms| Step::Wait { ms }),
    ]
}

struct World {
    sides: [Side; 2],
    now: Instant,
}

impl World {
    fn new(window_bytes: u64, requests_max: usize, data_queued_bytes_max: usize) -> Self {
        let now = start();
        let side = || {
            let (mut config, mut limits) = (Config::default(), Limits::default());
            config.data_queued_bytes_max = data_queued_bytes_max;
            config.requests_max = 6;
            limits.requests_max = requests_max;
            limits.requested_bytes_max = window_bytes;
            Side::new(config, limits, now)
        };
        Self { sides: [side(), side()], now }
    }

    fn step(&mut self, at: usize, step: Step) {
        let now = self.now;
        let side = &mut self.sides[at];
        match step {
            Step::Send { count, only_control } => {
                for _ in 0..count {
                    let exchange = &mut self.sides[at].exchange;
                    let message = if only_control { exchange.poll_control() } else { exchange.poll_message() };
                    let Some(message) = message else { break };
                    self.sides[at].note_sent(&message);
                    self.sides[1 - at].incoming.push_back(message);
                }
            }
            Step::Deliver { count } => {
                for _ in 0..count {
                    let Some(message) = side.incoming.pop_front() else { break };
                    side.note_delivered(&message);
                    side.exchange.handle_message(message, now).expect("both sides keep to the rules");
                    side.take_events();
                }
            }
            Step::Wait { ms } => {
                self.now += Duration::from_millis(ms.into());
                self.handle_timeouts();
            }
            step => side.step(step, now),
        }
        self.sides.iter_mut().for_each(Side::take_events);
        self.check();
    }

    fn handle_timeouts(&mut self) {
        for side in &mut self.sides {
            side.exchange.handle_timeout(self.now);
            side.take_events();
            assert!(side.exchange.poll_timeout().is_none_or(|at| at > self.now), "what was due is done");
        }
    }

    /// What holds at every moment.
    fn check(&self) {
        for side in &self.sides {
            let Side { exchange, config, limits, .. } = side;
            let open = side.asked.values().filter(|ended| !**ended).count();
            assert_eq!(open, exchange.open_requests());
            assert!(open <= config.requests_max);
            assert!(exchange.outstanding_bytes() <= exchange.window_bytes());
            assert!(exchange.outstanding_bytes() == 0 || open > 0);
            assert_eq!(side.serving.len(), exchange.peer_requests());
            assert!(side.serving.len() <= limits.requests_max);
            assert!(exchange.requested_bytes() <= limits.requested_bytes_max);
            assert!(side.serving.keys().all(|id| exchange.is_open(*id)));
            if side.failed.is_some() {
                continue;
            }
            let timeout = exchange.poll_timeout().expect("something is always waited for");
            let longest = match (open, side.serving.len()) {
                (0, 0) => config.ping_after,
                (0, _) => config.answer_within,
                _ => config.end_within.max(DEADLINES.total),
            };
            assert!(timeout <= self.now + longest, "what is open has a deadline");
        }
    }

    /// All that is held back is sent, all that is asked for is ended, until nothing moves and nothing is open.
    fn drain(&mut self) {
        for _ in 0..1_000 {
            for at in 0..2 {
                let everything = Step::Send { count: u8::MAX, only_control: false };
                self.step(at, everything);
                self.step(1 - at, Step::Deliver { count: u8::MAX });
                self.step(at, Step::End { which: 0, status: 0, retry_ms: 0 });
            }
            if self.sides.iter().all(|side| side.failed.is_some() || side.is_idle()) {
                return;
            }
        }
        panic!("it goes on for ever");
    }

    /// Nothing is ever delivered again but answers to pings.
    fn stall(&mut self) {
        for _ in 0..1_000 {
            let Some(next) = self.sides.iter().filter_map(|side| side.exchange.poll_timeout()).min() else { return };
            if self.sides.iter().all(Side::has_nothing_open) {
                return;
            }
            self.now = next;
            self.handle_timeouts();
            for side in &mut self.sides {
                while let Some(message) = side.exchange.poll_message() {
                    if let Message::Ping { nonce } = message {
                        side.exchange.handle_message(Message::Pong { nonce }, self.now).unwrap();
                    }
                }
                side.take_events();
            }
            self.check();
        }
        panic!("something waits for ever");
    }
}

fn run(world: &mut World, steps: &[(bool, Step)]) {
    for (second, step) in steps {
        if world.sides.iter().any(|side| side.failed.is_some()) {
            return;
        }
        world.step(usize::from(*second), *step);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn given_two_sides_when_they_talk_in_any_order_then_every_request_ends_once(
        window_kib in 300..2_000_u64,
        requests_max in 1..9_usize,
        data_queued_bytes_max in 1..300_000_usize,
        steps in vec((any::<bool>(), step()), 0..200),
    ) {
        let mut world = World::new(window_kib * KIB, requests_max, data_queued_bytes_max);

        run(&mut world, &steps);
        if world.sides.iter().all(|side| side.failed.is_none()) {
            world.drain();
            let expired = world.sides.iter().any(|side| side.expired > 0);
            for side in &world.sides {
                // A side asks for 6 things at once at most, and never for more than the window that it was given.
                prop_assert!(side.busy == 0 || requests_max < 6 || expired, "what is in the window is served");
                prop_assert!(side.asked.values().all(|ended| *ended));
                prop_assert!(side.ids.values().all(|ends| *ends == 1));
                prop_assert_eq!(side.asked.len(), side.ids.len());
                prop_assert_eq!((0, 0), (side.exchange.outstanding_bytes(), side.exchange.requested_bytes()));
            }
        }
    }

    #[test]
    fn given_a_connection_that_stalls_at_any_moment_when_time_passes_then_nothing_stays_open(
        window_kib in 300..2_000_u64,
        requests_max in 1..9_usize,
        data_queued_bytes_max in 1..300_000_usize,
        steps in vec((any::<bool>(), step()), 0..100),
    ) {
        let mut world = World::new(window_kib * KIB, requests_max, data_queued_bytes_max);

        run(&mut world, &steps);
        world.stall();

        for side in &world.sides {
            let open: BTreeSet<_> = side.asked.iter().filter(|(_, ended)| !**ended).collect();
            prop_assert!(open.is_empty() || side.failed.is_some(), "{:?}", open);
        }
    }
}
