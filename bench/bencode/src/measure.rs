//! Time and allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::time::{ClockId, clock_gettime};

/// Counts what the system's allocator is asked for.
pub struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Someone's way to do the job once, for all messages.
pub struct Contender<'a> {
    pub name: &'static str,
    pub is_ours: bool,
    pub run: Box<dyn FnMut() + 'a>,
}

pub struct Figures {
    /// Of each round.
    seconds: Vec<f64>,
    /// In one round.
    pub allocations: u64,
}

impl Figures {
    pub fn median_seconds(&self) -> f64 {
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    }
}

/// Everyone in turn, round after round, so that what else the machine does hits all alike. A round repeats the job
/// until it takes long enough to be measured.
pub fn measure(contenders: &mut [Contender<'_>], rounds: usize) -> Vec<Figures> {
    const ROUND_SECONDS: f64 = 0.005;
    let mut repeats = Vec::new();
    let mut figures = Vec::new();
    for contender in contenders.iter_mut() {
        (contender.run)();
        let before = ALLOCATIONS.load(Relaxed);
        let begun = cpu_seconds();
        (contender.run)();
        repeats.push((ROUND_SECONDS / (cpu_seconds() - begun)).ceil().max(1.0) as u32);
        figures.push(Figures { seconds: Vec::new(), allocations: ALLOCATIONS.load(Relaxed) - before });
    }
    for round in 0..rounds {
        for i in 0..contenders.len() {
            let i = (i + round) % contenders.len();
            let begun = cpu_seconds();
            (0..repeats[i]).for_each(|_| (contenders[i].run)());
            figures[i].seconds.push((cpu_seconds() - begun) / f64::from(repeats[i]));
        }
    }
    figures
}

/// Time that this thread had the processor: what else runs does not count.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
