use std::net::IpAddr;

use sha1::{Digest, Sha1};

use crate::InfoHash;

/// Most pieces in an allowed-fast set. Programs in the field take about 10; finding them takes a hash for every
/// five.
const ALLOWED_FAST_MAX: u32 = 1_000;

/// The pieces that a peer may ask for while it is choked (BEP 6): the same whoever computes them, so that
/// connecting anew gains nothing.
///
/// Addresses of version 4 count without their last byte; those of version 6, of which BEP 6 does not speak,
/// count whole, as in libtorrent. (That counts those of version 4 whole, too: its sets are other ones unless their
/// last byte is 0.) Returns as many pieces as asked for, but no more than there are, nor than
/// 1,000, in the order in which they were found.
pub fn allowed_fast_set(wanted: u32, piece_count: u32, info_hash: &InfoHash, address: IpAddr) -> Vec<u32> {
    let wanted = wanted.min(ALLOWED_FAST_MAX);
    if wanted >= piece_count {
        return (0..piece_count).collect();
    }
    let hash = Sha1::new();
    let hash = match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            hash.chain_update([a, b, c, 0])
        }
        IpAddr::V6(address) => hash.chain_update(address.octets()),
    };
    let mut hash = hash.chain_update(info_hash.as_bytes()).finalize();
    let mut set = Vec::with_capacity(wanted as usize);
    loop {
        for number in hash.as_chunks::<4>().0 {
            if set.len() == wanted as usize {
                return set;
            }
            let piece = u32::from_be_bytes(*number) % piece_count;
            if !set.contains(&piece) {
                set.push(piece);
            }
        }
        hash = Sha1::digest(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of BEP 6: info hash of 20 times 0xaa, 1313 pieces.
    fn of_bep_6(wanted: u32, address: IpAddr) -> Vec<u32> {
        allowed_fast_set(wanted, 1313, &InfoHash::from_bytes([0xaa; 20]), address)
    }

    #[test]
    fn given_the_vectors_of_bep_6_when_computed_then_the_sets_are_the_same() {
        let address = IpAddr::from([80, 4, 4, 200]);

        assert_eq!(vec![1059, 431, 808, 1217, 287, 376, 1188], of_bep_6(7, address));
        assert_eq!(vec![1059, 431, 808, 1217, 287, 376, 1188, 353, 508], of_bep_6(9, address));
    }

    #[test]
    fn given_what_libtorrent_allowed_an_address_of_version_6_when_computed_then_the_set_is_the_same() {
        let info_hash = "6649229ac76afb7d8cc443ce0c54b4f336565771".parse().unwrap();

        let mut set = allowed_fast_set(5, 61, &info_hash, "fd77::2".parse().unwrap());
        set.sort_unstable();

        assert_eq!(vec![3, 6, 22, 27, 30], set);
    }

    #[test]
    fn given_neighbours_when_computed_then_version_4_shares_a_set_and_version_6_does_not() {
        let neighbour = IpAddr::from([80, 4, 4, 7]);
        let [v6, other_v6] = ["2001:db8::1", "2001:db8::2"].map(|address| of_bep_6(9, address.parse().unwrap()));

        assert_eq!(of_bep_6(9, neighbour), of_bep_6(9, [80, 4, 4, 200].into()));
        assert_eq!(of_bep_6(9, neighbour), of_bep_6(9, "::ffff:80.4.4.9".parse().unwrap()));
        assert_ne!(v6, other_v6);
        assert_eq!((9, 9), (v6.len(), other_v6.len()));
    }

    #[test]
    fn given_more_wanted_than_there_are_when_computed_then_it_ends_with_all() {
        let info_hash = InfoHash::from_bytes([1; 20]);
        let set = |wanted, count| allowed_fast_set(wanted, count, &info_hash, [1, 2, 3, 4].into());

        assert_eq!(vec![0, 1, 2], set(10, 3));
        assert_eq!(Vec::<u32>::new(), set(10, 0));
        assert_eq!(Vec::<u32>::new(), set(0, 10));
        assert_eq!(1_000, set(u32::MAX, u32::MAX).len());
        let mut nearly_all = set(9, 10);
        nearly_all.sort_unstable();
        nearly_all.dedup();
        assert_eq!(9, nearly_all.len());
    }
}
