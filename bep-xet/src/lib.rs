#![doc = include_str!("../README.md")]

mod object;
pub use object::{Object, ObjectKind};

mod message;
pub use message::{
    Chunk, End, Have, HaveEntry, HaveQuery, HaveState, Manifest, ManifestForm, ManifestQuery, ManifestRequest, Message,
    Proof, ProofLevel, Range, RangeRequest, Runs, Schemes, Sibling, Status, Unit,
};

mod handshake;
pub use handshake::{NodeId, XetHandshake};

mod exchange;
pub use exchange::{Deadline, Deadlines, Event, Exchange, PeerRequestId, RequestId, StopReason};

mod config;
pub use config::{Config, RETRY_MAX, RETRY_MIN};

mod limits;
pub use limits::Limits;

mod error;
pub use error::Error;

mod wire;
