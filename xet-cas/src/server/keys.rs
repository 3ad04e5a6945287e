//! Tokens and signed URLs that this origin gave out, recognised by a keyed hash. The key lives in the store, so that
//! they outlive the process.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use super::store::RepoKey;
use crate::{ByteRange, RepoType, XorbHash};

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

/// What a CAS token says: who may do what with files of which repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) scope: Scope,
    pub(super) repo: RepoKey,
    /// Unix seconds.
    pub(super) expires: u64,
}

impl Pass {
    /// `scope.expiry.kind.repo`: names of repositories hold dots, and nothing else of this does.
    fn text(&self) -> String {
        let Self { scope, repo, expires } = self;
        format!("{}.{expires}.{}.{}", scope.name(), repo.kind, repo.id)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '.');
        let scope = match parts.next()? {
            "read" => Scope::Read,
            "write" => Scope::Write,
            _ => return None,
        };
        let expires = parts.next()?.parse().ok()?;
        let kind: RepoType = parts.next()?.parse().ok()?;
        Some(Self { scope, repo: RepoKey { kind, id: parts.next()?.parse().ok()? }, expires })
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
pub(super) enum Resource<'a> {
    /// Exactly these bytes of a xorb.
    XorbRange(XorbHash, ByteRange),
    /// A file of a commit, and any range of it.
    File { repo: &'a RepoKey, sha: &'a str, path: &'a str },
    /// One upload.
    Grant(Grant),
    /// An object of git-lfs, for a repository.
    Object {
        repo: &'a RepoKey,
        sha256: [u8; 32],
        /// Bytes.
        size: u64,
        way: Way,
    },
}

/// Where an object goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Upload,
    Download,
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

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::XorbRange(xorb, ByteRange { start, end }) => write!(f, "xorb {xorb} {start} {end}"),
            // With its length, so that a blank more in the one is not a blank less in the other.
            Self::File { repo, sha, path } => write!(f, "file {} {} {} {sha} {path}", repo.kind, repo.id, sha.len()),
            Self::Grant(Grant { id, xorb, length, checksum }) => write!(f, "grant {id} {xorb} {length} {checksum}"),
            Self::Object { repo, sha256, size, way } => {
                let sha256 = blake3::Hash::from_bytes(*sha256);
                write!(f, "object {way:?} {} {} {} {size}", repo.kind, repo.id, sha256.to_hex())
            }
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

    /// The pass and its signature, a dot between.
    pub(super) fn token(&self, pass: &Pass) -> String {
        let text = pass.text();
        let mac = self.mac(&format!("token {text}"));
        format!("{text}.{mac}")
    }

    /// The pass that a token is, if it allows what is needed.
    pub(super) fn check_token(&self, token: &str, needed: Scope, now: u64) -> Result<Pass, BadToken> {
        let (text, mac) = token.rsplit_once('.').ok_or(BadToken::Invalid)?;
        let pass = Pass::parse(text).filter(|pass| pass.text() == text && now < pass.expires);
        let pass = pass.filter(|_| self.is_mac(&format!("token {text}"), mac)).ok_or(BadToken::Invalid)?;
        if needed == Scope::Write && pass.scope == Scope::Read { Err(BadToken::Scope) } else { Ok(pass) }
    }

    /// The signature of a URL.
    pub(super) fn sign(&self, resource: Resource<'_>, expires: u64) -> String {
        self.mac(&format!("url {resource} {expires}")).to_string()
    }

    /// Whether a URL is ours, for this resource, and still good.
    pub(super) fn is_signed(&self, resource: Resource<'_>, expires: u64, signature: &str, now: u64) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(key: u8) -> Keys {
        Keys::new([key; 32])
    }

    fn pass(scope: Scope, repo: &str) -> Pass {
        Pass { scope, repo: RepoKey { kind: RepoType::Dataset, id: repo.parse().unwrap() }, expires: 100 }
    }

    #[test]
    fn given_a_token_when_checked_then_scope_and_expiry_count() {
        let keys = keys(1);
        let [read, write] = [Scope::Read, Scope::Write].map(|scope| pass(scope, "lab/a.b.c"));
        let [by_read, by_write] = [&read, &write].map(|pass| keys.token(pass));

        assert_eq!(Ok(read), keys.check_token(&by_read, Scope::Read, 99));
        assert_eq!(Ok(write.clone()), keys.check_token(&by_write, Scope::Read, 99));
        assert_eq!(Ok(write), keys.check_token(&by_write, Scope::Write, 99));
        assert_eq!(Err(BadToken::Scope), keys.check_token(&by_read, Scope::Write, 99));
        assert_eq!(Err(BadToken::Invalid), keys.check_token(&by_read, Scope::Read, 100));
    }

    #[test]
    fn given_a_forged_token_when_checked_then_refused() {
        let signer = keys(1);
        let token = signer.token(&pass(Scope::Read, "lab/tiny"));
        let mac = token.rsplit('.').next().unwrap();
        let forged = [
            String::new(),
            "read".into(),
            format!("write.100.dataset.lab/tiny.{mac}"),
            format!("read.200.dataset.lab/tiny.{mac}"),
            format!("read.100.model.lab/tiny.{mac}"),
            format!("read.100.dataset.lab/other.{mac}"),
            format!("read.100.dataset.lab/tiny.x.{mac}"),
            format!("read.0100.dataset.lab/tiny.{mac}"),
            format!("read.100.dataset.lab/tiny.{mac}x"),
            format!("{token}."),
            keys(2).token(&pass(Scope::Read, "lab/tiny")),
        ];
        for token in forged {
            assert_eq!(Err(BadToken::Invalid), signer.check_token(&token, Scope::Read, 1), "{token}");
        }
    }

    #[test]
    fn given_a_signature_when_checked_then_good_for_one_resource_and_time() {
        let keys = keys(1);
        let range = |start, end| Resource::XorbRange(XorbHash::from_bytes([7; 32]), ByteRange { start, end });
        let signature = keys.sign(range(0, 10), 100);

        assert!(keys.is_signed(range(0, 10), 100, &signature, 99));
        assert!(!keys.is_signed(range(0, 10), 100, &signature, 100));
        assert!(!keys.is_signed(range(0, 10), 101, &signature, 99));
        assert!(!keys.is_signed(range(0, 11), 100, &signature, 99));

        let repo = pass(Scope::Read, "lab/tiny").repo;
        let file = |sha, path| Resource::File { repo: &repo, sha, path };
        let signature = keys.sign(file("main", "a b"), 100);
        assert!(keys.is_signed(file("main", "a b"), 100, &signature, 99));
        assert!(!keys.is_signed(file("main", "a"), 100, &signature, 99));
        assert!(!keys.is_signed(file("dev", "a b"), 100, &signature, 99));
        assert!(!keys.is_signed(file("main a", "b"), 100, &signature, 99));
        let other = RepoKey { kind: RepoType::Model, ..repo.clone() };
        let elsewhere = Resource::File { repo: &other, sha: "main", path: "a b" };
        assert!(!keys.is_signed(elsewhere, 100, &signature, 99));
    }
}
