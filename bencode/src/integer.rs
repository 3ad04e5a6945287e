use core::fmt;

/// An integer from `i64::MIN` to `u64::MAX`: every one that decodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Integer(i128);

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

    pub(crate) const fn to_i128(self) -> i128 {
        self.0
    }

    /// Reads digits, which are nothing else. `None` if the integer is out of range.
    pub(crate) fn from_digits(negative: bool, digits: &[u8]) -> Option<Self> {
        let magnitude = from_digits(digits)?;
        let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
        (value >= Self::MIN.0).then_some(Self(value))
    }
}

/// The number that ASCII digits stand for. `None` if it is greater than `u64::MAX`.
pub(crate) fn from_digits(digits: &[u8]) -> Option<u64> {
    let step = |number: u64, digit: &u8| number.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    digits.iter().try_fold(0, step)
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
