//! Whether the peer is there.

use std::time::{Duration, Instant};

/// Asks a peer that has been silent, and gives it up if it stays so.
#[derive(Debug)]
pub(super) struct KeepAlive {
    ping_after: Duration,
    pong_within: Duration,
    heard: Instant,
    /// Number and time of the ping that waits for its answer.
    ping: Option<(u64, Instant)>,
    next_nonce: u64,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping { nonce: u64 },
    GiveUp,
}

impl KeepAlive {
    pub(super) fn new(ping_after: Duration, pong_within: Duration, now: Instant) -> Self {
        Self { ping_after, pong_within, heard: now, ping: None, next_nonce: 1 }
    }

    /// Something came from the peer.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// Begins a ping, unless one waits for its answer.
    pub(super) fn ping(&mut self, now: Instant) -> Option<u64> {
        if self.ping.is_some() {
            return None;
        }
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        self.ping = Some((nonce, now));
        Some(nonce)
    }

    /// The time that the answer took; `None` if it answers no ping that waits for it.
    pub(super) fn pong(&mut self, nonce: u64, now: Instant) -> Option<Duration> {
        let (_, sent) = self.ping.take_if(|(expected, _)| *expected == nonce)?;
        Some(now.saturating_duration_since(sent))
    }

    pub(super) fn deadline(&self) -> Instant {
        match self.ping {
            Some((_, sent)) => sent + self.pong_within,
            None => self.heard + self.ping_after,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Due {
        if now < self.deadline() {
            return Due::Nothing;
        }
        match self.ping.take() {
            Some((_, sent)) if self.heard <= sent => return Due::GiveUp,
            // The answer stands behind much data, or the peer does not answer pings. It is there.
            Some(_) if now < self.deadline() => return Due::Nothing,
            Some(_) | None => {}
        }
        self.ping(now).map_or(Due::Nothing, |nonce| Due::Ping { nonce })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[expect(clippy::disallowed_methods, reason = "a time to count from")]
    fn keep_alive() -> (KeepAlive, Instant) {
        let start = Instant::now();
        (KeepAlive::new(30 * SECOND, 20 * SECOND, start), start)
    }

    #[test]
    fn given_a_silent_peer_when_time_passes_then_it_is_pinged_once_and_given_up() {
        let (mut keep_alive, start) = keep_alive();

        assert_eq!(Due::Nothing, keep_alive.handle_timeout(start + 29 * SECOND));
        assert_eq!(Due::Ping { nonce: 1 }, keep_alive.handle_timeout(start + 30 * SECOND));
        assert_eq!(Due::Nothing, keep_alive.handle_timeout(start + 49 * SECOND));
        assert_eq!(Due::GiveUp, keep_alive.handle_timeout(start + 50 * SECOND));
    }

    #[test]
    fn given_a_peer_that_answers_when_pinged_then_the_round_trip_is_known() {
        let (mut keep_alive, start) = keep_alive();
        let nonce = keep_alive.ping(start).unwrap();

        assert_eq!(None, keep_alive.pong(nonce + 1, start + SECOND));
        assert_eq!(Some(2 * SECOND), keep_alive.pong(nonce, start + 2 * SECOND));
        assert_eq!(None, keep_alive.pong(nonce, start + 3 * SECOND));
    }

    #[test]
    fn given_a_peer_that_sends_but_ignores_pings_when_its_time_is_over_then_it_is_not_given_up() {
        let (mut keep_alive, start) = keep_alive();
        keep_alive.ping(start);
        keep_alive.heard(start + 10 * SECOND);

        assert_eq!(Due::Nothing, keep_alive.handle_timeout(start + 20 * SECOND));
        assert_eq!(start + 40 * SECOND, keep_alive.deadline());
        assert_eq!(Due::Ping { nonce: 2 }, keep_alive.handle_timeout(start + 40 * SECOND));
    }
}
