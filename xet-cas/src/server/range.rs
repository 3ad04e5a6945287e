//! The `Range` header of a request: one range of bytes, in any of its three forms.

use axum::http::{HeaderMap, header};

use crate::ByteRange;

/// What a `Range` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestedRange {
    /// `bytes=a-b`, both included.
    Closed(u64, u64),
    /// `bytes=a-`
    From(u64),
    /// `bytes=-n`: the last n.
    Last(u64),
}

/// Why a `Range` header is not understood: several ranges, another unit, reversed, or nonsense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MalformedRange;

impl RequestedRange {
    /// Reads the header; `None` if there is none.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, MalformedRange> {
        let Some(value) = headers.get(header::RANGE) else { return Ok(None) };
        value.to_str().map_err(|_| MalformedRange).and_then(Self::parse).map(Some)
    }

    fn parse(text: &str) -> Result<Self, MalformedRange> {
        let (start, end) =
            text.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or(MalformedRange)?;
        let number = |digits: &str| match digits.bytes().all(|c| c.is_ascii_digit()) {
            true => digits.parse::<u64>().map_err(|_| MalformedRange),
            false => Err(MalformedRange),
        };
        match (start, end) {
            ("", last) => Ok(Self::Last(number(last)?)),
            (start, "") => Ok(Self::From(number(start)?)),
            (start, end) => match (number(start)?, number(end)?) {
                (start, end) if start <= end => Ok(Self::Closed(start, end)),
                _ => Err(MalformedRange),
            },
        }
    }

    /// The bytes of a resource of this size, as far as they go past its end or not; `None` for the last zero
    /// bytes.
    pub(super) fn bytes(self, size: u64) -> Option<ByteRange> {
        match self {
            Self::Closed(start, last) => Some(ByteRange { start, end: last.saturating_add(1) }),
            Self::From(start) => Some(ByteRange { start, end: u64::MAX }),
            Self::Last(0) => None,
            Self::Last(count) => Some(ByteRange { start: size.saturating_sub(count), end: size }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MalformedRange, RequestedRange};

    #[test]
    fn given_each_form_when_parsed_then_as_http_says() {
        assert_eq!(Ok(RequestedRange::Closed(0, 0)), RequestedRange::parse("bytes=0-0"));
        assert_eq!(Ok(RequestedRange::From(5)), RequestedRange::parse("bytes=5-"));
        assert_eq!(Ok(RequestedRange::Last(5)), RequestedRange::parse("bytes=-5"));
    }

    #[test]
    fn given_anything_else_when_parsed_then_malformed() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=9-5",
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=+1-2",
            "bytes=a-b",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(Err(MalformedRange), RequestedRange::parse(text), "{text}");
        }
    }
}
