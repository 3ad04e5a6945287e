use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::document::Node;
use crate::token::{Failure, Token, token};
use crate::{Deviation, Deviations, Document, Error, Fault, Kind, Limits};

/// Decodes a whole input in strict mode under default limits.
///
/// # Errors
/// Anything but exactly one canonical value within the limits.
pub fn decode(input: &[u8]) -> Result<Document<'_>, Error> {
    Decoder::strict().decode(input)
}

/// Decodes a value at the front of the input, in strict mode under default limits, and returns what follows it.
///
/// # Errors
/// Anything but a canonical value within the limits.
pub fn decode_prefix(input: &[u8]) -> Result<(Document<'_>, &[u8]), Error> {
    Decoder::strict().decode_prefix(input)
}

/// Nodes are counted in four bytes, and one closes the list.
const NODES_MAX: usize = u32::MAX as usize - 2;

/// What to do about input that is not canonical: see [`Deviation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Refuse it.
    Strict,
    /// Decode it and [report](Document::deviations) it. Of equal keys the first counts.
    Lenient,
}

/// How to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoder {
    mode: Mode,
    limits: Limits,
}

impl Decoder {
    /// Refuses what is not canonical.
    pub fn strict() -> Self {
        Self { mode: Mode::Strict, limits: Limits::default() }
    }

    /// Accepts what is not canonical, as messages of other programs may be.
    pub fn lenient() -> Self {
        Self { mode: Mode::Lenient, limits: Limits::default() }
    }

    /// Sets what is refused.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Decodes a whole input.
    ///
    /// # Errors
    /// Anything but exactly one value within the limits.
    pub fn decode<'a>(&self, input: &'a [u8]) -> Result<Document<'a>, Error> {
        let (document, rest) = self.decode_prefix(input)?;
        if rest.is_empty() {
            Ok(document)
        } else {
            Err(Error::decode(Fault::TrailingBytes, input.len() - rest.len(), String::new()))
        }
    }

    /// Decodes a value at the front of the input and returns what follows it.
    ///
    /// # Errors
    /// Anything but a value within the limits.
    pub fn decode_prefix<'a>(&self, input: &'a [u8]) -> Result<(Document<'a>, &'a [u8]), Error> {
        let mut pass =
            Pass { decoder: self, input, nodes: Vec::new(), open: Vec::new(), deviations: Deviations::default() };
        match pass.run() {
            Ok(rest) => {
                let (input, rest) = input.split_at(input.len() - rest.len());
                Ok((Document { input, nodes: pass.nodes, deviations: pass.deviations }, rest))
            }
            Err(failure) => Err(Error::decode(failure.fault, input.len() - failure.bytes_left, path(&pass.open))),
        }
    }
}

impl Default for Decoder {
    /// Strict, under default limits.
    fn default() -> Self {
        Self::strict()
    }
}

/// One walk over the input. What is open is kept in a list, so depth costs no stack.
struct Pass<'p, 'a> {
    decoder: &'p Decoder,
    input: &'a [u8],
    nodes: Vec<Node>,
    open: Vec<Open<'a>>,
    deviations: Deviations,
}

/// A list or dictionary whose end has not come.
struct Open<'a> {
    node: u32,
    inside: Inside<'a>,
}

enum Inside<'a> {
    List {
        items: u32,
    },
    /// Between pairs, behind the value of this key.
    Pairs {
        last: Option<&'a [u8]>,
    },
    /// Behind this key.
    Value {
        key: &'a [u8],
    },
}

impl<'a> Pass<'_, 'a> {
    /// Returns what follows the value.
    fn run(&mut self) -> Result<&'a [u8], Failure> {
        let mut rest = self.input;
        loop {
            let (behind, token) = match token(rest, self.decoder.limits.string_bytes_max) {
                Ok(read) => read,
                Err(nom::Err::Error(failure) | nom::Err::Failure(failure)) => return Err(failure),
                Err(nom::Err::Incomplete(_)) => return Err(Failure { fault: Fault::Truncated, bytes_left: 0 }),
            };
            self.accept(token, self.input.len() - rest.len(), rest.len() - behind.len())
                .map_err(|fault| Failure { fault, bytes_left: rest.len() })?;
            rest = behind;
            if self.open.is_empty() {
                // Whatever ends where the last token does.
                let end =
                    offset(self.input.len() - rest.len()).map_err(|fault| Failure { fault, bytes_left: rest.len() })?;
                self.nodes.push(Node { offset: end, next: 0, head: 0, kind: None });
                return Ok(rest);
            }
        }
    }

    fn accept(&mut self, token: Token<'a>, at: usize, token_bytes: usize) -> Result<(), Fault> {
        let max = self.decoder.limits.tokens_max.min(NODES_MAX);
        if self.nodes.len() >= max {
            return Err(Fault::TooManyTokens { max });
        }
        let at = offset(at)?;
        match token {
            Token::End => return self.close(at),
            Token::Bytes(string) => {
                self.note(string.deviation, at)?;
                let head = (token_bytes - string.value.len()) as u8;
                if let Some(Open { inside: inside @ Inside::Pairs { .. }, .. }) = self.open.last_mut() {
                    let before = core::mem::replace(inside, Inside::Value { key: string.value });
                    self.note(before.order(string.value), at)?;
                } else {
                    self.begin_value()?;
                }
                self.push(at, head, Kind::Bytes);
            }
            Token::Integer(integer) => {
                self.note(integer.deviation, at)?;
                self.begin_value()?;
                self.push(at, 0, Kind::Integer);
            }
            Token::List => self.open(at, Kind::List, Inside::List { items: 0 })?,
            Token::Dict => self.open(at, Kind::Dict, Inside::Pairs { last: None })?,
        }
        Ok(())
    }

    /// Moves what is around a value past it.
    fn begin_value(&mut self) -> Result<(), Fault> {
        if let Some(open) = self.open.last_mut() {
            match &mut open.inside {
                Inside::List { items } => *items += 1,
                Inside::Value { key } => open.inside = Inside::Pairs { last: Some(*key) },
                Inside::Pairs { .. } => return Err(Fault::KeyNotString),
            }
        }
        Ok(())
    }

    fn open(&mut self, at: u32, kind: Kind, inside: Inside<'a>) -> Result<(), Fault> {
        let max = self.decoder.limits.depth_max;
        if self.open.len() >= max {
            return Err(Fault::TooDeep { max });
        }
        self.begin_value()?;
        self.open.push(Open { node: self.nodes.len() as u32, inside });
        self.push(at, 0, kind);
        Ok(())
    }

    fn close(&mut self, at: u32) -> Result<(), Fault> {
        let Some(Open { node, inside }) = self.open.pop() else {
            return Err(Fault::Unexpected { expected: "a value", byte: b'e' });
        };
        if matches!(inside, Inside::Value { .. }) {
            self.open.push(Open { node, inside });
            return Err(Fault::MissingValue);
        }
        self.nodes.push(Node { offset: at, next: 0, head: 0, kind: None });
        self.nodes[node as usize].next = self.nodes.len() as u32;
        Ok(())
    }

    fn push(&mut self, offset: u32, head: u8, kind: Kind) {
        let next = self.nodes.len() as u32 + 1;
        self.nodes.push(Node { offset, next, head, kind: Some(kind) });
    }

    fn note(&mut self, deviation: Option<Deviation>, at: u32) -> Result<(), Fault> {
        match (deviation, self.decoder.mode) {
            (None, _) => Ok(()),
            (Some(deviation), Mode::Strict) => Err(Fault::NotCanonical(deviation)),
            (Some(deviation), Mode::Lenient) => {
                self.deviations.note(deviation, at);
                Ok(())
            }
        }
    }
}

fn offset(at: usize) -> Result<u32, Fault> {
    u32::try_from(at).map_err(|_| Fault::TooLarge)
}

impl Inside<'_> {
    /// In which way it is not canonical that this key follows.
    fn order(&self, key: &[u8]) -> Option<Deviation> {
        let Self::Pairs { last: Some(last) } = self else { return None };
        match (*last).cmp(key) {
            Ordering::Less => None,
            Ordering::Equal => Some(Deviation::DuplicateKey),
            Ordering::Greater => Some(Deviation::UnsortedKeys),
        }
    }
}

/// Steps that a path in an error has at most.
const PATH_STEPS_MAX: usize = 8;
/// Bytes that are shown of a key.
const PATH_KEY_BYTES_MAX: usize = 32;

/// The way to what is read: through everything that is open, and to the value of the last key.
fn path(open: &[Open<'_>]) -> String {
    let mut path = String::new();
    for (i, Open { inside, .. }) in open.iter().enumerate() {
        let innermost = i + 1 == open.len();
        if i == PATH_STEPS_MAX {
            path.push_str("...");
            break;
        }
        match inside {
            Inside::Value { key } | Inside::Pairs { last: Some(key) }
                if !innermost || matches!(inside, Inside::Value { .. }) =>
            {
                let separator = if path.is_empty() { "" } else { "." };
                let shown = key[..key.len().min(PATH_KEY_BYTES_MAX)].escape_ascii();
                let rest = if key.len() > PATH_KEY_BYTES_MAX { "..." } else { "" };
                path.push_str(&format!("{separator}{shown}{rest}"));
            }
            Inside::List { items } if !innermost => path.push_str(&format!("[{}]", items - 1)),
            _ => {}
        }
    }
    path
}
