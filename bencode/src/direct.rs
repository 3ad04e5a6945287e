//! From canonical bytes to types in one walk, without a document: what nearly every message takes.
//!
//! Whatever is not right is only refused. `from_bytes` then decodes and reads the document, which either says what is
//! wrong and where, or can what this cannot. What is read here, the document gives as well.

use core::cmp::Ordering;
use core::fmt;

use serde_core::de::value::BorrowedStrDeserializer;
use serde_core::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_core::{Deserialize, forward_to_deserialize_any};

use crate::document::compare_keys;
use crate::raw::RAW_VALUE;
use crate::scan::Scan;
use crate::token::{Bounds, Token, integer, short_integer, short_string, string};
use crate::{Limits, Mode, OWNED_DEPTH_MAX};

/// Reads a whole input in strict mode under default limits.
pub(crate) fn from_bytes<'de, T: Deserialize<'de>>(input: &'de [u8]) -> Result<T, Refused> {
    let limits = Limits::default();
    if input.len() > limits.value_bound() {
        return Err(Refused);
    }
    let mut reader = Reader {
        input,
        at: 0,
        tokens_left: limits.tokens_max,
        levels_left: limits.depth_max.min(OWNED_DEPTH_MAX),
        bounds: Bounds { string_bytes_max: limits.string_bytes_max, end_max: input.len() },
    };
    let value = T::deserialize(&mut reader)?;
    if reader.at == input.len() { Ok(value) } else { Err(Refused) }
}

/// There is no value, or not one that the type takes.
#[derive(Debug)]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl core::error::Error for Refused {}

impl serde_core::de::Error for Refused {
    #[cold]
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

struct Reader<'de> {
    input: &'de [u8],
    at: usize,
    tokens_left: usize,
    levels_left: usize,
    bounds: Bounds,
}

impl<'de> Reader<'de> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    #[inline]
    fn count_token(&mut self) -> Result<(), Refused> {
        self.tokens_left = self.tokens_left.checked_sub(1).ok_or(Refused)?;
        Ok(())
    }

    #[inline]
    fn string(&mut self) -> Result<&'de [u8], Refused> {
        let Some(b'0'..=b'9') = self.peek() else { return Err(Refused) };
        self.count_token()?;
        let Token { end, head, .. } = match short_string(self.input, self.at, self.bounds) {
            Some(token) => token,
            None => canonical(string(self.input, self.at, self.bounds).map_err(|_| Refused)?)?,
        };
        let string = &self.input[self.at + usize::from(head)..end];
        self.at = end;
        Ok(string)
    }

    #[inline]
    fn byte(&mut self, byte: u8) -> Result<(), Refused> {
        if self.peek() != Some(byte) {
            return Err(Refused);
        }
        self.at += 1;
        self.count_token()
    }

    #[inline]
    fn inside<T>(&mut self, open: u8, visit: impl FnOnce(&mut Self) -> Result<T, Refused>) -> Result<T, Refused> {
        self.levels_left = self.levels_left.checked_sub(1).ok_or(Refused)?;
        self.byte(open)?;
        let value = visit(self)?;
        self.byte(b'e')?;
        self.levels_left += 1;
        Ok(value)
    }

    fn visit_integer<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        self.count_token()?;
        if let Some((unsigned, token)) = short_integer(self.input, self.at) {
            self.at = token.end;
            return visitor.visit_u64(unsigned);
        }
        let (integer, token) = integer(self.input, self.at).map_err(|_| Refused)?;
        self.at = canonical(token)?.end;
        match (integer.as_u64(), integer.as_i64()) {
            (Some(unsigned), _) => visitor.visit_u64(unsigned),
            (None, Some(signed)) => visitor.visit_i64(signed),
            (None, None) => Err(Refused),
        }
    }

    fn visit_list<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        self.inside(b'l', |reader| visitor.visit_seq(Items(reader)))
    }

    fn visit_dict<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        self.inside(b'd', |reader| visitor.visit_map(Pairs { reader, last: None }))
    }

    fn visit_text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Refused> {
        let bytes = self.string()?;
        match str::from_utf8(bytes) {
            Ok(text) => visitor.visit_borrowed_str(text),
            Err(_) => visitor.visit_borrowed_bytes(bytes),
        }
    }

    /// Steps over a value. It is checked as if it were read.
    fn skip(&mut self) -> Result<(), Refused> {
        match self.peek() {
            Some(b'0'..=b'9') => self.string().map(|_| ()),
            Some(b'i') => self.visit_integer(serde_core::de::IgnoredAny).map(|_| ()),
            _ => self.skip_levels(),
        }
    }

    fn skip_levels(&mut self) -> Result<(), Refused> {
        let mut limits = Limits::default();
        (limits.depth_max, limits.tokens_max) = (self.levels_left, self.tokens_left);
        let mut scan = Scan::default();
        scan.run(&self.input[self.at..], Mode::Strict, &limits).map_err(|_| Refused)?;
        self.tokens_left -= scan.tokens();
        self.at += scan.bytes();
        Ok(())
    }
}

#[inline]
fn canonical(token: Token) -> Result<Token, Refused> {
    if token.deviation.is_none() { Ok(token) } else { Err(Refused) }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.peek() {
            Some(b'i') => self.visit_integer(visitor),
            Some(b'l') => self.visit_list(visitor),
            Some(b'd') => self.visit_dict(visitor),
            _ => visitor.visit_borrowed_bytes(self.string()?),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match u64::deserialize(self)? {
            flag @ 0..=1 => visitor.visit_bool(flag == 1),
            _ => Err(Refused),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.visit_text(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.visit_text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.visit_text(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Refused> {
        if name != RAW_VALUE {
            return visitor.visit_newtype_struct(self);
        }
        let (begin, tokens_left) = (self.at, self.tokens_left);
        self.skip()?;
        let (end, tokens_left_behind) = (self.at, self.tokens_left);
        // The value as well may be asked for.
        (self.at, self.tokens_left) = (begin, tokens_left);
        let value = visitor.visit_seq(RawAndValue { raw: Some(&self.input[begin..end]), reader: self })?;
        (self.at, self.tokens_left) = (end, tokens_left_behind);
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.visit_dict(visitor)
    }

    /// Variants with something in them are left to the document.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let variant = str::from_utf8(self.string()?).map_err(|_| Refused)?;
        visitor.visit_enum(BorrowedStrDeserializer::new(variant))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

struct Items<'r, 'de>(&'r mut Reader<'de>);

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        if self.0.peek() == Some(b'e') {
            return Ok(None);
        }
        seed.deserialize(&mut *self.0).map(Some)
    }
}

struct Pairs<'r, 'de> {
    reader: &'r mut Reader<'de>,
    last: Option<&'de [u8]>,
}

impl<'de> MapAccess<'de> for Pairs<'_, 'de> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        if self.reader.peek() == Some(b'e') {
            return Ok(None);
        }
        let key = self.reader.string()?;
        if self.last.is_some_and(|last| compare_keys(last, key) != Ordering::Less) {
            return Err(Refused);
        }
        self.last = Some(key);
        seed.deserialize(Key(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Refused> {
        seed.deserialize(&mut *self.reader)
    }
}

struct Key<'de>(&'de [u8]);

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_borrowed_bytes(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Refused> {
        if name == RAW_VALUE { Err(Refused) } else { visitor.visit_newtype_struct(self) }
    }

    // Other keys than strings are left to the document.
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The bytes of a value, then the value.
struct RawAndValue<'r, 'de> {
    raw: Option<&'de [u8]>,
    reader: &'r mut Reader<'de>,
}

impl<'de> SeqAccess<'de> for RawAndValue<'_, 'de> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        match self.raw.take() {
            Some(raw) => seed.deserialize(Key(raw)).map(Some),
            None => seed.deserialize(&mut *self.reader).map(Some),
        }
    }
}
