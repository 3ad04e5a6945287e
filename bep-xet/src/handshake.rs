//! The `xet` dictionary of the BEP 10 extension handshake.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use bencode::OwnedValue;

use crate::{Error, Limits, Message};

/// What a peer says about how it speaks Xet.
///
/// # Wire shape
/// A bencoded dictionary under the key `xet`. Keys that are not known are passed over, values of the wrong kind are not.
///
/// | key | field | if it is not there |
/// |---|---|---|
/// | `v` | newest version that is spoken | an error |
/// | `min` | oldest version that is spoken | 1 |
/// | `f` | list of features | none |
/// | `rq` | bytes that the other side may have outstanding | 4 MiB |
/// | `mm` | longest frame that is taken, bytes, message and extension id included | 1 MiB |
/// | `id` | node id, 32 bytes | none |
/// | `ht` | list of hash systems | 0 alone, which is Xet |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XetHandshake {
    /// Newest version that is spoken.
    pub v: u32,
    /// Oldest version that is spoken.
    pub min: u32,
    /// Names of what can be done beyond the version.
    pub features: BTreeSet<String>,
    /// Bytes that the other side may have outstanding.
    pub outstanding_bytes: u64,
    /// Longest frame that is taken, bytes: a message with [`Message::FRAME_BYTES`] before it.
    pub frame_bytes_max: u32,
    /// Who this is, whatever address it has.
    pub node_id: Option<NodeId>,
    /// Hash systems in which objects can be named.
    pub hash_types: BTreeSet<u8>,
}

impl XetHandshake {
    /// The dictionary's key in the extension handshake.
    pub const KEY: &str = "xet";
    /// The version that this crate speaks.
    pub const VERSION: u32 = 2;

    /// What to say of ourselves if these limits apply to what we are asked.
    pub fn new(limits: &Limits, node_id: Option<NodeId>) -> Self {
        let frame_bytes_max = limits.message_bytes_max.saturating_add(Message::FRAME_BYTES);
        Self {
            v: Self::VERSION,
            min: Self::VERSION,
            features: BTreeSet::new(),
            outstanding_bytes: limits.requested_bytes_max,
            frame_bytes_max: u32::try_from(frame_bytes_max).unwrap_or(u32::MAX),
            node_id,
            hash_types: BTreeSet::from([XET]),
        }
    }

    /// Whether the messages of this crate can be sent to who says this.
    pub fn speaks_v2(&self) -> bool {
        (self.min..=self.v).contains(&Self::VERSION) && self.hash_types.contains(&XET)
    }

    /// Reads the value of [`KEY`](Self::KEY).
    ///
    /// # Errors
    /// [`Error::Handshake`]
    pub fn from_value(value: &OwnedValue, limits: &Limits) -> Result<Self, Error> {
        if value.as_dict().is_none() {
            return Err(malformed("it is not a dictionary"));
        }
        let v = number(value, "v")?.ok_or_else(|| malformed("it has no version"))?;
        Ok(Self {
            v: clamp(v),
            min: number(value, "min")?.map_or(1, clamp),
            features: features(value, limits)?,
            outstanding_bytes: number(value, "rq")?.map_or(OUTSTANDING_BYTES_UNSAID, |bytes| bytes.min(INTEGER_MAX)),
            frame_bytes_max: number(value, "mm")?.map_or(FRAME_BYTES_UNSAID, clamp),
            node_id: node_id(value)?,
            hash_types: hash_types(value)?,
        })
    }

    /// The value of [`KEY`](Self::KEY).
    pub fn to_value(&self) -> OwnedValue {
        let mut pairs = vec![
            ("v", self.v.into()),
            ("min", self.min.into()),
            ("f", OwnedValue::list(self.features.iter().map(|name| name.as_str().into()))),
            ("rq", self.outstanding_bytes.min(INTEGER_MAX).into()),
            ("mm", self.frame_bytes_max.into()),
            ("ht", OwnedValue::list(self.hash_types.iter().map(|&hash_type| hash_type.into()))),
        ];
        pairs.extend(self.node_id.map(|id| ("id", id.as_bytes()[..].into())));
        OwnedValue::dict(pairs)
    }
}

/// The hash system of this crate's objects.
const XET: u8 = 0;
/// What a peer gets that does not say what it lets others have.
const OUTSTANDING_BYTES_UNSAID: u64 = 4 * 1024 * 1024;
const FRAME_BYTES_UNSAID: u32 = 1024 * 1024;
/// Integers of bencode have 63 bits in most programs.
const INTEGER_MAX: u64 = i64::MAX as u64;
/// Hash systems are a nibble.
const HASH_TYPES_MAX: usize = 16;

fn malformed(reason: &str) -> Error {
    Error::Handshake { reason: reason.to_owned() }
}

fn clamp(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn number(dict: &OwnedValue, key: &str) -> Result<Option<u64>, Error> {
    let read = |value: &OwnedValue| value.as_u64().ok_or_else(|| malformed(&format!("{key} is not a number")));
    dict.get(key.as_bytes()).map(read).transpose()
}

fn items<'a>(dict: &'a OwnedValue, key: &str, max: usize) -> Result<Option<&'a [OwnedValue]>, Error> {
    let Some(value) = dict.get(key.as_bytes()) else { return Ok(None) };
    match value.as_list() {
        Some(items) if items.len() <= max => Ok(Some(items)),
        Some(items) => Err(malformed(&format!("{key} has {} items, allowed are {max}", items.len()))),
        None => Err(malformed(&format!("{key} is not a list"))),
    }
}

fn features(dict: &OwnedValue, limits: &Limits) -> Result<BTreeSet<String>, Error> {
    let name = |item: &OwnedValue| match item.as_str() {
        Some(name) if name.len() <= limits.feature_bytes_max => Ok(name.to_owned()),
        _ => Err(malformed("a feature is not a short text")),
    };
    items(dict, "f", limits.features_max)?.unwrap_or_default().iter().map(name).collect()
}

/// Hash systems beyond a nibble name nothing, and are passed over.
fn hash_types(dict: &OwnedValue) -> Result<BTreeSet<u8>, Error> {
    let Some(items) = items(dict, "ht", HASH_TYPES_MAX)? else { return Ok(BTreeSet::from([XET])) };
    let mut hash_types = BTreeSet::new();
    for item in items {
        let hash_type = item.as_u64().ok_or_else(|| malformed("a hash system is not a number"))?;
        hash_types.extend(u8::try_from(hash_type).ok().filter(|hash_type| *hash_type < HASH_TYPES_MAX as u8));
    }
    Ok(hash_types)
}

fn node_id(dict: &OwnedValue) -> Result<Option<NodeId>, Error> {
    let Some(value) = dict.get(b"id") else { return Ok(None) };
    let bytes = value.as_bytes().and_then(|bytes| bytes.try_into().ok());
    bytes.map(|bytes| Some(NodeId(bytes))).ok_or_else(|| malformed("the node id does not have 32 bytes"))
}

/// Name of a node, the same on all of its connections. Nothing proves it by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// Takes the raw bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "NodeId({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

impl FromStr for NodeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let error = || malformed("a node id is 64 hexadecimal digits");
        let digits: &[u8; 64] = text.as_bytes().try_into().map_err(|_| error())?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).ok_or_else(error);
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(Self(bytes))
    }
}
