//! What an exchange tells its owner.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use xet_cas::xorb::RecordHeader;
use xet_cas::{ChunkHash, ChunkRange, Leaf, XorbHash};

use crate::config::clamped;
use crate::{Error, HaveEntry, Manifest, ManifestQuery, Object, Range, Status};

/// One of our requests. Every one is told of with exactly one [`Event::Ended`], unless the connection ends first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(super) u32);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One of the peer's requests. Stays apart from a later one for which the peer uses the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerRequestId {
    /// Number on the wire.
    pub(super) id: u32,
    /// Requests that the peer made before this one.
    pub(super) serial: u64,
}

impl fmt::Display for PeerRequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// What the peer has. States that are not known are among it.
    Have {
        /// The question, or `None` for news about objects that we subscribed to.
        id: Option<RequestId>,
        /// What there is.
        entries: Vec<HaveEntry>,
    },
    /// A list. It comes before the chunks of the same request, and has the form that was asked for.
    Manifest {
        /// The request.
        id: RequestId,
        /// The list, not checked against anything.
        manifest: Manifest,
    },
    /// A chunk: after the one before, inside of what was asked for, in a scheme that was accepted.
    Chunk {
        /// The request.
        id: RequestId,
        /// Index of the chunk in the object.
        index: u32,
        /// Header of the record.
        header: RecordHeader,
        /// Header and payload. The payload is not checked against anything.
        record: Bytes,
    },
    /// Chunks that came in a legacy dialect and are what they should be. With a list they come one by one, without one
    /// all at once and before the end; other chunks than those that were asked for may be among them.
    Proven {
        /// The request.
        id: RequestId,
        /// In order.
        chunks: Vec<ProvenChunk>,
        /// Whether they are all chunks of the object, which proved themselves. Else the list proved them.
        is_whole: bool,
    },
    /// Data came in a legacy dialect that proves nothing without a list, and was dropped. Nobody is to blame: honest
    /// peers may send a part of a xorb. [`Ended`](Self::Ended) follows.
    Unproven {
        /// The request.
        id: RequestId,
    },
    /// The request has ended; the id is forgotten.
    Ended {
        /// The request.
        id: RequestId,
        /// How.
        status: Status,
        /// First chunk or byte of the range that was not sent, says the peer.
        next: u64,
        /// How long the peer wants to be left alone, within [`RETRY_MAX`](crate::RETRY_MAX).
        retry: Duration,
        /// What the peer says about it, for people.
        detail: Bytes,
    },
    /// The request took too long and was cancelled. Give the work to another peer; nothing but
    /// [`Ended`](Self::Ended) comes for it.
    RequestTimedOut {
        /// The request.
        id: RequestId,
        /// Which of its deadlines passed.
        deadline: Deadline,
    },
    /// The peer that was busy may be asked again.
    Resumed,

    /// The peer asks what we have. Answer with [`send_have`](crate::Exchange::send_have), as often as it takes, and
    /// [`end`](crate::Exchange::end).
    HaveAsked {
        /// The request.
        id: PeerRequestId,
        /// Of what.
        objects: Vec<Object>,
        /// Whether to tell of changes with [`send_news`](crate::Exchange::send_news).
        subscribe: bool,
    },
    /// The peer asks for a list. Answer with [`send_manifest`](crate::Exchange::send_manifest) and
    /// [`end`](crate::Exchange::end).
    ManifestAsked {
        /// The request.
        id: PeerRequestId,
        /// Which list.
        query: ManifestQuery,
    },
    /// The peer asks for chunks. Answer with [`send_manifest`](crate::Exchange::send_manifest) if the range says
    /// so, [`send_chunk`](crate::Exchange::send_chunk) whenever data is wanted, and [`end`](crate::Exchange::end).
    RangeAsked {
        /// The request.
        id: PeerRequestId,
        /// Which chunks. Not empty, and of bounded size; its end may lie behind the end of the object.
        range: Range,
    },
    /// A peer of the ranged dialect asks for chunks of a xorb. Answer with the whole of it, serialized, from chunk 0:
    /// its side checks nothing less. [`begin_response`](crate::Exchange::begin_response) and
    /// [`send_data`](crate::Exchange::send_data) whenever data is wanted, or [`end`](crate::Exchange::end) with
    /// [`Status::NotFound`].
    XorbAsked {
        /// The request.
        id: PeerRequestId,
        /// The xorb.
        xorb: XorbHash,
        /// What it needs of it, says the peer: any two numbers.
        chunks: ChunkRange,
    },
    /// A peer of the base dialect asks for a chunk. Answer as to [`XorbAsked`](Self::XorbAsked), with the chunk as it
    /// is, uncompressed and without header.
    ChunkAsked {
        /// The request.
        id: PeerRequestId,
        /// The chunk.
        chunk: ChunkHash,
    },
    /// A request of the peer has ended without us: stop working on it.
    Stopped {
        /// The request.
        id: PeerRequestId,
        /// Why.
        reason: StopReason,
    },

    /// The peer answered a ping.
    Pong {
        /// How long that took.
        round_trip: Duration,
    },
    /// The connection is of no use any more: close it. Nothing else comes.
    Failed {
        /// Why.
        error: Error,
    },
}

/// A chunk whose hash was checked against a name that we asked for, or against a list that the caller trusts. Only an
/// [`Exchange`](crate::Exchange) makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenChunk {
    index: u32,
    leaf: Leaf,
    record: Bytes,
}

impl ProvenChunk {
    pub(super) fn new(index: u32, leaf: Leaf, record: Bytes) -> Self {
        Self { index, leaf, record }
    }

    /// Index in the xorb; 0 for a chunk that was asked for by its own name.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Hash and length of the uncompressed bytes.
    pub fn leaf(&self) -> Leaf {
        self.leaf
    }

    /// Header and payload, as they stand in a xorb.
    pub fn record(&self) -> &Bytes {
        &self.record
    }
}

/// A deadline of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// Nothing came for too long.
    Progress,
    /// It took too long in all.
    Total,
}

/// How long a request may take. More than a day is taken for a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From one answer to the next, and to the first.
    pub progress: Duration,
    /// In all.
    pub total: Duration,
}

impl Deadlines {
    pub(super) fn clamped(self) -> Self {
        Self { progress: clamped(self.progress), total: clamped(self.total) }
    }
}

/// Why a request of the peer has ended without us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// The peer cancelled it.
    Cancelled,
    /// Nothing was sent for it for [`answer_within`](crate::Config::answer_within).
    Expired,
}
