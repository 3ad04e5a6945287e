//! How a command fails: a cause, a hint what to do, and an exit code.

use std::fmt::Display;

use swarm::ErrorKind;
use xet_cas::client;

/// Exit codes, as the documentation lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Failure = 1,
    Usage = 2,
    NotAuthorised = 3,
    NotFound = 4,
    Network = 5,
    Integrity = 6,
    Disk = 7,
    Partial = 8,
    Interrupted = 130,
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::NotAuthorised => Self::NotAuthorised,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Network => Self::Network,
            ErrorKind::Integrity => Self::Integrity,
            ErrorKind::Disk => Self::Disk,
            _ => Self::Failure,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) cause: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, cause: impl Display) -> Self {
        Self { exit, cause: cause.to_string(), hint: None }
    }

    pub(crate) fn usage(cause: impl Display) -> Self {
        Self::new(Exit::Usage, cause)
    }

    pub(crate) fn internal(cause: impl Display) -> Self {
        Self::new(Exit::Failure, cause)
    }

    pub(crate) fn interrupted(hint: &str) -> Self {
        Self::new(Exit::Interrupted, "interrupted").hint(hint)
    }

    pub(crate) fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        swarm::Error::from(error).into()
    }
}

impl From<swarm::Error> for Failure {
    fn from(error: swarm::Error) -> Self {
        let exit = match error.kind() {
            _ if error.is_mixed() => Exit::Partial,
            Some(kind) => kind.into(),
            None => Exit::Failure,
        };
        let hint = hint(error.root(), exit);
        Self { hint, ..Self::new(exit, error) }
    }
}

/// The next thing to try.
fn hint(error: &swarm::Error, exit: Exit) -> Option<String> {
    if let swarm::Error::Client(error) = error
        && let Some(page) = error.page()
    {
        return Some(access_hint(error, page));
    }
    usual_hint(error, exit).map(str::to_owned)
}

/// What to do about a repository that is not open to this user.
fn access_hint(error: &client::Error, page: &str) -> String {
    const TOKEN: &str = "set HF_TOKEN to a token of an account that may read it, or put the token into the file that \
                         HF_TOKEN_PATH names";
    match error {
        client::Error::Gated { .. } => {
            format!("ask for access on {page}, then set HF_TOKEN to a token of that account")
        }
        client::Error::Forbidden { .. } => format!("the account of the token has no access: ask for it on {page}"),
        client::Error::RepoNotFound { needs_token: false, .. } => {
            format!("check the name: {page}; if it is private, {TOKEN}")
        }
        _ => format!("see {page}; if it is private, {TOKEN}"),
    }
}

fn usual_hint(error: &swarm::Error, exit: Exit) -> Option<&'static str> {
    if let swarm::Error::Client(client::Error::RevisionNotFound { .. }) = error {
        return Some("--revision takes a branch, a tag, a full commit or refs/pr/N");
    }
    if let swarm::Error::Client(client::Error::RateLimited { .. }) = error {
        return Some("wait, or log in with a token: HF_TOKEN");
    }
    if let swarm::Error::Client(client::Error::Conflict { .. }) = error {
        return Some("look at what changed, and run the same command again: what was uploaded is not sent again");
    }
    if let swarm::Error::Client(client::Error::Pattern { .. }) = error {
        return Some("patterns are like '*.json' or 'onnx/*'");
    }
    if let swarm::Error::Client(client::Error::Refused { .. }) = error {
        return Some("run the same command again; if it is refused again, the server says why");
    }
    if let swarm::Error::Client(client::Error::Certificate { .. }) = error {
        return Some(
            "if the network has an authority of its own (a proxy that looks inside), name its PEM file with \
             REQUESTS_CA_BUNDLE",
        );
    }
    if let swarm::Error::Client(client::Error::Proxy { .. }) = error {
        return Some("HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name it; NO_PROXY names hosts to reach without");
    }
    match exit {
        Exit::NotAuthorised => Some("set HF_TOKEN, or ask for access on the repository's page"),
        Exit::NotFound => match error {
            swarm::Error::NothingSelected { .. } => {
                Some("without --include everything is wanted; patterns are like '*.json'")
            }
            swarm::Error::Client(client::Error::NotFound { .. }) => {
                Some("the repository may have changed; run it again")
            }
            _ => Some("check the name"),
        },
        Exit::Network => Some("run the same command again; finished files are kept"),
        Exit::Integrity => Some("the source sends wrong bytes; nothing of them was kept, try another endpoint"),
        Exit::Disk => match error {
            swarm::Error::NoSpace { .. } => {
                Some("free some space, or choose another disk with HF_HUB_CACHE or --local-dir")
            }
            swarm::Error::ReadOnly { .. } => {
                Some("pull into a cache that can be written with HF_HUB_CACHE, or into a folder with --local-dir")
            }
            _ => Some("check the disk and its permissions; finished files are kept"),
        },
        Exit::Partial => Some("run the same command again; finished files are kept, -v shows why files failed"),
        _ => None,
    }
}
