//! From types of one's own to canonical bytes.

use alloc::vec::Vec;
use core::ops::Range;

use serde_core::ser::{
    self, Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use crate::encode::write_string;
use crate::integer::write_digits;
use crate::raw::RAW_VALUE;
use crate::{Error, Integer, OWNED_DEPTH_MAX};

/// Writes a value of any serializable type in the canonical way: keys in order, whatever the order of fields.
///
/// The shape is that of [`from_bytes`](crate::from_bytes). Fields and values of maps that are `None` are left out.
///
/// # Errors
/// What bencode has no form for: floats, `()`, `None` that is not the value of a key, keys that are not strings or
/// are there twice, integers out of [`Integer`]'s range; and more than [`OWNED_DEPTH_MAX`] levels.
pub fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    to_bytes_into(value, &mut out)?;
    Ok(out)
}

/// Appends a value as [`to_bytes`] writes it. So one buffer does for many messages.
///
/// # Errors
/// As of [`to_bytes`]; then nothing is appended.
pub fn to_bytes_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    let before = out.len();
    let mut serializer =
        Serializer { out, pairs: Vec::new(), unsorted: Vec::new(), levels_left: OWNED_DEPTH_MAX, raw: false };
    let result = value.serialize(&mut serializer).and_then(|written| written.or_error("a value"));
    result.inspect_err(|_| out.truncate(before))
}

struct Serializer<'o> {
    out: &'o mut Vec<u8>,
    /// Of each dictionary that is open, outer ones first.
    pairs: Vec<Pair>,
    /// Pairs that are put in order, kept for its room.
    unsorted: Vec<u8>,
    levels_left: usize,
    /// The next bytes are a value as it is.
    raw: bool,
}

/// Where a pair of a dictionary was written.
#[derive(Debug, Clone)]
struct Pair {
    begin: usize,
    /// The bytes of the key.
    key: Range<usize>,
    end: usize,
}

/// What was written of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Value,
    /// It is `None`.
    Nothing,
}

impl Written {
    fn or_error(self, what: &str) -> Result<(), Error> {
        match self {
            Self::Value => Ok(()),
            Self::Nothing => Err(Error::not_encodable(format_args!("{what} that is nothing"))),
        }
    }
}

impl<'o> Serializer<'o> {
    fn open(&mut self, byte: u8) -> Result<(), Error> {
        self.levels_left = self.levels_left.checked_sub(1).ok_or(Error::EncodeTooDeep { max: OWNED_DEPTH_MAX })?;
        self.out.push(byte);
        Ok(())
    }

    fn close(&mut self, levels: usize) -> Written {
        self.levels_left += levels;
        self.out.extend(core::iter::repeat_n(b'e', levels));
        Written::Value
    }

    fn list(&mut self, levels: usize) -> Result<ListWriter<'_, 'o>, Error> {
        self.open(b'l')?;
        Ok(ListWriter { serializer: self, levels })
    }

    fn dict(&mut self, levels: usize) -> Result<DictWriter<'_, 'o>, Error> {
        self.open(b'd')?;
        let first = self.pairs.len();
        Ok(DictWriter { serializer: self, first, is_sorted: true, levels })
    }

    fn variant(&mut self, variant: &str) -> Result<(), Error> {
        self.open(b'd')?;
        write_string(variant.as_bytes(), self.out);
        Ok(())
    }

    fn integer(&mut self, integer: Integer) -> Result<Written, Error> {
        self.out.push(b'i');
        integer.write(self.out);
        self.out.push(b'e');
        Ok(Written::Value)
    }

    fn unsigned(&mut self, integer: u64) -> Result<Written, Error> {
        self.out.push(b'i');
        write_digits(integer, self.out);
        self.out.push(b'e');
        Ok(Written::Value)
    }

    fn string(&mut self, bytes: &[u8]) -> Result<Written, Error> {
        write_string(bytes, self.out);
        Ok(Written::Value)
    }
}

impl<'s, 'o> ser::Serializer for &'s mut Serializer<'o> {
    type Ok = Written;
    type Error = Error;
    type SerializeSeq = ListWriter<'s, 'o>;
    type SerializeTuple = ListWriter<'s, 'o>;
    type SerializeTupleStruct = ListWriter<'s, 'o>;
    type SerializeTupleVariant = ListWriter<'s, 'o>;
    type SerializeMap = DictWriter<'s, 'o>;
    type SerializeStruct = DictWriter<'s, 'o>;
    type SerializeStructVariant = DictWriter<'s, 'o>;

    fn serialize_bool(self, flag: bool) -> Result<Written, Error> {
        self.unsigned(flag.into())
    }

    fn serialize_i8(self, integer: i8) -> Result<Written, Error> {
        self.integer(integer.into())
    }

    fn serialize_i16(self, integer: i16) -> Result<Written, Error> {
        self.integer(integer.into())
    }

    fn serialize_i32(self, integer: i32) -> Result<Written, Error> {
        self.integer(integer.into())
    }

    fn serialize_i64(self, integer: i64) -> Result<Written, Error> {
        self.integer(integer.into())
    }

    fn serialize_i128(self, integer: i128) -> Result<Written, Error> {
        self.integer(integer.try_into().map_err(Error::not_encodable)?)
    }

    fn serialize_u8(self, integer: u8) -> Result<Written, Error> {
        self.unsigned(integer.into())
    }

    fn serialize_u16(self, integer: u16) -> Result<Written, Error> {
        self.unsigned(integer.into())
    }

    fn serialize_u32(self, integer: u32) -> Result<Written, Error> {
        self.unsigned(integer.into())
    }

    fn serialize_u64(self, integer: u64) -> Result<Written, Error> {
        self.unsigned(integer)
    }

    fn serialize_u128(self, integer: u128) -> Result<Written, Error> {
        self.unsigned(integer.try_into().map_err(Error::not_encodable)?)
    }

    fn serialize_f32(self, _: f32) -> Result<Written, Error> {
        Err(Error::not_encodable("a float"))
    }

    fn serialize_f64(self, _: f64) -> Result<Written, Error> {
        Err(Error::not_encodable("a float"))
    }

    fn serialize_char(self, character: char) -> Result<Written, Error> {
        self.string(character.encode_utf8(&mut [0; 4]).as_bytes())
    }

    fn serialize_str(self, text: &str) -> Result<Written, Error> {
        self.string(text.as_bytes())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Written, Error> {
        if core::mem::take(&mut self.raw) {
            self.out.extend_from_slice(bytes);
            return Ok(Written::Value);
        }
        self.string(bytes)
    }

    fn serialize_none(self) -> Result<Written, Error> {
        Ok(Written::Nothing)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Written, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Written, Error> {
        Err(Error::not_encodable("a value of the type ()"))
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Written, Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Written, Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<Written, Error> {
        self.raw = name == RAW_VALUE;
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Written, Error> {
        self.variant(variant)?;
        value.serialize(&mut *self)?.or_error("what is in a variant")?;
        Ok(self.close(1))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<ListWriter<'s, 'o>, Error> {
        self.list(1)
    }

    fn serialize_tuple(self, _: usize) -> Result<ListWriter<'s, 'o>, Error> {
        self.list(1)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<ListWriter<'s, 'o>, Error> {
        self.list(1)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<ListWriter<'s, 'o>, Error> {
        self.variant(variant)?;
        self.list(2)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<DictWriter<'s, 'o>, Error> {
        self.dict(1)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<DictWriter<'s, 'o>, Error> {
        self.dict(1)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<DictWriter<'s, 'o>, Error> {
        self.variant(variant)?;
        self.dict(2)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Items of a list that is open.
struct ListWriter<'s, 'o> {
    serializer: &'s mut Serializer<'o>,
    /// To close at the end: itself, and the variant around it.
    levels: usize,
}

impl ListWriter<'_, '_> {
    fn item<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
        item.serialize(&mut *self.serializer)?.or_error("an item of a list")
    }
}

/// Pairs of a dictionary that is open.
struct DictWriter<'s, 'o> {
    serializer: &'s mut Serializer<'o>,
    /// Index of its first pair.
    first: usize,
    /// Whether the keys so far ascend.
    is_sorted: bool,
    levels: usize,
}

impl DictWriter<'_, '_> {
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let begin = self.serializer.out.len();
        key.serialize(&mut *self.serializer)?.or_error("a key")?;
        let out = &self.serializer.out;
        if !out[begin].is_ascii_digit() {
            return Err(Error::not_encodable("a key that is not a string"));
        }
        let head = out[begin..].iter().take_while(|byte| **byte != b':').count() + 1;
        let key = begin + head..out.len();
        if let Some(last) = self.serializer.pairs[self.first..].last() {
            self.is_sorted &= out[last.key.clone()] < out[key.clone()];
        }
        self.serializer.pairs.push(Pair { begin, end: key.end, key });
        Ok(())
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let written = value.serialize(&mut *self.serializer)?;
        let end = self.serializer.out.len();
        match (self.serializer.pairs.last_mut(), written) {
            (Some(pair), Written::Value) => pair.end = end,
            (Some(pair), Written::Nothing) => {
                self.serializer.out.truncate(pair.begin);
                self.serializer.pairs.pop();
            }
            (None, _) => return Err(Error::custom("a value without a key")),
        }
        Ok(())
    }

    fn pair<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        self.key(key)?;
        self.value(value)
    }

    fn finish(self) -> Result<Written, Error> {
        if !self.is_sorted {
            self.serializer.sort(self.first)?;
        }
        self.serializer.pairs.truncate(self.first);
        Ok(self.serializer.close(self.levels))
    }
}

impl Serializer<'_> {
    /// Puts the pairs from one on, which end what is written, in order.
    #[cold]
    fn sort(&mut self, first: usize) -> Result<(), Error> {
        let pairs = &mut self.pairs[first..];
        let begin = pairs.first().map_or(self.out.len(), |pair| pair.begin);
        pairs.sort_unstable_by(|one, other| self.out[one.key.clone()].cmp(&self.out[other.key.clone()]));
        if pairs.windows(2).any(|two| self.out[two[0].key.clone()] == self.out[two[1].key.clone()]) {
            return Err(Error::not_encodable("a key that is there twice"));
        }
        self.unsorted.clear();
        self.unsorted.extend_from_slice(&self.out[begin..]);
        self.out.truncate(begin);
        for pair in pairs {
            self.out.extend_from_slice(&self.unsorted[pair.begin - begin..pair.end - begin]);
        }
        Ok(())
    }
}

macro_rules! list_writer {
    ($($of:ident :: $item:ident),*) => {$(
        impl $of for ListWriter<'_, '_> {
            type Ok = Written;
            type Error = Error;

            fn $item<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
                self.item(item)
            }

            fn end(self) -> Result<Written, Error> {
                Ok(self.serializer.close(self.levels))
            }
        }
    )*}
}

list_writer!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

macro_rules! struct_writer {
    ($($of:ident),*) => {$(
        impl $of for DictWriter<'_, '_> {
            type Ok = Written;
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
                self.pair(key, value)
            }

            fn end(self) -> Result<Written, Error> {
                self.finish()
            }
        }
    )*}
}

struct_writer!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for DictWriter<'_, '_> {
    type Ok = Written;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.value(value)
    }

    fn end(self) -> Result<Written, Error> {
        self.finish()
    }
}
