//! Who holds a connection, and who has to give one up when there are too many.
//!
//! A connection is idle while it waits for the head of a request, however much of it has come. Those that are idle are
//! given up for newcomers, the longest-idle one of whoever holds the most first; those that are not are left alone,
//! because each of them has a deadline.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::address::Address;

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
    /// Seats by the turn at which they became idle.
    idle: BTreeMap<u64, u64>,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// This address has its share, and uses all of it.
    Share,
    /// All are in use.
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
    pub(super) fn take(self: &Arc<Self>, address: Address) -> Result<Seat, Full> {
        let mut table = self.table();
        if table.parties.get(&address).is_some_and(|party| party.seats >= self.per_address_max) {
            table.give_up_one_of(address).ok_or(Full::Share)?;
        } else if table.seats.len() >= self.max {
            let holder = table.largest_with_idle().ok_or(Full::All)?;
            table.give_up_one_of(holder).ok_or(Full::All)?;
        }
        let number = table.next_turn();
        let given_up = Arc::new(Notify::new());
        table.seats.insert(number, Taken { address, idle_since: None, given_up: Arc::clone(&given_up) });
        table.parties.entry(address).or_default().seats += 1;
        table.idle(number);
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

    fn idle(&mut self, number: u64) {
        let turn = self.next_turn();
        let Some(seat) = self.seats.get_mut(&number) else { return };
        seat.idle_since = Some(turn);
        if let Some(party) = self.parties.get_mut(&seat.address) {
            party.idle.insert(turn, number);
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

    fn give_up_one_of(&mut self, address: Address) -> Option<()> {
        let (_, &number) = self.parties.get(&address)?.idle.first_key_value()?;
        self.seats.get(&number)?.given_up.notify_one();
        self.leave(number);
        Some(())
    }

    /// Of several that hold as many, the one with the longest-idle seat.
    fn largest_with_idle(&self) -> Option<Address> {
        let idle = self.parties.iter().filter_map(|(address, party)| {
            let (&since, _) = party.idle.first_key_value()?;
            Some((party.seats, std::cmp::Reverse(since), *address))
        });
        idle.max().map(|(_, _, address)| address)
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
            self.connections.table().idle(self.number);
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

    #[test]
    fn given_no_room_when_somebody_comes_then_the_longest_idle_goes() {
        let connections = Connections::new(3, 3);
        let take = || connections.take(address("192.0.2.1")).unwrap();
        let [first, second, third] = [take(), take(), take()];
        first.busy();
        second.busy();
        second.idle();

        let fourth = take();

        assert!(is_given_up(&third) && !is_given_up(&first) && !is_given_up(&second));
        assert_eq!(3, connections.open());
        let _fifth = take();
        assert!(is_given_up(&second) && !is_given_up(&fourth));
        // What was given up leaves without a trace.
        drop((second, third));
        assert_eq!(3, connections.open());
    }

    #[test]
    fn given_somebody_who_holds_most_when_others_come_then_theirs_go_first() {
        let connections = Connections::new(10, 10);
        let own = connections.take(address("192.0.2.1")).unwrap();
        let many: Vec<Seat> = (0..9).map(|_| connections.take(address("192.0.2.2")).unwrap()).collect();

        let newcomers: Vec<Seat> =
            (3..8).map(|n| connections.take(address(&format!("192.0.2.{n}"))).unwrap()).collect();

        assert!(!is_given_up(&own));
        assert_eq!(5, many.iter().filter(|seat| is_given_up(seat)).count());
        assert!(newcomers.iter().all(|seat| !is_given_up(seat)));
    }

    #[test]
    fn given_none_idle_when_somebody_comes_then_refused_until_there_is_room() {
        let connections = Connections::new(2, 2);
        let [first, second] = ["192.0.2.1", "192.0.2.2"].map(|text| connections.take(address(text)).unwrap());
        first.busy();
        second.busy();

        assert_eq!(Some(Full::All), connections.take(address("192.0.2.3")).err());

        first.idle();
        connections.room().now_or_never().unwrap();
        let third = connections.take(address("192.0.2.3")).unwrap();
        third.busy();
        drop(second);
        connections.room().now_or_never().unwrap();
        connections.take(address("192.0.2.3")).unwrap();
    }

    #[test]
    fn given_a_share_that_is_used_up_when_its_address_comes_then_only_its_own_are_given_up() {
        let connections = Connections::new(10, 2);
        let other = connections.take(address("192.0.2.9")).unwrap();
        let [first, second] = [(); 2].map(|()| connections.take(address("192.0.2.1")).unwrap());

        let third = connections.take(address("192.0.2.1")).unwrap();

        assert!(is_given_up(&first) && !is_given_up(&other));
        second.busy();
        third.busy();
        assert_eq!(Some(Full::Share), connections.take(address("192.0.2.1")).err());
    }
}
