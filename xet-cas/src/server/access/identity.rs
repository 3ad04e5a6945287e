//! Users, and tokens that stand for them.

use std::fmt;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use sha2::{Digest as _, Sha256};

/// Digits of a digest that tell tokens apart in logs and tables. Too few to find a token by.
const NAME_DIGITS: usize = 8;

/// Somebody with a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// The name, which is also that of their namespace.
    pub name: String,
    /// Further namespaces that they own.
    pub organizations: Vec<String>,
}

impl User {
    /// A user in no organisation.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), organizations: Vec::new() }
    }

    /// The same user in these organisations as well.
    #[must_use]
    pub fn with_organizations<T: Into<String>>(mut self, organizations: impl IntoIterator<Item = T>) -> Self {
        self.organizations.extend(organizations.into_iter().map(Into::into));
        self
    }

    pub(super) fn is_in(&self, namespace: &str) -> bool {
        self.name == namespace || self.organizations.iter().any(|organization| organization == namespace)
    }
}

/// What a token allows at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Permission {
    /// To read.
    Read,
    /// Also to write.
    Write,
    /// Everything, in every namespace.
    Admin,
}

/// What a client shows to say who it is. Holds a digest of the secret, not the secret.
#[derive(Clone)]
#[non_exhaustive]
pub struct Token {
    digest: [u8; 32],
    /// What it allows at most.
    pub permission: Permission,
    /// Whose it is. Default: nobody's.
    pub user: Option<String>,
    /// When it is no longer good, seconds since 1970. Default: never.
    pub expires: Option<u64>,
    repositories: Option<GlobSet>,
}

/// A pattern for names of repositories that is none.
#[derive(Debug, thiserror::Error)]
#[error("`{pattern}` is no pattern for repositories: {reason}")]
#[non_exhaustive]
pub struct TokenError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Token {
    /// A token with this secret.
    pub fn new(secret: &str, permission: Permission) -> Self {
        Self::from_sha256(Self::digest_of(secret), permission)
    }

    /// A token of whose secret the SHA-256 is known.
    pub fn from_sha256(digest: [u8; 32], permission: Permission) -> Self {
        Self { digest, permission, user: None, expires: None, repositories: None }
    }

    /// The same token, of this user.
    #[must_use]
    pub fn of_user(mut self, name: impl Into<String>) -> Self {
        self.user = Some(name.into());
        self
    }

    /// The same token for repositories alone that match one of these patterns, like `lab/*`. Apart from them, it is as
    /// good as none.
    ///
    /// # Errors
    /// If a pattern is malformed.
    pub fn only_for<'p>(mut self, patterns: impl IntoIterator<Item = &'p str>) -> Result<Self, TokenError> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let wrong =
                |reason: globset::Error| TokenError { pattern: pattern.to_owned(), reason: reason.kind().to_string() };
            set.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(wrong)?);
        }
        let wrong = |reason: globset::Error| TokenError { pattern: String::new(), reason: reason.to_string() };
        self.repositories = Some(set.build().map_err(wrong)?);
        Ok(self)
    }

    pub(super) fn digest_of(secret: &str) -> [u8; 32] {
        Sha256::digest(secret.as_bytes()).into()
    }

    /// Compares in a time that does not tell where the two differ.
    pub(super) fn is(&self, digest: [u8; 32]) -> bool {
        blake3::Hash::from_bytes(self.digest) == blake3::Hash::from_bytes(digest)
    }

    pub(super) fn is_limited(&self) -> bool {
        self.repositories.is_some()
    }

    pub(super) fn is_for(&self, repo: &str) -> bool {
        self.repositories.as_ref().is_none_or(|patterns| patterns.is_match(repo))
    }

    /// The beginning of the digest.
    pub(super) fn name(&self) -> String {
        let mut digits = self.digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        digits.truncate(NAME_DIGITS);
        digits
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("permission", &self.permission)
            .field("user", &self.user)
            .field("expires", &self.expires)
            .field("is_limited", &self.is_limited())
            .finish_non_exhaustive()
    }
}
