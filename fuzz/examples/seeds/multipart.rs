//! Answers of several ranges, and what can be wrong with them.

use super::Seed;

const GOOD: &str = "\r\n--B\r\nContent-Type: x/y\r\nContent-Range: bytes 2-4/99\r\n\r\n\r\n-\
                    \r\n--B \r\nContent-Range: bytes 10-11/*\r\n\r\nDE\r\n--B--\r\n";

pub(super) fn answers() -> Vec<Seed> {
    let changed = |from: &str, to: &str| GOOD.replacen(from, to, 1).into_bytes();
    vec![
        ("good", GOOD.into()),
        ("another_boundary", changed("--B\r\n", "--C\r\n")),
        ("another_range", changed("10-11", "11-12")),
        ("cut_short", GOOD.as_bytes()[..GOOD.len() - 6].to_vec()),
        ("no_range", changed("Content-Range", "X-Range")),
        ("no_range_at_all", changed("10-11", "11-10")),
        ("one_part", changed("\r\n--B \r\nContent-Range: bytes 10-11/*\r\n\r\nDE", "")),
        ("something_behind_it", [GOOD.as_bytes(), b"x"].concat()),
        ("twice_a_range", changed("\r\n\r\nDE", "\r\nContent-Range: bytes 10-11/*\r\n\r\nDE")),
        ("without_carriage_return", changed("\r\n\r\nDE", "\r\n\nDE")),
    ]
}

pub(super) fn recipes() -> Vec<Seed> {
    let range = |gap: u32, bytes: &[u8]| -> Vec<u8> {
        let length = bytes.len() as u32 - 1;
        [&gap.to_le_bytes(), &length.to_le_bytes(), bytes].concat()
    };
    let recipe = |pieces: u32, ranges: &[Vec<u8>]| [&pieces.to_le_bytes()[..], &ranges.concat()].concat();
    vec![
        ("one_byte_at_once", recipe(0, &[range(2, b"abc"), range(5, b"de")])),
        ("delimiters_in_the_data", recipe(30, &[range(0, b"\r\n--B--\r\n"), range(0, b"\r\n--B\r\n\r\n")])),
        ("touching", recipe(7, &[range(0, b"a"), range(0, b"b"), range(0, b"c")])),
    ]
}
