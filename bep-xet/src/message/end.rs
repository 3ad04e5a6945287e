//! The end of a request: END.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use nom::Parser;
use nom::number::complete::{be_u32, be_u64, u8 as byte};

use crate::Limits;
use crate::wire::Parsed;

/// Ends a request. Every request is ended exactly once, also one that was cancelled.
///
/// # Wire shape
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | id |
/// | 4 | 1 | status |
/// | 5 | 8 | next |
/// | 13 | 4 | milliseconds to wait |
/// | 17 | rest | text for people, if there is any |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The request.
    pub id: u32,
    /// How it ended.
    pub status: Status,
    /// First chunk or byte of the range that was not sent.
    pub next: u64,
    /// How long to wait before the next request, milliseconds. Means something after [`Status::Busy`].
    pub retry_ms: u32,
    /// More about it, for people; of an incoming one only the first bytes are kept.
    pub detail: Bytes,
}

impl End {
    /// An end of this status; `next` is 0, and there is nothing to wait for.
    pub fn new(id: u32, status: Status) -> Self {
        Self { id, status, next: 0, retry_ms: 0, detail: Bytes::new() }
    }

    /// Says where the rest of the range begins.
    pub fn with_next(self, next: u64) -> Self {
        Self { next, ..self }
    }

    /// Says how long to wait.
    pub fn with_retry(self, retry: Duration) -> Self {
        Self { retry_ms: u32::try_from(retry.as_millis()).unwrap_or(u32::MAX), ..self }
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.id);
        out.put_u8(self.status.to_byte());
        out.put_u64(self.next);
        out.put_u32(self.retry_ms);
        out.put_slice(&self.detail);
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        4 + 1 + 8 + 4 + self.detail.len()
    }
}

/// `<id><status><next><retry_ms>` and maybe more. The detail is copied, as it must not keep a whole buffer alive.
pub(super) fn end<'a>(body: &'a [u8], limits: &Limits) -> Parsed<'a, End> {
    let (rest, (id, status, next, retry_ms)) = (be_u32, byte, be_u64, be_u32).parse(body)?;
    let detail = Bytes::copy_from_slice(&rest[..rest.len().min(limits.detail_bytes_max)]);
    Ok((&[], End { id, status: Status::from_byte(status), next, retry_ms, detail }))
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// 0: all was sent.
    Done,
    /// 1: it is not there, or not for this peer.
    NotFound,
    /// 2: not at the moment.
    Busy,
    /// 3: not for this peer.
    Refused,
    /// 4: something went wrong, or the request makes no sense.
    Error,
    /// 5: it was cancelled.
    Cancelled,
    /// 6: the request is not known.
    Unsupported,
    /// 7: it asks for more than may be asked for.
    TooLarge,
    /// A status that is not known: the raw byte, never one of those above.
    Unknown(u8),
}

impl Status {
    fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Done,
            1 => Self::NotFound,
            2 => Self::Busy,
            3 => Self::Refused,
            4 => Self::Error,
            5 => Self::Cancelled,
            6 => Self::Unsupported,
            7 => Self::TooLarge,
            byte => Self::Unknown(byte),
        }
    }

    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotFound => 1,
            Self::Busy => 2,
            Self::Refused => 3,
            Self::Error => 4,
            Self::Cancelled => 5,
            Self::Unsupported => 6,
            Self::TooLarge => 7,
            Self::Unknown(byte) => byte,
        }
    }
}
