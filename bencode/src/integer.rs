use core::fmt;

/// An integer from `i64::MIN` to `u64::MAX`: every one that decodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Integer(i128);

/// Digits that are read of a number: those of `u64::MAX`. More are refused however many of them are zeros, so that
/// the beginning of a token is short.
pub(crate) const DIGITS_MAX: usize = 20;

/// Digits that were read.
pub(crate) struct Digits {
    pub(crate) value: u64,
    /// Offset of what is behind them.
    pub(crate) end: usize,
    /// A zero that could be left out.
    pub(crate) leading_zero: bool,
}

impl Integer {
    /// The least one.
    pub const MIN: Self = Self(i64::MIN as i128);
    /// The greatest one.
    pub const MAX: Self = Self(u64::MAX as i128);

    /// `None` if it is greater than `i64::MAX`.
    pub fn as_i64(self) -> Option<i64> {
        self.0.try_into().ok()
    }

    /// `None` if it is negative.
    pub fn as_u64(self) -> Option<u64> {
        self.0.try_into().ok()
    }

    /// `None` if it is less than the least one.
    #[inline]
    pub(crate) fn new(negative: bool, magnitude: u64) -> Option<Self> {
        let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
        (value >= Self::MIN.0).then_some(Self(value))
    }

    /// Appends it as digits.
    pub(crate) fn write(self, out: &mut alloc::vec::Vec<u8>) {
        if self.0 < 0 {
            out.push(b'-');
        }
        // The magnitude of the least one fits as well.
        write_digits(self.0.unsigned_abs() as u64, out);
    }

    #[cfg(feature = "bendy")]
    pub(crate) fn to_i128(self) -> i128 {
        self.0
    }
}

/// Appends a number as digits.
#[inline]
pub(crate) fn write_digits(mut number: u64, out: &mut alloc::vec::Vec<u8>) {
    if number < 10 {
        return out.push(b'0' + number as u8);
    }
    let mut digits = [0; DIGITS_MAX];
    let mut begin = DIGITS_MAX;
    while number > 0 {
        begin -= 1;
        digits[begin] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[begin..]);
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! from_machine_integer {
    ($($type:ty)*) => {$(
        impl From<$type> for Integer {
            fn from(value: $type) -> Self {
                Self(value.into())
            }
        }
    )*}
}

from_machine_integer!(i8 i16 i32 i64 u8 u16 u32 u64);

impl From<usize> for Integer {
    fn from(value: usize) -> Self {
        Self(value as i128)
    }
}

impl TryFrom<i128> for Integer {
    type Error = OutOfRange;

    fn try_from(value: i128) -> Result<Self, OutOfRange> {
        (Self::MIN.0..=Self::MAX.0).contains(&value).then_some(Self(value)).ok_or(OutOfRange)
    }
}

/// The number is less than [`Integer::MIN`] or greater than [`Integer::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an integer that is out of range")]
pub struct OutOfRange;
