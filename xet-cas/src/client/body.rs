//! The body of a data answer, read under a stall deadline and held to its announced length.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE};
use tokio::time::Instant;

use super::Error;
use super::config::{PROGRESS_BYTES_MIN, TRICKLE_BYTES_PER_SECOND_MIN};
use super::http::{header_text, transport};
use super::retry::AttemptsMade;
use crate::ByteRange;

/// Bodies longer than this have to keep up the pace that [`Deadlines::stall`](super::Deadlines::stall) asks
/// for; shorter ones are over soon anyway.
const PACED_BYTES_MIN: u64 = 1024 * 1024;
/// How long the end of an answer may lag behind its last byte. Its connection is used again if it comes.
const END_GRACE: Duration = Duration::from_millis(50);

/// Data that is arriving. Ends with an error if it stalls, breaks off, or is longer than expected.
#[derive(Debug)]
pub struct Body {
    what: String,
    response: Response,
    attempts: u32,
    /// Bytes still to come.
    remaining: u64,
    /// There may be fewer.
    may_end: bool,
    stall: Duration,
    /// When the source counts as stalled.
    stalled_at: Instant,
    /// Bytes that count as progress.
    progress: u64,
    /// Bytes still needed before that moment to count as progress.
    progress_missing: u64,
    /// When the reader last had all that had come.
    read_at: Instant,
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
        Ok(Self { may_end: false, ..Self::at_most(what, response, length, stall) })
    }

    /// A body of which only the greatest length is known.
    pub(super) fn at_most(what: String, response: Response, length: u64, stall: Duration) -> Self {
        let progress = progress_bytes(length, stall);
        let now = Instant::now();
        let attempts = response.extensions().get().map_or(1, |AttemptsMade(attempts)| *attempts);
        Self {
            what,
            response,
            attempts,
            remaining: length,
            may_end: true,
            stall,
            stalled_at: later(now, stall),
            progress,
            progress_missing: progress,
            read_at: now,
        }
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
        if self.remaining == 0 {
            return self.end().await;
        }
        let piece = match tokio::time::timeout_at(self.stalled_at, self.response.chunk()).await {
            Ok(piece) => piece.map_err(|error| transport(&self.what, &error))?,
            Err(_) => {
                return Err(Error::Deadline { what: self.what.clone(), waited_for: "more data", deadline: self.stall });
            }
        };
        let Some(piece) = piece else {
            if self.may_end {
                self.remaining = 0;
                return Ok(None);
            }
            let reason = format!("the data broke off {} bytes early", self.remaining);
            return Err(Error::Transport { what: self.what.clone(), reason });
        };
        let length = piece.len() as u64;
        self.remaining = self.remaining.checked_sub(length).ok_or_else(|| self.too_long())?;
        self.progress_missing = self.progress_missing.saturating_sub(length);
        self.read_at = Instant::now();
        if self.progress_missing == 0 {
            self.progress_missing = self.progress;
            self.stalled_at = later(self.read_at, self.stall);
        }
        Ok(Some(piece))
    }

    /// Everything has arrived. Whether the answer ends as it should matters only to the connection, unless
    /// there is more in it.
    async fn end(&mut self) -> Result<Option<Bytes>, Error> {
        match tokio::time::timeout(END_GRACE, self.response.chunk()).await {
            Ok(Ok(Some(piece))) if !piece.is_empty() => Err(self.too_long()),
            _ => Ok(None),
        }
    }

    fn too_long(&self) -> Error {
        Error::Malformed { what: self.what.clone(), reason: "it is longer than what was asked for".into() }
    }

    /// At how many attempts the answer came: more than one mean that the server has much to do, or a bad connection.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Says that the reader itself was busy: the time since the last piece is not the source's fault.
    pub fn excuse_pause(&mut self) {
        let now = Instant::now();
        self.stalled_at = later(self.stalled_at, now.saturating_duration_since(self.read_at));
        self.read_at = now;
    }
}

/// How many bytes count as progress in a body of `length`.
fn progress_bytes(length: u64, stall: Duration) -> u64 {
    if length <= PACED_BYTES_MIN {
        return PROGRESS_BYTES_MIN;
    }
    let paced = stall.as_millis() * u128::from(TRICKLE_BYTES_PER_SECOND_MIN) / 1_000;
    u64::try_from(paced).unwrap_or(u64::MAX).max(PROGRESS_BYTES_MIN)
}

/// A moment that much later, or as much later as can be said.
pub(super) fn later(from: Instant, wait: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    from.checked_add(wait).unwrap_or_else(|| from + YEARS)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use bytes::Bytes;
    use futures::{Stream, StreamExt as _, stream};
    use reqwest::Response;

    use super::{Body, Error, PACED_BYTES_MIN};

    const STALL: Duration = Duration::from_secs(15);

    /// A body of `length` bytes that arrives as these pieces do, and then neither goes on nor ends.
    fn body(length: u64, stall: Duration, pieces: impl Stream<Item = Bytes> + Send + 'static) -> Body {
        let pieces = pieces.map(Ok::<_, Infallible>).chain(stream::pending());
        let response = Response::from(hyper::Response::new(reqwest::Body::wrap_stream(pieces)));
        Body::new("data".into(), response, None, length, stall).unwrap()
    }

    /// So many bytes every second, for ever.
    fn evenly(bytes_per_second: usize) -> impl Stream<Item = Bytes> + Send {
        let piece = Bytes::from(vec![0; bytes_per_second]);
        stream::repeat(piece).then(|piece| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            piece
        })
    }

    async fn read(mut body: Body) -> Result<u64, Error> {
        let mut bytes = 0;
        while let Some(piece) = body.next().await? {
            bytes += piece.len() as u64;
        }
        Ok(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn given_all_bytes_but_no_end_when_read_then_over_without_the_stall_deadline() {
        let begun = tokio::time::Instant::now();

        let bytes = read(body(5, STALL, stream::iter([Bytes::from("hello")]))).await.unwrap();

        assert_eq!(5, bytes);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn given_more_bytes_than_announced_when_read_then_refused() {
        for pieces in [&["hello", "w"][..], &["hellow"], &["hell", "ow"]] {
            let read = read(body(5, STALL, stream::iter(pieces.iter().copied().map(Bytes::from)))).await;
            assert!(matches!(read, Err(Error::Malformed { .. })), "{pieces:?}: {read:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn given_a_pace_when_read_then_a_long_trickle_is_given_up_and_a_slow_link_is_not() {
        const LONG: u64 = PACED_BYTES_MIN + 1;
        for (length, pace, survives) in [
            (LONG, 128, false),
            (LONG, 1_000, false),
            (LONG, 1_300, true),
            // A link of 50 KB/s that eight fetches share.
            (64 << 20, 6_000, true),
            (PACED_BYTES_MIN, 128, true),
            (PACED_BYTES_MIN, 50, false),
        ] {
            // A whole number of seconds' worth, so that it ends evenly.
            let length = length.next_multiple_of(pace);
            let read = read(body(length, STALL, evenly(pace as usize))).await;
            assert_eq!(survives, read.is_ok(), "{length} bytes, {pace} a second: {read:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn given_a_busy_reader_when_it_says_so_then_the_source_is_excused_but_not_for_its_own_pace() {
        let mut busy = body(2 << 20, STALL, evenly(128 * 1024));
        while busy.next().await.unwrap().is_some() {
            tokio::time::sleep(2 * STALL).await;
            busy.excuse_pause();
        }

        let mut trickle = body(2 << 20, STALL, evenly(128));
        let error = loop {
            match trickle.next().await {
                Ok(_) => trickle.excuse_pause(),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Deadline { .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn given_a_stall_deadline_beyond_all_clocks_when_read_then_no_overflow() {
        let mut endless = body(2 << 20, Duration::MAX, evenly(1_000_000));

        endless.next().await.unwrap();
        endless.excuse_pause();

        assert!(endless.next().await.unwrap().is_some());
    }
}
