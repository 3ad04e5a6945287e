//! Peers of the legacy dialects of `ut_xet`, byte by byte: nothing of the program under test is in their messages.

mod client;
mod peer;
mod wire;

pub use client::{LegacyAnswer, LegacyClient};
pub use peer::{LegacyAsked, LegacyFault, LegacyPeer};
pub use wire::LegacyDialect;
