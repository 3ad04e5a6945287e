use std::net::SocketAddr;

use bt_wire::{Message, PeerExchange, PexFlags, PexPeer, UT_PEX};
use serde_json::json;

use crate::session::{Received, Session};
use crate::{Failure, report};

/// Has nothing and wants nothing, but to hear and tell of peers.
pub(crate) async fn exchange(mut session: Session, mut tell: Option<SocketAddr>) -> Result<(), Failure> {
    session.control(Message::HaveNone);
    loop {
        match session.next().await? {
            Received::Handshake(_) => {
                if let Some(address) = tell.take() {
                    let added = vec![PexPeer { address, flags: PexFlags::REACHABLE }];
                    let message = PeerExchange { added, dropped: vec![] }.encode();
                    match session.frame(UT_PEX, message) {
                        Some(message) => {
                            session.control(message);
                            report(json!({"event": "told", "peer": address}));
                        }
                        // It may say later that it does.
                        None => tell = Some(address),
                    }
                }
            }
            Received::Peers(peers) => {
                let added: Vec<_> = peers.added.iter().map(|peer| peer.address).collect();
                report(json!({"event": "learned", "added": added, "dropped": peers.dropped}));
            }
            _ => {}
        }
    }
}
