//! How many bytes may pass: so many a second, and after a pause a burst. Pure: told what time it is.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Parts of a byte that are counted: what a rate of 1 byte a second brings in a nanosecond. So nothing is ever
/// rounded, whatever the rate and however often the clock is looked at.
const PARTS_PER_BYTE: i128 = 1_000_000_000;

/// Lets bytes through at a rate. What is taken may be more than there is, so that something larger than the burst
/// passes too; nothing more passes until that is made up for. Over any time `t` no more passes than
/// `rate × t + burst +` the last thing taken.
#[derive(Debug, Clone)]
pub(crate) struct TokenBucket {
    rate: NonZeroU64,
    /// The most there ever is, in parts.
    full: i128,
    /// What there is, in parts; negative while too much was taken.
    level: i128,
    /// When that was so.
    at: Instant,
}

impl TokenBucket {
    /// A full one. `rate` in bytes a second; a burst of less than a byte is one byte.
    pub(crate) fn new(rate: NonZeroU64, burst_bytes: u64, now: Instant) -> Self {
        let full = parts(burst_bytes.max(1));
        Self { rate, full, level: full, at: now }
    }

    /// Bytes a second.
    pub(crate) fn rate(&self) -> NonZeroU64 {
        self.rate
    }

    /// Takes so many bytes if at least one is there; false if none is, which changes nothing.
    pub(crate) fn take(&mut self, bytes: u64, now: Instant) -> bool {
        self.refill(now);
        let is_ready = self.level >= PARTS_PER_BYTE;
        if is_ready {
            self.level -= parts(bytes);
        }
        is_ready
    }

    /// Takes so many bytes, which have passed already, whether they are there or not.
    pub(crate) fn spend(&mut self, bytes: u64, now: Instant) {
        self.refill(now);
        self.level = self.level.saturating_sub(parts(bytes));
    }

    /// Puts back what was taken and did not pass.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.level = self.full.min(self.level + parts(bytes));
    }

    /// When something can be taken again; `None` if it can be now.
    pub(crate) fn ready_at(&self, now: Instant) -> Option<Instant> {
        let mut then = self.clone();
        then.refill(now);
        let missing = u128::try_from(PARTS_PER_BYTE - then.level).ok().filter(|missing| *missing > 0)?;
        let nanoseconds = missing.div_ceil(u128::from(self.rate.get()));
        // More than five centuries are as good as these.
        Some(then.at + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
    }

    /// A clock that stands still or goes back brings nothing.
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_nanos();
        let gained = elapsed.saturating_mul(self.rate.get().into());
        self.level =
            i128::try_from(gained).map_or(self.full, |gained| self.full.min(self.level.saturating_add(gained)));
        self.at = self.at.max(now);
    }
}

fn parts(bytes: u64) -> i128 {
    i128::from(bytes) * PARTS_PER_BYTE
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a point in time to count from")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bucket(rate: u64, burst_bytes: u64, now: Instant) -> TokenBucket {
        TokenBucket::new(NonZeroU64::new(rate).unwrap(), burst_bytes, now)
    }

    fn years(count: u64) -> Duration {
        Duration::from_secs(count * 365 * 24 * 3_600)
    }

    #[derive(Debug, Clone)]
    enum Step {
        Wait(Duration),
        Take(u64),
        /// Waits until something can be taken.
        WaitForIt,
        /// Of the last thing taken a part did not pass: so many thousandths.
        GiveBack(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0_u64..2_000_000_000).prop_map(|nanoseconds| Step::Wait(Duration::from_nanos(nanoseconds))),
            (0_u64..300_000).prop_map(Step::Take),
            Just(Step::WaitForIt),
            (0_u64..=1_000).prop_map(Step::GiveBack),
        ];
        prop::collection::vec(step, 1..100)
    }

    proptest! {
        #[test]
        fn given_any_use_when_any_window_is_looked_at_then_no_more_than_the_rate_a_burst_and_one_take_pass(
            rate in 1_u64..10_000_000,
            burst in 0_u64..1_000_000,
            steps in steps(),
        ) {
            let start = Instant::now();
            let (mut bucket, mut now, mut taken) = (bucket(rate, burst, start), start, Vec::<(Instant, u64)>::new());
            for step in steps {
                match step {
                    Step::Wait(time) => now += time,
                    Step::WaitForIt => now = bucket.ready_at(now).unwrap_or(now),
                    Step::Take(bytes) => {
                        let is_ready = bucket.ready_at(now).is_none();
                        prop_assert_eq!(is_ready, bucket.take(bytes, now));
                        if is_ready {
                            taken.push((now, bytes));
                        }
                    }
                    Step::GiveBack(thousandths) => {
                        if let Some((_, bytes)) = taken.last_mut() {
                            let back = *bytes * thousandths / 1_000;
                            *bytes -= back;
                            bucket.give_back(back);
                        }
                    }
                }
            }
            for (first, (begin, _)) in taken.iter().enumerate() {
                let (mut sum, mut largest) = (0, 0);
                for (end, bytes) in &taken[first..] {
                    sum += u128::from(*bytes);
                    largest = largest.max(u128::from(*bytes));
                    let by_rate = u128::from(rate) * (*end - *begin).as_nanos() / PARTS_PER_BYTE as u128;
                    prop_assert!(sum <= by_rate + u128::from(burst.max(1)) + largest);
                }
            }
        }

        #[test]
        fn given_anything_taken_when_it_is_made_up_for_then_something_passes_and_not_a_moment_before(
            rate in 1_u64..=u64::MAX,
            burst in any::<u64>(),
            takes in prop::collection::vec(any::<u32>(), 1..20),
        ) {
            let mut now = Instant::now();
            let mut bucket = bucket(rate, burst, now);
            for bytes in takes {
                if let Some(ready_at) = bucket.ready_at(now) {
                    prop_assert!(!bucket.clone().take(1, ready_at - Duration::from_nanos(1)));
                    now = ready_at;
                }
                prop_assert!(bucket.take(bytes.into(), now));
            }
        }
    }

    #[test]
    fn given_one_byte_a_second_when_it_is_looked_at_all_the_time_then_nothing_is_lost_to_rounding() {
        let start = Instant::now();
        let mut bucket = bucket(1, 1, start);
        assert!(bucket.take(1, start));

        let passed = (1..=10_000_000_u64).filter(|n| bucket.take(1, start + Duration::from_micros(*n))).count();

        assert_eq!(10, passed);
    }

    #[test]
    fn given_years_of_idleness_at_any_rate_when_used_then_there_is_a_burst_and_no_more() {
        for rate in [1, 3, 1_000_000, u64::MAX] {
            let start = Instant::now();
            let mut bucket = bucket(rate, 1_000, start);
            let now = start + years(100);

            assert!(bucket.take(1_000, now));
            assert!(!bucket.take(1, now), "{rate}");
        }
    }

    #[test]
    fn given_a_debt_that_takes_an_eternity_when_asked_then_a_time_far_off() {
        let start = Instant::now();
        let mut bucket = bucket(1, 1, start);
        assert!(bucket.take(u64::MAX, start));

        assert!(bucket.ready_at(start).unwrap() > start + years(100));
        assert!(!bucket.take(1, start + years(100)));
    }

    #[test]
    fn given_a_clock_that_stands_still_or_goes_back_when_used_then_it_brings_nothing_and_takes_nothing() {
        let start = Instant::now() + years(1);
        let mut bucket = bucket(1_000, 500, start);
        assert!(bucket.take(500, start));

        assert!(!bucket.take(1, start));
        assert!(!bucket.take(1, start - Duration::from_secs(60)));
        assert!(bucket.take(1, start + Duration::from_millis(1)));
        assert!(!bucket.take(1, start + Duration::from_millis(1)));
    }
}
