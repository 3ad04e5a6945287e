//! Time, of both in turn.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};

/// One job as each of the two does it.
pub struct Job<'a> {
    pub ours: Box<dyn FnMut() + 'a>,
    pub rival: Box<dyn FnMut() + 'a>,
}

impl<'a> Job<'a> {
    pub fn new<T, U>(mut ours: impl FnMut() -> T + 'a, mut rival: impl FnMut() -> U + 'a) -> Self {
        Self { ours: Box::new(move || drop(black_box(ours()))), rival: Box::new(move || drop(black_box(rival()))) }
    }
}

/// Medians over the rounds.
pub struct Figures {
    pub our_seconds: f64,
    /// How many times as fast ours is: the median of what each round gave.
    pub ratio: f64,
}

/// Both in turn, round after round, the first of one round being the second of the next, so that what else the
/// machine does hits both alike.
pub fn measure(mut job: Job<'_>, rounds: usize) -> Figures {
    (job.ours)();
    (job.rival)();
    let (mut ours, mut rivals) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            ours.push(seconds(&mut job.ours));
            rivals.push(seconds(&mut job.rival));
        } else {
            rivals.push(seconds(&mut job.rival));
            ours.push(seconds(&mut job.ours));
        }
    }
    let ratios = ours.iter().zip(&rivals).map(|(ours, rival)| rival / ours).collect();
    Figures { our_seconds: median(ours), ratio: median(ratios) }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn seconds(run: &mut dyn FnMut()) -> f64 {
    let begun = cpu_seconds();
    run();
    cpu_seconds() - begun
}

/// Time that this thread had the processor: what else runs does not count.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
