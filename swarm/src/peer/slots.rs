//! Who may connect: so many peers in all, and not all of them from one address. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// The part of all slots that one address gets: one machine, or all behind one router, cannot keep others out.
const SLOTS_PER_ADDRESS: usize = 4;
/// Leading bits of an IPv6 address that stand for one network: whoever has one such network has all of it (RFC 6177).
const V6_NETWORK_BITS: u32 = 64;

/// The slots of a seeder.
#[derive(Debug)]
pub(super) struct Slots {
    max: usize,
    taken: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Slots {
    pub(super) fn new(max: usize) -> Self {
        Self { max, taken: 0, by_address: HashMap::new() }
    }

    /// Takes a slot for who comes from this address; false if there is none for it.
    pub(super) fn take(&mut self, from: IpAddr) -> bool {
        let from = network(from);
        let per_address = if from.is_loopback() { self.max } else { self.max.div_ceil(SLOTS_PER_ADDRESS) };
        let theirs = self.by_address.get(&from).copied().unwrap_or_default();
        let is_free = self.taken < self.max && theirs < per_address;
        if is_free {
            self.taken += 1;
            self.by_address.insert(from, theirs + 1);
        }
        is_free
    }

    /// Gives a slot back that was taken for this address.
    pub(super) fn give_back(&mut self, from: IpAddr) {
        let from = network(from);
        let Some(theirs) = self.by_address.get_mut(&from) else { return };
        self.taken -= 1;
        *theirs -= 1;
        if *theirs == 0 {
            self.by_address.remove(&from);
        }
    }
}

/// What counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & u128::MAX << (Ipv6Addr::BITS - V6_NETWORK_BITS)))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(slots: &mut Slots, from: &str) -> usize {
        std::iter::from_fn(|| slots.take(from.parse().unwrap()).then_some(())).count()
    }

    #[test]
    fn given_one_address_when_it_takes_all_it_can_then_there_are_slots_for_others() {
        let mut slots = Slots::new(100);

        assert_eq!(25, taken(&mut slots, "10.0.0.1"));
        assert_eq!(0, taken(&mut slots, "::ffff:10.0.0.1"));
        assert_eq!(25, taken(&mut slots, "10.0.0.2"));
        assert_eq!(25, taken(&mut slots, "2001:db8::1"));
        assert_eq!(0, taken(&mut slots, "2001:db8::ffff:2"));
        assert_eq!(25, taken(&mut slots, "127.0.0.1"));
        assert_eq!(0, taken(&mut slots, "10.0.0.3"));
    }

    #[test]
    fn given_this_machine_when_it_takes_slots_then_all_are_there_for_it() {
        for own in ["127.0.0.1", "::1"] {
            assert_eq!(100, taken(&mut Slots::new(100), own));
        }
        assert_eq!(1, taken(&mut Slots::new(1), "10.0.0.1"));
        assert_eq!(0, taken(&mut Slots::new(0), "127.0.0.1"));
    }

    #[test]
    fn given_slots_that_are_given_back_when_taken_again_then_as_many_and_nothing_is_remembered() {
        let mut slots = Slots::new(8);
        for _ in 0..3 {
            assert_eq!(2, taken(&mut slots, "10.0.0.1"));
            (0..2).for_each(|_| slots.give_back("10.0.0.1".parse().unwrap()));
        }

        slots.give_back("10.0.0.9".parse().unwrap());

        assert!(slots.by_address.is_empty() && slots.taken == 0);
    }
}
