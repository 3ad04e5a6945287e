//! What swarms and peers are called.

use std::fmt;
use std::str::FromStr;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 20]);

        impl $name {
            /// Takes the 20 bytes, as they are on the wire.
            pub const fn from_bytes(bytes: [u8; 20]) -> Self {
                Self(bytes)
            }

            /// The 20 bytes, as they are on the wire.
            pub const fn as_bytes(&self) -> &[u8; 20] {
                &self.0
            }
        }

        /// 40 lower-case hexadecimal digits.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        /// 40 hexadecimal digits of either case.
        impl FromStr for $name {
            type Err = IdTextError;

            fn from_str(text: &str) -> Result<Self, IdTextError> {
                parse(text).map(Self)
            }
        }
    };
}

id_type! {
    /// Name of a swarm. For a torrent, the SHA-1 of its info dictionary (BEP 3).
    InfoHash
}
id_type! {
    /// What a peer calls itself, anew for every run or connection (BEP 3). The beginning says which program
    /// it is (BEP 20).
    PeerId
}

impl PeerId {
    /// How peer ids of zest begin: program `ZE`, version 0.1.0.
    pub const ZEST_PREFIX: [u8; 8] = *b"-ZE0100-";

    /// A prefix that names the program, in the form of [`ZEST_PREFIX`](Self::ZEST_PREFIX), and random bytes.
    pub const fn new(prefix: [u8; 8], random: [u8; 12]) -> Self {
        let mut bytes = [0; 20];
        let (front, back) = bytes.split_at_mut(8);
        front.copy_from_slice(&prefix);
        back.copy_from_slice(&random);
        Self(bytes)
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "InfoHash({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// The part that names the program, and a little of the rest.
impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [.., c, d] = self.0;
        write!(f, "PeerId({}…{c:02x}{d:02x})", self.0[..8].escape_ascii())
    }
}

/// Text that should be an id is not 40 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdTextError {
    /// Length of the text, bytes.
    pub len: usize,
}

impl fmt::Display for IdTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an id is 40 hexadecimal digits, got {} bytes of other text", self.len)
    }
}

impl std::error::Error for IdTextError {}

fn parse(text: &str) -> Result<[u8; 20], IdTextError> {
    let error = IdTextError { len: text.len() };
    let mut bytes = [0; 20];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return Err(error);
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(error);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_an_id_when_printed_then_it_is_lower_hex_and_read_again() {
        let bytes: [u8; 20] = std::array::from_fn(|i| i as u8 * 13);
        let text = "000d1a2734414e5b6875828f9ca9b6c3d0ddeaf7";

        assert_eq!(text, InfoHash::from_bytes(bytes).to_string());
        assert_eq!(Ok(InfoHash::from_bytes(bytes)), text.parse());
        assert_eq!(Ok(PeerId::from_bytes(bytes)), text.to_uppercase().parse());
        assert_eq!(&bytes, PeerId::from_bytes(bytes).as_bytes());
        assert_eq!("InfoHash(000d1a27…)", format!("{:?}", InfoHash::from_bytes(bytes)));
    }

    #[test]
    fn given_text_that_is_no_id_when_parsed_then_it_is_an_error() {
        let nearly = "0".repeat(40);
        for text in
            ["", &nearly[1..], &format!("{nearly}0"), &nearly.replacen('0', "g", 1), &nearly.replacen("00", "é", 1)]
        {
            assert_eq!(Err(IdTextError { len: text.len() }), text.parse::<InfoHash>());
        }
    }

    #[test]
    fn given_a_prefix_and_random_bytes_when_made_a_peer_id_then_both_are_in_it() {
        let id = PeerId::new(PeerId::ZEST_PREFIX, *b"abcdefghijkl");

        assert_eq!(b"-ZE0100-abcdefghijkl", id.as_bytes());
        assert_eq!("PeerId(-ZE0100-…6b6c)", format!("{id:?}"));
    }
}
