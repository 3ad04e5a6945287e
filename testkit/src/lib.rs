#![doc = include_str!("../README.md")]

pub mod model;

mod faulty_origin;
pub use faulty_origin::{Fault, FaultyOrigin, Rewrite, Rule};

mod faulty_peer;
pub use faulty_peer::{Answer, Asked, FaultyPeer, PeerClient, PeerFault, Status};

mod legacy;
pub use legacy::{LegacyAnswer, LegacyAsked, LegacyClient, LegacyDialect, LegacyFault, LegacyPeer};

mod sink;
pub use sink::Sink;

mod request_log;
pub use request_log::SeenRequest;

mod front;
