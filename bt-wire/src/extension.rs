//! The extension protocol (BEP 10): both sides say under which numbers they take which extension's messages.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU8;

use bencode::{Decoder, OwnedValue};
use bytes::Bytes;

use crate::{Error, Limits, Message};

/// The number of the extension handshake itself.
pub const EXTENSION_HANDSHAKE_ID: u8 = 0;

/// What a peer says about itself right after the handshake, and may say again when it changes.
///
/// Fields that are not there, or not of their kind, are `None`; the latter are kept in `other`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ExtensionHandshake {
    /// `m`: the numbers under which the sender takes the messages of extensions.
    pub m: ExtensionIds,
    /// `v`: name and version of the program. What is not UTF-8 is replaced.
    pub v: Option<String>,
    /// `p`: the TCP port that it listens on.
    pub p: Option<u16>,
    /// `reqq`: requests it keeps without dropping any.
    pub reqq: Option<u32>,
    /// `yourip`: the address it sees the receiver at.
    pub yourip: Option<IpAddr>,
    /// `ipv4`: its own address of that family.
    pub ipv4: Option<Ipv4Addr>,
    /// `ipv6`: its own address of that family.
    pub ipv6: Option<Ipv6Addr>,
    /// `metadata_size`: bytes of the info dictionary (BEP 9). A claim.
    pub metadata_size: Option<u64>,
    /// `upload_only`: whether it wants nothing more (BEP 21).
    pub upload_only: Option<bool>,
    /// `complete_ago`: seconds since it had everything; negative if it never had.
    pub complete_ago: Option<i64>,
    /// All other keys.
    pub other: BTreeMap<Vec<u8>, OwnedValue>,
}

impl ExtensionHandshake {
    /// Reads the payload of an [`Extended`](Message::Extended) message with the id
    /// [`EXTENSION_HANDSHAKE_ID`]. What is not canonical is accepted, what follows the dictionary ignored.
    ///
    /// # Errors
    /// It is too large, is not bencode, or it or its `m` is not a dictionary.
    pub fn decode(payload: &[u8], limits: &Limits) -> Result<Self, Error> {
        let (bytes, max) = (payload.len(), limits.extension_handshake_bytes_max);
        if bytes > max {
            return Err(Error::ExtensionHandshakeTooLarge { bytes, max });
        }
        let mut bencode_limits = bencode::Limits::default();
        bencode_limits.tokens_max = limits.extension_handshake_tokens_max;
        let decoder = Decoder::lenient().limits(bencode_limits);
        let (document, _) = decoder.decode_prefix(payload).map_err(Error::ExtensionHandshake)?;
        let root = document.root().into_owned().map_err(Error::ExtensionHandshake)?;
        let OwnedValue::Dict(mut other) = root else {
            return Err(Error::NotADictionary { what: "an extension handshake" });
        };
        let m = other.remove(&b"m"[..]).map(ExtensionIds::read).transpose()?.unwrap_or_default();
        let mut take = Take(&mut other);
        Ok(Self {
            m,
            v: take.field("v", |v| v.as_bytes().map(|v| String::from_utf8_lossy(v).into_owned())),
            p: take.field("p", |p| p.as_u64()?.try_into().ok()),
            reqq: take.field("reqq", |reqq| reqq.as_u64()?.try_into().ok()),
            yourip: take.field("yourip", |yourip| address(yourip.as_bytes()?)),
            ipv4: take.field("ipv4", |ipv4| octets::<4>(ipv4.as_bytes()?).map(Ipv4Addr::from)),
            ipv6: take.field("ipv6", |ipv6| octets::<16>(ipv6.as_bytes()?).map(Ipv6Addr::from)),
            metadata_size: take.field("metadata_size", OwnedValue::as_u64),
            upload_only: take.field("upload_only", |only| only.as_integer().map(|only| only != 0_u8.into())),
            complete_ago: take.field("complete_ago", OwnedValue::as_i64),
            other,
        })
    }

    /// The payload to send. A key of `other` that is a field's is written only if the field is `None`.
    ///
    /// # Errors
    /// A value in `other` is nested too deep.
    pub fn encode(&self) -> Result<Bytes, Error> {
        let mut pairs = self.other.clone();
        let mut put = |key: &str, value: Option<OwnedValue>| {
            if let Some(value) = value {
                pairs.insert(key.into(), value);
            }
        };
        put("m", Some(self.m.write()));
        put("v", self.v.as_deref().map(OwnedValue::from));
        put("p", self.p.map(OwnedValue::from));
        put("reqq", self.reqq.map(OwnedValue::from));
        put(
            "yourip",
            self.yourip.map(|address| match address {
                IpAddr::V4(address) => address.octets()[..].into(),
                IpAddr::V6(address) => address.octets()[..].into(),
            }),
        );
        put("ipv4", self.ipv4.map(|address| address.octets()[..].into()));
        put("ipv6", self.ipv6.map(|address| address.octets()[..].into()));
        put("metadata_size", self.metadata_size.map(OwnedValue::from));
        put("upload_only", self.upload_only.map(|only| u8::from(only).into()));
        put("complete_ago", self.complete_ago.map(OwnedValue::from));
        let encoded = bencode::encode(&OwnedValue::Dict(pairs)).map_err(Error::ExtensionHandshake)?;
        Ok(encoded.into())
    }

    /// The message to send.
    ///
    /// # Errors
    /// A value in `other` is nested too deep.
    pub fn to_message(&self) -> Result<Message, Error> {
        Ok(Message::Extended { id: EXTENSION_HANDSHAKE_ID, payload: self.encode()? })
    }
}

/// The keys that are not read yet.
struct Take<'a>(&'a mut BTreeMap<Vec<u8>, OwnedValue>);

impl Take<'_> {
    /// Reads a key, and takes it away if its value is one that it can have.
    fn field<T>(&mut self, key: &str, read: impl Fn(&OwnedValue) -> Option<T>) -> Option<T> {
        let value = read(self.0.get(key.as_bytes())?)?;
        self.0.remove(key.as_bytes());
        Some(value)
    }
}

fn octets<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    octets::<4>(bytes).map(IpAddr::from).or_else(|| octets::<16>(bytes).map(IpAddr::from))
}

/// Names of extensions, and the number that one side gave to each. 0 says that it does not take the extension's
/// messages (any more).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtensionIds(BTreeMap<Vec<u8>, u8>);

impl ExtensionIds {
    /// Of these names and numbers.
    pub fn new<N: Into<Vec<u8>>>(ids: impl IntoIterator<Item = (N, u8)>) -> Self {
        Self(ids.into_iter().map(|(name, id)| (name.into(), id)).collect())
    }

    /// The number of an extension; `None` if it is 0 or not there.
    pub fn id(&self, name: impl AsRef<[u8]>) -> Option<NonZeroU8> {
        self.0.get(name.as_ref()).copied().and_then(NonZeroU8::new)
    }

    /// The extension that has a number; `None` for 0 and for a number that no extension has. Of several, the
    /// first by name.
    pub fn name(&self, id: u8) -> Option<&[u8]> {
        let id = NonZeroU8::new(id)?.get();
        self.iter().find(|(_, candidate)| *candidate == id).map(|(name, _)| name)
    }

    /// Names and numbers, zeros too, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u8)> {
        self.0.iter().map(|(name, id)| (&name[..], *id))
    }

    /// Takes what a later handshake says. What it does not name stays.
    pub fn update(&mut self, later: &Self) {
        self.0.extend(later.0.iter().map(|(name, id)| (name.clone(), *id)));
    }

    /// Values that are not numbers of one byte are left out.
    fn read(value: OwnedValue) -> Result<Self, Error> {
        let OwnedValue::Dict(pairs) = value else {
            return Err(Error::NotADictionary { what: "m of an extension handshake" });
        };
        let id = |value: OwnedValue| value.as_u64()?.try_into().ok();
        Ok(Self(pairs.into_iter().filter_map(|(name, value)| Some((name, id(value)?))).collect()))
    }

    fn write(&self) -> OwnedValue {
        OwnedValue::dict(self.0.iter().map(|(name, id)| (name.clone(), OwnedValue::from(*id))))
    }
}

/// What two peers have agreed on: under which numbers messages of extensions go out and come in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extensions {
    ours: ExtensionIds,
    theirs: ExtensionIds,
}

/// Extensions that a peer may have named, over all its handshakes; what it names beyond is not remembered.
const EXTENSIONS_MAX: usize = 1_000;

impl Extensions {
    /// Before the peer has said anything.
    pub fn new(ours: ExtensionIds) -> Self {
        Self { ours, theirs: ExtensionIds::default() }
    }

    /// The numbers that we gave, to put into our handshake.
    pub fn ours(&self) -> &ExtensionIds {
        &self.ours
    }

    /// The numbers that the peer gave, over all its handshakes.
    pub fn theirs(&self) -> &ExtensionIds {
        &self.theirs
    }

    /// Takes a handshake of the peer, its first or a later one.
    pub fn handle_handshake(&mut self, handshake: &ExtensionHandshake) {
        self.theirs.update(&handshake.m);
        while self.theirs.0.len() > EXTENSIONS_MAX {
            self.theirs.0.pop_last();
        }
    }

    /// The number to send an extension's messages under; `None` if the peer does not take them.
    pub fn outgoing(&self, name: impl AsRef<[u8]>) -> Option<NonZeroU8> {
        self.theirs.id(name)
    }

    /// The extension that a message that came in is of; `None` if we gave that number to none.
    pub fn incoming(&self, id: u8) -> Option<&[u8]> {
        self.ours.name(id)
    }
}
