//! The data of one or several ranges of a xorb, in order, whatever form the answer has.

use bytes::{Buf as _, Bytes};
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;

use super::http::{Http, header_text};
use super::{Body, Error};
use crate::ByteRange;
use crate::multipart::{ByteRanges, Piece};

/// Ranges that are arriving, one behind the other. Ends with an error if anything is missing, or is more or something
/// else than was asked for.
#[derive(Debug)]
pub struct RangesBody {
    what: String,
    body: Body,
    /// For an answer in several parts.
    parts: Option<ByteRanges>,
    /// What has arrived and was not taken apart yet.
    rest: Bytes,
}

impl RangesBody {
    /// One range.
    pub(super) fn single(what: String, body: Body) -> Self {
        Self { what, body, parts: None, rest: Bytes::new() }
    }

    /// Several, as an answer in parts, or as one that is their data and nothing else.
    pub(super) fn new(what: String, response: Response, ranges: Vec<ByteRange>, http: &Http) -> Result<Self, Error> {
        let content_type = header_text(response.headers(), CONTENT_TYPE.as_str());
        let (data_bytes, bytes_max) =
            (ranges.iter().map(ByteRange::length).sum::<u64>(), ByteRanges::bytes_max(&ranges));
        let parts = ByteRanges::new(&content_type, ranges).map_err(|error| malformed(&what, &error))?;
        let stall = http.deadlines.stall;
        let body = match &parts {
            Some(_) => Body::at_most(what.clone(), response, bytes_max, stall),
            None => Body::new(what.clone(), response, None, data_bytes, stall)?,
        };
        Ok(Self { what, body, parts, rest: Bytes::new() })
    }

    /// The next piece of data; `None` once everything has arrived.
    ///
    /// # Errors
    /// What [`Body::next`] says, and [`Error::Malformed`] for parts that are not those that were asked for.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(parts) = &mut self.parts else { return self.body.next().await };
        loop {
            while !self.rest.is_empty() {
                match parts.next(&self.rest).map_err(|error| malformed(&self.what, &error))? {
                    Piece::Framing(bytes) => self.rest.advance(bytes),
                    Piece::Data { bytes, .. } => return Ok(Some(self.rest.split_to(bytes))),
                }
            }
            match self.body.next().await? {
                Some(piece) => self.rest = piece,
                None => return parts.finish().map(|()| None).map_err(|error| malformed(&self.what, &error)),
            }
        }
    }

    /// As [`Body::excuse_pause`].
    pub fn excuse_pause(&mut self) {
        self.body.excuse_pause();
    }
}

fn malformed(what: &str, error: &crate::Error) -> Error {
    Error::Malformed { what: what.to_owned(), reason: error.to_string() }
}
