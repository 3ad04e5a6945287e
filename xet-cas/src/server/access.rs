//! Who may do what. Pure: no sockets, no clock, no disk. Every route asks here, through
//! [`admission`](super::admission).

use std::sync::Arc;

use super::store::{Gated, RepoKey, RepoRecord};

mod identity;
pub use identity::{Permission, Token, TokenError, User};

/// Who may do what, as configured. The default is open: whoever reaches the address may read and write.
///
/// ```
/// use xet_cas::server::{Access, Permission, Token, User};
///
/// let mut access = Access::default();
/// access.users.push(User::new("alice").with_organizations(["lab"]));
/// access.tokens.push(Token::new("a long random text", Permission::Write).of_user("alice"));
/// ```
///
/// # Rules
/// - A user owns the namespace of their own name and those of their organisations: reads there what is private, and
///   writes with a token that allows it. Repositories without an owner (`gpt2`) belong to admins.
/// - A private repository is, to everyone else, exactly like one that does not exist.
/// - A gated repository shows everyone what it holds, and gives content to its owners and to those let in.
/// - A token that is limited to repositories counts for these alone. With no user it is as good as their owner.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Access {
    /// What requests without a token may do. Default: read and write as long as there are no users and no tokens,
    /// read as soon as there are.
    pub anonymous: Option<Anonymous>,
    /// Users that need more than the namespace of their name. Default: none.
    pub users: Vec<User>,
    /// What is taken for an identity. Default: none, and any token that a client sends is ignored.
    pub tokens: Vec<Token>,
}

impl Access {
    /// One token that everything needs and that allows everything.
    pub fn one_token(secret: &str) -> Self {
        let tokens = vec![Token::new(secret, Permission::Admin)];
        Self { anonymous: Some(Anonymous::None), users: Vec::new(), tokens }
    }

    /// Whether whoever reaches the address may write.
    pub fn is_open(&self) -> bool {
        self.anonymous() == Anonymous::Write
    }

    fn anonymous(&self) -> Anonymous {
        let is_empty = self.users.is_empty() && self.tokens.is_empty();
        self.anonymous.unwrap_or(if is_empty { Anonymous::Write } else { Anonymous::Read })
    }
}

/// What requests without a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Anonymous {
    /// Nothing.
    None,
    /// Read what is neither private nor gated.
    Read,
    /// Read, and write whatever is not private.
    Write,
}

/// [`Access`] as it is asked, with every token's user looked up.
pub(super) struct Guard {
    anonymous: Anonymous,
    holders: Vec<Arc<Holder>>,
}

/// Who holds a token.
#[derive(Debug)]
struct Holder {
    token: Token,
    user: Option<User>,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Who(Option<Arc<Holder>>);

impl Who {
    pub(super) const ANONYMOUS: Self = Self(None);

    pub(super) fn is_anonymous(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn is_admin(&self) -> bool {
        self.0.as_ref().is_some_and(|holder| holder.token.permission == Permission::Admin)
    }

    /// Whose token it is; a token need not be anybody's.
    pub(super) fn user(&self) -> Option<&User> {
        self.0.as_ref()?.user.as_ref()
    }

    /// What the token allows; `None` without one.
    pub(super) fn permission(&self) -> Option<Permission> {
        self.0.as_ref().map(|holder| holder.token.permission)
    }

    /// Tells tokens apart that are nobody's. Not a secret.
    pub(super) fn token_name(&self) -> Option<String> {
        self.0.as_ref().map(|holder| holder.token.name())
    }

    /// Their name, which is also that of their namespace.
    pub(super) fn user_name(&self) -> Option<&str> {
        self.user().map(|user| user.name.as_str())
    }
}

/// A token that is not known, or no longer good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadCredentials;

/// What somebody wants to do with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// See that it is there and what it holds.
    Read,
    /// Get what is in its files.
    Content,
    /// Open a pull request, and upload for it.
    Propose,
    /// Change branches and files.
    Write,
    /// Change its settings, move it or delete it.
    Admin,
    /// Make it. Whether it exists is asked afterwards.
    Create,
}

/// What comes of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    /// Not without a token.
    NeedsToken,
    /// There is no such repository, or not for them.
    Missing,
    /// Only those who were let in get content.
    Gated,
    /// Not with this token; the text says why.
    Forbidden(&'static str),
}

impl Guard {
    pub(super) fn new(access: &Access) -> Self {
        let holder = |token: &Token| {
            let named = |name: &String| {
                let known = access.users.iter().find(|user| user.name == *name);
                known.cloned().unwrap_or_else(|| User::new(name))
            };
            Arc::new(Holder { user: token.user.as_ref().map(named), token: token.clone() })
        };
        Self { anonymous: access.anonymous(), holders: access.tokens.iter().map(holder).collect() }
    }

    /// Whether whoever reaches the address may write.
    pub(super) fn is_open(&self) -> bool {
        self.anonymous == Anonymous::Write
    }

    /// Whether nobody can be told from anybody else: tokens count for nothing.
    pub(super) fn knows_nobody(&self) -> bool {
        self.holders.is_empty()
    }

    /// Whose token this is.
    pub(super) fn who(&self, token: Option<&str>, unix_now: u64) -> Result<Who, BadCredentials> {
        let Some(token) = token.filter(|_| !self.knows_nobody()) else { return Ok(Who::ANONYMOUS) };
        let digest = Token::digest_of(token);
        // Goes through all of them, so that time does not tell which one is like the one given.
        let held = self.holders.iter().fold(None, |found, holder| match holder.token.is(digest) {
            true => Some(holder),
            false => found,
        });
        match held {
            Some(holder) if holder.token.expires.is_none_or(|expires| unix_now < expires) => {
                Ok(Who(Some(Arc::clone(holder))))
            }
            _ => Err(BadCredentials),
        }
    }

    /// Whether what concerns no repository is allowed, such as a listing, of which everyone sees their part.
    pub(super) fn permits_any(&self, who: &Who) -> Verdict {
        match who.is_anonymous() && self.anonymous == Anonymous::None {
            true => Verdict::NeedsToken,
            false => Verdict::Allowed,
        }
    }

    /// Whether this may be done. `record` is `None` if there is no such repository.
    pub(super) fn permits(&self, who: &Who, action: Action, repo: &RepoKey, record: Option<&RepoRecord>) -> Verdict {
        if self.permits_any(who) != Verdict::Allowed {
            return Verdict::NeedsToken;
        }
        if action == Action::Create {
            return self.writes(who, repo);
        }
        let Some(record) = record.filter(|record| self.sees(who, repo, record)) else { return Verdict::Missing };
        match action {
            Action::Read => Verdict::Allowed,
            Action::Content => content(who, repo, record),
            Action::Propose => match content(who, repo, record) {
                Verdict::Allowed => self.proposes(who, repo),
                refused => refused,
            },
            // Not even where everyone may write: whoever opens a gate gets in.
            Action::Write | Action::Admin if record.gated != Gated::No && !owns(who, repo) => {
                match self.proposes(who, repo) {
                    Verdict::Allowed => Verdict::Gated,
                    refused => refused,
                }
            }
            Action::Write | Action::Admin | Action::Create => self.writes(who, repo),
        }
    }

    fn sees(&self, who: &Who, repo: &RepoKey, record: &RepoRecord) -> bool {
        let sees_public = self.anonymous >= Anonymous::Read || who.0.as_ref().is_some_and(|holder| holder.is_for(repo));
        owns(who, repo) || !record.private && sees_public
    }

    fn proposes(&self, who: &Who, repo: &RepoKey) -> Verdict {
        let is_elsewhere = who.0.as_ref().is_some_and(|holder| !holder.is_for(repo));
        match who.permission() {
            Some(_) if is_elsewhere && !self.is_open() => Verdict::Forbidden(NO_WRITING),
            None if self.is_open() => Verdict::Allowed,
            None => Verdict::NeedsToken,
            Some(Permission::Read) => Verdict::Forbidden(READ_ONLY),
            Some(Permission::Write | Permission::Admin) => Verdict::Allowed,
        }
    }

    fn writes(&self, who: &Who, repo: &RepoKey) -> Verdict {
        match self.proposes(who, repo) {
            Verdict::Allowed if owns(who, repo) || self.is_open() => Verdict::Allowed,
            Verdict::Allowed => Verdict::Forbidden(NO_WRITING),
            refused => refused,
        }
    }
}

const NO_WRITING: &str = "the token allows no writing in this namespace";
const READ_ONLY: &str = "the token is for reading only";

fn content(who: &Who, repo: &RepoKey, record: &RepoRecord) -> Verdict {
    let is_let_in = || {
        who.0.as_ref().is_some_and(|holder| holder.is_for(repo))
            && who.user_name().is_some_and(|name| record.readers.contains(name))
    };
    match record.gated == Gated::No || owns(who, repo) || is_let_in() {
        true => Verdict::Allowed,
        false => Verdict::Gated,
    }
}

/// Whether a repository is one of those that the holder of this token has.
fn owns(who: &Who, repo: &RepoKey) -> bool {
    let Some(holder) = &who.0 else { return false };
    if !holder.is_for(repo) {
        return false;
    }
    match (&holder.user, repo.id.owner()) {
        _ if holder.token.permission == Permission::Admin => true,
        (Some(user), Some(owner)) => user.is_in(owner),
        (Some(_), None) => false,
        (None, _) => holder.token.is_limited(),
    }
}

impl Holder {
    fn is_for(&self, repo: &RepoKey) -> bool {
        self.token.is_for(repo.id.as_str())
    }
}

#[cfg(test)]
mod tests;
