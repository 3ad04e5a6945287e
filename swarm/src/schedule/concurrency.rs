//! How many streams of the origin run at once: additive increase, and multiplicative decrease when it is overloaded.

use std::time::{Duration, Instant};

/// Streams may become this many times as many as at the start.
const GROWTH_MAX: f64 = 2.0;
/// One overload makes several streams fail; it counts once in this time.
const DECREASE_INTERVAL: Duration = Duration::from_secs(1);

/// Adaptive concurrency of the origin.
#[derive(Debug)]
pub(super) struct Concurrency {
    limit: f64,
    max: f64,
    decreased_at: Option<Instant>,
}

impl Concurrency {
    /// `stock`: what it begins with.
    pub(super) fn new(stock: usize) -> Self {
        let stock = stock.max(1) as f64;
        Self { limit: stock, max: stock * GROWTH_MAX, decreased_at: None }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// A stream ended well, while as many ran as may: after a round of them there is one more.
    pub(super) fn succeeded(&mut self) {
        self.limit = (self.limit + 1.0 / self.limit).min(self.max);
    }

    /// A stream timed out, or the origin said that it has too much to do (429, 5xx).
    pub(super) fn overloaded(&mut self, now: Instant) {
        let is_same = |at: Instant| now.saturating_duration_since(at) < DECREASE_INTERVAL;
        if !self.decreased_at.is_some_and(is_same) {
            self.decreased_at = Some(now);
            self.limit = (self.limit / 2.0).max(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Concurrency;

    #[test]
    fn given_streams_that_end_well_or_not_when_counted_then_one_more_a_round_and_half_of_it_at_once() {
        #[expect(clippy::disallowed_methods, reason = "an origin for fake time")]
        let now = Instant::now();
        let mut concurrency = Concurrency::new(8);
        assert_eq!(8, concurrency.limit());
        (0..9).for_each(|_| concurrency.succeeded());
        assert_eq!(9, concurrency.limit());
        (0..1_000).for_each(|_| concurrency.succeeded());
        assert_eq!(16, concurrency.limit());

        (0..16).for_each(|_| concurrency.overloaded(now));
        assert_eq!(8, concurrency.limit());
        for second in 1..10 {
            concurrency.overloaded(now + Duration::from_secs(second));
        }
        assert_eq!(1, concurrency.limit());
        (0..2).for_each(|_| concurrency.succeeded());
        assert_eq!(2, concurrency.limit());
    }
}
