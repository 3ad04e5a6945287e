#![doc = include_str!("../README.md")]

mod object;
pub use object::{Object, ObjectKind};

mod dialect;
pub use dialect::Dialect;

mod message;
pub use message::{
    Chunk, ChunkError, ChunkNotFound, ChunkRequest, ChunkResponse, End, Have, HaveEntry, HaveQuery, HaveState,
    Manifest, ManifestForm, ManifestQuery, ManifestRequest, Message, Proof, ProofLevel, Range, RangeRequest, Runs,
    Schemes, Sibling, Status, Unit,
};

mod decoder;
pub use decoder::Decoder;

mod handshake;
pub use handshake::{NodeId, XetHandshake};

mod exchange;
pub use exchange::{Deadline, Deadlines, Event, Exchange, PeerRequestId, ProvenChunk, RequestId, StopReason};

mod config;
pub use config::{Config, RETRY_MAX, RETRY_MIN};

mod limits;
pub use limits::Limits;

mod error;
pub use error::Error;

mod wire;
