//! Reading a file, or a range of its bytes, as a stream: from the CAS, or as the Hub gives it.

mod chunks;
mod fetch;
mod plain;
mod plan;
mod proof;
mod urls;

use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};

use self::chunks::ChunkReader;
use self::plain::PlainReader;
use self::proof::Proof;
use super::{Commit, Content, Error, Hub, TreeFile};
use crate::{ByteRange, Leaf};

/// How a file is read. Start from `default()` and assign.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Memory for what was fetched and is not read yet, uncompressed bytes. Default 256 MiB: four whole xorbs. One
    /// entry, of 64 MiB at most, is fetched in any case.
    pub ahead_bytes_max: u64,
    /// Whether the plain file is fetched from the Hub where the CAS cannot be used (see
    /// [`Error::is_cas_unusable`]). Default: yes.
    pub plain_fallback: bool,
    /// Is told how far it is. Default: nobody.
    pub on_event: Option<ReadObserver>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { ahead_bytes_max: 256 * 1024 * 1024, plain_fallback: true, on_event: None }
    }
}

/// Who is told how a read goes on. It must return at once; the read waits for it.
#[derive(Clone)]
pub struct ReadObserver(Arc<dyn Fn(&ReadEvent) + Send + Sync>);

impl ReadObserver {
    /// Tells this function.
    pub fn new(tell: impl Fn(&ReadEvent) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl fmt::Debug for ReadObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReadObserver")
    }
}

/// Something that happened in a read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadEvent {
    /// The next bytes are about to be handed on.
    Progress {
        /// Bytes handed on, these included.
        bytes: u64,
        /// Bytes that will be.
        total_bytes: u64,
        /// Bytes of data that were received, compressed and with what was fetched twice.
        wire_bytes: u64,
    },
    /// The CAS cannot be used; the plain file is fetched from the Hub.
    PlainFallback {
        /// Why it cannot.
        reason: String,
    },
}

impl Hub {
    /// Reads a range of a file's bytes: those of it that the file has. Nothing is asked for before the stream is polled.
    ///
    /// Of a file in the CAS only the chunks that hold the range are fetched, each entry of a xorb once as long as what
    /// is needed of it again fits into [`ReadOptions::ahead_bytes_max`], some entries ahead, on tasks that end with the
    /// reader. Of other files the range is asked for; a Hub that gives no ranges sends all that is before it too.
    ///
    /// What of a file in the CAS is not a whole chunk cannot be checked against anything, so a part of a file is as good
    /// as the connections it came over: lengths are checked, hashes are not. **The whole of a file is verified** against
    /// the name that the listing gives its content; since its bytes were handed on by then, whoever reads it must not
    /// act on them before the stream has ended without an error.
    ///
    /// # Errors
    /// The stream ends with the first error: [`Error::Format`] if the whole file is not what it should be, or what any
    /// request can meet, after the retries that the policy allows.
    ///
    /// # Cancel safety
    /// Nothing is lost if a future of the stream is dropped. Dropping the reader gives up what is under way.
    ///
    /// # Panics
    /// The stream must be polled within a tokio runtime.
    pub fn read(
        &self,
        commit: &Commit,
        file: &TreeFile,
        range: impl RangeBounds<u64>,
        options: &ReadOptions,
    ) -> FileReader {
        let range = within(range, file.size);
        let pieces = self.pieces(commit, file, range, options);
        FileReader { range, pieces: pieces.map_ok(|(bytes, _)| bytes).boxed() }
    }

    /// Reads a whole file as [`read`](Self::read) does. Where the data comes in chunks, each piece is one, and its hash
    /// comes along.
    #[cfg(feature = "server")]
    pub(crate) fn read_chunks(&self, commit: &Commit, file: &TreeFile, options: &ReadOptions) -> Pieces {
        self.pieces(commit, file, ByteRange { start: 0, end: file.size }, options)
    }

    fn pieces(&self, commit: &Commit, file: &TreeFile, range: ByteRange, options: &ReadOptions) -> Pieces {
        let job = Job {
            hub: self.clone(),
            commit: commit.clone(),
            file: file.clone(),
            range,
            at: range.start,
            source: Source::Unknown,
            proof: None,
            wire_bytes: Arc::default(),
            options: options.clone(),
        };
        let next = |mut job: Job| async move { Ok(job.next().await?.map(|piece| (piece, job))) };
        stream::try_unfold(job, next).boxed()
    }
}

/// Bytes of a file, as they come, and the hash of those that are a chunk.
pub(crate) type Pieces = BoxStream<'static, Result<(Bytes, Option<Leaf>), Error>>;

/// Bytes of a file, as they come; see [`Hub::read`].
pub struct FileReader {
    range: ByteRange,
    pieces: BoxStream<'static, Result<Bytes, Error>>,
}

impl FileReader {
    /// Which bytes of the file come.
    pub fn range(&self) -> ByteRange {
        self.range
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader").field("range", &self.range).finish_non_exhaustive()
    }
}

impl Stream for FileReader {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pieces.poll_next_unpin(cx)
    }
}

/// What of the range a file of so many bytes has.
fn within(range: impl RangeBounds<u64>, bytes: u64) -> ByteRange {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => bytes,
    };
    let end = end.min(bytes);
    ByteRange { start: start.min(end), end }
}

/// One read, as far as it is.
struct Job {
    hub: Hub,
    commit: Commit,
    file: TreeFile,
    range: ByteRange,
    /// Where in the file the next byte is.
    at: u64,
    source: Source,
    /// For a whole file.
    proof: Option<Proof>,
    wire_bytes: Arc<AtomicU64>,
    options: ReadOptions,
}

enum Source {
    /// Nothing was asked for yet.
    Unknown,
    Chunks(Box<ChunkReader>),
    Plain(Box<PlainReader>),
}

impl Job {
    async fn next(&mut self) -> Result<Option<(Bytes, Option<Leaf>)>, Error> {
        if matches!(self.source, Source::Unknown) {
            self.open().await?;
        }
        if self.at == self.range.end {
            return match self.proof.take() {
                Some(proof) => proof.finish(&self.file).map(|()| None),
                None => Ok(None),
            };
        }
        let (piece, leaf) = match &mut self.source {
            Source::Chunks(chunks) => {
                let (piece, leaf) = chunks.next().await?;
                if let (Some(proof), Some(leaf)) = (&mut self.proof, leaf) {
                    proof.push_chunk(&leaf);
                }
                (piece, leaf)
            }
            Source::Plain(plain) => {
                let piece = plain.next(&self.hub, &self.commit, &self.file, ByteRange { start: self.at, ..self.range });
                let piece = piece.await?;
                if let Some(proof) = &mut self.proof {
                    proof.push_bytes(&piece);
                }
                (piece, None)
            }
            Source::Unknown => return Ok(None),
        };
        self.at += piece.len() as u64;
        self.tell(|job| ReadEvent::Progress {
            bytes: job.at - job.range.start,
            total_bytes: job.range.length(),
            wire_bytes: job.wire_bytes.load(Ordering::Relaxed),
        });
        Ok(Some((piece, leaf)))
    }

    async fn open(&mut self) -> Result<(), Error> {
        let is_whole = self.range.length() == self.file.size;
        let Content::Xet { hash, .. } = self.file.content else {
            self.open_plain(is_whole);
            return Ok(());
        };
        let mut chunks = ChunkReader::empty();
        // An empty file is in no xorb, and the CAS need not know it.
        if self.range.length() > 0 {
            let cas = self.hub.cas(&self.commit)?;
            chunks = match ChunkReader::plan(cas, hash, self.range, is_whole, &self.options, self.wire_bytes.clone())
                .await
            {
                Ok(chunks) => chunks,
                Err(error) if self.options.plain_fallback && error.is_cas_unusable() => {
                    tracing::info!(%error, "the CAS cannot be used: the plain file is fetched");
                    self.tell(|_| ReadEvent::PlainFallback { reason: error.to_string() });
                    self.open_plain(is_whole);
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
        }
        self.proof = is_whole.then(Proof::of_chunks);
        self.source = Source::Chunks(Box::new(chunks));
        Ok(())
    }

    fn open_plain(&mut self, is_whole: bool) {
        self.proof = is_whole.then(|| Proof::of_bytes(&self.file));
        self.source = Source::Plain(Box::new(PlainReader::new(self.wire_bytes.clone())));
    }

    fn tell(&self, event: impl FnOnce(&Self) -> ReadEvent) {
        if let Some(ReadObserver(tell)) = &self.options.on_event {
            tell(&event(self));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::within;

    #[test]
    fn given_any_range_when_bounded_then_what_the_file_has_of_it() {
        let bounded = |range: (Bound<u64>, Bound<u64>)| {
            let range = within(range, 10);
            (range.start, range.end)
        };
        use Bound::{Excluded, Included, Unbounded};
        assert_eq!((0, 10), bounded((Unbounded, Unbounded)));
        assert_eq!((3, 8), bounded((Excluded(2), Included(7))));
        assert_eq!((9, 10), bounded((Included(9), Included(u64::MAX))));
        assert_eq!((10, 10), bounded((Excluded(u64::MAX), Unbounded)));
        assert_eq!((5, 5), bounded((Included(7), Excluded(5))));
    }
}
