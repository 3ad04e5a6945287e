//! The answer to a shard: lines of JSON, the last of which says how it ended.

use serde::Deserialize;

/// Longest line, bytes: the deployed client's limit.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Lines at most, empty ones too. A server repeats itself every twenty seconds or so: two days.
const LINES_MAX: usize = 10_000;

/// Reads the answer as it arrives.
#[derive(Debug, Default)]
pub(super) struct Frames {
    line: Vec<u8>,
    lines: usize,
}

/// What the server found wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ShardRefusal {
    pub(super) message: String,
    /// Whether the same shard may be taken later.
    pub(super) is_retryable: bool,
}

/// Only what is acted upon; a server may say more.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Frame {
    Result,
    Error {
        #[serde(default)]
        message: String,
        #[serde(default)]
        retryable: bool,
    },
    #[serde(other)]
    StillAtIt,
}

impl Frames {
    /// Takes the next piece of the answer. Returns how it ended, once that was said.
    ///
    /// # Errors
    /// A line that is none or too long, or an answer that is over without having said how it ended.
    pub(super) fn feed(&mut self, mut piece: &[u8], is_over: bool) -> Result<Option<Result<(), ShardRefusal>>, String> {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            self.extend(&piece[..end])?;
            piece = &piece[end + 1..];
            if let Some(end) = self.take_line()? {
                return Ok(Some(end));
            }
        }
        self.extend(piece)?;
        if !is_over {
            return Ok(None);
        }
        match self.take_line()? {
            Some(end) => Ok(Some(end)),
            None => Err("it ended before it said whether the shard was taken".into()),
        }
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.line.len() + bytes.len() > LINE_BYTES_MAX {
            return Err(format!("a line of it is longer than {LINE_BYTES_MAX} bytes"));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take_line(&mut self) -> Result<Option<Result<(), ShardRefusal>>, String> {
        let line = std::mem::take(&mut self.line);
        self.lines += 1;
        if self.lines > LINES_MAX {
            return Err(format!("it has more than {LINES_MAX} lines"));
        }
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        match serde_json::from_slice(&line).map_err(|error| format!("a line of it: {error}"))? {
            Frame::Result => Ok(Some(Ok(()))),
            Frame::Error { message, retryable } => Ok(Some(Err(ShardRefusal { message, is_retryable: retryable }))),
            Frame::StillAtIt => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Frames, LINE_BYTES_MAX, ShardRefusal};

    const ANSWER: &str = "{\"type\":\"validating\",\"verified\":0,\"total\":2}\n\n{\"type\":\"new kind\",\"a\":1}\r\n\
                          {\"type\":\"committing\",\"stage\":\"syncing\"}\n{\"type\":\"result\",\"more\":[]}";

    fn read(pieces: &[&[u8]]) -> Result<Option<Result<(), ShardRefusal>>, String> {
        let mut frames = Frames::default();
        for piece in pieces {
            if let Some(end) = frames.feed(piece, false)? {
                return Ok(Some(end));
            }
        }
        frames.feed(&[], true)
    }

    #[test]
    fn given_any_split_when_read_then_the_end_is_found_also_without_a_last_line_feed() {
        for at in 0..ANSWER.len() {
            let (a, b) = ANSWER.as_bytes().split_at(at);
            assert_eq!(Ok(Some(Ok(()))), read(&[a, b]), "split at {at}");
        }
        let bytes: Vec<&[u8]> = ANSWER.as_bytes().chunks(1).collect();
        assert_eq!(Ok(Some(Ok(()))), read(&bytes));
    }

    #[test]
    fn given_a_refusal_when_read_then_not_retryable_unless_it_says_so() {
        let refusal = |line: &str| read(&[line.as_bytes()]).unwrap().unwrap().unwrap_err();

        let lasting = refusal("{\"type\":\"error\",\"message\":\"no\"}\n");
        let passing = refusal("{\"type\":\"error\",\"message\":\"busy\",\"retryable\":true}\n");

        assert_eq!(ShardRefusal { message: "no".into(), is_retryable: false }, lasting);
        assert_eq!(ShardRefusal { message: "busy".into(), is_retryable: true }, passing);
    }

    #[test]
    fn given_an_answer_that_breaks_off_or_is_no_json_when_read_then_refused() {
        assert!(read(&[b"{\"type\":\"validating\",\"verified\":0,\"total\":2}\n"]).is_err());
        assert!(read(&[]).is_err());
        assert!(read(&[b"<html>\n"]).is_err());
        assert!(read(&[b"{\"type\":\"result\"\n"]).is_err());
    }

    #[test]
    fn given_a_line_without_end_when_read_then_refused_within_the_limit() {
        let mut frames = Frames::default();
        let piece = vec![b' '; 64 * 1024];

        let fed = (0..=LINE_BYTES_MAX / piece.len()).map(|_| frames.feed(&piece, false)).find(Result::is_err);

        assert!(fed.is_some() && frames.line.capacity() <= 2 * LINE_BYTES_MAX);
    }
}
