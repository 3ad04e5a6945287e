//! How fast one source is: what it brought in the time in which something was asked of it.

use std::time::{Duration, Instant};

/// Bytes are counted for so long before they are a sample of the rate: a burst of some packets is none.
const SAMPLE: Duration = Duration::from_millis(100);
/// Samples count less the older they are: what came in this time has about as much weight as everything before.
const MEMORY: Duration = Duration::from_secs(1);
const SAMPLE_WEIGHT_MIN: f64 = 0.1;
/// Samples of which the fastest is the highest rate: some seconds.
const SAMPLES_KEPT: usize = 16;
/// Bytes that a source may have outstanding beyond what it is just asked for: see [`Pace::window_bytes`].
const WINDOW_BYTES_MIN: u64 = 256 * 1024;
const WINDOW_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Highest rate times shortest round trip fills the way there and back once; twice as much covers what varies.
const WINDOW_ROUND_TRIPS: f64 = 2.0;
/// What comes in this time is outstanding in any case, up to a block: what arrives is noticed in lumps, and a source that
/// runs dry between them would look slower than it is, and be asked for less.
const WINDOW_TIME_MIN: Duration = Duration::from_millis(250);

/// Rate and round trip of a source, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Of requests that were asked for while nothing else was outstanding.
    round_trip_min: Option<Duration>,
    rate: Option<f64>,
    highest: [f64; SAMPLES_KEPT],
    samples: usize,
    /// The sample that is being taken.
    bytes: u64,
    since: Option<Instant>,
}

impl Pace {
    /// Something is outstanding from now on.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Nothing is outstanding any more: what passes until the next request says nothing about the source.
    pub(super) fn rest(&mut self, now: Instant) {
        self.sample(now);
        self.since = None;
        self.bytes = 0;
    }

    pub(super) fn received(&mut self, bytes: u64, now: Instant) {
        self.bytes += bytes;
        if self.since.is_some_and(|since| now.saturating_duration_since(since) >= SAMPLE) {
            self.sample(now);
        }
    }

    /// An answer began so long after it was asked for, with nothing before it.
    pub(super) fn answered(&mut self, after: Duration) {
        self.round_trip_min = Some(self.round_trip_min.map_or(after, |before| before.min(after)));
    }

    fn sample(&mut self, now: Instant) {
        let Some(since) = self.since else { return };
        let elapsed = now.saturating_duration_since(since);
        if self.bytes == 0 || elapsed.is_zero() || (elapsed < SAMPLE && self.rate.is_some()) {
            return;
        }
        // A first sample that is short, of one small answer, is stretched, so that it promises nothing.
        let sample = self.bytes as f64 / elapsed.max(SAMPLE).as_secs_f64();
        let weight = 1.0 - (-elapsed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        self.rate = Some(self.rate.map_or(sample, |rate| rate + weight.max(SAMPLE_WEIGHT_MIN) * (sample - rate)));
        self.highest[self.samples % SAMPLES_KEPT] = sample;
        self.samples += 1;
        self.bytes = 0;
        self.since = Some(now);
    }

    /// Bytes a second, lower the longer nothing comes of what is outstanding. `None` before the first sample.
    pub(super) fn rate(&self, now: Instant) -> Option<f64> {
        let rate = self.rate?;
        let waited = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if waited <= SAMPLE * 2 {
            return Some(rate);
        }
        let lately = (self.bytes as f64 + rate * SAMPLE.as_secs_f64()) / waited.as_secs_f64();
        Some(rate.min(lately))
    }

    pub(super) fn round_trip(&self) -> Duration {
        self.round_trip_min.unwrap_or_default()
    }

    /// A source is asked for more when fewer bytes than this are outstanding, so that it never runs dry.
    pub(super) fn window_bytes(&self) -> u64 {
        let highest = self.highest.iter().copied().fold(0.0, f64::max);
        let on_the_way = WINDOW_ROUND_TRIPS * highest * self.round_trip().as_secs_f64();
        let lumps = (highest * WINDOW_TIME_MIN.as_secs_f64()).min(super::BLOCK_BYTES as f64);
        (on_the_way.max(lumps) as u64).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX)
    }

    /// How long `bytes` take.
    pub(super) fn expected(&self, bytes: u64, now: Instant) -> Option<Duration> {
        let seconds = bytes as f64 / self.rate(now)?.max(1.0);
        Some(self.round_trip() + Duration::from_secs_f64(seconds.min(EXPECTED_SECONDS_MAX)))
    }
}

/// What is expected later than this is expected never: an hour.
const EXPECTED_SECONDS_MAX: f64 = 3_600.0;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::BLOCK_BYTES;
    use super::{Pace, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN};

    const MB: u64 = 1_000_000;

    #[expect(clippy::disallowed_methods, reason = "an origin for fake time")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Receives `bytes` every `every` for so many times.
    fn run(pace: &mut Pace, mut now: Instant, bytes: u64, every: Duration, times: u32) -> Instant {
        pace.begin(now);
        for _ in 0..times {
            now += every;
            pace.received(bytes, now);
        }
        now
    }

    #[test]
    fn given_a_steady_source_when_it_brings_then_its_rate_and_not_its_pauses_between_requests() {
        let (mut pace, mut now) = (Pace::default(), start());
        assert_eq!(None, pace.rate(now));
        for _ in 0..5 {
            now = run(&mut pace, now, MB, Duration::from_millis(50), 10);
            pace.rest(now);
            now += Duration::from_secs(60);
        }

        let rate = pace.rate(now).unwrap();
        assert!((19e6..21e6).contains(&rate), "{rate}");
        let expected = pace.expected(40 * MB, now).unwrap();
        assert!((1.9..2.1).contains(&expected.as_secs_f64()), "{expected:?}");
    }

    #[test]
    fn given_a_source_that_stops_when_time_passes_then_its_rate_falls() {
        let (mut pace, now) = (Pace::default(), start());
        let now = run(&mut pace, now, MB, Duration::from_millis(50), 20);

        assert!(pace.rate(now + Duration::from_secs(2)).unwrap() < 2e6);
        assert!(pace.rate(now + Duration::from_secs(20)).unwrap() < 2e5);
    }

    #[test]
    fn given_a_burst_when_received_then_it_is_no_rate_by_itself() {
        let (mut pace, now) = (Pace::default(), start());
        pace.begin(now);
        pace.received(MB, now + Duration::from_micros(10));
        assert_eq!(None, pace.rate(now));
        // Its only answer took no time: what is known is that it is not slower than this.
        pace.rest(now + Duration::from_micros(10));
        assert!(pace.rate(now).unwrap() <= 1e7 + 1.0);
    }

    #[test]
    fn given_rate_and_round_trip_when_asked_then_the_window_is_between_its_bounds() {
        let (mut pace, now) = (Pace::default(), start());
        assert_eq!(WINDOW_BYTES_MIN, pace.window_bytes());
        let now = run(&mut pace, now, MB, Duration::from_millis(10), 100);
        pace.answered(Duration::from_millis(20));
        pace.answered(Duration::from_millis(50));
        let window = pace.window_bytes();
        assert!((39 * MB / 10..41 * MB / 10).contains(&window), "{window}");
        pace.answered(Duration::ZERO);
        assert_eq!(BLOCK_BYTES, pace.window_bytes());
        let mut slow = Pace::default();
        run(&mut slow, now, MB / 10, Duration::from_millis(100), 20);
        assert_eq!(WINDOW_BYTES_MIN, slow.window_bytes());

        let mut far = Pace::default();
        run(&mut far, now, 10 * MB, Duration::from_millis(1), 1_000);
        far.answered(Duration::from_secs(9));
        assert_eq!(WINDOW_BYTES_MAX, far.window_bytes());
    }
}
