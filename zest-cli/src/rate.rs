//! Rates as they are given on the command line.

use std::num::NonZeroU64;

use crate::failure::Failure;

/// Units by their letter: powers of 1,000, and with an `i` of 1,024.
const UNITS: [(char, u32); 4] = [('k', 1), ('m', 2), ('g', 3), ('t', 4)];

/// Bytes a second: a number, and maybe a unit, like `500000`, `5MB`, `2.5M` or `1GiB/s`. Case does not matter: bits are
/// not a unit here.
pub(crate) fn rate(flag: &str, text: &str) -> Result<NonZeroU64, Failure> {
    let bytes = bytes(text).ok_or_else(|| {
        Failure::usage(format!("{flag} takes bytes a second, not `{text}`"))
            .hint("a number, and maybe a unit: 500000, 5MB, 1GiB/s")
    })?;
    NonZeroU64::new(bytes).ok_or_else(|| {
        Failure::usage(format!("{flag} of less than a byte a second would let nothing through"))
            .hint(format!("leave {flag} away for no limit"))
    })
}

/// A number of bytes, and maybe a unit.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix("/s").unwrap_or(&text);
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let unit = unit.strip_suffix('b').unwrap_or(unit);
    let (letter, base) = unit.strip_suffix('i').map_or((unit, 1_000), |letter| (letter, 1_024));
    let power = match letter.chars().next() {
        None if base == 1_000 => 0,
        None => return None,
        Some(letter) => UNITS.iter().find(|(unit, _)| *unit == letter).map(|(_, power)| *power)?,
    };
    if letter.len() > 1 {
        return None;
    }
    let factor = u64::pow(base, power);
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let bytes = number.parse::<f64>().ok()? * factor as f64;
    // Beyond that a `u64` has no room.
    (bytes < u64::MAX as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::{bytes, rate};

    #[test]
    fn given_rates_when_read_then_bytes_a_second() {
        for (text, expected) in [
            ("1", 1),
            ("500000", 500_000),
            ("5MB", 5_000_000),
            ("5mb/s", 5_000_000),
            ("2.5M", 2_500_000),
            (".5k", 500),
            ("1GiB/s", 1 << 30),
            ("1 GiB/s", 1 << 30),
            ("100B", 100),
            ("64Ki", 65_536),
            ("2T", 2_000_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(Some(expected), bytes(text), "{text}");
            assert_eq!(expected, rate("--limit", text).unwrap().get());
        }
    }

    #[test]
    fn given_what_is_no_rate_when_read_then_a_usage_error_with_a_hint() {
        for text in [
            "",
            "MB",
            "5X",
            "5MBs",
            "5MiBB",
            "5iB",
            "5i",
            "-1",
            "1e3",
            "inf",
            "nan",
            "1..2",
            "5M B",
            "5MM",
            "1/s/s",
            "18446744073709551616",
            "99999999T",
            "9e99",
            "۵",
        ] {
            assert_eq!(None, bytes(text), "{text}");
        }
        for text in ["0", "0MB", "0.0", "0.5", "0.0001k", "x"] {
            assert!(rate("--limit", text).unwrap_err().hint.is_some(), "{text}");
        }
    }
}
