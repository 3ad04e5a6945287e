use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use bt_wire::{
    Capability, CloseReason, Connection, ConnectionConfig, Counters, EXTENSION_HANDSHAKE_ID, Event, ExtensionHandshake,
    ExtensionIds, Extensions, Handshake, HandshakeStart, InfoHash, Lane, Message, MetadataMessage, PeerExchange,
    PeerId, PeerState, PexMeter, Pieces, UT_METADATA, UT_PEX, allowed_fast_set,
};
use bytes::Bytes;
use serde_json::json;
use sha1::{Digest as _, Sha1};
use tokio::net::TcpStream;

use crate::{Failure, report};

/// A connection on which messages are checked and those of extensions decoded.
pub(crate) struct Session {
    connection: Connection<TcpStream>,
    pub(crate) state: PeerState,
    extensions: Extensions,
    pex: PexMeter,
    info_hash: InfoHash,
    allowed_fast: BTreeSet<u32>,
}

/// Who has opened a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Caller {
    Us,
    Peer,
}

/// What a peer says.
pub(crate) enum Received {
    Message(Message),
    Handshake(ExtensionHandshake),
    Metadata(MetadataMessage),
    Peers(PeerExchange),
    /// A lane that was full takes messages again.
    Room,
}

impl Session {
    /// Shakes hands and sends the extension handshake, to which it adds the extensions that are understood here.
    pub(crate) async fn begin(
        stream: TcpStream,
        peer: SocketAddr,
        caller: Caller,
        info_hash: InfoHash,
        mut says: ExtensionHandshake,
    ) -> Result<Self, CloseReason> {
        stream.set_nodelay(true).map_err(CloseReason::Io)?;
        let local = stream.local_addr().map_err(CloseReason::Io)?;
        let mut ours = Handshake::new(info_hash, peer_id(local));
        ours.reserved = ours.reserved.with(Capability::Fast);
        let config = ConnectionConfig::default();
        let limits = config.limits;
        let (connection, theirs) = match caller {
            Caller::Us => Connection::connect(stream, ours, config).await?,
            Caller::Peer => {
                let answer = |start: &HandshakeStart| (start.info_hash == info_hash).then_some(ours);
                Connection::accept(stream, config, answer).await?
            }
        };
        let capabilities: Vec<_> = theirs.reserved.capabilities().map(|known| format!("{known:?}")).collect();
        let client = theirs.peer_id.client().map(|client| client.to_string());
        report(json!({"event": "connected", "peer": peer, "client": client, "reserved": capabilities}));

        // Not the numbers that programs use, so that ours and theirs cannot be mixed up unseen.
        says.m = ExtensionIds::new([(UT_METADATA, 77), (UT_PEX, 78)]);
        says.v = Some("zest-testkit".to_owned());
        let mut session = Self {
            connection,
            state: PeerState::new(ours.reserved.common(theirs.reserved), limits),
            extensions: Extensions::new(says.m.clone()),
            pex: PexMeter::new(),
            info_hash,
            allowed_fast: BTreeSet::new(),
        };
        let payload = says.encode()?;
        session.control(Message::Extended { id: EXTENSION_HANDSHAKE_ID, payload });
        Ok(session)
    }

    pub(crate) fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// Waits for what the peer says next.
    pub(crate) async fn next(&mut self) -> Result<Received, CloseReason> {
        loop {
            let message = match self.connection.next().await? {
                Event::Message(message) => message,
                // Frames as large as that are not among those that the limits allow.
                Event::Large { .. } | Event::Part { .. } => continue,
                _ => return Ok(Received::Room),
            };
            self.state.handle_message(&message, now()).map_err(bt_wire::Error::from)?;
            match message {
                Message::Extended { id, payload } => {
                    if let Some(received) = self.extended(id, payload)? {
                        return Ok(received);
                    }
                }
                Message::AllowedFast { piece } => {
                    self.allowed_fast.insert(piece);
                }
                message => return Ok(Received::Message(message)),
            }
        }
    }

    fn extended(&mut self, id: u8, payload: Bytes) -> Result<Option<Received>, CloseReason> {
        let limits = self.connection.limits();
        if id == EXTENSION_HANDSHAKE_ID {
            let theirs = ExtensionHandshake::decode(&payload, limits)?;
            let names: Vec<_> = theirs.m.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
            report(json!({
                "event": "extensions", "v": theirs.v, "m": names, "metadata_size": theirs.metadata_size,
                "reqq": theirs.reqq, "yourip": theirs.yourip, "p": theirs.p,
            }));
            self.extensions.handle_handshake(&theirs);
            return Ok(Some(Received::Handshake(theirs)));
        }
        let name = self.extensions.incoming(id).and_then(|name| str::from_utf8(name).ok());
        Ok(match name {
            Some(UT_METADATA) => Some(Received::Metadata(MetadataMessage::decode(payload, limits)?)),
            Some(UT_PEX) => {
                let peers = PeerExchange::decode(&payload, limits)?;
                self.pex.handle_message(&peers, now()).map_err(bt_wire::Error::from)?;
                Some(Received::Peers(peers))
            }
            _ => None,
        })
    }

    /// The pieces are known: from here on they are what messages are held against.
    pub(crate) fn learn_pieces(&mut self, pieces: Pieces) -> Result<(), CloseReason> {
        self.connection.limits_mut().pieces = Some(pieces);
        self.state.learn_pieces(pieces).map_err(bt_wire::Error::from)?;
        Ok(())
    }

    /// Reports the pieces that were allowed while choked, and whether they are those that we would have allowed.
    pub(crate) fn report_allowed_fast(&self, piece_count: u32) -> Result<(), CloseReason> {
        let address = self.connection.stream().local_addr().map_err(CloseReason::Io)?.ip();
        let wanted = u32::try_from(self.allowed_fast.len()).unwrap_or(u32::MAX);
        let set: BTreeSet<_> = allowed_fast_set(wanted, piece_count, &self.info_hash, address).into_iter().collect();
        report(json!({"event": "allowed_fast", "pieces": self.allowed_fast, "as_computed": set == self.allowed_fast}));
        Ok(())
    }

    /// Sends a small message. There are few of them: a peer that lets a whole lane of them pile up is given up by
    /// the connection.
    pub(crate) fn control(&mut self, message: Message) {
        self.state.handle_sent(&message);
        if let Err(error) = self.connection.send(Lane::Control, message) {
            report(json!({"event": "unsent", "reason": error.to_string()}));
        }
    }

    /// Sends a message with a payload. `false` if it has to wait for room.
    pub(crate) fn bulk(&mut self, message: Message) -> bool {
        let sent = self.connection.send(Lane::Bulk, message.clone());
        if sent.is_ok() {
            self.state.handle_sent(&message);
        }
        sent.is_ok()
    }

    /// Puts a message of an extension into its frame. `None` if the peer does not take it.
    pub(crate) fn frame(&self, name: &str, payload: Bytes) -> Option<Message> {
        Some(Message::Extended { id: self.extensions.outgoing(name)?.get(), payload })
    }

    pub(crate) async fn close(self) -> Result<Counters, Failure> {
        Ok(self.connection.close().await?)
    }
}

/// Unlike that of any other of these peers: no two have the same address.
fn peer_id(local: SocketAddr) -> PeerId {
    let digest = Sha1::digest(local.to_string());
    let (random, _) = digest.split_first_chunk().expect("a digest has 20 bytes");
    PeerId::new(PeerId::ZEST_PREFIX, *random)
}

#[expect(clippy::disallowed_methods, reason = "a program has a clock")]
fn now() -> Instant {
    Instant::now()
}
