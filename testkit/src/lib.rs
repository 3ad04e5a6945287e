#![doc = include_str!("../README.md")]

pub mod model;

mod dice;
pub use dice::Dice;

mod faulty_origin;
pub use faulty_origin::{Fault, FaultyOrigin, Rewrite, Rule};

mod faulty_peer;
pub use faulty_peer::{Answer, Asked, FaultyPeer, PeerClient, PeerFault, Status};

mod legacy;
pub use legacy::{LegacyAnswer, LegacyAsked, LegacyClient, LegacyDialect, LegacyFault, LegacyPeer};

mod proxy;
pub use proxy::Proxy;

mod sink;
pub use sink::Sink;

mod slow_names;
pub use slow_names::SlowNames;

mod tls_front;
pub use tls_front::TlsFront;

mod request_log;
pub use request_log::SeenRequest;

mod front;
