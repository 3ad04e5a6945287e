//! The grammar of single tokens. It never looks further than the token goes, and has no memory.
//!
//! What it says of a token depends on the bytes up to where it is certain and on nothing behind them, so input that
//! arrives in pieces is judged as the whole would be.

use crate::integer::{DIGITS_MAX, Digits, Integer};
use crate::{Deviation, Fault};

/// A string or integer. (The other tokens are one byte.)
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    /// Offset of what is behind it.
    pub(crate) end: usize,
    /// Bytes of a string's length and colon.
    pub(crate) head: u8,
    /// In which way it is not written canonically.
    pub(crate) deviation: Option<Deviation>,
}

/// What there may be of a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) string_bytes_max: usize,
    /// Offset that no token may go beyond.
    pub(crate) end_max: usize,
}

/// Why there is no token, and where it showed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    pub(crate) offset: usize,
}

/// Most strings: canonical, complete, of less than 100 bytes. What [`string`] would say, in less time; `None` where it
/// has to be asked.
#[inline]
pub(crate) fn short_string(input: &[u8], at: usize, bounds: Bounds) -> Option<Token> {
    let front = input.get(at..at + 3)?;
    let tens = usize::from(front[0] - b'0');
    let (length, head) = if front[1] == b':' {
        (tens, 2)
    } else {
        let ones = front[1].wrapping_sub(b'0');
        if ones > 9 || tens == 0 || front[2] != b':' {
            return None;
        }
        (tens * 10 + usize::from(ones), 3)
    };
    let end = at + usize::from(head) + length;
    let token = Token { end, head, deviation: None };
    (length <= bounds.string_bytes_max && end <= input.len()).then_some(token)
}

/// Most integers: canonical, complete, not negative, of at most 18 digits. As [`short_string`].
#[inline]
pub(crate) fn short_integer(input: &[u8], at: usize) -> Option<(u64, Token)> {
    const SHORT_DIGITS_MAX: usize = 18;
    let first = input.get(at + 1)?.wrapping_sub(b'0');
    let (mut value, mut end) = (u64::from(first), at + 2);
    loop {
        let digit = input.get(end)?.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        // What overflows is not short.
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        end += 1;
    }
    let digits = end - (at + 1);
    let is_canonical = first <= 9 && (first != 0 || digits == 1);
    let token = Token { end: end + 1, head: 0, deviation: None };
    (is_canonical && digits <= SHORT_DIGITS_MAX && input[end] == b'e').then_some((value, token))
}

/// `integer: 'i' ['-' | '+'] digits 'e'`. (The plus sign is not in the specification.)
pub(crate) fn integer(input: &[u8], at: usize) -> Result<(Integer, Token), Failure> {
    let sign = input.get(at + 1).filter(|byte| matches!(byte, b'-' | b'+'));
    let first = at + 1 + usize::from(sign.is_some());
    let overflow = Failure { fault: Fault::IntegerOverflow, offset: at };
    let Ok(digits) = digits(input, first)? else { return Err(overflow) };
    match input.get(digits.end) {
        Some(b'e') => {}
        other => return Err(unexpected("a digit or 'e'", other, digits.end)),
    }
    let Some(value) = Integer::new(sign == Some(&b'-'), digits.value) else { return Err(overflow) };
    let deviation = match sign {
        Some(b'+') => Some(Deviation::PlusSign),
        _ if digits.leading_zero => Some(Deviation::LeadingZero),
        Some(b'-') if digits.value == 0 => Some(Deviation::NegativeZero),
        _ => None,
    };
    Ok((value, Token { end: digits.end + 1, head: 0, deviation }))
}

/// `string: length ':' bytes`
pub(crate) fn string(input: &[u8], at: usize, bounds: Bounds) -> Result<Token, Failure> {
    let Ok(digits) = digits(input, at)? else { return Err(Failure { fault: Fault::LengthOverflow, offset: at }) };
    match input.get(digits.end) {
        Some(b':') => {}
        other => return Err(unexpected("a digit or ':'", other, digits.end)),
    }
    let begin = digits.end + 1;
    let end = usize::try_from(digits.value).ok().and_then(|length| begin.checked_add(length));
    match end {
        Some(end) if digits.value <= bounds.string_bytes_max as u64 && end <= bounds.end_max => {
            if end > input.len() {
                return Err(truncated(input));
            }
            let deviation = digits.leading_zero.then_some(Deviation::LengthLeadingZero);
            // It is at most `DIGITS_MAX` and a colon.
            let head = (begin - at) as u8;
            Ok(Token { end, head, deviation })
        }
        _ => Err(too_long(digits.value, at, bounds)),
    }
}

/// Reads the digits at an offset. `Err` within: more of them than any number has, or a number beyond all.
#[inline]
fn digits(input: &[u8], at: usize) -> Result<Result<Digits, ()>, Failure> {
    let Some(first @ b'0'..=b'9') = input.get(at) else { return Err(unexpected("a digit", input.get(at), at)) };
    let mut value = u64::from(first - b'0');
    let mut end = at + 1;
    while let Some(digit @ b'0'..=b'9') = input.get(end) {
        let longer = value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit - b'0')));
        match longer {
            Some(longer) if end - at < DIGITS_MAX => value = longer,
            _ => return Ok(Err(())),
        }
        end += 1;
    }
    Ok(Ok(Digits { value, end, leading_zero: *first == b'0' && end - at > 1 }))
}

#[cold]
pub(crate) fn unexpected(expected: &'static str, found: Option<&u8>, offset: usize) -> Failure {
    let fault = found.map_or(Fault::Truncated, |byte| Fault::Unexpected { expected, byte: *byte });
    Failure { fault, offset }
}

#[cold]
fn truncated(input: &[u8]) -> Failure {
    Failure { fault: Fault::Truncated, offset: input.len() }
}

#[cold]
fn too_long(length: u64, offset: usize, bounds: Bounds) -> Failure {
    let max = bounds.string_bytes_max;
    let is_string_too_long = length > max as u64;
    let fault =
        if is_string_too_long { Fault::StringTooLong { length, max } } else { Fault::TooLarge { max: bounds.end_max } };
    Failure { fault, offset }
}
