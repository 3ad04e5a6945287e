//! What a connection remembers, without stream and clock: what waits to be written, and since when what has
//! not happened.

use std::time::{Duration, Instant};

use super::lanes::{Lane, Lanes, PushError};
use super::{CloseReason, ConnectionConfig, Counters};
use crate::{Handshake, Message};

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) lanes: Lanes,
    pub(crate) counters: Counters,
    deadlines: Deadlines,
    /// When something last came.
    heard: Instant,
    /// When something was last written, or came to be there to write.
    wrote: Instant,
    phase: Phase,
    /// Whether the stream is read. It is not while the pool is dry, and then nothing can be heard.
    reading: bool,
}

#[derive(Debug, Clone, Copy)]
struct Deadlines {
    handshake_within: Duration,
    idle_after: Duration,
    stalled_after: Duration,
    keep_alive_every: Duration,
    close_within: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    ShakingHands { since: Instant },
    Open,
    Closing { since: Instant },
}

impl Core {
    /// Of a connection that begins with handshakes, or behind them.
    pub(crate) fn new(config: &ConnectionConfig, shakes_hands: bool, now: Instant) -> Self {
        Self {
            lanes: Lanes::new(config.control_bytes_max, config.bulk_bytes_max),
            counters: Counters::default(),
            deadlines: Deadlines {
                handshake_within: config.handshake_within,
                idle_after: config.idle_after,
                stalled_after: config.stalled_after,
                keep_alive_every: config.keep_alive_every,
                close_within: config.close_within,
            },
            heard: now,
            wrote: now,
            phase: if shakes_hands { Phase::ShakingHands { since: now } } else { Phase::Open },
            reading: true,
        }
    }

    pub(crate) fn send_handshake(&mut self, handshake: &Handshake, now: Instant) {
        self.wrote = now;
        self.lanes.push_handshake(handshake);
    }

    pub(crate) fn send(
        &mut self,
        lane: Lane,
        message: Message,
        now: impl FnOnce() -> Instant,
    ) -> Result<(), PushError> {
        if self.lanes.is_empty() {
            self.wrote = now();
        }
        self.lanes.push(lane, message)
    }

    /// The handshakes are done.
    pub(crate) fn open(&mut self) {
        self.phase = Phase::Open;
    }

    /// Nothing more is sent but what waits.
    pub(crate) fn close(&mut self, now: Instant) {
        self.phase = Phase::Closing { since: now };
    }

    pub(crate) fn handle_read(&mut self, bytes: usize, now: Instant) {
        self.heard = now;
        self.counters.bytes_received += bytes as u64;
    }

    pub(crate) fn set_reading(&mut self, reading: bool, now: impl FnOnce() -> Instant) {
        if reading != self.reading {
            (self.reading, self.heard) = (reading, now());
        }
    }

    pub(crate) fn handle_written(&mut self, bytes: usize, now: Instant) {
        self.wrote = now;
        self.counters.bytes_sent += bytes as u64;
        self.counters.messages_sent += self.lanes.advance(bytes);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self) -> Instant {
        let unsent = !self.lanes.is_empty();
        let write = self.wrote + if unsent { self.deadlines.stalled_after } else { self.deadlines.keep_alive_every };
        match self.phase {
            Phase::ShakingHands { since } => since + self.deadlines.handshake_within,
            Phase::Open if self.reading => write.min(self.heard + self.deadlines.idle_after),
            Phase::Open => write,
            Phase::Closing { since } => since + self.deadlines.close_within,
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), CloseReason> {
        let Deadlines { handshake_within, idle_after, stalled_after, keep_alive_every, close_within } = self.deadlines;
        match self.phase {
            Phase::ShakingHands { since } if now >= since + handshake_within => {
                return Err(CloseReason::HandshakeLate { after: handshake_within });
            }
            Phase::Closing { since } if now >= since + close_within => {
                return Err(CloseReason::CloseLate { after: close_within, unsent: self.lanes.bytes() });
            }
            Phase::ShakingHands { .. } | Phase::Closing { .. } => return Ok(()),
            Phase::Open => {}
        }
        if self.reading && now >= self.heard + idle_after {
            return Err(CloseReason::Idle { after: idle_after });
        }
        if !self.lanes.is_empty() {
            if now >= self.wrote + stalled_after {
                return Err(CloseReason::Stalled { after: stalled_after, unsent: self.lanes.bytes() });
            }
        } else if now >= self.wrote + keep_alive_every {
            self.wrote = now;
            // There is room: the lane is empty. If it takes nothing at all, there are no keep-alives.
            let _ = self.lanes.push(Lane::Control, Message::KeepAlive);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn config() -> ConnectionConfig {
        ConnectionConfig {
            handshake_within: 10 * SECOND,
            idle_after: 100 * SECOND,
            stalled_after: 30 * SECOND,
            keep_alive_every: 60 * SECOND,
            close_within: 5 * SECOND,
            ..ConnectionConfig::default()
        }
    }

    #[expect(clippy::disallowed_methods, reason = "there is no other way to make an instant")]
    fn start() -> Instant {
        Instant::now()
    }

    /// What happens from deadline to deadline, the peer taking all that is written, until it is the end.
    fn run(core: &mut Core, begin: Instant) -> (Vec<u64>, CloseReason) {
        let mut keep_alives = Vec::new();
        loop {
            let now = core.poll_timeout();
            if let Err(reason) = core.handle_timeout(now) {
                return (keep_alives, reason);
            }
            if core.lanes.bytes() == 4 {
                keep_alives.push((now - begin).as_secs());
                core.handle_written(4, now);
            }
        }
    }

    #[test]
    fn given_a_silent_peer_when_time_passes_then_it_is_kept_alive_and_closed_as_idle() {
        let begin = start();
        let mut core = Core::new(&config(), false, begin);

        let (keep_alives, reason) = run(&mut core, begin);
        assert_eq!(vec![60], keep_alives);
        assert!(matches!(reason, CloseReason::Idle { after } if after == 100 * SECOND));
    }

    #[test]
    fn given_a_peer_that_talks_when_nothing_is_sent_then_keep_alives_go_out_and_it_is_not_idle() {
        let begin = start();
        let mut core = Core::new(&config(), false, begin);
        for _ in 0..10 {
            let now = core.poll_timeout();
            core.handle_timeout(now).unwrap();
            assert_eq!(4, core.lanes.bytes());
            core.handle_written(4, now);
            core.handle_read(4, now);
        }
        assert_eq!((10, 40), (core.counters.messages_sent, core.counters.bytes_received));
    }

    #[test]
    fn given_a_peer_that_takes_nothing_when_time_passes_then_it_is_stalled() {
        let begin = start();
        let mut core = Core::new(&config(), false, begin);
        core.send(Lane::Bulk, Message::Choke, || begin + 20 * SECOND).unwrap();
        core.handle_read(1, begin + 40 * SECOND);
        assert_eq!(begin + 50 * SECOND, core.poll_timeout());
        core.handle_written(1, begin + 45 * SECOND);

        let (_, reason) = run(&mut core, begin);
        assert!(matches!(reason, CloseReason::Stalled { unsent: 4, .. }), "{reason:?}");
    }

    #[test]
    fn given_a_pool_that_is_dry_when_nothing_is_read_then_the_peer_is_not_idle() {
        let begin = start();
        let mut core = Core::new(&config(), false, begin);
        core.set_reading(false, || begin);
        let now = begin + 1_000 * SECOND;
        core.handle_timeout(now).unwrap();
        core.handle_written(4, now);
        assert_eq!(now + 60 * SECOND, core.poll_timeout());
        core.set_reading(true, || now);

        assert_eq!(now + 60 * SECOND, core.poll_timeout());
        core.handle_timeout(now + 99 * SECOND).unwrap();
        core.handle_written(4, now + 99 * SECOND);
        assert!(matches!(core.handle_timeout(now + 100 * SECOND), Err(CloseReason::Idle { .. })));
    }

    #[test]
    fn given_a_handshake_or_a_close_that_takes_long_when_time_passes_then_it_ends() {
        let begin = start();
        let mut core = Core::new(&config(), true, begin);
        assert_eq!(begin + 10 * SECOND, core.poll_timeout());
        core.handle_read(1, begin + 9 * SECOND);
        core.handle_timeout(begin + 9 * SECOND).unwrap();
        let (_, reason) = run(&mut core, begin);
        assert!(matches!(reason, CloseReason::HandshakeLate { .. }));

        core.send(Lane::Control, Message::Choke, || begin).unwrap();
        core.close(begin);
        let (_, reason) = run(&mut core, begin);
        assert!(matches!(reason, CloseReason::CloseLate { unsent: 5, .. }));
    }
}
