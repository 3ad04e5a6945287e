//! A file as the Hub gives it: whole, or the range that is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::ByteRange;
use crate::client::retry::Failure;
use crate::client::{Body, Commit, Error, Hub, TreeFile};

/// Reads one range, on as many connections as it takes.
pub(super) struct PlainReader {
    open: Option<Open>,
    /// Attempts in a row that brought nothing.
    attempts: u32,
    wire_bytes: Arc<AtomicU64>,
}

struct Open {
    body: Body,
    /// Bytes that come before the wanted ones.
    skip: u64,
}

impl PlainReader {
    pub(super) fn new(wire_bytes: Arc<AtomicU64>) -> Self {
        Self { open: None, attempts: 0, wire_bytes }
    }

    /// The next bytes of `rest`, which is not empty, from its start on.
    pub(super) async fn next(
        &mut self,
        hub: &Hub,
        commit: &Commit,
        file: &TreeFile,
        rest: ByteRange,
    ) -> Result<Bytes, Error> {
        loop {
            let open = match &mut self.open {
                Some(open) => open,
                None => {
                    let (body, start) = hub.open_file_range(commit, file, rest).await?;
                    self.open.insert(Open { body, skip: rest.start.saturating_sub(start) })
                }
            };
            open.body.excuse_pause();
            let error = match open.body.next().await {
                Ok(Some(mut piece)) => {
                    self.wire_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    let before = usize::try_from(open.skip).unwrap_or(usize::MAX).min(piece.len());
                    open.skip -= before as u64;
                    let mut piece = piece.split_off(before);
                    piece.truncate(usize::try_from(rest.length()).unwrap_or(usize::MAX));
                    if piece.is_empty() {
                        continue;
                    }
                    self.attempts = 0;
                    return Ok(piece);
                }
                Ok(None) => {
                    let (what, reason) = (file.path.clone(), "the data ended early".to_owned());
                    Error::Transport { what, reason }
                }
                Err(error) => error,
            };
            self.open = None;
            let mut attempts = hub.http.attempts(&file.path);
            attempts.made = self.attempts;
            attempts.wait_after(Failure::from(error)).await?;
            self.attempts = attempts.made;
        }
    }
}
