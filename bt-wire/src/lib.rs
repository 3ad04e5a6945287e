#![cfg_attr(feature = "net", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "net"),
    doc = "BitTorrent's peer protocol. What is here depends on the features: see the README."
)]

mod id;
pub use id::{IdTextError, InfoHash, PeerId};

mod client;
pub use client::Client;

#[cfg(feature = "wire")]
mod reserved;
#[cfg(feature = "wire")]
pub use reserved::{Capability, Reserved};

#[cfg(feature = "wire")]
mod handshake;
#[cfg(feature = "wire")]
pub use handshake::{Handshake, HandshakeDecoder, HandshakeStage, HandshakeStart};

#[cfg(feature = "wire")]
mod kind;
#[cfg(feature = "wire")]
mod message;
#[cfg(feature = "wire")]
pub use message::{Block, HashRange, Message};

#[cfg(feature = "wire")]
mod head;
#[cfg(feature = "wire")]
pub use head::Head;

#[cfg(feature = "wire")]
mod allowed_fast;
#[cfg(feature = "wire")]
pub use allowed_fast::allowed_fast_set;

#[cfg(feature = "wire")]
mod extension;
#[cfg(feature = "wire")]
pub use extension::{EXTENSION_HANDSHAKE_ID, ExtensionHandshake, ExtensionIds, Extensions};

#[cfg(feature = "wire")]
mod metadata;
#[cfg(feature = "wire")]
pub use metadata::{METADATA_PIECE_BYTES, MetadataCollector, MetadataMessage, UT_METADATA};

#[cfg(feature = "wire")]
mod peer_exchange;
#[cfg(feature = "wire")]
pub use peer_exchange::{PEX_INTERVAL, PEX_PEERS_MAX, PeerExchange, PexFlags, PexMeter, PexPeer, UT_PEX};

#[cfg(feature = "wire")]
mod dont_have;
#[cfg(feature = "wire")]
pub use dont_have::{DontHave, LT_DONTHAVE};

#[cfg(feature = "wire")]
mod meter;
#[cfg(feature = "wire")]
mod peer_state;
#[cfg(feature = "wire")]
mod piece_set;
#[cfg(feature = "wire")]
mod requests;
#[cfg(feature = "wire")]
pub use peer_state::{PeerState, REQUESTS_MAX};
#[cfg(feature = "wire")]
mod violation;
#[cfg(feature = "wire")]
pub use violation::Violation;

#[cfg(feature = "wire")]
mod pieces;
#[cfg(feature = "wire")]
pub use pieces::Pieces;

#[cfg(feature = "codec")]
mod codec;
#[cfg(feature = "codec")]
pub use codec::{HandshakeCodec, PeerCodec};

#[cfg(feature = "net")]
mod buffer_pool;
#[cfg(feature = "net")]
pub use buffer_pool::{BUFFER_BYTES, BufferPool, WhenDry};

#[cfg(feature = "net")]
mod connection;
#[cfg(feature = "net")]
pub use connection::{CloseReason, Connection, ConnectionConfig, Counters, Event, Lane, LaneFull, SendError};

#[cfg(feature = "net")]
mod tcp;
#[cfg(feature = "net")]
pub use tcp::{NOTSENT_LOWAT_BYTES, limit_unsent};

#[cfg(feature = "wire")]
mod limits;
#[cfg(feature = "wire")]
pub use limits::Limits;

#[cfg(feature = "wire")]
mod error;
#[cfg(feature = "wire")]
pub use error::Error;
