//! Which terms and fetch entries describe a byte range of a file: what a CAS answers.
//!
//! Chunks are never cut. The first and the last term lose the chunks that lie wholly outside the range;
//! what is left over at the front is the answer's offset, and the reader cuts the surplus at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ByteRange, ChunkRange, FetchEntry, Term};
use crate::xorb::Footer;
use crate::{Error, Leaf, XorbHash};

/// The terms of a file that a byte range touches, still whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    terms: &'a [Term],
    /// The wanted bytes, counted from the start of the first of these terms.
    bytes: ByteRange,
}

impl<'a> Window<'a> {
    /// Finds the terms for a byte range of the file; `None` for all of it. A range may go past the end of
    /// the file.
    ///
    /// Returns `None` if the range begins at or after the end. The first byte of an empty file is the
    /// exception: clients ask for it, and the answer is no terms.
    pub(crate) fn of(terms: &'a [Term], range: Option<ByteRange>) -> Option<Self> {
        let size = file_bytes(terms);
        let range = range.unwrap_or(ByteRange { start: 0, end: size });
        let range = ByteRange { start: range.start, end: range.end.min(size) };
        if range.start >= size {
            return (size == 0 && range.start == 0).then_some(Self { terms: &[], bytes: range });
        }
        let (mut first, mut first_at) = (0, 0);
        let (mut last, mut at) = (0, 0);
        for (index, term) in terms.iter().enumerate() {
            if at >= range.end {
                break;
            }
            if at <= range.start {
                (first, first_at) = (index, at);
            }
            last = index;
            at += u64::from(term.unpacked_length);
        }
        let bytes = ByteRange { start: range.start - first_at, end: range.end - first_at };
        Some(Self { terms: &terms[first..=last], bytes })
    }

    /// The terms, whole.
    pub(crate) fn terms(&self) -> &'a [Term] {
        self.terms
    }

    /// The wanted bytes, counted from the start of the first of these terms.
    pub(crate) fn bytes(&self) -> ByteRange {
        self.bytes
    }

    /// Drops chunks that lie outside the range from the first and the last term. `footer` is asked for the
    /// xorbs of these two at most.
    ///
    /// # Errors
    /// What `footer` says, and terms that do not fit their xorb.
    pub(crate) fn trim<E: From<Error>>(
        &self,
        mut footer: impl FnMut(XorbHash) -> Result<Arc<Footer>, E>,
    ) -> Result<Trimmed, E> {
        let mut terms = self.terms.to_vec();
        let mut offset = 0;
        let before_last: u64 = self.terms.iter().rev().skip(1).map(|term| u64::from(term.unpacked_length)).sum();
        match terms.as_mut_slice() {
            [] => {}
            [only] => (*only, offset) = trim_term(only, self.bytes, footer(only.xorb)?.leaves())?,
            [first, .., last] => {
                (*first, offset) = trim_term(first, self.bytes, footer(first.xorb)?.leaves())?;
                let wanted = ByteRange { start: 0, end: self.bytes.end - before_last };
                (*last, _) = trim_term(last, wanted, footer(last.xorb)?.leaves())?;
            }
        }
        Ok(Trimmed { offset_into_first_term: offset, terms })
    }
}

/// Terms that begin and end with the chunks that hold the first and the last wanted byte.
#[derive(Debug, Clone)]
pub(crate) struct Trimmed {
    /// Bytes of the first term that lie before the range.
    pub(crate) offset_into_first_term: u64,
    pub(crate) terms: Vec<Term>,
}

/// Size of a file, bytes.
pub(crate) fn file_bytes(terms: &[Term]) -> u64 {
    terms.iter().map(|term| u64::from(term.unpacked_length)).sum()
}

/// Keeps of a term the chunks that hold any of the `wanted` bytes, which are counted from the start of the
/// term and hold at least one of it. Returns also how many bytes of what is kept precede the wanted ones.
pub(crate) fn trim_term(term: &Term, wanted: ByteRange, leaves: &[Leaf]) -> Result<(Term, u64), Error> {
    let ChunkRange { start, end } = term.chunks;
    let Some(leaves) = leaves.get(start as usize..end as usize) else {
        let reason = format!("a term names chunks {start}..{end} of a xorb of {}", leaves.len());
        return Err(Error::Reconstruction { reason });
    };
    let mut kept: Option<(u32, u64)> = None;
    let (mut chunks, mut kept_bytes) = (ChunkRange { start, end: start }, 0);
    let mut at = 0;
    for (index, leaf) in (start..).zip(leaves) {
        let next = at + u64::from(leaf.length);
        if next > wanted.start && at < wanted.end {
            let (first, _) = *kept.get_or_insert((index, at));
            chunks = ChunkRange { start: first, end: index + 1 };
            kept_bytes += leaf.length;
        }
        at = next;
    }
    let Some((_, kept_at)) = kept else {
        return Err(Error::Reconstruction { reason: "a term holds none of the bytes it should hold".into() });
    };
    let offset = wanted.start.saturating_sub(kept_at);
    Ok((Term { xorb: term.xorb, chunks, unpacked_length: kept_bytes }, offset))
}

/// What to fetch for these terms: per xorb, the runs of chunks that any term names, those that touch made
/// one. The same terms always give the same entries in the same order, because clients match renewed
/// URLs by position. A xorb holds at most 64 MiB, and so does an entry.
///
/// # Errors
/// What `footer` says, and terms that do not fit their xorb.
pub(crate) fn entries<'t, E: From<Error>>(
    terms: impl IntoIterator<Item = &'t Term>,
    mut footer: impl FnMut(XorbHash) -> Result<Arc<Footer>, E>,
    url: impl Fn(XorbHash, ByteRange) -> String,
) -> Result<Vec<FetchEntry>, E> {
    let mut runs: BTreeMap<XorbHash, Vec<ChunkRange>> = BTreeMap::new();
    for term in terms {
        let runs = runs.entry(term.xorb).or_default();
        // Files repeat terms (a run of zeros is one chunk, named again and again).
        if runs.last() != Some(&term.chunks) {
            runs.push(term.chunks);
        }
    }
    let mut entries = Vec::new();
    for (xorb, mut runs) in runs {
        runs.sort_unstable();
        let footer = footer(xorb)?;
        for chunks in merged(&runs) {
            let Some(bytes) = footer.byte_range(chunks) else {
                let reason = format!("a term names chunks {:?} of xorb {xorb}, which has fewer", chunks.indices());
                return Err(Error::Reconstruction { reason }.into());
            };
            entries.push(FetchEntry { xorb, chunks, bytes, url: url(xorb, bytes).into() });
        }
    }
    Ok(entries)
}

fn merged(sorted: &[ChunkRange]) -> Vec<ChunkRange> {
    let mut merged: Vec<ChunkRange> = Vec::new();
    for run in sorted {
        match merged.last_mut() {
            Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
            _ => merged.push(*run),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;

    use super::*;
    use crate::api::{BatchV1, ReconstructionV1, ReconstructionV2};
    use crate::{CompressionPolicy, FileHash, Reconstruction, Scheme, chunks, xorb};

    const URL: &str = "https://cas.test/opaque";

    /// The files and xorbs of the vectors, and what the deployed simulation server says of them.
    struct Vectors {
        files: Vec<(FileHash, Vec<Term>)>,
        footers: HashMap<XorbHash, Arc<Footer>>,
        json: Value,
    }

    impl Vectors {
        fn load() -> Self {
            let json: Value = serde_json::from_str(include_str!("../../tests/vectors/xet.json")).unwrap();
            let json = json["reconstruction"].clone();
            let first = splitmix(1, 1 << 20);
            let third = [first.as_slice(), &splitmix(5, 100_000)].concat();
            let first: Vec<&[u8]> = chunks(&first).collect();
            let third: Vec<&[u8]> = chunks(&third).collect();
            let shared = first.iter().zip(&third).take_while(|(a, b)| a == b).count();
            let xorbs = [pack(&first), pack(&third[shared..])];
            let term = |xorb: usize, start: usize, chunks: &[&[u8]]| Term {
                xorb: xorbs[xorb].hash(),
                chunks: ChunkRange { start: start as u32, end: (start + chunks.len()) as u32 },
                unpacked_length: chunks.iter().map(|chunk| chunk.len() as u32).sum(),
            };
            let terms =
                [vec![term(0, 0, &first)], vec![], vec![term(0, 0, &third[..shared]), term(1, 0, &third[shared..])]];
            let hash = |file: usize| json["files"][file]["hash"].as_str().unwrap().parse().unwrap();
            let files = terms.into_iter().enumerate().map(|(file, terms)| (hash(file), terms)).collect();
            let footers = xorbs.into_iter().map(|footer| (footer.hash(), Arc::new(footer))).collect();
            Self { files, footers, json }
        }

        fn footer(&self, xorb: XorbHash) -> Result<Arc<Footer>, Error> {
            Ok(Arc::clone(&self.footers[&xorb]))
        }

        fn answer(&self, file: usize, range: Option<ByteRange>) -> Option<Reconstruction> {
            let window = Window::of(&self.files[file].1, range)?;
            let Trimmed { offset_into_first_term, terms } = window.trim(|xorb| self.footer(xorb)).unwrap();
            let entries = entries(&terms, |xorb| self.footer(xorb), |_, _| URL.into()).unwrap();
            Some(Reconstruction { offset_into_first_term, terms, entries })
        }
    }

    #[test]
    fn given_the_vectors_when_described_then_as_the_simulation_server_does() {
        let vectors = Vectors::load();
        let requests = vectors.json["requests"].as_array().unwrap();
        for request in requests {
            let file = request["file"].as_u64().unwrap() as usize;
            let size = file_bytes(&vectors.files[file].1);
            let range = match request["range"].as_str() {
                None => Some(None),
                Some("bytes=9-5") => None,
                Some(text) => Some(Some(parse(text, size))),
            };

            let answer = range.and_then(|range| vectors.answer(file, range));

            let body = match &answer {
                None => (416, Value::Null),
                Some(answer) if request["api"] == "v1" => {
                    (200, serde_json::to_value(ReconstructionV1::from(answer)).unwrap())
                }
                Some(answer) => (200, serde_json::to_value(ReconstructionV2::from(answer)).unwrap()),
            };
            let expected = if request["status"] == 200 { request["body"].clone() } else { Value::Null };
            assert_eq!((request["status"].as_u64().unwrap(), expected), body, "{request}");
        }
    }

    #[test]
    fn given_the_batch_vector_when_described_then_as_the_simulation_server_does() {
        let vectors = Vectors::load();
        let wanted = [&vectors.files[0], &vectors.files[2]];
        let entries_of = |terms: &[Term]| entries(terms, |xorb| vectors.footer(xorb), |_, _| URL.into()).unwrap();
        let entries = wanted.iter().flat_map(|(_, terms)| entries_of(terms)).collect();

        let answer = BatchV1::new(wanted.iter().map(|(hash, terms)| (*hash, terms.as_slice())), entries);

        assert_eq!(vectors.json["batch"]["body"], serde_json::to_value(answer).unwrap());
    }

    #[test]
    fn given_any_range_when_described_then_the_chunks_hold_exactly_it_and_no_needless_chunk() {
        let vectors = Vectors::load();
        let (_, terms) = &vectors.files[2];
        let size = file_bytes(terms);
        let whole = chunk_list(&vectors, terms);
        for (start, end) in
            (0..size).step_by(9973).zip((1..=size).step_by(14_983)).map(|(a, b)| (a.min(b - 1), b.max(a + 1)))
        {
            let answer = vectors.answer(2, Some(ByteRange { start, end })).unwrap();

            let list = chunk_list(&vectors, &answer.terms);
            let first = whole.windows(list.len()).position(|run| run == list).unwrap();
            let before: u64 = whole[..first].iter().map(|leaf| u64::from(leaf.length)).sum();
            let held: u64 = list.iter().map(|leaf| u64::from(leaf.length)).sum();
            assert_eq!(start, before + answer.offset_into_first_term);
            assert!(answer.offset_into_first_term < list[0].length.into());
            assert!(before + held >= end && before + held - u64::from(list[list.len() - 1].length) < end);
            let terms_bytes = file_bytes(&answer.terms);
            assert_eq!(held, terms_bytes);
        }
    }

    #[test]
    fn given_terms_that_do_not_fit_their_xorb_when_described_then_refused() {
        let vectors = Vectors::load();
        let mut term = vectors.files[0].1[0];
        term.chunks.end += 1;
        let window = Window::of(std::slice::from_ref(&term), None).unwrap();

        assert!(window.trim(|xorb| vectors.footer(xorb)).is_err());
        assert!(entries([&term], |xorb| vectors.footer(xorb), |_, _| URL.into()).is_err());
    }

    fn chunk_list(vectors: &Vectors, terms: &[Term]) -> Vec<Leaf> {
        let leaves = |term: &Term| {
            vectors.footers[&term.xorb].leaves()[term.chunks.start as usize..term.chunks.end as usize].to_vec()
        };
        terms.iter().flat_map(leaves).collect()
    }

    fn pack(chunks: &[&[u8]]) -> Footer {
        let mut builder = xorb::Builder::new(CompressionPolicy::Always(Scheme::None));
        for chunk in chunks {
            builder.push(Leaf::of(chunk), chunk).unwrap();
        }
        builder.finish().footer
    }

    fn parse(range: &str, size: u64) -> ByteRange {
        let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let number = |text: &str| text.parse::<u64>().unwrap();
        match (start, end) {
            ("", last) => ByteRange { start: size - number(last), end: size },
            (start, "") => ByteRange { start: number(start), end: size },
            (start, end) => ByteRange { start: number(start), end: number(end) + 1 },
        }
    }

    fn splitmix(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let words = std::iter::repeat_with(|| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)).to_le_bytes()
        });
        words.flatten().take(length).collect()
    }
}
