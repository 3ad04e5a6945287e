use std::io;
use std::time::Duration;

use crate::Error;

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed it, between two messages.
    #[error("the peer closed the connection")]
    ByPeer,
    /// The peer sent what cannot be read, or the stream ended inside of something.
    #[error(transparent)]
    Wire(#[from] Error),
    /// The peer that was called is in another swarm.
    #[error("the peer is in another swarm")]
    OtherSwarm,
    /// The peer that called wants a swarm that is not served, or is not welcome.
    #[error("the peer was turned away")]
    TurnedAway,
    /// The peer has our own peer id: it is us.
    #[error("the connection leads to ourselves")]
    Ourselves,
    /// The handshakes took too long.
    #[error("no handshake within {after:?}")]
    HandshakeLate {
        /// What was allowed.
        after: Duration,
    },
    /// The peer was silent for too long.
    #[error("nothing came for {after:?}")]
    Idle {
        /// What was allowed.
        after: Duration,
    },
    /// The peer took nothing for too long though something waited for it.
    #[error("the peer took nothing for {after:?}, {unsent} bytes wait")]
    Stalled {
        /// What was allowed.
        after: Duration,
        /// Bytes that waited.
        unsent: usize,
    },
    /// A graceful close took too long.
    #[error("not closed within {after:?}, {unsent} bytes were not sent")]
    CloseLate {
        /// What was allowed.
        after: Duration,
        /// Bytes that waited.
        unsent: usize,
    },
    /// The stream failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// It was over before: the reason was told already.
    #[error("the connection is closed")]
    Closed,
}

impl CloseReason {
    /// Whether the peer broke the protocol, as opposed to being slow, gone, or none of ours.
    pub fn is_peer_fault(&self) -> bool {
        match self {
            Self::Wire(error) => error.is_peer_fault(),
            Self::ByPeer
            | Self::OtherSwarm
            | Self::TurnedAway
            | Self::Ourselves
            | Self::HandshakeLate { .. }
            | Self::Idle { .. }
            | Self::Stalled { .. }
            | Self::CloseLate { .. }
            | Self::Io(_)
            | Self::Closed => false,
        }
    }
}
