//! How we behave.

use std::time::Duration;

use xet_cas::xorb;

/// Longest wait that a peer's END can impose, whatever it says: after a minute it is asked again.
pub const RETRY_MAX: Duration = Duration::from_secs(60);
/// Shortest wait after a busy peer, so that two programs do not spin.
pub const RETRY_MIN: Duration = Duration::from_millis(50);

/// How we behave towards a peer. Begin from `default()` and assign. Waits of more than a day are taken for a day.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Bytes that we ask for at once, unless the peer lets us have fewer. Default 64 MiB.
    pub window_bytes: u64,
    /// Requests that we have open at once. Default 128: half of what the peer takes by default.
    pub requests_max: usize,
    /// How long a peer may take to end a request that was cancelled. Default 30 s: what it had queued goes first.
    pub end_within: Duration,
    /// How long a request of the peer may wait for us to send something before it is ended with busy, so that a
    /// reader that has stopped holds nothing for ever. Default 60 s.
    pub answer_within: Duration,
    /// What a peer is told to wait when it asks for too much. Default 1 s.
    pub busy_retry: Duration,
    /// After this long without a message the peer is asked whether it is there. Default 30 s.
    pub ping_after: Duration,
    /// How long it may take to say so, or to say anything. Default 20 s.
    pub pong_within: Duration,
    /// Data queued from which on no more is wanted, bytes. Default 128 KiB: one chunk waits while the next is read.
    /// The last message may stand above it; with 1 a single one waits at a time.
    pub data_queued_bytes_max: usize,
    /// Control messages queued above which no answers and requests are taken, bytes. Default 256 KiB.
    pub control_queued_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window_bytes: xorb::RAW_BYTES_MAX,
            requests_max: 128,
            end_within: Duration::from_secs(30),
            answer_within: Duration::from_secs(60),
            busy_retry: Duration::from_secs(1),
            ping_after: Duration::from_secs(30),
            pong_within: Duration::from_secs(20),
            data_queued_bytes_max: 128 * 1024,
            control_queued_bytes_max: 256 * 1024,
        }
    }
}

const _: () = assert!(RETRY_MIN.as_millis() < RETRY_MAX.as_millis());

/// No wait is longer than this, so that no sum of times overflows.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A wait, at most a day.
pub(crate) fn clamped(wait: Duration) -> Duration {
    wait.min(WAIT_MAX)
}

impl Config {
    /// With every wait at most a day.
    pub(crate) fn clamped(self) -> Self {
        Self {
            end_within: clamped(self.end_within),
            answer_within: clamped(self.answer_within),
            ping_after: clamped(self.ping_after),
            pong_within: clamped(self.pong_within),
            ..self
        }
    }
}
