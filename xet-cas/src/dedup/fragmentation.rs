//! Keeps a file from being made of too many short terms.

use std::collections::VecDeque;

use crate::{ChunkRange, XorbHash};

/// Terms whose length is averaged.
const WINDOW_TERMS: usize = 128;
/// Runs are refused while terms are shorter than this on average, chunks.
const LOW_CHUNKS_PER_TERM: u64 = 4;
/// Once one was refused, runs are refused until terms are as long as this on average, chunks.
const HIGH_CHUNKS_PER_TERM: u64 = 8;

/// Decides for one file which runs of known chunks become terms, as the deployed client does.
///
/// A download costs a request for every run of a xorb, so a file that is made of many short runs is slow to get;
/// storing some chunks once more is cheaper. What counts is the average over the last 128 terms: while it is below
/// 4 chunks, runs shorter than it are refused; from the first refusal on, the average has to reach 8.
#[derive(Debug, Clone, Default)]
pub struct FragmentationGuard {
    /// Chunks of the last terms, newest last.
    window: VecDeque<u32>,
    /// Chunks of all terms in the window.
    window_chunks: u64,
    /// Whether the average has to reach the higher mark.
    is_strict: bool,
    /// Where the file's last term ends: its xorb, `None` for the one that is being built, and the next chunk.
    end: Option<(Option<XorbHash>, u32)>,
}

impl FragmentationGuard {
    /// Starts at the beginning of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a run of known chunks may become a term. `xorb` is `None` for the xorb that is being built and has no
    /// name yet. A run that continues the last term always may.
    ///
    /// If not, the first chunk of the run is to be stored as if it were new.
    pub fn accepts(&mut self, xorb: Option<XorbHash>, chunks: ChunkRange) -> bool {
        if self.continues(xorb, chunks) || self.window.len() < WINDOW_TERMS {
            return true;
        }
        let terms = self.window.len() as u64;
        let wanted = if self.is_strict { HIGH_CHUNKS_PER_TERM } else { LOW_CHUNKS_PER_TERM };
        if self.window_chunks >= wanted * terms {
            self.is_strict = false;
            return true;
        }
        let helps = u64::from(chunks.count()) * terms >= self.window_chunks;
        self.is_strict |= !helps;
        helps
    }

    /// Records how the file goes on: with an accepted run, or with chunks that are new, which are the last of the
    /// xorb that is being built (`None`). What continues the last term makes it longer.
    pub fn push(&mut self, xorb: Option<XorbHash>, chunks: ChunkRange) {
        if !self.continues(xorb, chunks) {
            self.window.push_back(0);
        }
        if let Some(last) = self.window.back_mut() {
            *last = last.saturating_add(chunks.count());
            self.window_chunks += u64::from(chunks.count());
        }
        if self.window.len() > WINDOW_TERMS {
            self.window_chunks -= self.window.pop_front().map_or(0, u64::from);
        }
        self.end = Some((xorb, chunks.end));
    }

    /// Says that the xorb that was being built is finished and has this name; `None` is the next one from here on.
    pub fn name_pending(&mut self, xorb: XorbHash) {
        if let Some((pending @ None, _)) = &mut self.end {
            *pending = Some(xorb);
        }
    }

    fn continues(&self, xorb: Option<XorbHash>, chunks: ChunkRange) -> bool {
        self.end == Some((xorb, chunks.start))
    }
}
