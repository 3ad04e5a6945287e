//! Owned values and integers as fields of serializable types.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use serde_core::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_core::ser::{Serialize, SerializeMap, Serializer};

use crate::{Integer, OwnedValue};

impl Serialize for Integer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.as_u64(), self.as_i64()) {
            (Some(unsigned), _) => serializer.serialize_u64(unsigned),
            (None, signed) => serializer.serialize_i64(signed.unwrap_or(i64::MIN)),
        }
    }
}

/// A string of bytes.
struct Bytes<T>(T);

impl Serialize for Bytes<&[u8]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for OwnedValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(integer) => integer.serialize(serializer),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(items) => serializer.collect_seq(items),
            Self::Dict(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                pairs.iter().try_for_each(|(key, value)| map.serialize_entry(&Bytes(&key[..]), value))?;
                map.end()
            }
        }
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = OwnedValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, a string, a list or a dictionary")
    }

    fn visit_i64<E>(self, integer: i64) -> Result<OwnedValue, E> {
        Ok(integer.into())
    }

    fn visit_u64<E>(self, integer: u64) -> Result<OwnedValue, E> {
        Ok(integer.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<OwnedValue, E> {
        Ok(text.into())
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<OwnedValue, E> {
        Ok(bytes.into())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<OwnedValue, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OwnedValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(OwnedValue::List(items))
    }

    /// Of equal keys the first counts, as everywhere.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OwnedValue, A::Error> {
        let mut pairs = BTreeMap::new();
        while let Some((Bytes(key), value)) = map.next_entry::<Bytes<Vec<u8>>, OwnedValue>()? {
            pairs.entry(key).or_insert(value);
        }
        Ok(OwnedValue::Dict(pairs))
    }
}

impl<'de> Deserialize<'de> for OwnedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(ValueVisitor)? {
            OwnedValue::Integer(integer) => Ok(integer),
            other => Err(D::Error::custom(format_args!("{:?} where an integer is expected", other.kind()))),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_byte_buf(ValueVisitor)? {
            OwnedValue::Bytes(bytes) => Ok(Self(bytes)),
            other => Err(D::Error::custom(format_args!("{:?} where a key is expected", other.kind()))),
        }
    }
}
