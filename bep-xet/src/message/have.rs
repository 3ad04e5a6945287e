//! Who has what: HAVE_QUERY and HAVE.

use bytes::{BufMut, Bytes, BytesMut};
use nom::Parser;
use nom::bytes::complete::take;
use nom::number::complete::{be_u16, be_u32, u8 as byte};
use xet_cas::ChunkRange;

use crate::limits::RUNS_MAX;
use crate::object::object;
use crate::wire::{Parsed, check, fail, list, run};
use crate::{Error, Limits, Object};

const SUBSCRIBE: u8 = 1;
const RUN_BYTES: usize = 8;
/// Object, state and length of the rest.
const ENTRY_BYTES_MIN: usize = Object::BYTES + 3;

mod state {
    pub(super) const NONE: u8 = 0;
    pub(super) const ALL: u8 = 1;
    pub(super) const RUNS: u8 = 2;
    pub(super) const CLAIMED: u8 = 3;
}

/// Asks what the peer has of some objects. Answered with [`Have`]s and an END.
///
/// # Wire shape
/// | size | field |
/// |---|---|
/// | 4 | id |
/// | 1 | flags: bit 0 subscribe |
/// | 2 | n, at most 1,024 |
/// | n × 33 | [`Object`]s |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaveQuery {
    /// The request.
    pub id: u32,
    /// Whether to tell of changes too, for as long as the connection lasts.
    pub subscribe: bool,
    /// The objects.
    pub objects: Vec<Object>,
}

impl HaveQuery {
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.id);
        out.put_u8(if self.subscribe { SUBSCRIBE } else { 0 });
        out.put_u16(u16::try_from(self.objects.len()).expect("the caller keeps to the limit"));
        self.objects.iter().for_each(|object| object.put(out));
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        4 + 1 + 2 + self.objects.len() * Object::BYTES
    }
}

/// `<id><flags><n><n objects>`
pub(super) fn have_query<'a>(body: &'a [u8], limits: &Limits) -> Parsed<'a, HaveQuery> {
    let (rest, (id, flags, count)) = (be_u32, byte, be_u16).parse(body)?;
    check("number of objects", count.into(), 0, limits.objects_max as u64)?;
    let (rest, objects) = list(count.into(), Object::BYTES, object)(rest)?;
    Ok((rest, HaveQuery { id, subscribe: flags & SUBSCRIBE != 0, objects }))
}

/// Says what there is of some objects.
///
/// # Wire shape
/// | size | field |
/// |---|---|
/// | 4 | id; 0 for news about objects that were subscribed to |
/// | 2 | n, at most 1,024 |
/// | n × | object 33, state 1, length 2, as many bytes |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Have {
    /// The request, or 0.
    pub id: u32,
    /// What there is.
    pub entries: Vec<HaveEntry>,
}

impl Have {
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32(self.id);
        out.put_u16(u16::try_from(self.entries.len()).expect("the caller keeps to the limit"));
        self.entries.iter().for_each(|entry| entry.put(out));
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        Self::BYTES_MIN + self.entries.iter().map(HaveEntry::encoded_bytes).sum::<usize>()
    }

    /// Without entries.
    pub(crate) const BYTES_MIN: usize = 4 + 2;
}

/// `<id><n><n entries>`
pub(super) fn have<'a>(body: &'a [u8], payload: &Bytes, limits: &Limits) -> Parsed<'a, Have> {
    let (rest, (id, count)) = (be_u32, be_u16).parse(body)?;
    check("number of objects", count.into(), 0, limits.objects_max as u64)?;
    let (rest, entries) = list(count.into(), ENTRY_BYTES_MIN, |input| entry(input, payload, limits))(rest)?;
    Ok((rest, Have { id, entries }))
}

/// What there is of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaveEntry {
    /// The object.
    pub object: Object,
    /// What there is of it.
    pub state: HaveState,
}

impl HaveEntry {
    fn put(&self, out: &mut BytesMut) {
        self.object.put(out);
        out.put_u8(self.state.to_byte());
        out.put_u16(u16::try_from(self.state.bytes()).expect("runs are limited, and nobody sends unknown states"));
        match &self.state {
            HaveState::None | HaveState::All => {}
            HaveState::Runs(runs) => runs.put(out),
            HaveState::Claimed { eta_ms, runs } => {
                out.put_u32(*eta_ms);
                runs.put(out);
            }
            HaveState::Unknown { bytes, .. } => out.put_slice(bytes),
        }
    }

    pub(crate) fn encoded_bytes(&self) -> usize {
        ENTRY_BYTES_MIN + self.state.bytes()
    }
}

/// `<object><state><length><length bytes>`
fn entry<'a>(input: &'a [u8], payload: &Bytes, limits: &Limits) -> Parsed<'a, HaveEntry> {
    let (rest, (object, state, length)) = (object, byte, be_u16).parse(input)?;
    let (rest, bytes) = take(length).parse(rest)?;
    let state = match state {
        state::NONE => HaveState::None,
        state::ALL => HaveState::All,
        state::RUNS => HaveState::Runs(runs(bytes, limits)?),
        state::CLAIMED => {
            let (bytes, eta_ms) = be_u32(bytes)?;
            HaveState::Claimed { eta_ms, runs: runs(bytes, limits)? }
        }
        state => HaveState::Unknown { state, bytes: payload.slice_ref(bytes) },
    };
    Ok((rest, HaveEntry { object, state }))
}

/// Runs up to the end of the input.
fn runs(bytes: &[u8], limits: &Limits) -> Result<Runs, nom::Err<crate::wire::Fault>> {
    let count = bytes.len() / RUN_BYTES;
    check("bytes behind the last run", (bytes.len() % RUN_BYTES) as u64, 0, 0)?;
    check("number of runs", count as u64, 0, limits.runs_max as u64)?;
    let (_, runs) = list(count, RUN_BYTES, run)(bytes)?;
    if !runs.is_sorted_by(|a, b| a.end <= b.start) {
        return Err(fail(Error::RunsOutOfOrder));
    }
    Ok(Runs(runs))
}

/// What there is of an object. Runs count chunks, of a xorb or of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HaveState {
    /// 0: nothing, or nothing for this peer.
    None,
    /// 1: all of it.
    All,
    /// 2: some of it.
    Runs(Runs),
    /// 3: these runs are on their way here.
    Claimed {
        /// When they are expected, milliseconds from now.
        eta_ms: u32,
        /// What is expected.
        runs: Runs,
    },
    /// A state that is not known: passed over.
    Unknown {
        /// Its number.
        state: u8,
        /// What it says.
        bytes: Bytes,
    },
}

impl HaveState {
    fn to_byte(&self) -> u8 {
        match self {
            Self::None => state::NONE,
            Self::All => state::ALL,
            Self::Runs(_) => state::RUNS,
            Self::Claimed { .. } => state::CLAIMED,
            Self::Unknown { state, .. } => *state,
        }
    }

    /// Bytes behind the length field.
    fn bytes(&self) -> usize {
        match self {
            Self::None | Self::All => 0,
            Self::Runs(runs) => runs.0.len() * RUN_BYTES,
            Self::Claimed { runs, .. } => 4 + runs.0.len() * RUN_BYTES,
            Self::Unknown { bytes, .. } => bytes.len(),
        }
    }
}

/// Runs of chunks: none empty, in order, apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Runs(Vec<ChunkRange>);

impl Runs {
    /// More runs than this do not fit into a message about an object; what is beyond is left out, so that less is
    /// promised than there is.
    pub const MAX: usize = RUNS_MAX;

    /// The runs.
    pub fn as_slice(&self) -> &[ChunkRange] {
        &self.0
    }

    /// Whether one run has all of these chunks.
    pub fn contains(&self, chunks: &ChunkRange) -> bool {
        let after = self.0.partition_point(|run| run.start <= chunks.start);
        after.checked_sub(1).is_some_and(|at| self.0[at].contains(chunks))
    }

    fn put(&self, out: &mut BytesMut) {
        for run in &self.0 {
            out.put_u32(run.start);
            out.put_u32(run.end);
        }
    }
}

/// In any order; runs that touch become one.
impl FromIterator<ChunkRange> for Runs {
    fn from_iter<I: IntoIterator<Item = ChunkRange>>(runs: I) -> Self {
        let mut sorted: Vec<ChunkRange> = runs.into_iter().filter(|run| run.count() > 0).collect();
        sorted.sort_unstable();
        let mut merged: Vec<ChunkRange> = Vec::new();
        for run in sorted {
            match merged.last_mut() {
                Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
                _ => merged.push(run),
            }
        }
        merged.truncate(Self::MAX);
        Self(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_runs_in_any_order_when_collected_then_they_are_merged_and_sorted() {
        let run = |start, end| ChunkRange { start, end };

        let runs: Runs = [run(8, 9), run(5, 5), run(0, 2), run(2, 4), run(1, 3), run(9, 7)].into_iter().collect();

        assert_eq!([run(0, 4), run(8, 9)], runs.as_slice());
        for (chunks, contained) in [(run(0, 4), true), (run(3, 4), true), (run(3, 5), false), (run(8, 9), true)] {
            assert_eq!(contained, runs.contains(&chunks), "{chunks:?}");
        }
        assert!(!Runs::default().contains(&run(0, 1)));
    }

    #[test]
    fn given_more_runs_than_fit_when_collected_then_the_last_ones_are_left_out() {
        let runs: Runs = (0..10_000).map(|at| ChunkRange { start: 2 * at, end: 2 * at + 1 }).collect();

        assert_eq!(Runs::MAX, runs.as_slice().len());
        assert!(HaveState::Claimed { eta_ms: 0, runs }.bytes() <= usize::from(u16::MAX));
    }
}
