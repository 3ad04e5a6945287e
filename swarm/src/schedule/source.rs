//! What is known of a source, and what it was asked for.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Instant;

use xet_cas::XorbHash;

use super::book::Entry;
use super::pace::Pace;
use super::{FileNumber, REST, REST_MAX, RequestNumber, SourceNumber, What};

/// A whole xorb is asked for only if at least one in so many of its bytes is missing, while the origin has it too.
const XORB_BYTES_PER_MISSING_MAX: u64 = 2;
/// Times in a row that a source may be late before nothing more is waited for from it.
const LATE_IN_A_ROW_MAX: u32 = 5;
/// Doublings of the time that a late source rests.
const REST_DOUBLINGS_MAX: u32 = 8;

/// What a source can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ability {
    /// Entries.
    Origin,
    /// Lists, and blocks of them.
    Prove,
    /// Blocks whose list others have proved.
    ByHash,
    /// Whole xorbs, one at a time, each once.
    Xorbs,
}

#[derive(Debug)]
pub(super) struct Source {
    /// `None` until a peer has shaken hands.
    pub(super) ability: Option<Ability>,
    /// What the peer said that it has, and that it has not.
    files: BTreeMap<FileNumber, bool>,
    pub(super) pace: Pace,
    pub(super) requests: BTreeSet<RequestNumber>,
    /// Bytes of content that are asked for and have not come.
    pub(super) outstanding_bytes: u64,
    pub(super) cancels: VecDeque<RequestNumber>,
    /// Times in a row that it was late.
    pub(super) strikes: u32,
    pub(super) rests_until: Option<Instant>,
    /// Its connection takes no more requests before one ends.
    pub(super) is_full: bool,
    /// It was not asked for what others will bring sooner.
    pub(super) is_denied: bool,
    /// Xorbs that it was asked for, for a file: another file of the same xorb may come to be wanted later.
    pub(super) tried: HashSet<(FileNumber, XorbHash)>,
}

impl Source {
    pub(super) fn new(ability: Option<Ability>) -> Self {
        Self {
            ability,
            files: BTreeMap::new(),
            pace: Pace::default(),
            requests: BTreeSet::new(),
            outstanding_bytes: 0,
            cancels: VecDeque::new(),
            strikes: 0,
            rests_until: None,
            is_full: false,
            is_denied: false,
            tried: HashSet::new(),
        }
    }

    pub(super) fn decided(&self, file: FileNumber) -> Option<bool> {
        self.files.get(&file).copied()
    }

    pub(super) fn has(&self, file: FileNumber) -> bool {
        self.decided(file) == Some(true)
    }

    pub(super) fn held(&self) -> Vec<FileNumber> {
        self.files.iter().filter(|(_, has)| **has).map(|(file, _)| *file).collect()
    }

    pub(super) fn decide(&mut self, file: FileNumber, has: bool) {
        self.files.insert(file, has);
    }

    pub(super) fn forget(&mut self, file: FileNumber) {
        self.files.remove(&file);
        self.tried.retain(|(tried, _)| *tried != file);
    }

    /// Whether the xorb of an entry is worth asking it for: if much of it is missing, or the origin does not give it.
    pub(super) fn wants_whole(&self, file: FileNumber, entry: &Entry) -> bool {
        let is_worth_it = entry.missing_bytes * XORB_BYTES_PER_MISSING_MAX >= entry.xorb_bytes;
        entry.missing_bytes > 0
            && (is_worth_it || entry.refusal.since.is_some())
            && !self.tried.contains(&(file, entry.xorb))
    }

    /// It rests, and may still be of use after that.
    pub(super) fn is_resting(&self) -> bool {
        self.rests_until.is_some() && self.strikes <= LATE_IN_A_ROW_MAX
    }

    /// It was late once more. What else is late while it rests is of the same pause.
    pub(super) fn is_late(&mut self, now: Instant) {
        if self.rests_until.is_some_and(|until| until > now) {
            return;
        }
        let rest = REST * (1 << self.strikes.min(REST_DOUBLINGS_MAX));
        self.strikes += 1;
        self.rests_until = Some(now + rest.min(REST_MAX));
    }
}

/// Something that a source was asked for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) source: SourceNumber,
    pub(super) file: FileNumber,
    pub(super) what: What,
    /// Of content.
    pub(super) bytes: u64,
    pub(super) received: u64,
    /// Missing of the entry when it was asked for.
    pub(super) missing_bytes: u64,
    /// Of a stream: how far it is.
    pub(super) position: u64,
    pub(super) asked_at: Instant,
    /// Nothing was outstanding before it.
    pub(super) is_alone: bool,
    pub(super) expected_at: Option<Instant>,
    pub(super) deadline: Instant,
    pub(super) is_late: bool,
    /// All of it came; it may not be written yet.
    pub(super) has_arrived: bool,
    /// Another source is at the same.
    pub(super) is_hedge: bool,
}

impl Request {
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.what, What::Entry(_))
    }

    /// Bytes that have not come.
    pub(super) fn left(&self) -> u64 {
        self.bytes.saturating_sub(self.received)
    }

    /// Nothing of it has come.
    pub(super) fn is_waiting(&self) -> bool {
        self.received == 0 && !self.has_arrived && !self.is_stream()
    }
}
