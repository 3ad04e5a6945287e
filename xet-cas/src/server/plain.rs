//! A file as its plain bytes, put together from chunks.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::store::{Store, StoreError};
use crate::reconstruction::describe::{Window, file_bytes, trim_term};
use crate::xorb::{Footer, Record, RecordHeader};
use crate::{ByteRange, CHUNK_BYTES_MAX, ChunkHash, Term};

/// Reads a range of a file, piece by piece. Blocks. Every chunk is checked against its hash.
pub(super) struct PlainReader {
    terms: std::vec::IntoIter<Term>,
    /// Bytes before the range in what comes next.
    skip: u64,
    /// Bytes of the range that are still to come.
    left: u64,
    run: Option<Run>,
    /// The footer that was read last: neighbouring terms often share their xorb.
    footer: Option<Arc<Footer>>,
}

/// Chunks of one term that are still to come.
struct Run {
    records: Box<dyn Read + Send>,
    hashes: std::vec::IntoIter<ChunkHash>,
}

impl PlainReader {
    /// All of a file.
    pub(super) fn whole(terms: Vec<Term>) -> Self {
        Self { left: file_bytes(&terms), terms: terms.into_iter(), skip: 0, run: None, footer: None }
    }

    /// A range of a file, which must begin inside it.
    pub(super) fn range(terms: &[Term], range: ByteRange) -> Option<Self> {
        let window = Window::of(terms, Some(range))?;
        let ByteRange { start, .. } = window.bytes();
        Some(Self { left: window.bytes().length(), skip: start, ..Self::whole(window.terms().to_vec()) })
    }

    /// The next bytes: whole chunks until there are `piece_bytes` of them, or all the rest; `None` at the end.
    pub(super) fn next(&mut self, store: &Store, piece_bytes: usize) -> Result<Option<Bytes>, StoreError> {
        // The last chunk may go past the size of a piece.
        let mut piece = Vec::with_capacity(piece_bytes + CHUNK_BYTES_MAX);
        let mut scratch = Vec::new();
        while self.left > 0 && piece.len() < piece_bytes {
            let Some(run) = self.next_run(store)? else { break };
            let before = piece.len();
            run.append_chunk(&mut piece, &mut scratch)?;
            let unwanted = (self.skip as usize).min(piece.len() - before);
            piece.drain(before..before + unwanted);
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            piece.truncate(before.saturating_add(left));
            self.left -= (piece.len() - before) as u64;
            self.skip = 0;
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }

    /// The next run that has chunks left; `None` at the end.
    fn next_run(&mut self, store: &Store) -> Result<Option<&mut Run>, StoreError> {
        while self.run.as_ref().is_none_or(|run| run.hashes.len() == 0) {
            let Some(term) = self.terms.next() else { return Ok(None) };
            self.run = Some(self.open(store, &term)?);
        }
        Ok(self.run.as_mut())
    }

    /// Goes to the first chunk of a term that is wanted.
    fn open(&mut self, store: &Store, term: &Term) -> Result<Run, StoreError> {
        let footer = match self.footer.take().filter(|footer| footer.hash() == term.xorb) {
            Some(footer) => footer,
            None => store.footer(term.xorb)?,
        };
        let wanted = ByteRange { start: self.skip, end: u64::MAX };
        let (term, skip) = trim_term(term, wanted, footer.leaves())?;
        let Some(bytes) = footer.byte_range(term.chunks) else {
            return Err(StoreError::MissingXorb { xorb: term.xorb });
        };
        let hashes: Vec<ChunkHash> = term.chunks.indices().map(|index| footer.leaves()[index as usize].hash).collect();
        let records = Box::new(store.open_xorb(term.xorb)?.reader(bytes.start));
        self.skip = skip;
        self.footer = Some(footer);
        Ok(Run { records, hashes: hashes.into_iter() })
    }
}

impl Run {
    fn append_chunk(&mut self, piece: &mut Vec<u8>, scratch: &mut Vec<u8>) -> Result<(), StoreError> {
        let mut header = [0; RecordHeader::BYTES];
        self.records.read_exact(&mut header).map_err(in_xorb)?;
        let header = RecordHeader::decode(&header).map_err(damaged)?;
        let mut payload = vec![0; header.stored_length as usize];
        self.records.read_exact(&mut payload).map_err(in_xorb)?;
        let record = Record { header, payload: &payload };
        let chunk = record.decode(scratch).map_err(damaged)?;
        if self.hashes.next() != Some(ChunkHash::of(chunk)) {
            let reason = "a chunk has other bytes than its hash says".into();
            return Err(StoreError::Corrupt { path: PathBuf::from("xorbs"), reason });
        }
        piece.extend_from_slice(chunk);
        Ok(())
    }
}

fn in_xorb(source: std::io::Error) -> StoreError {
    StoreError::Io { what: "read chunks", path: PathBuf::from("xorbs"), source }
}

fn damaged(error: crate::Error) -> StoreError {
    StoreError::Corrupt { path: PathBuf::from("xorbs"), reason: error.to_string() }
}
