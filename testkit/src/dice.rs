use crate::model::SplitMix64;

/// Random decisions that a seed repeats.
#[derive(Debug, Clone)]
pub struct Dice(SplitMix64);

impl Dice {
    /// Other seeds decide otherwise.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        const STREAM: u64 = 0xd1ce;
        Self(SplitMix64::new(seed, STREAM, 0))
    }

    /// A number below `end`, which must not be 0. All are about as likely.
    pub const fn below(&mut self, end: u64) -> u64 {
        ((self.0.next() as u128 * end as u128) >> 64) as u64
    }

    /// A number in `start..end`, which must not be empty.
    pub const fn between(&mut self, start: u64, end: u64) -> u64 {
        start + self.below(end - start)
    }

    /// True so many times in a hundred.
    pub const fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}
