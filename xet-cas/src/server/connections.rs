//! Who holds a connection, and who has to give one up when there are too many.
//!
//! A connection is idle while it waits for the head of a request, however much of it has come. Those that are idle are
//! given up for newcomers, the longest-idle one of whoever holds the most first; those that are not are left alone,
//! because each of them has a deadline. A newcomer for whom none can be given up waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::address::Address;

/// A connection that is idle for less than this is about to say something: by then the head of a request is there from
/// anywhere on earth. Short, because so many connections as there may be are given up in this time at most.
pub(super) const IDLE_MIN: Duration = Duration::from_millis(250);

/// All connections.
pub(super) struct Connections {
    max: usize,
    per_address_max: usize,
    table: Mutex<Table>,
    /// Somebody left or became idle.
    room: Notify,
}

#[derive(Default)]
struct Table {
    /// Orders what happens.
    turn: u64,
    seats: HashMap<u64, Taken>,
    parties: BTreeMap<Address, Party>,
}

struct Taken {
    address: Address,
    /// The turn at which it became idle.
    idle_since: Option<u64>,
    given_up: Arc<Notify>,
}

/// What one address holds.
#[derive(Default)]
struct Party {
    seats: usize,
    /// Seats, and since when they are idle, by the turn at which they became so.
    idle: BTreeMap<u64, (u64, Instant)>,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// This address has its share, and none of it can be given up.
    Share,
    /// None can be given up.
    All,
}

impl Connections {
    pub(super) fn new(max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { max, per_address_max, table: Mutex::default(), room: Notify::new() })
    }

    pub(super) fn open(&self) -> usize {
        self.table().seats.len()
    }

    /// A seat for a connection from this address, for which another may have to be given up.
    pub(super) fn take(self: &Arc<Self>, address: Address, now: Instant) -> Result<Seat, Full> {
        let mut table = self.table();
        if table.parties.get(&address).is_some_and(|party| party.seats >= self.per_address_max) {
            table.give_up_one_of(address, now).ok_or(Full::Share)?;
        } else if table.seats.len() >= self.max {
            let holder = table.largest_with_idle(now).ok_or(Full::All)?;
            table.give_up_one_of(holder, now).ok_or(Full::All)?;
        }
        let number = table.next_turn();
        let given_up = Arc::new(Notify::new());
        table.seats.insert(number, Taken { address, idle_since: None, given_up: Arc::clone(&given_up) });
        table.parties.entry(address).or_default().seats += 1;
        table.idle(number, now);
        Ok(Seat { connections: Arc::clone(self), number, given_up, is_idle: AtomicBool::new(true) })
    }

    /// Ready when it is worth asking again.
    pub(super) async fn room(&self) {
        self.room.notified().await;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    fn idle(&mut self, number: u64, now: Instant) {
        let turn = self.next_turn();
        let Some(seat) = self.seats.get_mut(&number) else { return };
        seat.idle_since = Some(turn);
        if let Some(party) = self.parties.get_mut(&seat.address) {
            party.idle.insert(turn, (number, now));
        }
    }

    fn busy(&mut self, number: u64) {
        let Some(seat) = self.seats.get_mut(&number) else { return };
        if let (Some(turn), Some(party)) = (seat.idle_since.take(), self.parties.get_mut(&seat.address)) {
            party.idle.remove(&turn);
        }
    }

    fn leave(&mut self, number: u64) {
        self.busy(number);
        let Some(seat) = self.seats.remove(&number) else { return };
        if let Some(party) = self.parties.get_mut(&seat.address) {
            party.seats -= 1;
            if party.seats == 0 {
                self.parties.remove(&seat.address);
            }
        }
    }

    fn give_up_one_of(&mut self, address: Address, now: Instant) -> Option<()> {
        let (_, number) = self.parties.get(&address)?.longest_idle(now)?;
        self.seats.get(&number)?.given_up.notify_one();
        self.leave(number);
        Some(())
    }

    /// Of several that hold as many, the one with the longest-idle seat.
    fn largest_with_idle(&self, now: Instant) -> Option<Address> {
        let idle = self.parties.iter().filter_map(|(address, party)| {
            let (turn, _) = party.longest_idle(now)?;
            Some((party.seats, Reverse(turn), *address))
        });
        idle.max().map(|(_, _, address)| address)
    }
}

impl Party {
    /// The turn at which a seat became idle, and its number, if that is long enough ago.
    fn longest_idle(&self, now: Instant) -> Option<(u64, u64)> {
        let (turn, (number, since)) = self.idle.first_key_value()?;
        (now.saturating_duration_since(*since) >= IDLE_MIN).then_some((*turn, *number))
    }
}

/// The place of one connection, free again when dropped.
pub(super) struct Seat {
    connections: Arc<Connections>,
    number: u64,
    given_up: Arc<Notify>,
    /// What the table has too, at hand without its lock.
    is_idle: AtomicBool,
}

impl Seat {
    /// Ready when the connection has to end.
    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }

    /// It waits for the head of a request.
    pub(super) fn idle(&self) {
        if !self.is_idle.swap(true, Ordering::Relaxed) {
            self.connections.table().idle(self.number, Instant::now());
            self.connections.room.notify_one();
        }
    }

    /// A request has come.
    pub(super) fn busy(&self) {
        if self.is_idle.swap(false, Ordering::Relaxed) {
            self.connections.table().busy(self.number);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.table().leave(self.number);
        self.connections.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn address(text: &str) -> Address {
        Address::of(text.parse().unwrap())
    }

    fn is_given_up(seat: &Seat) -> bool {
        seat.given_up().now_or_never().is_some()
    }

    /// Long after whatever a test did.
    fn later() -> Instant {
        Instant::now() + 10 * IDLE_MIN
    }

    #[test]
    fn given_no_room_when_somebody_comes_then_the_longest_idle_goes() {
        let connections = Connections::new(3, 3);
        let take = |now| connections.take(address("192.0.2.1"), now);
        let [first, second, third] = [(); 3].map(|()| take(Instant::now()).unwrap());
        first.busy();
        second.busy();
        second.idle();

        let fourth = take(later()).unwrap();

        assert!(is_given_up(&third) && !is_given_up(&first) && !is_given_up(&second));
        assert_eq!(3, connections.open());
        let _fifth = take(later()).unwrap();
        assert!(is_given_up(&second) && !is_given_up(&fourth));
        // What was given up leaves without a trace.
        drop((second, third));
        assert_eq!(3, connections.open());
    }

    #[test]
    fn given_seats_that_were_just_taken_when_somebody_comes_then_they_have_time_to_speak() {
        let connections = Connections::new(2, 2);
        let now = Instant::now();
        let take = |now| connections.take(address("192.0.2.1"), now);
        let _seats = [(); 2].map(|()| take(now).unwrap());

        assert!(take(now + IDLE_MIN - Duration::from_millis(1)).is_err());
        assert!(take(now + IDLE_MIN).is_ok());
    }

    #[test]
    fn given_somebody_who_holds_most_when_others_come_then_theirs_go_first() {
        let connections = Connections::new(10, 10);
        let take = |text: &str, now| connections.take(address(text), now).unwrap();
        let own = take("192.0.2.1", Instant::now());
        let many: Vec<Seat> = (0..9).map(|_| take("192.0.2.2", Instant::now())).collect();

        let newcomers: Vec<Seat> = (3..8).map(|n| take(&format!("192.0.2.{n}"), later())).collect();

        assert!(!is_given_up(&own));
        assert_eq!(5, many.iter().filter(|seat| is_given_up(seat)).count());
        assert!(newcomers.iter().all(|seat| !is_given_up(seat)));
    }

    #[test]
    fn given_none_idle_when_somebody_comes_then_there_is_no_room_until_one_is() {
        let connections = Connections::new(2, 2);
        let take = |text: &str| connections.take(address(text), later());
        let [first, second] = ["192.0.2.1", "192.0.2.2"].map(|text| take(text).unwrap());
        first.busy();
        second.busy();

        assert_eq!(Some(Full::All), take("192.0.2.3").err());

        first.idle();
        connections.room().now_or_never().unwrap();
        let third = take("192.0.2.3").unwrap();
        third.busy();
        drop(second);
        connections.room().now_or_never().unwrap();
        take("192.0.2.3").unwrap();
    }

    #[test]
    fn given_a_share_that_is_used_up_when_its_address_comes_then_only_its_own_are_given_up() {
        let connections = Connections::new(10, 2);
        let take = |text: &str, now| connections.take(address(text), now);
        let other = take("192.0.2.9", Instant::now()).unwrap();
        let [first, second] = [(); 2].map(|()| take("192.0.2.1", Instant::now()).unwrap());

        let third = take("192.0.2.1", later()).unwrap();

        assert!(is_given_up(&first) && !is_given_up(&other));
        second.busy();
        third.busy();
        assert_eq!(Some(Full::Share), take("192.0.2.1", later()).err());
    }
}
