//! What the parsers of all messages share. They see whole messages only.

use nom::error::{ErrorKind, ParseError};
use nom::number::complete::{be_u32, be_u64};
use nom::{IResult, Parser};
use xet_cas::ChunkRange;

use crate::Error;

/// Outcome of a parser: the rest and what was read.
pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, Fault>;

/// Why a parser gave up. All parsers read fixed sizes, so without a cause of its own the input was too short.
#[derive(Debug)]
pub(crate) struct Fault(Option<Error>);

impl Fault {
    /// Of an input that is too short.
    pub(crate) fn cut_short() -> Self {
        Self(None)
    }

    /// The error to report about a message of this name.
    pub(crate) fn into_error(self, message: &'static str, bytes: usize) -> Error {
        self.0.unwrap_or(Error::Truncated { message, bytes })
    }
}

impl<I> ParseError<I> for Fault {
    fn from_error_kind(_: I, _: ErrorKind) -> Self {
        Self(None)
    }

    fn append(_: I, _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Stops parsing with a cause.
pub(crate) fn fail(error: Error) -> nom::Err<Fault> {
    nom::Err::Failure(Fault(Some(error)))
}

/// Checks that `value` lies in `min..=max`.
pub(crate) fn bounded(what: &'static str, value: u64, min: u64, max: u64) -> Result<(), Error> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(Error::OutOfBounds { what, value, min, max }) }
}

/// As [`bounded`], in a parser.
pub(crate) fn check(what: &'static str, value: u64, min: u64, max: u64) -> Result<(), nom::Err<Fault>> {
    bounded(what, value, min, max).map_err(fail)
}

/// `count` items of at least `item_bytes` each. That the input can hold them is checked before there is room made.
pub(crate) fn list<'a, T>(
    count: usize,
    item_bytes: usize,
    mut item: impl FnMut(&'a [u8]) -> Parsed<'a, T>,
) -> impl FnOnce(&'a [u8]) -> Parsed<'a, Vec<T>> {
    move |mut input| {
        if input.len() / item_bytes < count {
            return Err(nom::Err::Error(Fault::cut_short()));
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            let (rest, next) = item(input)?;
            items.push(next);
            input = rest;
        }
        Ok((input, items))
    }
}

/// 32 raw bytes.
pub(crate) fn hash(input: &[u8]) -> Parsed<'_, [u8; 32]> {
    match input.split_first_chunk() {
        Some((hash, rest)) => Ok((rest, *hash)),
        None => Err(nom::Err::Error(Fault::cut_short())),
    }
}

/// `<start u32><end u32>`, end exclusive, not empty.
pub(crate) fn run(input: &[u8]) -> Parsed<'_, ChunkRange> {
    let (rest, (start, end)) = (be_u32, be_u32).parse(input)?;
    check("end of a run of chunks", end.into(), u64::from(start) + 1, u32::MAX.into())?;
    Ok((rest, ChunkRange { start, end }))
}

/// `<start u64><end u64>`
pub(crate) fn bounds(input: &[u8]) -> Parsed<'_, (u64, u64)> {
    (be_u64, be_u64).parse(input)
}

#[cfg(test)]
mod tests {
    use nom::number::complete::u8 as byte;

    use super::*;

    #[test]
    fn given_a_count_that_the_input_cannot_hold_when_a_list_is_read_then_no_room_is_made_for_it() {
        assert!(list(usize::MAX, 1, byte)(b"ab").is_err());
        assert!(list(3, 1, byte)(b"ab").is_err());
        assert_eq!((&b""[..], vec![b'a', b'b']), list(2, 1, byte)(b"ab").expect("there are two"));
    }
}
