//! What travels: the messages of all dialects, each the payload of one BEP 10 message.

mod end;
mod have;
mod legacy;
mod manifest;
mod range;

use bytes::{BufMut, Bytes, BytesMut};
use nom::Parser;
use nom::combinator::map;
use nom::number::complete::{be_u32, be_u64};

pub use end::{End, Status};
pub use have::{Have, HaveEntry, HaveQuery, HaveState, Runs};
pub use legacy::{ChunkError, ChunkNotFound, ChunkRequest, ChunkResponse};
pub use manifest::{Manifest, ManifestForm, ManifestQuery, ManifestRequest, Proof, ProofLevel, Sibling};
pub(crate) use range::chunks_window_bytes;
pub use range::{Chunk, Range, RangeRequest, Schemes, Unit};

use crate::wire::Parsed;
use crate::{Dialect, Error, Limits};

/// Numbers of the messages.
mod kind {
    pub(super) const CHUNK_REQUEST: u8 = 0x01;
    pub(super) const CHUNK_RESPONSE: u8 = 0x02;
    pub(super) const CHUNK_NOT_FOUND: u8 = 0x03;
    pub(super) const CHUNK_ERROR: u8 = 0x04;
    pub(super) const HAVE_QUERY: u8 = 0x10;
    pub(super) const HAVE: u8 = 0x11;
    pub(super) const MANIFEST_REQUEST: u8 = 0x12;
    pub(super) const MANIFEST: u8 = 0x13;
    pub(super) const RANGE_REQUEST: u8 = 0x14;
    pub(super) const CHUNK: u8 = 0x15;
    pub(super) const END: u8 = 0x16;
    pub(super) const CANCEL: u8 = 0x17;
    pub(super) const PING: u8 = 0x18;
    pub(super) const PONG: u8 = 0x19;
    /// From here on the message is a request that has to be answered, whatever it is.
    pub(super) const REQUESTS: u8 = 0x80;
}

/// A message.
///
/// # Wire shape
/// The first byte says which it is, the rest is its body. Integers are big-endian, hashes raw, ends of ranges
/// exclusive. Bytes behind the body are passed over. Those from 0x10 on are of version 2, those below of the legacy
/// dialects.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// 0x01, legacy: send a chunk, or chunks of a xorb.
    ChunkRequest(ChunkRequest),
    /// 0x02, legacy: here it is, or the front of it.
    ChunkResponse(ChunkResponse),
    /// More of the data of the response before it: not a payload of its own, but the next bytes of that of the
    /// response. Between a response and the end of its data nothing else is sent.
    ChunkData(Bytes),
    /// 0x03, legacy: there is none.
    ChunkNotFound(ChunkNotFound),
    /// 0x04, legacy: something went wrong.
    ChunkError(ChunkError),
    /// 0x10: who has what?
    HaveQuery(HaveQuery),
    /// 0x11: I have this.
    Have(Have),
    /// 0x12: send a list of chunk hashes.
    ManifestRequest(ManifestRequest),
    /// 0x13: a list of chunk hashes.
    Manifest(Manifest),
    /// 0x14: send chunks.
    RangeRequest(RangeRequest),
    /// 0x15: a chunk.
    Chunk(Chunk),
    /// 0x16: nothing more comes for this request.
    End(End),
    /// 0x17: send nothing more for this request but its END.
    Cancel {
        /// The request.
        id: u32,
    },
    /// 0x18: are you there?
    Ping {
        /// Comes back in the answer.
        nonce: u64,
    },
    /// 0x19: I am.
    Pong {
        /// That of the ping.
        nonce: u64,
    },
    /// 0x80 to 0xff: a request that is not known. It is answered with an END that says so.
    UnknownRequest {
        /// First byte.
        kind: u8,
        /// The request.
        id: u32,
        /// What follows the id.
        body: Bytes,
    },
    /// Any other message that is not known in the dialect, or a request that is not known and has no id. It is passed
    /// over.
    Unknown {
        /// First byte.
        kind: u8,
        /// The rest.
        body: Bytes,
    },
}

impl Message {
    /// What BEP 3 and BEP 10 put before a message inside of a frame, bytes: message id and extension id. The
    /// handshake's `mm` counts them.
    pub const FRAME_BYTES: usize = 2;

    /// Reads the whole payload of a BEP 10 message of version 2. Chunk records and bodies that are not known stay slices of it.
    ///
    /// # Errors
    /// What is cut short, beyond `limits`, or makes no sense. All of them are the peer's fault.
    pub fn decode(payload: Bytes, limits: &Limits) -> Result<Self, Error> {
        let (bytes, max) = (payload.len(), limits.message_bytes_max);
        if bytes > max {
            return Err(Error::MessageTooLarge { bytes, max });
        }
        let Some((&kind, body)) = payload.split_first() else {
            return Err(Error::Truncated { message: "a message", bytes });
        };
        let (message, parsed) = match kind {
            kind::HAVE_QUERY => ("HAVE_QUERY", have::have_query(body, limits).map(keep(Self::HaveQuery))),
            kind::HAVE => ("HAVE", have::have(body, &payload, limits).map(keep(Self::Have))),
            kind::MANIFEST_REQUEST => ("MANIFEST_REQUEST", map(manifest::request, Self::ManifestRequest).parse(body)),
            kind::MANIFEST => ("MANIFEST", manifest::manifest(body, limits).map(keep(Self::Manifest))),
            kind::RANGE_REQUEST => ("RANGE_REQUEST", map(range::request, Self::RangeRequest).parse(body)),
            kind::CHUNK => ("CHUNK", range::chunk(body, &payload, limits).map(keep(Self::Chunk))),
            kind::END => ("END", end::end(body, limits).map(keep(Self::End))),
            kind::CANCEL => ("CANCEL", map(be_u32, |id| Self::Cancel { id }).parse(body)),
            kind::PING => ("PING", map(be_u64, |nonce| Self::Ping { nonce }).parse(body)),
            kind::PONG => ("PONG", map(be_u64, |nonce| Self::Pong { nonce }).parse(body)),
            kind::REQUESTS.. if body.len() >= 4 => ("a request", unknown_request(kind, body, &payload)),
            kind => ("a message", Ok((body, Self::Unknown { kind, body: payload.slice_ref(body) }))),
        };
        finish(message, parsed, body.len())
    }

    /// Reads the whole payload of a BEP 10 message in a dialect. Data and bodies that are not known stay slices of it.
    ///
    /// # Errors
    /// As [`decode`](Self::decode). A kind that the dialect does not have is none: see [`Unknown`](Self::Unknown).
    pub fn decode_in(dialect: Dialect, payload: Bytes, limits: &Limits) -> Result<Self, Error> {
        if dialect == Dialect::V2 {
            Self::decode(payload, limits)
        } else {
            Self::decode_legacy(dialect, payload, 0, limits)
        }
    }

    /// Reads a payload of which `missing_bytes` are yet to come, and not wanted but for the data of a response.
    pub(crate) fn decode_legacy(
        dialect: Dialect,
        payload: Bytes,
        missing_bytes: u64,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let (bytes, max) = (payload.len(), limits.message_bytes_max);
        let Some((&kind, body)) = payload.split_first() else {
            return Err(Error::Truncated { message: "a message", bytes });
        };
        // The data of a response has a limit of its own.
        if bytes > max && kind != kind::CHUNK_RESPONSE {
            return Err(Error::MessageTooLarge { bytes, max });
        }
        let (message, parsed) = match kind {
            kind::CHUNK_REQUEST => ("CHUNK_REQUEST", legacy::request(body, dialect).map(keep(Self::ChunkRequest))),
            kind::CHUNK_RESPONSE => {
                let response = legacy::response(body, &payload, missing_bytes, dialect);
                ("CHUNK_RESPONSE", response.map(keep(Self::ChunkResponse)))
            }
            kind::CHUNK_NOT_FOUND => ("CHUNK_NOT_FOUND", map(legacy::not_found, Self::ChunkNotFound).parse(body)),
            kind::CHUNK_ERROR => ("CHUNK_ERROR", legacy::error(body, limits).map(keep(Self::ChunkError))),
            kind => return Ok(Self::Unknown { kind, body: payload.slice_ref(body) }),
        };
        finish(message, parsed, body.len())
    }

    /// Whether a payload that begins with this byte is a response, whose data may come in parts.
    pub(crate) fn is_response(kind: u8) -> bool {
        kind == kind::CHUNK_RESPONSE
    }

    /// Appends the payload of a BEP 10 message, or for [`ChunkData`](Self::ChunkData) more of the one before.
    ///
    /// # Panics
    /// If a list is longer than its count can say. What [`Exchange`](crate::Exchange) sends never is.
    pub fn encode(&self, out: &mut BytesMut) {
        out.reserve(self.encoded_bytes());
        out.extend(self.kind());
        match self {
            Self::ChunkRequest(message) => message.put(out),
            Self::ChunkResponse(message) => message.put(out),
            Self::ChunkData(data) => out.put_slice(data),
            Self::ChunkNotFound(message) => message.put(out),
            Self::ChunkError(message) => message.put(out),
            Self::HaveQuery(message) => message.put(out),
            Self::Have(message) => message.put(out),
            Self::ManifestRequest(message) => message.put(out),
            Self::Manifest(message) => message.put(out),
            Self::RangeRequest(message) => message.put(out),
            Self::Chunk(message) => message.put(out),
            Self::End(message) => message.put(out),
            Self::Cancel { id } => out.put_u32(*id),
            Self::Ping { nonce } | Self::Pong { nonce } => out.put_u64(*nonce),
            Self::UnknownRequest { id, body, .. } => {
                out.put_u32(*id);
                out.put_slice(body);
            }
            Self::Unknown { body, .. } => out.put_slice(body),
        }
    }

    /// As [`encode`](Self::encode), but for the record of a chunk, which is returned and is to follow: so it need not be
    /// copied.
    ///
    /// # Panics
    /// As `encode`.
    pub fn encode_head(&self, out: &mut BytesMut) -> Bytes {
        let Self::Chunk(Chunk { id, index, record }) = self else {
            self.encode(out);
            return Bytes::new();
        };
        out.extend(self.kind());
        out.put_u32(*id);
        out.put_u32(*index);
        record.clone()
    }

    /// What [`encode`](Self::encode) appends, bytes.
    pub fn encoded_bytes(&self) -> usize {
        let body = match self {
            Self::ChunkRequest(message) => message.encoded_bytes(),
            Self::ChunkResponse(message) => message.encoded_bytes(),
            Self::ChunkData(data) => return data.len(),
            Self::ChunkNotFound(message) => message.encoded_bytes(),
            Self::ChunkError(message) => message.encoded_bytes(),
            Self::HaveQuery(message) => message.encoded_bytes(),
            Self::Have(message) => message.encoded_bytes(),
            Self::ManifestRequest(_) => ManifestRequest::BYTES,
            Self::Manifest(message) => message.encoded_bytes(),
            Self::RangeRequest(_) => RangeRequest::BYTES,
            Self::Chunk(message) => message.encoded_bytes(),
            Self::End(message) => message.encoded_bytes(),
            Self::Cancel { .. } => 4,
            Self::Ping { .. } | Self::Pong { .. } => 8,
            Self::UnknownRequest { body, .. } => 4 + body.len(),
            Self::Unknown { body, .. } => body.len(),
        };
        1 + body
    }

    /// Length of the payload that begins with this message, bytes: what the head of its frame has to say, less
    /// [`FRAME_BYTES`](Self::FRAME_BYTES). That of a response counts data that follows it. `None` for
    /// [`ChunkData`](Self::ChunkData), which goes on in the frame before it.
    pub fn payload_bytes(&self) -> Option<u64> {
        match self {
            Self::ChunkData(_) => None,
            Self::ChunkResponse(message) => Some(self.encoded_bytes() as u64 + message.missing_bytes()),
            _ => Some(self.encoded_bytes() as u64),
        }
    }

    /// Whether the message goes before data that waits to be sent. Lists, chunks and ENDs do not: an END must not
    /// overtake what it ends. The answers of legacy dialects without data may, as a request has one answer.
    pub fn is_control(&self) -> bool {
        let is_data = matches!(self, Self::Manifest(_) | Self::Chunk(_) | Self::End(_));
        !is_data && !matches!(self, Self::ChunkResponse(_) | Self::ChunkData(_))
    }

    /// First byte of the payload that begins with this message.
    fn kind(&self) -> Option<u8> {
        Some(match self {
            Self::ChunkRequest(_) => kind::CHUNK_REQUEST,
            Self::ChunkResponse(_) => kind::CHUNK_RESPONSE,
            Self::ChunkData(_) => return None,
            Self::ChunkNotFound(_) => kind::CHUNK_NOT_FOUND,
            Self::ChunkError(_) => kind::CHUNK_ERROR,
            Self::HaveQuery(_) => kind::HAVE_QUERY,
            Self::Have(_) => kind::HAVE,
            Self::ManifestRequest(_) => kind::MANIFEST_REQUEST,
            Self::Manifest(_) => kind::MANIFEST,
            Self::RangeRequest(_) => kind::RANGE_REQUEST,
            Self::Chunk(_) => kind::CHUNK,
            Self::End(_) => kind::END,
            Self::Cancel { .. } => kind::CANCEL,
            Self::Ping { .. } => kind::PING,
            Self::Pong { .. } => kind::PONG,
            Self::UnknownRequest { kind, .. } | Self::Unknown { kind, .. } => *kind,
        })
    }
}

/// Tells of what a parser read, or why it gave up.
fn finish(message: &'static str, parsed: Parsed<'_, Message>, bytes: usize) -> Result<Message, Error> {
    match parsed {
        Ok((_, decoded)) => Ok(decoded),
        Err(nom::Err::Error(fault) | nom::Err::Failure(fault)) => Err(fault.into_error(message, bytes)),
        Err(nom::Err::Incomplete(_)) => Err(Error::Truncated { message, bytes }),
    }
}

/// Makes the message of what a parser read.
fn keep<'a, T>(message: fn(T) -> Message) -> impl FnOnce((&'a [u8], T)) -> (&'a [u8], Message) {
    move |(rest, read)| (rest, message(read))
}

/// `<id u32><anything>`
fn unknown_request<'a>(kind: u8, body: &'a [u8], payload: &Bytes) -> Parsed<'a, Message> {
    let (rest, id) = be_u32(body)?;
    Ok((rest, Message::UnknownRequest { kind, id, body: payload.slice_ref(rest) }))
}
