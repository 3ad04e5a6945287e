use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::{Error, Fault, Integer, Kind, Value};

/// Levels that an owned value made from input, or encoded, has at most: whatever the limits of the decoder,
/// what is done to it level by level (clone, compare, print, encode, drop) fits a stack of 512 KiB.
pub const OWNED_DEPTH_MAX: usize = 128;

/// A value that borrows nothing: to build, change, keep and [`encode`](crate::encode).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnedValue {
    /// An integer.
    Integer(Integer),
    /// A string of bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Self>),
    /// A dictionary, in the canonical order.
    Dict(BTreeMap<Vec<u8>, Self>),
}

impl OwnedValue {
    /// A dictionary of these pairs. Of equal keys the last counts.
    pub fn dict<K: Into<Vec<u8>>>(pairs: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Dict(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// A list of these items.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List(items.into_iter().collect())
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Integer(_) => Kind::Integer,
            Self::Bytes(_) => Kind::Bytes,
            Self::List(_) => Kind::List,
            Self::Dict(_) => Kind::Dict,
        }
    }

    /// An integer; `None` if it is none.
    pub fn as_integer(&self) -> Option<Integer> {
        if let Self::Integer(integer) = self { Some(*integer) } else { None }
    }

    /// An integer; `None` if it is none or greater than `i64::MAX`.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_integer()?.as_i64()
    }

    /// An integer; `None` if it is none or negative.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_integer()?.as_u64()
    }

    /// The bytes of a string; `None` if it is none.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The text of a string that is UTF-8; `None` if it is none.
    pub fn as_str(&self) -> Option<&str> {
        str::from_utf8(self.as_bytes()?).ok()
    }

    /// The items of a list; `None` if it is none.
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The pairs of a dictionary; `None` if it is none.
    pub fn as_dict(&self) -> Option<&BTreeMap<Vec<u8>, Self>> {
        if let Self::Dict(pairs) = self { Some(pairs) } else { None }
    }

    /// The value of a key of a dictionary; `None` if there is none, or this is none.
    pub fn get(&self, key: &[u8]) -> Option<&Self> {
        self.as_dict()?.get(key)
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),*) => {$(
        impl From<$type> for OwnedValue {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*}
}

from!(
    Integer => Integer, i8 => Integer, i16 => Integer, i32 => Integer, i64 => Integer,
    u8 => Integer, u16 => Integer, u32 => Integer, u64 => Integer, usize => Integer,
    &[u8] => Bytes, Vec<u8> => Bytes, &str => Bytes, String => Bytes,
    Vec<Self> => List, BTreeMap<Vec<u8>, Self> => Dict
);

/// A list or dictionary that is being copied.
enum Copying {
    List(Vec<OwnedValue>),
    Dict { pairs: BTreeMap<Vec<u8>, OwnedValue>, key: Option<Vec<u8>> },
}

impl Copying {
    fn add(&mut self, value: OwnedValue) {
        match self {
            Self::List(items) => items.push(value),
            Self::Dict { pairs, key } => match key.take() {
                Some(key) => {
                    pairs.entry(key).or_insert(value);
                }
                None => {
                    if let OwnedValue::Bytes(bytes) = value {
                        *key = Some(bytes);
                    }
                }
            },
        }
    }

    fn finish(self) -> OwnedValue {
        match self {
            Self::List(items) => OwnedValue::List(items),
            Self::Dict { pairs, .. } => OwnedValue::Dict(pairs),
        }
    }
}

impl Value<'_, '_> {
    /// Copies it out of the input. Of equal keys the first counts.
    ///
    /// # Errors
    /// It has more than [`OWNED_DEPTH_MAX`] levels, which takes a decoder with a raised limit.
    pub fn into_owned(self) -> Result<OwnedValue, Error> {
        let mut open: Vec<Copying> = Vec::new();
        for (i, node) in self.nodes().iter().enumerate() {
            let copied = match node.kind {
                Some(Kind::List | Kind::Dict) if open.len() >= OWNED_DEPTH_MAX => {
                    let fault = Fault::TooDeep { max: OWNED_DEPTH_MAX };
                    return Err(Error::decode(fault, node.offset as usize, String::new()));
                }
                Some(Kind::List) => {
                    open.push(Copying::List(Vec::new()));
                    continue;
                }
                Some(Kind::Dict) => {
                    open.push(Copying::Dict { pairs: BTreeMap::new(), key: None });
                    continue;
                }
                Some(Kind::Integer) => OwnedValue::Integer(self.at(i).as_integer().unwrap_or_default()),
                Some(Kind::Bytes) => OwnedValue::from(self.at(i).as_bytes().unwrap_or_default()),
                None => open.pop().map_or(OwnedValue::List(Vec::new()), Copying::finish),
            };
            match open.last_mut() {
                Some(around) => around.add(copied),
                None => return Ok(copied),
            }
        }
        unreachable!("a document closes what it opens")
    }
}
