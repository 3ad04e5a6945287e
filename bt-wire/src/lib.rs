#![cfg_attr(feature = "codec", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "codec"),
    doc = "BitTorrent's peer protocol. What is here depends on the features: see the README."
)]

mod id;
pub use id::{IdTextError, InfoHash, PeerId};

#[cfg(feature = "wire")]
mod handshake;
#[cfg(feature = "wire")]
pub use handshake::{Capability, Handshake, Reserved};

#[cfg(feature = "wire")]
mod message;
#[cfg(feature = "wire")]
pub use message::{Block, Head, Message};

#[cfg(feature = "wire")]
mod extension;
#[cfg(feature = "wire")]
pub use extension::{EXTENSION_HANDSHAKE_ID, ExtensionHandshake, ExtensionIds, Extensions};

#[cfg(feature = "codec")]
mod codec;
#[cfg(feature = "codec")]
pub use codec::{HandshakeCodec, PeerCodec};

#[cfg(feature = "wire")]
mod limits;
#[cfg(feature = "wire")]
pub use limits::Limits;

#[cfg(feature = "wire")]
mod error;
#[cfg(feature = "wire")]
pub use error::Error;
