use std::time::{Duration, Instant};

/// Counts events that may come so often and no oftener, a few of them at once.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    interval: Duration,
    at_once: u32,
    /// When all events that have come would have been due.
    due: Option<Instant>,
}

impl Meter {
    pub(crate) const fn new(interval: Duration, at_once: u32) -> Self {
        Self { interval, at_once, due: None }
    }

    /// Whether there has been no event.
    pub(crate) fn is_new(&self) -> bool {
        self.due.is_none()
    }

    /// Counts one, unless it comes too early.
    pub(crate) fn count(&mut self, now: Instant) -> bool {
        let due = self.due.map_or(now, |due| due.max(now)) + self.interval;
        let in_time = due.duration_since(now) <= self.interval * self.at_once;
        if in_time {
            self.due = Some(due);
        }
        in_time
    }
}
