//! File data on its way out: counted, and slowed down if so configured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Data is read and sent in pieces of this many bytes: large enough that the work per piece does not
/// count, small enough that a thousand connections hold little.
const PIECE_BYTES: u64 = 256 * 1024;
/// With a limited rate, pieces shrink so that about this many make a second.
const PIECES_PER_SECOND: u64 = 20;
/// Smallest piece, bytes.
const PIECE_BYTES_MIN: u64 = 1024;

/// What an origin has sent so far. Clones count the same.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    data_bytes: Arc<AtomicU64>,
}

impl Counters {
    /// Bytes of file data handed to connections: xorb ranges and whole files, without HTTP headers.
    /// Metadata and regular files do not count.
    pub fn data_bytes_sent(&self) -> u64 {
        self.data_bytes.load(Ordering::Relaxed)
    }
}

pub(super) struct Traffic {
    counters: Counters,
    pace: Option<Pace>,
}

impl Traffic {
    pub(super) fn new(limit_rate: Option<u64>) -> Self {
        let pace = limit_rate.map(|rate| Pace { rate, free_at: Mutex::new(Instant::now()) });
        Self { counters: Counters::default(), pace }
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// How much to read and send at once, bytes.
    pub(super) fn piece_bytes(&self) -> usize {
        let paced = self.pace.as_ref().map_or(PIECE_BYTES, |pace| pace.rate / PIECES_PER_SECOND);
        paced.clamp(PIECE_BYTES_MIN, PIECE_BYTES) as usize
    }

    /// Waits until so many bytes may be sent, and counts them.
    pub(super) async fn admit(&self, bytes: usize) {
        if let Some(pace) = &self.pace {
            tokio::time::sleep_until(pace.reserve(bytes as u64)).await;
        }
        self.counters.data_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// A line that carries so many bytes a second, one piece after the other.
struct Pace {
    /// Bytes a second, at least 1.
    rate: u64,
    free_at: Mutex<Instant>,
}

impl Pace {
    /// Takes the next free stretch of the line and returns when it begins.
    fn reserve(&self, bytes: u64) -> Instant {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now().max(*free_at);
        *free_at = start + Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        start
    }
}
