//! What we refuse.

use xet_cas::xorb;

use crate::{ChunkResponse, Message};

/// What we refuse from a peer. Begin from `default()` and assign.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest message, bytes, without framing. Default 1 MiB less [`Message::FRAME_BYTES`](crate::Message), as `mm`
    /// of the handshake says by default. A list of 8,192 chunks with its proof has 315 KB.
    pub message_bytes_max: usize,
    /// Objects in one question or answer about who has what. Default 1,024, the protocol's.
    pub objects_max: usize,
    /// Runs of chunks for one object. Default 8,190: what its length field can hold.
    pub runs_max: usize,
    /// Entries of a list. Default 8,192: the chunks of a xorb.
    pub leaves_max: usize,
    /// Levels of a proof. Default 32: more than any tree over 2^32 chunks has.
    pub levels_max: usize,
    /// Siblings on each side, per level of a proof. Default 8: a group of the tree has at most 9 nodes.
    pub siblings_max: usize,
    /// Longest chunk record, bytes with header. Default 262,152, the format's.
    pub record_bytes_max: usize,
    /// Data of one response of the ranged dialect that is held until it has proved itself, bytes. What is longer is
    /// passed over, and proves nothing. Default [`ChunkResponse::DATA_BYTES_MAX`](crate::ChunkResponse), the format's: 64
    /// MiB and 385 KiB. Who asks many such peers at once gives each a part of what it can spare.
    pub collected_bytes_max: u64,
    /// Most that one request may ask for, bytes. Default 64 MiB, the protocol's.
    pub range_bytes_max: u64,
    /// Requests of the peer that are open at once; what is beyond is answered with busy. Default 256: a request
    /// costs about 200 bytes, and ours has at most [`requests_max`](crate::Config::requests_max) open.
    pub requests_max: usize,
    /// Bytes that the requests of the peer may ask for at once: `rq` of the handshake. What is beyond is answered
    /// with busy. Default 64 MiB: twice the window that an address with 250 MB/s and 130 ms fills. Costs no memory,
    /// as chunks are read when they can be sent.
    pub requested_bytes_max: u64,
    /// Requests of the peer whose end it has not been sent; more close the connection. Default 1,024: four times
    /// `requests_max`, so that only who does not read comes there.
    pub unread_requests_max: usize,
    /// Objects about which open questions of the peer ask; what is beyond is answered with busy. Default 2,048: two
    /// of the longest questions.
    pub queried_objects_max: usize,
    /// Objects about which one side wants news of the other. Default 1,024: one of the longest questions.
    pub subscriptions_max: usize,
    /// Data for requests that have ended which is passed over, bytes, if it was asked for at all. Default 128 MiB:
    /// two of the largest requests.
    pub late_bytes_max: u64,
    /// Pings that wait for their answer to be sent; of more the oldest are forgotten. Default 16.
    pub pings_max: usize,
    /// Names of features in the handshake. Default 64.
    pub features_max: usize,
    /// Length of one of these names, bytes. Default 64.
    pub feature_bytes_max: usize,
    /// What is kept of the text behind an END, bytes. Default 256: it is for people.
    pub detail_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: MESSAGE_BYTES_MAX,
            objects_max: 1_024,
            runs_max: RUNS_MAX,
            leaves_max: xorb::CHUNKS_MAX,
            levels_max: 32,
            siblings_max: SIBLINGS_MAX,
            record_bytes_max: RECORD_BYTES_MAX,
            collected_bytes_max: ChunkResponse::DATA_BYTES_MAX,
            range_bytes_max: xorb::RAW_BYTES_MAX,
            requests_max: 256,
            requested_bytes_max: xorb::RAW_BYTES_MAX,
            unread_requests_max: 1_024,
            queried_objects_max: 2_048,
            subscriptions_max: 1_024,
            late_bytes_max: 2 * xorb::RAW_BYTES_MAX,
            pings_max: 16,
            features_max: 64,
            feature_bytes_max: 64,
            detail_bytes_max: 256,
        }
    }
}

const MESSAGE_BYTES_MAX: usize = 1024 * 1024 - Message::FRAME_BYTES;
/// Runs that the length field of one object has room for, beside the time of a claim.
pub(crate) const RUNS_MAX: usize = (u16::MAX as usize - 4) / 8;
const SIBLINGS_MAX: usize = 8;
/// Header, and the longest payload that the format's readers accept.
pub(crate) const RECORD_BYTES_MAX: usize = xorb::RecordHeader::BYTES + 2 * xet_cas::CHUNK_BYTES_MAX;

const _: () = assert!(RECORD_BYTES_MAX + 9 <= MESSAGE_BYTES_MAX);
const _: () = assert!(xorb::CHUNKS_MAX * 36 + 32 * (2 + 2 * SIBLINGS_MAX * 40) + 32 <= MESSAGE_BYTES_MAX);
