//! A file as its plain bytes, put together from chunks.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::buffers::{Buffer, Buffers, ROOM_BYTES};
use super::store::{Blob, Store, StoreError};
use crate::reconstruction::describe::{Window, file_bytes, trim_term};
use crate::xorb::{Footer, Records};
use crate::{ByteRange, CHUNK_BYTES_MAX, ChunkHash, ChunkRange, Decompressor, Error, Term};

/// A piece is complete when it has so many bytes at most: another chunk has room behind fewer.
const PIECE_BYTES_MAX: usize = ROOM_BYTES - CHUNK_BYTES_MAX;

/// Reads a range of a file, piece by piece. Blocks. Every chunk is checked against its hash.
pub(super) struct PlainReader {
    terms: std::vec::IntoIter<Term>,
    /// Bytes before the range in what comes next.
    skip: u64,
    /// Bytes of the range that are still to come.
    left: u64,
    run: Option<Run>,
    buffers: Buffers,
}

/// Chunks of one term that are still to come.
struct Run {
    xorb: Blob,
    footer: Arc<Footer>,
    chunks: ChunkRange,
    /// Records of these that have been read already, because reading little is not worth while.
    ahead: Option<(Buffer, Range<usize>)>,
}

impl PlainReader {
    /// All of a file.
    pub(super) fn whole(terms: Vec<Term>) -> Self {
        Self { left: file_bytes(&terms), terms: terms.into_iter(), skip: 0, run: None, buffers: Buffers::default() }
    }

    /// A range of a file, which must begin inside it.
    pub(super) fn range(terms: &[Term], range: ByteRange) -> Option<Self> {
        let window = Window::of(terms, Some(range))?;
        let ByteRange { start, .. } = window.bytes();
        Some(Self { left: window.bytes().length(), skip: start, ..Self::whole(window.terms().to_vec()) })
    }

    /// Takes its memory from among these, not only from what it has had before.
    pub(super) fn with_buffers(self, buffers: Buffers) -> Self {
        Self { buffers, ..self }
    }

    /// The next bytes: whole chunks until there are `piece_bytes` of them, or all the rest; `None` at the end.
    pub(super) fn next(&mut self, store: &Store, piece_bytes: usize) -> Result<Option<Bytes>, StoreError> {
        if self.left == 0 {
            return Ok(None);
        }
        let piece_bytes = piece_bytes.clamp(1, PIECE_BYTES_MAX);
        let buffers = self.buffers.clone();
        let (mut piece, mut filled) = (buffers.take(), 0);
        let mut decompressor = Decompressor::new();
        while filled < piece_bytes
            && (filled as u64) < self.skip.saturating_add(self.left)
            && let Some(run) = self.next_run(store)?
        {
            filled += run.decode(&mut piece.room()[filled..], piece_bytes - filled, &buffers, &mut decompressor)?;
        }
        // Only the first chunk of a range has bytes that are not wanted before those that are.
        let start = (self.skip as usize).min(filled);
        let end = filled.min(start.saturating_add(usize::try_from(self.left).unwrap_or(usize::MAX)));
        self.skip = 0;
        self.left -= (end - start) as u64;
        Ok((start < end).then(|| piece.filled(end).slice(start..)))
    }

    /// The next run that has chunks left; `None` at the end.
    fn next_run(&mut self, store: &Store) -> Result<Option<&mut Run>, StoreError> {
        while self.run.as_ref().is_none_or(|run| run.chunks.count() == 0) {
            let Some(term) = self.terms.next() else { return Ok(None) };
            self.run = Some(self.open(store, &term)?);
        }
        Ok(self.run.as_mut())
    }

    /// Goes to the first chunk of a term that is wanted. Neighbouring terms often share their xorb.
    fn open(&mut self, store: &Store, term: &Term) -> Result<Run, StoreError> {
        let (xorb, footer) = match self.run.take().filter(|run| run.footer.hash() == term.xorb) {
            Some(run) => (run.xorb, run.footer),
            None => (store.open_xorb(term.xorb)?, store.footer(term.xorb)?),
        };
        let wanted = ByteRange { start: self.skip, end: u64::MAX };
        let (term, skip) = trim_term(term, wanted, footer.leaves())?;
        self.skip = skip;
        Ok(Run { xorb, footer, chunks: term.chunks, ahead: None })
    }
}

impl Run {
    /// Puts chunks into `room`, which has so many bytes more than are wanted that the last may go past these. Gives how
    /// many bytes they are.
    fn decode(
        &mut self,
        mut room: &mut [u8],
        wanted: usize,
        buffers: &Buffers,
        decompressor: &mut Decompressor,
    ) -> Result<usize, StoreError> {
        let (chunks, bytes) = self.next_chunks(wanted)?;
        let (stored, at) = self.read(bytes, buffers)?;
        let end = at.start + bytes.length() as usize;
        let mut records = Records::new(&stored.content()[at.start..end]);
        let mut filled = 0;
        for leaf in &self.footer.leaves()[chunks.start as usize..chunks.end as usize] {
            let record = records.next().unwrap_or_else(|| Err(Error::truncated("records", 1, 0))).map_err(damaged)?;
            let (chunk, rest) = room.split_at_mut_checked(leaf.length as usize).ok_or_else(|| damaged("no room"))?;
            decompressor.decompress_into(record.header.scheme, record.payload, chunk).map_err(damaged)?;
            if leaf.hash != ChunkHash::of(chunk) {
                return Err(damaged("a chunk has other bytes than its hash says"));
            }
            filled += chunk.len();
            room = rest;
        }
        self.chunks.start = chunks.end;
        self.ahead = (end < at.end).then_some((stored, end..at.end));
        Ok(filled)
    }

    /// The chunks that hold the wanted bytes, or fewer if their records have no room in a buffer; and where these are.
    fn next_chunks(&self, wanted: usize) -> Result<(ChunkRange, ByteRange), StoreError> {
        let ChunkRange { start, end } = self.chunks;
        let mut raw_bytes = 0;
        let mut found = None;
        for (chunk, leaf) in (start..end).zip(&self.footer.leaves()[start as usize..]) {
            let chunks = ChunkRange { start, end: chunk + 1 };
            let bytes = self.footer.byte_range(chunks).filter(|bytes| bytes.length() <= ROOM_BYTES as u64);
            let Some(bytes) = bytes.filter(|_| raw_bytes < wanted) else { break };
            found = Some((chunks, bytes));
            raw_bytes += leaf.length as usize;
        }
        found.ok_or_else(|| damaged("a term names chunks that its xorb does not have"))
    }

    /// Reads these records, and what follows if little is not worth reading. Gives where they are in the buffer, and
    /// where what follows ends.
    fn read(&mut self, bytes: ByteRange, buffers: &Buffers) -> Result<(Buffer, Range<usize>), StoreError> {
        let needed = bytes.length() as usize;
        let ahead = match self.ahead.take() {
            Some(ahead) if ahead.1.len() >= needed => return Ok(ahead),
            ahead => ahead,
        };
        let ahead = ahead.as_ref().map_or(&[][..], |(buffer, at)| &buffer.content()[at.clone()]);
        let left = self.footer.byte_range(self.chunks).map_or(0, |all| all.end - bytes.start) as usize;
        let length = self.xorb.read_bytes(needed).min(left).max(needed);
        let mut buffer = buffers.take_for(length);
        let (there, rest) = buffer.room()[..length].split_at_mut(ahead.len());
        there.copy_from_slice(ahead);
        self.xorb.read_exact_at(rest, bytes.start + ahead.len() as u64).map_err(in_xorb)?;
        Ok((buffer, 0..length))
    }
}

fn in_xorb(source: std::io::Error) -> StoreError {
    StoreError::Io { what: "read chunks", path: PathBuf::from("xorbs"), source }
}

fn damaged(error: impl ToString) -> StoreError {
    StoreError::Corrupt { path: PathBuf::from("xorbs"), reason: error.to_string() }
}
