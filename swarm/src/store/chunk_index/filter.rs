//! Tells without a look at the disk that a chunk is not in a segment: of the segments, one has it at best.

/// Bytes of a word.
pub(super) const WORD_BYTES: usize = 8;
/// Prefixes for each word: eight bits for each, with which some 3 % of those that are not there pass.
const PREFIXES_A_WORD: u64 = 8;
/// Words, at most: 16 MiB. A segment of more than 16 million chunks (a terabyte) has no filter, so that all filters stay
/// below 32 MiB.
const WORDS_MAX: u64 = 2 * 1024 * 1024;
/// Bits that are set for a prefix, all in one word: one line of the processor's cache.
const BITS: u32 = 4;

/// A set of prefixes that says of some that they are in it when they are not. An empty one says it of all.
#[derive(Debug)]
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// For so many prefixes at most.
    pub(super) fn with_room_for(prefixes: u64) -> Self {
        let words = Some(prefixes.div_ceil(PREFIXES_A_WORD)).filter(|words| *words <= WORDS_MAX);
        Self { words: vec![0; words.unwrap_or(0) as usize] }
    }

    /// Big-endian words.
    pub(super) fn encode(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// Reads whole words.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        Self { words: bytes.as_chunks().0.iter().map(|word| u64::from_be_bytes(*word)).collect() }
    }

    pub(super) fn insert(&mut self, prefix: u64) {
        let (at, bits) = self.place(prefix);
        if let Some(word) = self.words.get_mut(at) {
            *word |= bits;
        }
    }

    pub(super) fn may_have(&self, prefix: u64) -> bool {
        let (at, bits) = self.place(prefix);
        self.words.get(at).is_none_or(|word| word & bits == bits)
    }

    /// A word, from the upper bits of the mixed prefix, and bits in it, from the lower ones.
    fn place(&self, prefix: u64) -> (usize, u64) {
        let mixed = prefix.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let at = (u128::from(mixed) * self.words.len() as u128) >> 64;
        let bits = (0..BITS).fold(0, |bits, number| bits | 1 << (mixed >> (6 * number) & 63));
        (at as usize, bits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xet_cas::ChunkHash;

    use super::super::entry::prefix;
    use super::{Filter, WORDS_MAX};

    proptest! {
        #[test]
        fn given_any_prefixes_when_asked_then_each_may_be_there(prefixes in prop::collection::vec(any::<u64>(), 0..200)) {
            let mut filter = Filter::with_room_for(prefixes.len() as u64);
            prefixes.iter().for_each(|prefix| filter.insert(*prefix));

            let read = Filter::decode(&filter.encode());
            prop_assert_eq!(&filter.words, &read.words);
            prop_assert!(prefixes.iter().all(|prefix| read.may_have(*prefix)));
        }
    }

    #[test]
    fn given_a_full_filter_when_asked_for_others_then_few_pass() {
        let spread = |number: u64| prefix(&ChunkHash::of(&number.to_be_bytes()));
        let mut filter = Filter::with_room_for(100_000);
        (0..100_000).for_each(|number| filter.insert(spread(number)));

        let passed = (100_000..200_000).filter(|number| filter.may_have(spread(*number))).count();

        assert!(passed < 6_000, "{passed} of 100,000");
    }

    #[test]
    fn given_more_prefixes_than_a_filter_is_for_when_asked_then_all_pass() {
        let mut filter = Filter::with_room_for(8 * WORDS_MAX + 1);
        filter.insert(1);

        assert!(filter.encode().is_empty());
        assert!(filter.may_have(2));
    }
}
