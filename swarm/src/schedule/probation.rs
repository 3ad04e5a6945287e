//! When peers spare the origin. The origin runs at full concurrency until goodput with peers has been at least the best
//! of the origin alone for some seconds. Then it is asked for less, step by step, for as long as nothing is lost by it.

/// Seconds in a row in which peers and the origin must bring as much as the origin alone did at its best.
const PROBATION_SECONDS: u32 = 2;
/// A second that brings less than this part of what was there before the origin was asked for less ends it.
const KEPT_MIN: f64 = 0.95;
/// Seconds until it is tried again, which double each time that it was no gain.
const PAUSE_SECONDS_MIN: u32 = 4;
const PAUSE_SECONDS_MAX: u32 = 64;
/// Each step halves what the origin is asked for.
const STEPS_MAX: u32 = 5;

/// The rule, told once a second.
#[derive(Debug)]
pub(super) struct Probation {
    /// Bytes that the origin alone brought in its best second.
    best_alone: u64,
    good_seconds: u32,
    /// What a second brought before the origin was asked for less.
    before: u64,
    /// How often the origin's streams are halved.
    steps: u32,
    pause: u32,
    pause_left: u32,
}

impl Probation {
    pub(super) fn new() -> Self {
        Self { best_alone: 0, good_seconds: 0, before: 0, steps: 0, pause: PAUSE_SECONDS_MIN, pause_left: 0 }
    }

    /// How many of `streams` the origin may run.
    pub(super) fn streams(&self, streams: usize) -> usize {
        if self.steps >= STEPS_MAX { 0 } else { streams >> self.steps }
    }

    /// A second has passed, which brought so many bytes. `is_full`: both had enough to do all the time; `has_open`: there
    /// was something for the origin to do.
    pub(super) fn second(&mut self, origin: u64, peers: u64, is_full: bool, has_open: bool) {
        let goodput = origin + peers;
        if self.steps > 0 {
            // That there is nothing to do is no sign that anything is lost.
            if has_open && (goodput as f64) < KEPT_MIN * self.before.max(self.best_alone) as f64 {
                self.restore();
            } else if is_full && self.steps < STEPS_MAX {
                self.steps += 1;
            }
            return;
        }
        if peers == 0 {
            self.best_alone = self.best_alone.max(origin);
        }
        let is_good = peers > 0 && goodput >= self.best_alone && is_full;
        self.good_seconds = if is_good { self.good_seconds + 1 } else { 0 };
        self.pause_left = self.pause_left.saturating_sub(1);
        if self.good_seconds >= PROBATION_SECONDS && self.pause_left == 0 {
            self.before = goodput;
            self.steps = 1;
        }
    }

    /// The origin is asked for as much as ever.
    fn restore(&mut self) {
        self.steps = 0;
        self.good_seconds = 0;
        self.pause_left = self.pause;
        self.pause = (self.pause * 2).min(PAUSE_SECONDS_MAX);
    }

    /// All peers are gone.
    pub(super) fn without_peers(&mut self) {
        if self.steps > 0 {
            self.restore();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PAUSE_SECONDS_MAX, Probation};

    const MB: u64 = 1_000_000;

    #[test]
    fn given_peers_that_make_up_for_the_origin_when_seconds_pass_then_it_is_spared_step_by_step() {
        let mut probation = Probation::new();
        probation.second(10 * MB, 0, true, true);
        // Less than the origin alone at its best.
        probation.second(2 * MB, 5 * MB, true, true);
        probation.second(2 * MB, 5 * MB, true, true);
        assert_eq!(8, probation.streams(8));

        let streams: Vec<usize> = (0..7)
            .map(|_| {
                let streams = probation.streams(8);
                // The link here is full, whoever fills it.
                let origin = MB * streams as u64;
                probation.second(origin, 100 * MB - origin, true, true);
                streams
            })
            .collect();
        assert_eq!([8, 8, 4, 2, 1, 0, 0], streams[..]);
        probation.without_peers();
        assert_eq!(8, probation.streams(8));
    }

    #[test]
    fn given_an_origin_that_peers_do_not_make_up_for_when_spared_then_restored_within_a_second_and_tried_ever_less() {
        let (mut probation, mut seconds_spared) = (Probation::new(), Vec::new());
        for second in 0..1_000 {
            // Two links: what the origin does not bring is lost.
            let streams = probation.streams(8) as u64;
            if streams < 8 {
                seconds_spared.push(second);
            }
            probation.second(streams.min(1) * 10 * MB, 10 * MB, true, true);
        }

        // Fewer streams fill its link as well; only none do not.
        assert!(seconds_spared.len() < 1_000 / PAUSE_SECONDS_MAX as usize * 8, "{}", seconds_spared.len());
        assert!(seconds_spared.windows(2).any(|pair| pair[1] - pair[0] >= PAUSE_SECONDS_MAX as usize));
    }

    #[test]
    fn given_the_end_of_a_pull_when_less_is_left_to_do_then_that_says_nothing() {
        let mut probation = Probation::new();
        (0..3).for_each(|_| probation.second(10 * MB, 90 * MB, true, true));
        assert_eq!(2, probation.streams(8));
        probation.second(0, MB, false, false);
        assert_eq!(2, probation.streams(8));
        probation.second(0, MB, true, true);
        assert_eq!(8, probation.streams(8));
    }
}
