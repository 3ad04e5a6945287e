//! Tokens and signed URLs that this origin gave out, recognised by a keyed hash. The key lives in the store, so that
//! they outlive the process.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use crate::{ByteRange, FileHash, XorbHash};

/// What a CAS token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Read,
    /// Also to read.
    Write,
}

impl Scope {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadToken {
    /// Malformed, forged or expired.
    Invalid,
    /// Good, but not for this.
    Scope,
}

/// What a signed URL leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    /// Exactly these bytes of a xorb.
    XorbRange(XorbHash, ByteRange),
    /// A whole file and any range of it.
    File(FileHash),
    /// One upload.
    Grant(Grant),
}

/// Permission to upload one xorb, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) id: GrantId,
    pub(super) xorb: XorbHash,
    /// Bytes of the upload.
    pub(super) length: u64,
    /// CRC-64/NVME of the upload.
    pub(super) checksum: u64,
}

/// Names a grant. Nobody can guess it: who knows it has asked for the grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct GrantId(u128);

impl GrantId {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for GrantId {
    type Err = ParseIntError;

    /// Takes what [`Display`](fmt::Display) writes, and other spellings of it.
    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::XorbRange(xorb, ByteRange { start, end }) => write!(f, "xorb {xorb} {start} {end}"),
            Self::File(file) => write!(f, "file {file}"),
            Self::Grant(Grant { id, xorb, length, checksum }) => write!(f, "grant {id} {xorb} {length} {checksum}"),
        }
    }
}

/// Signs and checks.
pub(super) struct Keys {
    key: [u8; 32],
}

impl Keys {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// `scope.expiry.mac`
    pub(super) fn token(&self, scope: Scope, expires: u64) -> String {
        let scope = scope.name();
        let mac = self.mac(&format!("token {scope} {expires}"));
        format!("{scope}.{expires}.{mac}")
    }

    pub(super) fn check_token(&self, token: &str, needed: Scope, now: u64) -> Result<(), BadToken> {
        let mut parts = token.split('.');
        let (Some(scope), Some(expires), Some(mac), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadToken::Invalid);
        };
        let scope = match scope {
            "read" => Scope::Read,
            "write" => Scope::Write,
            _ => return Err(BadToken::Invalid),
        };
        let expires: u64 = expires.parse().map_err(|_| BadToken::Invalid)?;
        if !self.is_mac(&format!("token {} {expires}", scope.name()), mac) || expires <= now {
            return Err(BadToken::Invalid);
        }
        if needed == Scope::Write && scope == Scope::Read { Err(BadToken::Scope) } else { Ok(()) }
    }

    /// The signature of a URL.
    pub(super) fn sign(&self, resource: Resource, expires: u64) -> String {
        self.mac(&format!("url {resource} {expires}")).to_string()
    }

    /// Whether a URL is ours, for this resource, and still good.
    pub(super) fn is_signed(&self, resource: Resource, expires: u64, signature: &str, now: u64) -> bool {
        self.is_mac(&format!("url {resource} {expires}"), signature) && now < expires
    }

    /// The key under which chunks are listed in answers about them. One for all answers: for each key that a client
    /// was given, it hashes every chunk that it looks for.
    pub(super) fn chunk_key(&self) -> [u8; 32] {
        *self.mac("chunks").as_bytes()
    }

    fn mac(&self, message: &str) -> blake3::Hash {
        blake3::keyed_hash(&self.key, message.as_bytes())
    }

    fn is_mac(&self, message: &str, mac: &str) -> bool {
        // Comparing `blake3::Hash`es takes the same time whatever they hold.
        blake3::Hash::from_hex(mac).is_ok_and(|mac| mac == self.mac(message))
    }
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
pub(super) fn same_secret(a: &str, b: &str) -> bool {
    blake3::hash(a.as_bytes()) == blake3::hash(b.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> Keys {
        Keys::new(rand::random())
    }

    #[test]
    fn given_a_token_when_checked_then_scope_and_expiry_count() {
        let keys = random();
        let (read, write) = (keys.token(Scope::Read, 100), keys.token(Scope::Write, 100));

        assert_eq!(Ok(()), keys.check_token(&read, Scope::Read, 99));
        assert_eq!(Ok(()), keys.check_token(&write, Scope::Read, 99));
        assert_eq!(Ok(()), keys.check_token(&write, Scope::Write, 99));
        assert_eq!(Err(BadToken::Scope), keys.check_token(&read, Scope::Write, 99));
        assert_eq!(Err(BadToken::Invalid), keys.check_token(&read, Scope::Read, 100));
    }

    #[test]
    fn given_a_forged_token_when_checked_then_refused() {
        let keys = random();
        let token = keys.token(Scope::Read, 100);
        let mac = token.rsplit('.').next().unwrap();
        let forged = [
            String::new(),
            "read".into(),
            format!("write.100.{mac}"),
            format!("read.200.{mac}"),
            format!("read.0100.{mac}x"),
            format!("{token}."),
            random().token(Scope::Read, 100),
        ];
        for token in forged {
            assert_eq!(Err(BadToken::Invalid), keys.check_token(&token, Scope::Read, 1), "{token}");
        }
    }

    #[test]
    fn given_a_signature_when_checked_then_good_for_one_resource_and_time() {
        let keys = random();
        let range = |start, end| Resource::XorbRange(XorbHash::from_bytes([7; 32]), ByteRange { start, end });
        let signature = keys.sign(range(0, 10), 100);

        assert!(keys.is_signed(range(0, 10), 100, &signature, 99));
        assert!(!keys.is_signed(range(0, 10), 100, &signature, 100));
        assert!(!keys.is_signed(range(0, 10), 101, &signature, 99));
        assert!(!keys.is_signed(range(0, 11), 100, &signature, 99));
        assert!(!keys.is_signed(Resource::File(FileHash::from_bytes([7; 32])), 100, &signature, 99));
    }
}
