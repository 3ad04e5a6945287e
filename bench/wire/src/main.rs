//! bt-wire beside librqbit-peer-protocol, and its connections beside a raw read loop. Prints the tables of
//! docs/benchmarks.md.

mod allocations;
mod codecs;
mod sockets;

use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

const PAIRS: usize = 9;

fn main() {
    codecs::print();
    sockets::print();
}

/// What one run did.
#[derive(Clone, Copy)]
pub struct Run {
    messages: u64,
    bytes: u64,
    wall: Duration,
    /// Of the whole process.
    cpu: Duration,
    allocations: u64,
    allocated: u64,
}

impl Run {
    /// Of work that says how many messages and bytes it handled.
    pub fn of(work: impl FnOnce() -> (u64, u64)) -> Self {
        let (allocations, allocated) = allocations::count();
        let (begin, cpu_begin) = (Instant::now(), cpu());
        let (messages, bytes) = work();
        let (wall, cpu) = (begin.elapsed(), cpu() - cpu_begin);
        let (allocations_after, allocated_after) = allocations::count();
        Self {
            messages,
            bytes,
            wall,
            cpu,
            allocations: allocations_after - allocations,
            allocated: allocated_after - allocated,
        }
    }

    /// Nanoseconds a message.
    fn each(&self, took: Duration) -> f64 {
        took.as_nanos() as f64 / self.messages as f64
    }
}

/// Time that processors have spent on this process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Two contenders in turn, the order swapped every pair, after one run each that does not count. `by` is the time
/// that the comparison is about.
///
/// An argument of the program is a part of the name of those that are wanted.
pub fn compare(what: &str, by: fn(&Run) -> Duration, mut ours: impl FnMut() -> Run, mut theirs: impl FnMut() -> Run) {
    if std::env::args().nth(1).is_some_and(|wanted| !what.contains(&wanted)) {
        return;
    }
    (ours(), theirs());
    let mut pairs = Vec::new();
    for pair in 0..PAIRS {
        pairs.push(if pair % 2 == 0 {
            let ours = ours();
            (ours, theirs())
        } else {
            let theirs = theirs();
            (ours(), theirs)
        });
    }
    let each = |run: &Run| run.each(by(run));
    let ours = median(pairs.iter().map(|pair| pair.0), each);
    let theirs = median(pairs.iter().map(|pair| pair.1), each);
    let ratio = median(pairs.iter().map(|(ours, theirs)| each(theirs) / each(ours)), |ratio| *ratio);
    let cpu = median(pairs.iter().map(|(ours, theirs)| theirs.each(theirs.cpu) / ours.each(ours.cpu)), |ratio| *ratio);
    let row = |run: &Run| {
        let [per_second, bytes] = [run.messages, run.bytes].map(|count| count as f64 / by(run).as_secs_f64());
        format!("{:.1} | {:.1} | {:.2}", each(run), per_second / 1e6, bytes / 1e9)
    };
    let allocations = |run: &Run| run.allocations as f64 / run.messages as f64;
    println!(
        "| {what} | {} | {:.3} | {} | {:.3} | **{ratio:.2}** | {cpu:.2} |",
        row(&ours),
        allocations(&ours),
        row(&theirs),
        allocations(&theirs)
    );
    let allocated = ours.allocated as f64 / ours.messages as f64;
    eprintln!("{what}: ours allocates {allocated:.1} bytes a message");
}

/// For work of one thread, which others of the machine may hold up.
pub fn by_cpu(run: &Run) -> Duration {
    run.cpu
}

/// For work of several threads.
pub fn by_wall(run: &Run) -> Duration {
    run.wall
}

fn median<T>(values: impl Iterator<Item = T>, by: impl Fn(&T) -> f64) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_by(|a, b| by(a).total_cmp(&by(b)));
    let middle = values.len() / 2;
    values.swap_remove(middle)
}
