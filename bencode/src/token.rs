//! The grammar of single tokens. It never looks further than the token goes, and has no memory.

use nom::bytes::complete::{tag, take, take_while1};
use nom::combinator::opt;
use nom::error::{ErrorKind, ParseError};
use nom::{IResult, Parser};

use crate::integer::from_digits;
use crate::{Deviation, Fault, Integer};

/// The smallest unit of bencode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Integer(Written<Integer>),
    Bytes(Written<&'a [u8]>),
    List,
    Dict,
    End,
}

/// What a token says, and whether it says it in the canonical way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written<T> {
    pub(crate) value: T,
    pub(crate) deviation: Option<Deviation>,
}

/// Why there is no token, and how many bytes of input were left where it showed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    pub(crate) bytes_left: usize,
}

impl Failure {
    fn at(input: &[u8], fault: Fault) -> nom::Err<Self> {
        nom::Err::Error(Self { fault, bytes_left: input.len() })
    }

    /// Names what a parser that matches one byte wanted.
    fn expected(self, expected: &'static str) -> Self {
        match self.fault {
            Fault::Unexpected { byte, .. } => Self { fault: Fault::Unexpected { expected, byte }, ..self },
            _ => self,
        }
    }
}

impl ParseError<&[u8]> for Failure {
    fn from_error_kind(input: &[u8], _: ErrorKind) -> Self {
        let fault = match input.first() {
            Some(byte) => Fault::Unexpected { expected: "another byte", byte: *byte },
            None => Fault::Truncated,
        };
        Self { fault, bytes_left: input.len() }
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

type Parsed<'a, T> = IResult<&'a [u8], T, Failure>;

/// Reads one token off the front.
pub(crate) fn token(input: &[u8], string_bytes_max: usize) -> Parsed<'_, Token<'_>> {
    match input.first() {
        Some(b'0'..=b'9') => string(input, string_bytes_max).map(|(rest, string)| (rest, Token::Bytes(string))),
        Some(b'i') => integer(&input[1..]).map(|(rest, integer)| (rest, Token::Integer(integer))),
        Some(b'l') => Ok((&input[1..], Token::List)),
        Some(b'd') => Ok((&input[1..], Token::Dict)),
        Some(b'e') => Ok((&input[1..], Token::End)),
        Some(byte) => Err(Failure::at(input, Fault::Unexpected { expected: "a value", byte: *byte })),
        None => Err(Failure::at(input, Fault::Truncated)),
    }
}

/// `integer: 'i' ['-' | '+'] digits 'e'`, without the `i`. (The plus sign is not in the specification.)
fn integer(input: &[u8]) -> Parsed<'_, Written<Integer>> {
    let (rest, sign) = opt(tag(&b"-"[..]).or(tag(&b"+"[..]))).parse(input)?;
    let (rest, digits) = digits(rest)?;
    let (rest, _) = byte(rest, b"e", "a digit or 'e'")?;
    let negative = sign == Some(b"-");
    let value = Integer::from_digits(negative, digits).ok_or_else(|| Failure::at(input, Fault::IntegerOverflow))?;
    let deviation = match sign {
        Some(b"+") => Some(Deviation::PlusSign),
        _ if digits[0] == b'0' && digits.len() > 1 => Some(Deviation::LeadingZero),
        Some(b"-") if digits == b"0" => Some(Deviation::NegativeZero),
        _ => None,
    };
    Ok((rest, Written { value, deviation }))
}

/// `string: length ':' bytes`
fn string(input: &[u8], bytes_max: usize) -> Parsed<'_, Written<&[u8]>> {
    let (rest, digits) = digits(input)?;
    // More digits than any length has are refused however many of them are zeros: a prefix is short.
    if digits.len() > LENGTH_DIGITS_MAX {
        return Err(Failure::at(input, Fault::LengthOverflow));
    }
    let length = from_digits(digits).ok_or_else(|| Failure::at(input, Fault::LengthOverflow))?;
    if length > bytes_max as u64 {
        return Err(Failure::at(input, Fault::StringTooLong { length, max: bytes_max }));
    }
    let (rest, _) = byte(rest, b":", "a digit or ':'")?;
    let Ok((rest, value)) = take::<_, _, Failure>(length)(rest) else {
        return Err(Failure::at(&[], Fault::Truncated));
    };
    let deviation = (digits[0] == b'0' && digits.len() > 1).then_some(Deviation::LengthLeadingZero);
    Ok((rest, Written { value, deviation }))
}

/// Digits of `u64::MAX`.
const LENGTH_DIGITS_MAX: usize = 20;

fn digits(input: &[u8]) -> Parsed<'_, &[u8]> {
    let result: Parsed<'_, _> = take_while1(|byte: u8| byte.is_ascii_digit())(input);
    result.map_err(|error| error.map(|failure| failure.expected("a digit")))
}

fn byte<'a>(input: &'a [u8], wanted: &'static [u8; 1], expected: &'static str) -> Parsed<'a, &'a [u8]> {
    let result: Parsed<'_, _> = tag(&wanted[..])(input);
    result.map_err(|error| error.map(|failure| failure.expected(expected)))
}
