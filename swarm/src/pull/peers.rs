//! The peers of a pull: their sessions, and what came of them.

use tokio::task::JoinSet;

use crate::event::PeerLost;
use crate::peer::{Leech, PeerError, leech};
use crate::work::PeerSeat;

/// Sessions with peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    sessions: JoinSet<(String, PeerError)>,
    lost: Vec<PeerLost>,
}

impl Peers {
    pub(super) fn start(&mut self, name: &str, context: Leech) {
        let name = name.to_owned();
        let seat = PeerSeat::new(&context.board);
        self.sessions.spawn(async move {
            let end = match leech(&name, context, seat).await {
                Ok(()) => PeerError::Closed,
                Err(error) => error,
            };
            (name, end)
        });
    }

    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The next session that ends; `None` if there is none.
    pub(super) async fn next_end(&mut self) -> Option<PeerLost> {
        let (peer, error) = self.sessions.join_next().await?.ok()?;
        let lost = PeerLost { peer, reason: error.to_string(), is_banned: error.is_peer_fault() };
        self.lost.push(lost.clone());
        Some(lost)
    }

    /// Peers that were proved to be at fault, and of what.
    pub(super) fn banned(&self) -> Vec<String> {
        self.lost.iter().filter(|lost| lost.is_banned).map(PeerLost::text).collect()
    }

    /// Why no peer brought anything, if none did.
    pub(super) fn why_none(&self, peer_bytes: u64, were_not_asked: bool) -> Option<String> {
        if peer_bytes > 0 {
            return None;
        }
        if were_not_asked {
            return Some("nothing that was missing is public, so no peer was asked".to_owned());
        }
        if self.lost.is_empty() && self.sessions.is_empty() {
            return Some("no peer was named".to_owned());
        }
        if self.lost.is_empty() {
            return Some("the Hub was faster than the peers, or they have nothing of this".to_owned());
        }
        Some(self.lost.iter().map(PeerLost::text).collect::<Vec<_>>().join("; "))
    }
}
