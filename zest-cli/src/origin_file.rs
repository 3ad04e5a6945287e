//! `origin.toml`: what an origin is told in a file.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use xet_cas::RepoId;
use xet_cas::server::{Access, Anonymous, Config, Garbage, Mirror, Permission, RateLimit, RateLimits, Token, User};

use crate::commands::origin::read_token;
use crate::failure::{Exit, Failure};

mod bucket;
mod values;
use values::{ByteCount, Expiry, Interval, Listen, Wait};

/// Largest file read, bytes: ten thousand tokens.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What stands for a [`Spanned`] value in the path of a key.
const SPANNED: &str = ".$__serde_spanned_private_value";

/// What the file says, checked.
#[derive(Debug, Default)]
pub(crate) struct OriginFile {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) data: Option<PathBuf>,
    raw: Raw,
    access: Access,
    mirror: Option<Mirror>,
    bucket: Option<bucket::Bucket>,
}

/// What the file says, word for word.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    listen: Listen,
    data: Option<PathBuf>,
    public_url: Option<String>,
    quota: Option<ByteCount>,
    limit_rate: Option<ByteCount>,
    no_data: bool,
    connections_max: Option<usize>,
    connections_per_address_max: Option<usize>,
    anonymous: Option<RawAnonymous>,
    users: Vec<Spanned<RawUser>>,
    tokens: Vec<Spanned<RawToken>>,
    rate_limits: RawRateLimits,
    garbage: RawGarbage,
    mirror: Option<RawMirror>,
    bucket: Option<bucket::RawBucket>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawAnonymous {
    None,
    Read,
    Write,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUser {
    name: String,
    #[serde(default)]
    organizations: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    scope: Scope,
    user: Option<String>,
    sha256: Option<String>,
    file: Option<PathBuf>,
    expires: Option<Expiry>,
    repositories: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Read,
    Write,
    Admin,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRateLimits {
    api: Option<RawRateLimit>,
    resolve: Option<RawRateLimit>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRateLimit {
    requests: u32,
    window: Wait,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawGarbage {
    interval: Option<Interval>,
    grace: Option<Wait>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMirror {
    endpoint: String,
    token_file: Option<PathBuf>,
    refresh: Option<Wait>,
}

impl OriginFile {
    /// Reads and checks a file. Paths in it begin where it is.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let unreadable = |error: &dyn Display| {
            Failure::new(Exit::Disk, format_args!("cannot read {}: {error}", path.display()))
                .hint("--config names a file like the one in docs/origin.md")
        };
        let length = std::fs::metadata(path).map_err(|error| unreadable(&error))?.len();
        if length > FILE_BYTES_MAX {
            return Err(unreadable(&format_args!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
        let source = Source { path, text: &text };
        let raw: Raw = source.parse()?;
        let beside = |relative: &Path| path.parent().unwrap_or(Path::new("")).join(relative);
        let mirror = raw.mirror.as_ref().map(|raw| mirror(raw, beside)).transpose()?;
        let bucket = raw.bucket.as_ref().map(|raw| bucket::bucket(raw, &source, beside)).transpose()?;
        Ok(Self {
            listen: raw.listen.0.clone(),
            data: raw.data.as_deref().map(beside),
            access: access(&raw, &source, beside)?,
            mirror,
            bucket,
            raw,
        })
    }

    /// Puts everything into the settings of an origin but where it is and where it listens.
    pub(crate) fn fill(self, config: &mut Config) {
        let Self { raw, access, mirror, bucket, .. } = self;
        let limit = |raw: RawRateLimit| RateLimit::new(raw.requests, raw.window.0);
        let mut rate_limits = RateLimits::default();
        rate_limits.api = raw.rate_limits.api.map(limit);
        rate_limits.resolve = raw.rate_limits.resolve.map(limit);
        let mut garbage = Garbage::default();
        garbage.interval = raw.garbage.interval.map_or(garbage.interval, |interval| interval.0);
        garbage.grace = raw.garbage.grace.map_or(garbage.grace, |grace| grace.0);
        config.access = access;
        config.public_url = raw.public_url;
        config.rate_limits = rate_limits;
        config.connections_max = raw.connections_max.unwrap_or(config.connections_max);
        let share = raw.connections_per_address_max;
        config.connections_per_address_max = share.unwrap_or(config.connections_per_address_max);
        config.quota = raw.quota.map(|quota| quota.0);
        config.garbage = garbage;
        config.mirror = mirror;
        config.no_data = raw.no_data;
        config.limit_rate = raw.limit_rate.map(|rate| rate.0);
        bucket::fill(bucket, config);
    }
}

/// The text of a file, to say where in it something is wrong.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let wrong = |key: &str, error: &toml::de::Error| {
            self.wrong(error.span(), key, error.message()).hint("docs/origin.md lists what can stand in it")
        };
        let text = toml::de::Deserializer::parse(self.text).map_err(|error| wrong("", &error))?;
        serde_path_to_error::deserialize(text).map_err(|error| wrong(&error.path().to_string(), error.inner()))
    }

    /// `origin.toml:7: tokens[0].scope: ...`
    fn wrong(&self, at: Option<Range<usize>>, key: &str, problem: impl Display) -> Failure {
        let before = at.and_then(|at| self.text.get(..at.start));
        let line = before.map(|before| format!(":{}", before.matches('\n').count() + 1)).unwrap_or_default();
        // Where a value is kept with its place in the text, the path says so.
        let key = key.replace(SPANNED, "");
        let key = if matches!(key.as_str(), "" | ".") { String::new() } else { format!("{key}: ") };
        // Some problems are told with a second line that repeats what can be seen.
        let problem = problem.to_string().replace('\n', ", ");
        Failure::usage(format_args!("{}{line}: {key}{problem}", self.path.display()))
    }
}

fn access(raw: &Raw, source: &Source<'_>, beside: impl Fn(&Path) -> PathBuf) -> Result<Access, Failure> {
    let mut access = Access::default();
    access.anonymous = raw.anonymous.map(|anonymous| match anonymous {
        RawAnonymous::None => Anonymous::None,
        RawAnonymous::Read => Anonymous::Read,
        RawAnonymous::Write => Anonymous::Write,
    });
    for (number, user) in raw.users.iter().enumerate() {
        let wrong = |key: &str, problem: fmt::Arguments<'_>| {
            source.wrong(Some(user.span()), &format!("users[{number}].{key}"), problem)
        };
        let RawUser { name, organizations } = user.get_ref();
        let names = std::iter::once(("name", name)).chain(organizations.iter().map(|name| ("organizations", name)));
        for (key, name) in names {
            if !is_namespace(name) {
                return Err(wrong(key, format_args!("`{name}` is no name"))
                    .hint("letters, digits, `-`, `_` and `.`, as before the slash in org/model"));
            }
        }
        if access.users.iter().any(|other| other.name == *name) {
            return Err(wrong("name", format_args!("`{name}` is there twice"))
                .hint("give the user all organizations in one place"));
        }
        access.users.push(User::new(name).with_organizations(organizations));
    }
    for (number, token) in raw.tokens.iter().enumerate() {
        let wrong = |key: &str, problem: &dyn Display| {
            source.wrong(Some(token.span()), &format!("tokens[{number}].{key}"), problem)
        };
        access.tokens.push(read(token.get_ref(), &access.users, wrong, &beside)?);
    }
    Ok(access)
}

fn read(
    raw: &RawToken,
    users: &[User],
    wrong: impl Fn(&str, &dyn Display) -> Failure,
    beside: impl Fn(&Path) -> PathBuf,
) -> Result<Token, Failure> {
    let permission = match raw.scope {
        Scope::Read => Permission::Read,
        Scope::Write => Permission::Write,
        Scope::Admin => Permission::Admin,
    };
    let mut token = match (&raw.sha256, &raw.file) {
        (Some(digits), None) => {
            let digest = sha256(digits).ok_or_else(|| {
                wrong("sha256", &"it is no SHA-256 of 64 hexadecimal digits").hint("printf %s TOKEN | sha256sum")
            })?;
            Token::from_sha256(digest, permission)
        }
        (None, Some(file)) => Token::new(read_token(&beside(file))?.expose(), permission),
        _ => {
            return Err(wrong("sha256", &"a token has either `sha256` or `file`")
                .hint("`sha256` is the SHA-256 of the token: printf %s TOKEN | sha256sum"));
        }
    };
    if let Some(name) = &raw.user {
        if !users.iter().any(|user| user.name == *name) {
            return Err(wrong("user", &format_args!("there is no user `{name}`"))
                .hint(format!("[[users]] with name = \"{name}\"")));
        }
        token = token.of_user(name);
    }
    token.expires = raw.expires.map(|expires| expires.0);
    match &raw.repositories {
        None => Ok(token),
        Some(patterns) => {
            let token = token.only_for(patterns.iter().map(String::as_str));
            token.map_err(|error| wrong("repositories", &error).hint("patterns are like `lab/*`"))
        }
    }
}

fn mirror(raw: &RawMirror, beside: impl Fn(&Path) -> PathBuf) -> Result<Mirror, Failure> {
    let mut mirror = Mirror::of(&raw.endpoint);
    if let Some(file) = &raw.token_file {
        mirror.token = Some(read_token(&beside(file))?.expose().to_owned());
    }
    mirror.refresh = raw.refresh.map_or(mirror.refresh, |refresh| refresh.0);
    Ok(mirror)
}

fn is_namespace(name: &str) -> bool {
    !name.contains('/') && format!("{name}/x").parse::<RepoId>().is_ok()
}

fn sha256(digits: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if digits.len() != 2 * digest.len() || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in digest.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// A wait that is none.
const NOTHING: Duration = Duration::ZERO;

#[cfg(test)]
mod tests;
