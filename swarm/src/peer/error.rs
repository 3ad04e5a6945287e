//! How a peer session ends.

use std::time::Duration;

/// Why a peer session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("cannot resolve {name}: {reason}")]
    Resolve { name: String, reason: String },
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("the connection broke: {0}")]
    Io(std::io::Error),
    #[error("it closed the connection")]
    Closed,
    #[error("{what} took longer than {:.1} s", deadline.as_secs_f64())]
    Deadline { what: &'static str, deadline: Duration },
    #[error("{0}")]
    Wire(bt_wire::Error),
    #[error("{0}")]
    Xet(bep_xet::Error),
    #[error("it does not speak ut_xet")]
    NoXet,
    #[error("it is of another swarm")]
    OtherSwarm,
    #[error("{0}")]
    Lied(String),
    #[error("too many of its answers were late")]
    TooSlow,
    #[error("here: {0}")]
    Ours(crate::Error),
}

impl PeerError {
    /// Whether the peer is proved to be at fault, so that it is not asked again.
    pub(crate) fn is_peer_fault(&self) -> bool {
        match self {
            Self::Lied(_) => true,
            Self::Wire(error) => error.is_peer_fault(),
            Self::Xet(error) => error.is_peer_fault(),
            _ => false,
        }
    }
}

impl From<bt_wire::Error> for PeerError {
    fn from(error: bt_wire::Error) -> Self {
        match error {
            bt_wire::Error::Io(error) => Self::Io(error),
            other => Self::Wire(other),
        }
    }
}

impl From<bep_xet::Error> for PeerError {
    fn from(error: bep_xet::Error) -> Self {
        Self::Xet(error)
    }
}
