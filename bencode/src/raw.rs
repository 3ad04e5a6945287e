use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde_core::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde_core::ser::{Serialize, Serializer};

use crate::{Decoder, Error, Value};

/// The name by which (de)serializers of this crate know that exact bytes are meant.
pub(crate) const RAW_VALUE: &str = "$zest_bencode::RawValue";

/// The exact bytes of a value: in a struct that is read by [`from_bytes`](crate::from_bytes), of the part that a hash
/// or signature is made over, or that is read later; in one that is written, bytes that go out as they are.
///
/// What came from lenient decoding need not be canonical, and stays so.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawValue<'a>(&'a [u8]);

impl<'a> RawValue<'a> {
    /// Takes bytes that are one value, canonical or not, under default limits.
    ///
    /// # Errors
    /// Anything but exactly one value within the limits.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        Decoder::lenient().decode(bytes).map(|document| Self(document.raw()))
    }

    /// The bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Copies it out of the input.
    pub fn into_owned(self) -> OwnedRawValue {
        OwnedRawValue(self.0.into())
    }
}

impl<'a> From<Value<'_, 'a>> for RawValue<'a> {
    fn from(value: Value<'_, 'a>) -> Self {
        Self(value.raw())
    }
}

/// A [`RawValue`] that borrows nothing.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OwnedRawValue(Vec<u8>);

impl OwnedRawValue {
    /// The same, borrowed.
    pub fn as_raw_value(&self) -> RawValue<'_> {
        RawValue(&self.0)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// What was read, and the exact bytes it was read from: of a metainfo's `info`, which is hashed as well as used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WithRaw<'a, T> {
    /// The bytes.
    pub raw: RawValue<'a>,
    /// What they say.
    pub value: T,
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of bencode, read by this crate")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<RawValue<'de>, A::Error> {
        parts.next_element()?.map(RawValue).ok_or_else(|| A::Error::invalid_length(0, &self))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(RAW_VALUE, RawVisitor)
    }
}

impl<'de> Deserialize<'de> for OwnedRawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RawValue::deserialize(deserializer).map(RawValue::into_owned)
    }
}

struct WithRawVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for WithRawVisitor<T> {
    type Value = WithRaw<'de, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        RawVisitor.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let (Some(raw), Some(value)) = (parts.next_element()?, parts.next_element()?) else {
            return Err(A::Error::invalid_length(0, &self));
        };
        Ok(WithRaw { raw: RawValue(raw), value })
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for WithRaw<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(RAW_VALUE, WithRawVisitor(PhantomData))
    }
}

struct AsBytes<'a>(&'a [u8]);

impl Serialize for AsBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for RawValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(RAW_VALUE, &AsBytes(self.0))
    }
}

impl Serialize for OwnedRawValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_raw_value().serialize(serializer)
    }
}

impl fmt::Debug for RawValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::document::debug_bytes("RawValue", self.0, f)
    }
}

impl fmt::Debug for OwnedRawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::document::debug_bytes("OwnedRawValue", &self.0, f)
    }
}
