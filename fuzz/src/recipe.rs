//! Bytes as instructions for building something.

/// Reads instructions off the front of the bytes. Past their end it reads zeros, so that all bytes are a
/// recipe and a longer one extends what a shorter one builds.
#[derive(Debug, Clone)]
pub struct Recipe<'a> {
    rest: &'a [u8],
}

impl<'a> Recipe<'a> {
    /// Starts at the front.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all bytes were read.
    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes up to `n` bytes as they are.
    pub fn literal(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(n.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// An array of bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.literal(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    /// One bit, of a byte of its own.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number from 0 to `max`, of four bytes.
    pub fn up_to(&mut self, max: u32) -> u32 {
        let number = u32::from_le_bytes(self.array());
        max.checked_add(1).map_or(number, |count| number % count)
    }
}
