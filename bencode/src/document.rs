use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::ops::Range;

#[cfg(feature = "serde")]
use crate::Deviation;
use crate::token::integer;
use crate::{Deviations, Integer};

/// A decoded value: the input, and a flat list of what is where in it.
///
/// Nothing is copied out of the input, and nothing is nested: to decode, to walk and to drop it takes the
/// same stack whatever the depth.
#[derive(Clone)]
pub struct Document<'a> {
    /// Exactly the value's bytes.
    pub(crate) input: &'a [u8],
    pub(crate) nodes: Vec<Node>,
    pub(crate) deviations: Deviations,
    /// Most lists and dictionaries inside one another.
    #[cfg_attr(not(feature = "serde"), expect(dead_code, reason = "what recurses into values asks"))]
    pub(crate) levels: usize,
}

/// A token, or the end of the document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    /// Where it begins. It ends where the next one begins.
    pub(crate) offset: u32,
    /// Index of the node behind this value and all within it. (For an end: unused.)
    pub(crate) next: u32,
    /// Bytes of a string's length and colon.
    pub(crate) head: u8,
    /// `None` for an end.
    pub(crate) kind: Option<Kind>,
}

// What `Limits` says about memory.
const _: () = assert!(size_of::<Node>() == 12);

/// The bytes of a string that another node follows.
#[inline]
pub(crate) fn key_bytes<'a>(nodes: &[Node], input: &'a [u8], index: usize) -> &'a [u8] {
    let node = nodes[index];
    &input[node.offset as usize + usize::from(node.head)..nodes[index + 1].offset as usize]
}

/// The kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An integer.
    Integer,
    /// A string of bytes.
    Bytes,
    /// A list.
    List,
    /// A dictionary.
    Dict,
}

/// The order of keys. Most differ in their first byte, which spares a call.
#[inline]
pub(crate) fn compare_keys(one: &[u8], other: &[u8]) -> Ordering {
    match (one.first(), other.first()) {
        (Some(one), Some(other)) if one != other => one.cmp(other),
        _ => one.cmp(other),
    }
}

impl<'a> Document<'a> {
    /// The value itself.
    pub fn root(&self) -> Value<'_, 'a> {
        Value { document: self, index: 0 }
    }

    /// The bytes that it was decoded from: of [`decode_prefix`](crate::decode_prefix), only the value's.
    pub fn raw(&self) -> &'a [u8] {
        self.input
    }

    /// What was not canonical. Always empty after strict decoding.
    pub fn deviations(&self) -> &Deviations {
        &self.deviations
    }
}

impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root().fmt(f)
    }
}

/// A value within a document. It is two words, to be copied.
///
/// `'a` is the input, which what is read lives as long as; `'d` is the document.
#[derive(Clone, Copy)]
pub struct Value<'d, 'a> {
    document: &'d Document<'a>,
    index: u32,
}

impl<'d, 'a> Value<'d, 'a> {
    /// Its kind.
    pub fn kind(self) -> Kind {
        // No value begins at an end.
        self.node().kind.unwrap_or(Kind::List)
    }

    /// The exact bytes it was decoded from, as hashes and signatures are made over.
    pub fn raw(self) -> &'a [u8] {
        &self.document.input[self.span()]
    }

    /// Where in the document's input [`raw`](Self::raw) is.
    pub fn span(self) -> Range<usize> {
        self.node().offset as usize..self.document.nodes[self.node().next as usize].offset as usize
    }

    /// The bytes of a string; `None` if it is none.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        (self.kind() == Kind::Bytes).then(|| key_bytes(&self.document.nodes, self.document.input, self.index as usize))
    }

    /// The text of a string that is UTF-8; `None` if it is none.
    pub fn as_str(self) -> Option<&'a str> {
        str::from_utf8(self.as_bytes()?).ok()
    }

    /// An integer; `None` if it is none.
    pub fn as_integer(self) -> Option<Integer> {
        if self.kind() != Kind::Integer {
            return None;
        }
        integer(self.raw(), 0).ok().map(|(value, _)| value)
    }

    /// An integer; `None` if it is none or greater than `i64::MAX`.
    pub fn as_i64(self) -> Option<i64> {
        self.as_integer()?.as_i64()
    }

    /// An integer; `None` if it is none or negative.
    pub fn as_u64(self) -> Option<u64> {
        self.as_integer()?.as_u64()
    }

    /// The items of a list; `None` if it is none.
    pub fn as_list(self) -> Option<List<'d, 'a>> {
        (self.kind() == Kind::List).then(|| List { next: self.inside() })
    }

    /// The pairs of a dictionary, as they are in the input; `None` if it is none.
    pub fn as_dict(self) -> Option<Dict<'d, 'a>> {
        (self.kind() == Kind::Dict).then(|| Dict { next: self.inside() })
    }

    /// The value of a key of a dictionary; `None` if there is none, or this is none. If the key is there more
    /// than once, the first counts.
    ///
    /// It looks at the keys one after the other: to read many out of a dictionary that may be large, walk it.
    pub fn get(self, key: &[u8]) -> Option<Self> {
        self.as_dict()?.find(|(candidate, _)| *candidate == key).map(|(_, value)| value)
    }

    #[cfg(feature = "serde")]
    pub(crate) fn levels_in_document(self) -> usize {
        self.document.levels
    }

    /// Whether keys of a dictionary may be equal.
    #[cfg(feature = "serde")]
    pub(crate) fn may_have_equal_keys(self) -> bool {
        let deviations = &self.document.deviations;
        [Deviation::DuplicateKey, Deviation::UnsortedKeys].iter().any(|way| deviations.first(*way).is_some())
    }

    /// Keys and positions that lead to it.
    #[cfg(feature = "serde")]
    pub(crate) fn path(self) -> alloc::string::String {
        crate::path::path(&self.document.nodes, self.document.input, self.index as usize)
    }

    /// Nodes, itself and ends included.
    pub(crate) fn nodes(self) -> &'d [Node] {
        &self.document.nodes[self.index as usize..self.node().next as usize]
    }

    /// The value that begins so many nodes further on.
    pub(crate) fn at(self, nodes: usize) -> Self {
        Self { index: self.index + nodes as u32, ..self }
    }

    fn inside(self) -> Self {
        self.at(1)
    }

    fn node(self) -> Node {
        self.document.nodes[self.index as usize]
    }

    /// Itself, if it is a value and not an end; and what is behind it.
    fn advance(&mut self) -> Option<Self> {
        let this = *self;
        this.node().kind?;
        self.index = this.node().next;
        Some(this)
    }
}

/// The items of a list, in order.
#[derive(Clone)]
pub struct List<'d, 'a> {
    next: Value<'d, 'a>,
}

impl<'d, 'a> Iterator for List<'d, 'a> {
    type Item = Value<'d, 'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next.advance()
    }
}

/// The pairs of a dictionary, in the order of the input.
#[derive(Clone)]
pub struct Dict<'d, 'a> {
    next: Value<'d, 'a>,
}

impl<'d, 'a> Dict<'d, 'a> {
    /// The next pair, the key as a value.
    pub(crate) fn next_values(&mut self) -> Option<(Value<'d, 'a>, Value<'d, 'a>)> {
        Some((self.next.advance()?, self.next.advance()?))
    }
}

impl<'d, 'a> Iterator for Dict<'d, 'a> {
    type Item = (&'a [u8], Value<'d, 'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.next_values()?;
        Some((key.as_bytes()?, value))
    }
}

/// The encoded bytes, what is not graphic ASCII escaped; of long values the beginning.
impl fmt::Debug for Value<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_bytes("Value", self.raw(), f)
    }
}

pub(crate) fn debug_bytes(name: &str, bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const SHOWN_BYTES_MAX: usize = 256;
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    write!(f, "{name}({}", shown.escape_ascii())?;
    if shown.len() < bytes.len() {
        write!(f, "... {} bytes", bytes.len())?;
    }
    f.write_str(")")
}

impl fmt::Debug for List<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl fmt::Debug for Dict<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
