//! The body of a data answer, read under a stall deadline and held to its announced length.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE};
use tokio::time::Instant;

use super::Error;
use super::config::PROGRESS_BYTES_MIN;
use super::http::{header_text, transport};
use crate::ByteRange;

/// Data that is arriving. Ends with an error if it stalls, breaks off, or is longer than expected.
#[derive(Debug)]
pub struct Body {
    what: String,
    response: Response,
    /// Bytes still to come.
    remaining: u64,
    stall: Duration,
    /// When the source counts as stalled.
    stalled_at: Instant,
    /// Bytes still needed before that moment to count as progress.
    progress_missing: u64,
}

impl Body {
    /// `range`: the bytes that were asked for, as they lie in the resource; `None` for all of it, of which
    /// there are `length`.
    pub(super) fn new(
        what: String,
        response: Response,
        range: Option<ByteRange>,
        length: u64,
        stall: Duration,
    ) -> Result<Self, Error> {
        let malformed = |reason: String| Error::Malformed { what: what.clone(), reason };
        let announced = header_text(response.headers(), CONTENT_LENGTH.as_str());
        if !announced.is_empty() && announced.parse() != Ok(length) {
            return Err(malformed(format!("{length} bytes were asked for, {announced} announced")));
        }
        if let (206, Some(range)) = (response.status().as_u16(), range) {
            let stated = header_text(response.headers(), CONTENT_RANGE.as_str());
            let expected = format!("bytes {}-{}/", range.start, range.end.saturating_sub(1));
            if !stated.is_empty() && !stated.starts_with(&expected) {
                return Err(malformed(format!("`{expected}…` was asked for, the answer holds `{stated}`")));
            }
        }
        Ok(Self {
            what,
            response,
            remaining: length,
            stall,
            stalled_at: Instant::now() + stall,
            progress_missing: PROGRESS_BYTES_MIN,
        })
    }

    /// The next piece, as the connection delivered it; `None` once everything has arrived.
    ///
    /// # Errors
    /// [`Error::Deadline`] when the source stalls, [`Error::Transport`] when it breaks off early,
    /// [`Error::Malformed`] when it sends more than was asked for.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let piece = match tokio::time::timeout_at(self.stalled_at, self.response.chunk()).await {
            Ok(piece) => piece.map_err(|error| transport(&self.what, &error))?,
            Err(_) => {
                return Err(Error::Deadline { what: self.what.clone(), waited_for: "more data", deadline: self.stall });
            }
        };
        let Some(piece) = piece else {
            if self.remaining > 0 {
                let reason = format!("the data broke off {} bytes early", self.remaining);
                return Err(Error::Transport { what: self.what.clone(), reason });
            }
            return Ok(None);
        };
        let length = piece.len() as u64;
        self.remaining = self.remaining.checked_sub(length).ok_or_else(|| Error::Malformed {
            what: self.what.clone(),
            reason: "it is longer than what was asked for".into(),
        })?;
        self.progress_missing = self.progress_missing.saturating_sub(length);
        if self.progress_missing == 0 {
            self.progress_missing = PROGRESS_BYTES_MIN;
            self.stalled_at = Instant::now() + self.stall;
        }
        Ok(Some(piece))
    }

    /// Says that the reader itself was busy: the time since the last piece is not the source's fault.
    pub fn excuse_pause(&mut self) {
        self.stalled_at = Instant::now() + self.stall;
    }
}
