//! One walk over the input, which can stop where the input does and go on when there is more.

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::document::{Node, compare_keys, key_bytes};
use crate::path::path;
use crate::token::{Bounds, Failure, Token, integer, short_integer, short_string, string, unexpected};
use crate::{Deviation, Deviations, Document, Fault, Kind, Limits, Mode};

/// What was read of a value, and what is still open.
///
/// There is no stack: while a list or dictionary is open, its node's `next` is the index of the one around it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scan {
    nodes: Vec<Node>,
    /// Tokens that there is room for.
    room: usize,
    /// Offset of what was not read.
    at: usize,
    /// Index of the innermost list or dictionary that is open, if `levels` is not 0.
    open: u32,
    levels: usize,
    levels_most: usize,
    /// What `open` is.
    in_dict: bool,
    /// Whether a key of that dictionary is due, or its end.
    key_is_due: bool,
    /// Index of the last key of that dictionary. No key is the first node: 0 if there is none.
    key: u32,
    deviations: Deviations,
}

/// Nodes that there is room for at first: small messages need no more.
const NODES_RESERVED: usize = 32;

impl Scan {
    /// Goes on until the value is complete. After a failure it can go on with more input if that is what is missing;
    /// else it fails in the same way again.
    pub(crate) fn run(&mut self, input: &[u8], mode: Mode, limits: &Limits) -> Result<(), Failure> {
        let end_max = limits.value_bound();
        let input = &input[..input.len().min(end_max)];
        match self.read_tokens(input, mode, limits, Bounds { string_bytes_max: limits.string_bytes_max, end_max }) {
            Err(Failure { fault: Fault::Truncated, .. }) if input.len() == end_max => {
                Err(Failure { fault: Fault::TooLarge { max: end_max }, offset: end_max })
            }
            result => result,
        }
    }

    /// What was read, when it is complete, and what follows it.
    pub(crate) fn finish(self, input: &[u8]) -> (Document<'_>, &[u8]) {
        let Self { nodes, deviations, levels_most: levels, .. } = self;
        let (input, rest) = input.split_at(self.at);
        (Document { input, nodes, deviations, levels }, rest)
    }

    /// Bytes that were read: all of the value when it is complete.
    pub(crate) fn bytes(&self) -> usize {
        self.at
    }

    /// Tokens that were read, of a value that is complete.
    #[cfg(feature = "serde")]
    pub(crate) fn tokens(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Keys and positions that lead to where the next token belongs.
    pub(crate) fn path(mut self, input: &[u8]) -> String {
        for _ in 0..self.levels {
            // Whatever comes is within it.
            self.open = core::mem::replace(&mut self.nodes[self.open as usize].next, u32::MAX);
        }
        let next = self.nodes.len();
        self.nodes.push(Node { offset: self.at as u32, next: u32::MAX, head: 0, kind: None });
        path(&self.nodes, input, next)
    }

    fn read_tokens(&mut self, input: &[u8], mode: Mode, limits: &Limits, bounds: Bounds) -> Result<(), Failure> {
        loop {
            let at = self.at;
            let fail = |fault| Failure { fault, offset: at };
            if self.nodes.len() >= self.room {
                self.make_room(input, limits.tokens_max).map_err(fail)?;
            }
            self.at = match input.get(at) {
                Some(b'0'..=b'9') => {
                    let token = short_string(input, at, bounds).map_or_else(|| string(input, at, bounds), Ok)?;
                    self.string(input, token, mode).map_err(fail)?;
                    token.end
                }
                Some(b'i') => {
                    let token = match short_integer(input, at) {
                        Some((_, token)) => token,
                        None => integer(input, at)?.1,
                    };
                    self.integer(token, mode).map_err(fail)?;
                    token.end
                }
                Some(b'l') => {
                    self.open(Kind::List, limits).map_err(fail)?;
                    at + 1
                }
                Some(b'd') => {
                    self.open(Kind::Dict, limits).map_err(fail)?;
                    at + 1
                }
                Some(b'e') => {
                    self.close().map_err(fail)?;
                    at + 1
                }
                other => return Err(unexpected("a value", other, at)),
            };
            if self.levels == 0 {
                // What is behind the last token begins where that ends.
                self.push(self.at, None, 0);
                return Ok(());
            }
        }
    }

    // Checks come before changes, so that a token that is refused leaves no trace.

    #[inline]
    fn string(&mut self, input: &[u8], token: Token, mode: Mode) -> Result<(), Fault> {
        self.note(token.deviation, mode)?;
        if self.key_is_due {
            if self.key != 0 {
                self.note(self.order(input, token), mode)?;
            }
            (self.key, self.key_is_due) = (self.nodes.len() as u32, false);
        } else {
            self.key_is_due = self.in_dict;
        }
        self.push(self.at, Some(Kind::Bytes), token.head);
        Ok(())
    }

    #[inline]
    fn integer(&mut self, token: Token, mode: Mode) -> Result<(), Fault> {
        if self.key_is_due {
            return Err(Fault::KeyNotString);
        }
        self.note(token.deviation, mode)?;
        self.key_is_due = self.in_dict;
        self.push(self.at, Some(Kind::Integer), 0);
        Ok(())
    }

    #[inline]
    fn open(&mut self, kind: Kind, limits: &Limits) -> Result<(), Fault> {
        if self.levels >= limits.depth_max {
            return Err(Fault::TooDeep { max: limits.depth_max });
        }
        if self.key_is_due {
            return Err(Fault::KeyNotString);
        }
        let index = self.nodes.len();
        self.push(self.at, Some(kind), 0);
        self.nodes[index].next = self.open;
        self.open = index as u32;
        self.levels += 1;
        self.levels_most = self.levels_most.max(self.levels);
        self.in_dict = kind == Kind::Dict;
        (self.key_is_due, self.key) = (self.in_dict, 0);
        Ok(())
    }

    #[inline]
    fn close(&mut self) -> Result<(), Fault> {
        if self.levels == 0 {
            return Err(Fault::Unexpected { expected: "a value", byte: b'e' });
        }
        if self.in_dict && !self.key_is_due {
            return Err(Fault::MissingValue);
        }
        let closed = self.open;
        self.push(self.at, None, 0);
        let next = self.nodes.len() as u32;
        let around = core::mem::replace(&mut self.nodes[closed as usize].next, next);
        (self.open, self.levels) = (around, self.levels - 1);
        self.in_dict = self.levels > 0 && self.nodes[around as usize].kind == Some(Kind::Dict);
        // In a dictionary the key is right before its value.
        (self.key_is_due, self.key) = (self.in_dict, closed.saturating_sub(1));
        Ok(())
    }

    #[inline]
    fn push(&mut self, offset: usize, kind: Option<Kind>, head: u8) {
        // The limit of a value's bytes keeps both in range.
        let next = self.nodes.len() as u32 + 1;
        self.nodes.push(Node { offset: offset as u32, next, head, kind });
    }

    /// Doubles the room, but not beyond what is left of the input can fill, as long as that is not little: input that
    /// comes byte by byte must not copy all nodes at each.
    #[cold]
    fn make_room(&mut self, input: &[u8], tokens_max: usize) -> Result<(), Fault> {
        let length = self.nodes.len();
        if length >= tokens_max {
            return Err(Fault::TooManyTokens { max: tokens_max });
        }
        let fillable = input.len().saturating_sub(self.at);
        let more = length.max(NODES_RESERVED).min(fillable).max(length / 4).min(tokens_max - length).max(1);
        // One closes the list.
        self.nodes.reserve_exact(more + 1);
        self.room = length + more;
        Ok(())
    }

    #[inline]
    fn note(&mut self, deviation: Option<Deviation>, mode: Mode) -> Result<(), Fault> {
        match deviation {
            None => Ok(()),
            Some(deviation) if mode == Mode::Strict => Err(Fault::NotCanonical(deviation)),
            Some(deviation) => {
                self.deviations.note(deviation, self.at as u32);
                Ok(())
            }
        }
    }

    /// In which way it is not canonical that this key follows the last one.
    #[inline]
    fn order(&self, input: &[u8], key: Token) -> Option<Deviation> {
        let key = &input[self.at + usize::from(key.head)..key.end];
        let last = key_bytes(&self.nodes, input, self.key as usize);
        match compare_keys(last, key) {
            Ordering::Less => None,
            Ordering::Equal => Some(Deviation::DuplicateKey),
            Ordering::Greater => Some(Deviation::UnsortedKeys),
        }
    }
}
