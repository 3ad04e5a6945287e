//! `multipart/byteranges`: several ranges of a resource in one answer (RFC 9110, section 14.6).
//!
//! Pure and without buffers for data: it says of what has arrived which bytes belong to which range. The ranges are
//! known beforehand, so data is counted and not searched for its end, and whatever is not exactly what was asked for is
//! an error as soon as it shows.

use crate::{ByteRange, Error};

/// Delimiter and headers of a part at most, bytes.
pub const PART_HEAD_BYTES_MAX: usize = 4 * 1024;
/// Longest boundary, bytes (RFC 2046).
const BOUNDARY_BYTES_MAX: usize = 70;

/// What the next bytes of an answer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes belong to no range.
    Framing(usize),
    /// So many bytes of a range, counted from 0.
    Data {
        /// Which of the ranges that were asked for.
        range: usize,
        /// How many bytes.
        bytes: usize,
    },
}

/// Takes an answer apart as it arrives.
#[derive(Debug, Clone)]
pub struct ByteRanges {
    boundary: String,
    ranges: Vec<ByteRange>,
    /// Ranges that have begun.
    begun: usize,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// What stands before a part, as far as it has arrived: a line, and what the lines before it said.
    Head {
        line: Vec<u8>,
        bytes: usize,
        lines: Lines,
    },
    Data {
        left: u64,
    },
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// Nothing, or an empty line that ends the data before.
    Nothing { is_line_ended: bool },
    /// The delimiter, and what range the headers so far have named.
    Delimiter { range: Option<ByteRange> },
}

impl ByteRanges {
    /// Expects these ranges, in this order. `content_type` is that of the answer; `None` if it says that the answer is
    /// not of this form.
    ///
    /// # Errors
    /// [`Error::Multipart`] if it is of this form and its boundary is missing or none.
    pub fn new(content_type: &str, ranges: Vec<ByteRange>) -> Result<Option<Self>, Error> {
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/byteranges") {
            return Ok(None);
        }
        let boundary =
            parameters.split(';').filter_map(|parameter| parameter.split_once('=')).find_map(|(name, value)| {
                let value = value.trim();
                let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                name.trim().eq_ignore_ascii_case("boundary").then(|| quoted.unwrap_or(value).to_owned())
            });
        let is_allowed = |c: u8| c.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&c);
        let boundary = boundary.filter(|boundary| (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()));
        let Some(boundary) = boundary.filter(|boundary| boundary.bytes().all(is_allowed)) else {
            return Err(broken("its boundary is missing or none"));
        };
        let state = State::Head { line: Vec::new(), bytes: 0, lines: Lines::Nothing { is_line_ended: false } };
        Ok(Some(Self { boundary, ranges, begun: 0, state }))
    }

    /// Bytes that an answer about these ranges has at most.
    pub fn bytes_max(ranges: &[ByteRange]) -> u64 {
        let data = ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.length()));
        data.saturating_add((ranges.len() as u64 + 1).saturating_mul(PART_HEAD_BYTES_MAX as u64))
    }

    /// Says what the first bytes of `input` are, which is what has arrived next and is not empty. The rest is to be
    /// offered again.
    ///
    /// # Errors
    /// [`Error::Multipart`] for anything but the ranges that are expected. The rest of the answer is of no use then.
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, Error> {
        if let State::Data { left } = &mut self.state {
            let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
            *left -= bytes as u64;
            if *left == 0 {
                self.state = State::Head { line: Vec::new(), bytes: 0, lines: Lines::Nothing { is_line_ended: false } };
            }
            return Ok(Piece::Data { range: self.begun - 1, bytes });
        }
        for (at, byte) in input.iter().enumerate() {
            self.push_framing(*byte)?;
            if matches!(self.state, State::Data { .. }) {
                return Ok(Piece::Framing(at + 1));
            }
        }
        Ok(Piece::Framing(input.len()))
    }

    /// Checks that nothing is missing when the answer is over.
    ///
    /// # Errors
    /// [`Error::Multipart`] if the end was not told.
    pub fn finish(&self) -> Result<(), Error> {
        if matches!(self.state, State::Ended) { Ok(()) } else { Err(broken("it is cut short")) }
    }

    fn push_framing(&mut self, byte: u8) -> Result<(), Error> {
        let is_last = self.begun == self.ranges.len();
        let State::Head { line, bytes, lines } = &mut self.state else {
            // Only the line that tells the end may be ended.
            return if byte.is_ascii_whitespace() { Ok(()) } else { Err(broken("something follows its end")) };
        };
        *bytes += 1;
        if *bytes > PART_HEAD_BYTES_MAX {
            return Err(broken("the head of a part is too long"));
        }
        line.push(byte);
        let is_delimiter = matches!(lines, Lines::Nothing { .. });
        if is_delimiter && line.len() > 2 && is_end(line, &self.boundary) {
            if !is_last {
                return Err(broken("ranges are missing"));
            }
            self.state = State::Ended;
            return Ok(());
        }
        if byte != b'\n' {
            return Ok(());
        }
        let text = std::mem::take(line);
        let text = text.strip_suffix(b"\r\n").ok_or_else(|| broken("a line of a head ends with no CRLF"))?;
        match *lines {
            Lines::Nothing { is_line_ended: false } if text.is_empty() => {
                *lines = Lines::Nothing { is_line_ended: true };
            }
            Lines::Nothing { is_line_ended } => {
                let is_ended = is_line_ended || self.begun == 0;
                let marker = text.strip_prefix(b"--").and_then(|text| text.strip_prefix(self.boundary.as_bytes()));
                if !is_ended || !marker.is_some_and(|rest| rest.iter().all(|c| matches!(c, b' ' | b'\t'))) {
                    return Err(broken("a part does not begin with the boundary"));
                }
                *lines = Lines::Delimiter { range: None };
            }
            Lines::Delimiter { range } if text.is_empty() => {
                let range = range.ok_or_else(|| broken("a part does not say which range it is"))?;
                if self.ranges.get(self.begun) != Some(&range) {
                    return Err(broken("a part is not the range that comes next"));
                }
                self.begun += 1;
                self.state = State::Data { left: range.length() };
            }
            Lines::Delimiter { range } => {
                if let Some(value) = header_value(text, "content-range") {
                    let stated = content_range(value).ok_or_else(|| broken("the range of a part is none"))?;
                    if range.is_some() {
                        return Err(broken("a part says twice which range it is"));
                    }
                    *lines = Lines::Delimiter { range: Some(stated) };
                }
            }
        }
        Ok(())
    }
}

fn is_end(line: &[u8], boundary: &str) -> bool {
    let rest = line.strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary.as_bytes()));
    rest == Some(b"--")
}

fn header_value<'t>(line: &'t [u8], name: &str) -> Option<&'t str> {
    let (found, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
}

/// `bytes 5-9/100`, the total maybe unknown: `*`.
fn content_range(value: &str) -> Option<ByteRange> {
    let (unit, rest) = value.split_once(' ')?;
    let (first, last) = rest.split_once('/')?.0.split_once('-')?;
    let number =
        |text: &str| text.trim().bytes().all(|c| c.is_ascii_digit()).then(|| text.trim().parse::<u64>().ok())?;
    let range = ByteRange { start: number(first)?, end: number(last)?.checked_add(1)? };
    (unit.eq_ignore_ascii_case("bytes") && range.start < range.end).then_some(range)
}

fn broken(reason: &'static str) -> Error {
    Error::Multipart { reason }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{ByteRanges, PART_HEAD_BYTES_MAX, Piece};
    use crate::{ByteRange, Error};

    const TYPE: &str = "multipart/byteranges; boundary=B";

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end }
    }

    fn two() -> Vec<ByteRange> {
        vec![range(2, 5), range(10, 12)]
    }

    /// Feeds an answer in pieces of so many bytes; returns the data of each range.
    fn read(answer: &[u8], ranges: Vec<ByteRange>, pieces: usize) -> Result<Vec<Vec<u8>>, Error> {
        let mut data = vec![Vec::new(); ranges.len()];
        let mut parser = ByteRanges::new(TYPE, ranges)?.unwrap();
        for mut piece in answer.chunks(pieces) {
            while !piece.is_empty() {
                let taken = match parser.next(piece)? {
                    Piece::Framing(bytes) => bytes,
                    Piece::Data { range, bytes } => {
                        data[range].extend_from_slice(&piece[..bytes]);
                        bytes
                    }
                };
                assert!((1..=piece.len()).contains(&taken));
                piece = &piece[taken..];
            }
        }
        parser.finish()?;
        Ok(data)
    }

    const ANSWER: &str = "\r\n--B\r\nContent-Type: x/y\r\ncontent-RANGE:  bytes 2-4/100\r\n\r\n\r\n-\
                          \r\n--B \r\nContent-Range: bytes 10-11/*\r\n\r\nDE\r\n--B--\r\n";

    #[test]
    fn given_an_answer_in_any_pieces_when_read_then_the_data_of_each_range() {
        for pieces in 1..=ANSWER.len() {
            let data = read(ANSWER.as_bytes(), two(), pieces).unwrap();
            assert_eq!([&b"\r\n-"[..], b"DE"], data[..], "{pieces} at once");
        }
        let bare = ANSWER.trim();
        assert!(read(bare.as_bytes(), two(), 7).is_ok(), "without line ends around it");
    }

    #[test]
    fn given_anything_else_when_read_then_refused() {
        let lies: [(&str, &str, &str); 13] = [
            ("--B\r\nContent-Type", "--C\r\nContent-Type", "boundary"),
            ("\r\n--B \r\n", "--B \r\n", "boundary"),
            ("\r\n--B \r\n", "\r\n--Bx\r\n", "boundary"),
            ("\r\n--B \r\n", "!\r\n--B \r\n", "boundary"),
            ("Content-Range: bytes 10-11/*", "X: y", "which range"),
            ("10-11", "11-12", "comes next"),
            ("10-11", "11-10", "is none"),
            ("10-11", "10-18446744073709551615", "is none"),
            ("10-11", "+10-11", "is none"),
            ("DE", "D", "CRLF"),
            ("DE\r\n--B--", "DE", "cut short"),
            ("--B--\r\n", "--B--\r\nmore", "follows"),
            ("\r\nDE", "\nDE", "CRLF"),
        ];
        for (from, to, expected) in lies {
            let lie = ANSWER.replacen(from, to, 1);
            assert_ne!(ANSWER, lie);
            for pieces in [1, lie.len()] {
                let error = read(lie.as_bytes(), two(), pieces).unwrap_err().to_string();
                assert!(error.contains(expected), "{lie:?}: {error}");
            }
        }
    }

    #[test]
    fn given_parts_that_were_not_asked_for_or_are_missing_when_read_then_refused() {
        let mut reversed = two();
        reversed.reverse();
        for (ranges, expected) in [
            (reversed, "comes next"),
            (vec![range(2, 5)], "comes next"),
            ([two(), vec![range(20, 21)]].concat(), "missing"),
            (vec![range(2, 4), range(10, 12)], "comes next"),
        ] {
            let error = read(ANSWER.as_bytes(), ranges, 1).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn given_a_head_without_end_when_read_then_refused_at_the_limit() {
        let mut parser = ByteRanges::new(TYPE, two()).unwrap().unwrap();
        let head = format!("--B\r\n{}", "x".repeat(PART_HEAD_BYTES_MAX));

        assert!(parser.next(&head.as_bytes()[..PART_HEAD_BYTES_MAX]).is_ok());
        assert!(parser.next(b"x").is_err());
    }

    #[test]
    fn given_a_content_type_when_looked_at_then_its_boundary_counts() {
        for kind in ["multipart/byteranges;boundary=B", "Multipart/ByteRanges; x=y ; BOUNDARY=\"B\""] {
            assert!(ByteRanges::new(kind, two()).unwrap().is_some_and(|parser| parser.boundary == "B"), "{kind}");
        }
        for kind in ["application/octet-stream", "", "text/html; boundary=B"] {
            assert!(ByteRanges::new(kind, two()).unwrap().is_none(), "{kind}");
        }
        let long = format!("multipart/byteranges; boundary={}", "b".repeat(71));
        for kind in
            ["multipart/byteranges", "multipart/byteranges; boundary=", &long, "multipart/byteranges; boundary=ü"]
        {
            assert!(ByteRanges::new(kind, two()).is_err(), "{kind}");
        }
    }

    proptest! {
        #[test]
        fn given_ranges_when_written_and_read_in_any_pieces_then_the_same_and_within_the_bound(
            lengths in vec((1_usize..50, 0_u64..9), 1..6),
            pieces in 1_usize..40,
        ) {
            let (mut ranges, mut data, mut answer, mut at) = (Vec::new(), Vec::new(), String::new(), 0);
            for (bytes, gap) in lengths {
                let part = "-\r\nB".chars().cycle().take(bytes).collect::<String>();
                ranges.push(range(at + gap, at + gap + bytes as u64));
                at += gap + bytes as u64;
                let ByteRange { start, end } = ranges[ranges.len() - 1];
                answer += &format!("--B\r\nContent-Range: bytes {start}-{}/9999\r\n\r\n{part}\r\n", end - 1);
                data.push(part.into_bytes());
            }
            answer += "--B--\r\n";

            prop_assert!(answer.len() as u64 <= ByteRanges::bytes_max(&ranges));
            prop_assert_eq!(data, read(answer.as_bytes(), ranges, pieces).unwrap());
        }

        #[test]
        fn given_any_bytes_when_read_then_no_panic(answer in vec(any::<u8>(), 0..300), pieces in 1_usize..50) {
            let answer = [&b"--B\r\nContent-Range: bytes 2-4/9\r\n\r\nabc"[..], &answer].concat();
            let _ = read(&answer, two(), pieces);
        }
    }
}
