//! What a plan knows about a file's chunks without having their list.

use crate::{ByteRange, Term};

/// After how many bytes and chunks each term of a file ends: what tells chunks from inner nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The beginning of the file, and the end of every term.
    marks: Vec<Mark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    pub(super) bytes: u64,
    pub(super) chunks: u64,
}

impl Outline {
    /// Of the terms of a whole file, as the CAS states them.
    pub fn new(terms: &[Term]) -> Self {
        let mut end = Mark::default();
        let ends = terms.iter().map(|term| {
            end.bytes += u64::from(term.unpacked_length);
            end.chunks += u64::from(term.chunks.count());
            end
        });
        Self { marks: [Mark::default()].into_iter().chain(ends).collect() }
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.end().bytes
    }

    /// Chunks of the file.
    pub fn chunks(&self) -> u64 {
        self.end().chunks
    }

    /// The range to ask a proof for in place of `wanted`, so that this outline settles whether it shows
    /// chunks: it reaches over all of the term in which `wanted` begins, and over the one before if that is
    /// a single chunk at the end of the file.
    pub fn settling(&self, wanted: ByteRange) -> ByteRange {
        let after = self.marks.partition_point(|mark| mark.bytes <= wanted.start).clamp(1, self.marks.len());
        let Some(term_end) = self.marks.get(after) else { return wanted };
        let mut first = after - 1;
        while first > 0 && !self.settles(self.marks[first], *term_end) {
            first -= 1;
        }
        ByteRange { start: self.marks[first].bytes, end: wanted.end.max(term_end.bytes) }
    }

    /// What is known inside a range and at its ends.
    pub(super) fn marks_in(&self, range: ByteRange) -> &[Mark] {
        let start = self.marks.partition_point(|mark| mark.bytes < range.start);
        let end = self.marks.partition_point(|mark| mark.bytes <= range.end);
        &self.marks[start..end.max(start)]
    }

    /// Whether entries that are as many as there are chunks between these marks must be chunks. Each node of
    /// an inner level stands over three or more nodes of the one below, except the last, which may
    /// stand over one; and a file of one chunk has no inner level.
    pub(super) fn settles(&self, start: Mark, end: Mark) -> bool {
        match end.chunks - start.chunks {
            0 => false,
            1 => end.bytes < self.bytes() || self.chunks() == 1,
            _ => true,
        }
    }

    fn end(&self) -> Mark {
        self.marks.last().copied().unwrap_or_default()
    }
}
