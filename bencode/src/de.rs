//! From decoded values to types of one's own. What is not asked for is stepped over without a look.

use alloc::collections::BTreeSet;

use serde_core::de::value::BorrowedBytesDeserializer;
use serde_core::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde_core::{Deserialize, forward_to_deserialize_any};

use crate::raw::RAW_VALUE;
use crate::{Dict, Error, Fault, Kind, List, OWNED_DEPTH_MAX, Value, decode, direct};

/// Reads a whole input as a type, in strict mode under default limits.
///
/// For lenient decoding, other limits, or bytes that follow, decode first: `T::deserialize(document.root())`.
///
/// # Shape
/// | bencode | Rust |
/// |---|---|
/// | integer | integers; `bool` if it is 0 or 1 |
/// | string | `&str`, `String`, `char`; `&[u8]` and what [serde_bytes](https://docs.rs/serde_bytes) has, but not `Vec<u8>`, which is a list of numbers |
/// | list | sequences, tuples and arrays of just so many items |
/// | dictionary | structs, maps whose keys are strings |
/// | string, or dictionary of one pair | enums: a variant alone, or one with what is in it |
///
/// What is not there is `None`, with `#[serde(default)]` its default. Keys that the type does not have are passed over.
///
/// # Errors
/// What is not exactly one canonical value within the limits, and values that are not what the type takes.
pub fn from_bytes<'de, T: Deserialize<'de>>(input: &'de [u8]) -> Result<T, Error> {
    direct::from_bytes(input).or_else(|_| T::deserialize(decode(input)?.root()))
}

impl<'de> Value<'_, 'de> {
    /// Says of an error where it is.
    fn locate<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| error.locate(|| (self.span().start, self.path())))
    }

    fn unexpected(self) -> Unexpected<'de> {
        match self.kind() {
            Kind::Integer => match self.as_integer().unwrap_or_default() {
                integer if integer.as_i64().is_some() => Unexpected::Signed(integer.as_i64().unwrap_or_default()),
                integer => Unexpected::Unsigned(integer.as_u64().unwrap_or_default()),
            },
            Kind::Bytes => Unexpected::Other("a string of bytes"),
            Kind::List => Unexpected::Seq,
            Kind::Dict => Unexpected::Map,
        }
    }

    /// Visitors recurse, so what they are led into has as few levels as owned values have.
    fn check_levels(self) -> Result<(), Error> {
        if self.levels_in_document() > OWNED_DEPTH_MAX {
            let fault = Fault::TooDeep { max: OWNED_DEPTH_MAX };
            return Err(Error::decode(fault, self.span().start, self.path()));
        }
        Ok(())
    }

    fn visit_integer<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let integer = self.as_integer().unwrap_or_default();
        match integer.as_u64() {
            Some(unsigned) => visitor.visit_u64(unsigned),
            None => visitor.visit_i64(integer.as_i64().unwrap_or_default()),
        }
    }

    fn visit_list<V: Visitor<'de>>(self, items: List<'_, 'de>, visitor: V) -> Result<V::Value, Error> {
        self.check_levels()?;
        let mut items = Items { items };
        let value = visitor.visit_seq(&mut items)?;
        match items.items.count() {
            0 => Ok(value),
            more => Err(Error::custom(format_args!("{more} items more in a list than expected"))),
        }
    }

    fn visit_dict<V: Visitor<'de>>(self, pairs: Dict<'_, 'de>, visitor: V) -> Result<V::Value, Error> {
        self.check_levels()?;
        let seen = self.may_have_equal_keys().then(BTreeSet::new);
        visitor.visit_map(Pairs { pairs, value: None, seen })
    }

    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if let Some(bytes) = self.as_bytes() {
            visitor.visit_borrowed_bytes(bytes)
        } else if let Some(pairs) = self.as_dict() {
            self.visit_dict(pairs, visitor)
        } else if let Some(items) = self.as_list() {
            self.visit_list(items, visitor)
        } else {
            self.visit_integer(visitor)
        }
    }

    fn visit_text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.as_str() {
            Some(text) => visitor.visit_borrowed_str(text),
            None => self.visit(visitor),
        }
    }
}

impl<'de> Deserializer<'de> for Value<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.locate(self.visit(visitor))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.locate(match self.as_u64() {
            Some(flag @ 0..=1) => visitor.visit_bool(flag == 1),
            Some(_) => Err(Error::invalid_value(self.unexpected(), &"0 or 1")),
            None => self.visit(visitor),
        })
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.locate(self.visit_text(visitor))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.locate(self.visit_text(visitor))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.locate(self.visit_text(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name == RAW_VALUE {
            self.locate(visitor.visit_seq(RawAndValue { raw: Some(self.raw()), value: self }))
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    /// Derived structs would take a list as their fields in order.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.locate(match self.as_dict() {
            Some(pairs) => self.visit_dict(pairs, visitor),
            None => Err(Error::invalid_type(self.unexpected(), &visitor)),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut pairs = self.as_dict().into_iter().flatten();
        let variant = match (self.as_bytes(), pairs.next(), pairs.next()) {
            (Some(name), ..) => Ok(Variant { name, content: None }),
            (None, Some((name, content)), None) => Ok(Variant { name, content: Some(content) }),
            _ => Err(Error::invalid_type(self.unexpected(), &"a string, or a dictionary of one pair")),
        };
        let result = variant.and_then(|variant| {
            self.check_levels()?;
            visitor.visit_enum(variant)
        });
        self.locate(result)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    /// Types that have a shorter form than text use it.
    fn is_human_readable(&self) -> bool {
        false
    }
}

struct Items<'d, 'de> {
    items: List<'d, 'de>,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.items.next().map(|item| seed.deserialize(item)).transpose()
    }

    /// Counted, not announced.
    fn size_hint(&self) -> Option<usize> {
        Some(self.items.clone().count())
    }
}

struct Pairs<'d, 'de> {
    pairs: Dict<'d, 'de>,
    value: Option<Value<'d, 'de>>,
    /// The keys so far, where some may be equal: of those the first counts.
    seen: Option<BTreeSet<&'de [u8]>>,
}

impl<'d, 'de> Pairs<'d, 'de> {
    fn next(&mut self) -> Option<(Value<'d, 'de>, Value<'d, 'de>)> {
        loop {
            let (key, value) = self.pairs.next_values()?;
            let is_first = match &mut self.seen {
                None => true,
                Some(seen) => seen.insert(key.as_bytes().unwrap_or_default()),
            };
            if is_first {
                return Some((key, value));
            }
        }
    }
}

impl<'de> MapAccess<'de> for Pairs<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let value = self.value.take().ok_or_else(|| Error::custom("a value was asked for before its key"))?;
        seed.deserialize(value)
    }
}

/// The name of a variant, and what is in it if it is a dictionary.
struct Variant<'d, 'de> {
    name: &'de [u8],
    content: Option<Value<'d, 'de>>,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        Ok((seed.deserialize(BorrowedBytesDeserializer::new(self.name))?, self))
    }
}

impl<'d, 'de> Variant<'d, 'de> {
    fn content(self) -> Result<Value<'d, 'de>, Error> {
        self.content.ok_or_else(|| Error::invalid_type(Unexpected::UnitVariant, &"a dictionary of a variant"))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None => Ok(()),
            Some(content) => Err(Error::invalid_type(content.unexpected(), &"a variant alone, as a string")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        self.content()?.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.content()?.deserialize_struct("", fields, visitor)
    }
}

/// The bytes of a value, then the value.
struct RawAndValue<'d, 'de> {
    raw: Option<&'de [u8]>,
    value: Value<'d, 'de>,
}

impl<'de> SeqAccess<'de> for RawAndValue<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        match self.raw.take() {
            Some(raw) => seed.deserialize(BorrowedBytesDeserializer::new(raw)),
            None => seed.deserialize(self.value),
        }
        .map(Some)
    }
}
