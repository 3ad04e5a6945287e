//! From types of one's own to canonical bytes.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Range;

use serde_core::ser::{
    self, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use crate::document::compare_keys;
use crate::encode::write_string;
use crate::integer::write_digits;
use crate::raw::RAW_VALUE;
use crate::{Decoder, Error, Integer, Limits, OWNED_DEPTH_MAX, OutOfRange};

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
    let mut serializer = Serializer { out, levels_left: OWNED_DEPTH_MAX, raw: false };
    let result = value.serialize(&mut serializer).and_then(|written| written.or_error("a value"));
    result.inspect_err(|_| out.truncate(before))
}

struct Serializer<'o> {
    out: &'o mut Vec<u8>,
    levels_left: usize,
    /// The next bytes are a value as it is.
    raw: bool,
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
        let begin = self.out.len();
        self.open(b'd')?;
        Ok(DictWriter { serializer: self, begin, last_key: None, key: None, pair: 0, is_sorted: true, levels })
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
        self.unsigned(integer.try_into().map_err(|_| Error::not_encodable(OutOfRange))?)
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
    begin: usize,
    /// The bytes of the last key that has a value.
    last_key: Option<Range<usize>>,
    /// The bytes of the key whose value is next.
    key: Option<Range<usize>>,
    /// Where the last pair begins.
    pair: usize,
    /// Whether the keys so far ascend.
    is_sorted: bool,
    levels: usize,
}

impl DictWriter<'_, '_> {
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.pair = self.serializer.out.len();
        key.serialize(&mut *self.serializer)?.or_error("a key")?;
        let written = &self.serializer.out[self.pair..];
        if !written.first().is_some_and(u8::is_ascii_digit) {
            return Err(Error::not_encodable("a key that is not a string"));
        }
        let head = written.iter().take_while(|byte| **byte != b':').count() + 1;
        self.key = Some(self.pair + head..self.serializer.out.len());
        Ok(())
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let key = self.key.take().ok_or_else(|| Error::not_encodable("a value without a key"))?;
        match value.serialize(&mut *self.serializer)? {
            Written::Nothing => self.serializer.out.truncate(self.pair),
            Written::Value => {
                let out = &self.serializer.out;
                let last = self.last_key.replace(key.clone());
                self.is_sorted &= last.is_none_or(|last| compare_keys(&out[last], &out[key]) == Ordering::Less);
            }
        }
        Ok(())
    }

    fn pair<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        self.key(key)?;
        self.value(value)
    }

    fn finish(self) -> Result<Written, Error> {
        if self.key.is_some() {
            return Err(Error::not_encodable("a key without a value"));
        }
        let written = self.serializer.close(1);
        if !self.is_sorted {
            sort(self.serializer.out, self.begin)?;
        }
        self.serializer.close(self.levels - 1);
        Ok(written)
    }
}

/// Puts the pairs of the dictionary that ends what is written in order. Where they are is read back, which costs those
/// nothing that are in order.
#[cold]
fn sort(out: &mut Vec<u8>, begin: usize) -> Result<(), Error> {
    let mut limits = Limits::default();
    (limits.depth_max, limits.tokens_max) = (usize::MAX, usize::MAX);
    (limits.string_bytes_max, limits.value_bytes_max) = (usize::MAX, usize::MAX);
    let document = Decoder::lenient().limits(limits).decode(&out[begin..])?;
    let mut pairs: Vec<_> = document.root().as_dict().into_iter().flatten().collect();
    pairs.sort_unstable_by(|one, other| one.0.cmp(other.0));
    if pairs.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err(Error::not_encodable("a key that is there twice"));
    }
    let mut sorted = Vec::with_capacity(document.raw().len());
    sorted.push(b'd');
    for (key, value) in pairs {
        write_string(key, &mut sorted);
        sorted.extend_from_slice(value.raw());
    }
    sorted.push(b'e');
    out.truncate(begin);
    out.append(&mut sorted);
    Ok(())
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
