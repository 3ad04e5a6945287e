//! Footers that were read lately: every answer about a file needs those of its xorbs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::XorbHash;
use crate::xorb::Footer;

/// Chunks in half of what is kept, 40 bytes each: 10 MB in all, enough for 16 GB of average chunks.
const CHUNKS_MAX: usize = 1 << 17;
/// What a footer counts for besides its chunks, as some have one alone.
const FOOTER_CHUNKS: usize = 8;

/// Footers in two halves. What is asked for goes to the young half; when that is full it becomes the old one, and what
/// nobody has asked for since is forgotten.
#[derive(Default)]
pub(super) struct Footers(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    young: HashMap<XorbHash, Arc<Footer>>,
    young_chunks: usize,
    old: HashMap<XorbHash, Arc<Footer>>,
}

impl Footers {
    pub(super) fn get(&self, xorb: XorbHash) -> Option<Arc<Footer>> {
        let mut halves = self.halves();
        if let Some(footer) = halves.young.get(&xorb) {
            return Some(Arc::clone(footer));
        }
        let footer = halves.old.remove(&xorb)?;
        halves.put(&footer);
        Some(footer)
    }

    pub(super) fn put(&self, footer: &Arc<Footer>) {
        self.halves().put(footer);
    }

    /// For a xorb that is no longer here.
    pub(super) fn forget(&self, xorb: XorbHash) {
        let mut halves = self.halves();
        if let Some(footer) = halves.young.remove(&xorb) {
            halves.young_chunks -= weight(&footer);
        }
        halves.old.remove(&xorb);
    }

    fn halves(&self) -> MutexGuard<'_, Halves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Halves {
    fn put(&mut self, footer: &Arc<Footer>) {
        if self.young_chunks + weight(footer) > CHUNKS_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_chunks = 0;
        }
        if self.young.insert(footer.hash(), Arc::clone(footer)).is_none() {
            self.young_chunks += weight(footer);
        }
    }
}

fn weight(footer: &Footer) -> usize {
    footer.leaves().len() + FOOTER_CHUNKS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xorb::Builder;
    use crate::{CompressionPolicy, Leaf};

    fn footer(number: u32) -> Arc<Footer> {
        let mut builder = Builder::new(CompressionPolicy::Auto);
        let chunk = number.to_le_bytes();
        builder.push(Leaf::of(&chunk), &chunk).unwrap();
        Arc::new(builder.finish().footer)
    }

    #[test]
    fn given_more_footers_than_are_kept_when_asked_for_then_those_asked_for_lately_are_there() {
        let footers = Footers::default();
        let often = footer(0);
        footers.put(&often);
        let half = (CHUNKS_MAX / weight(&often)) as u32;
        for number in 1..=3 * half {
            footers.put(&footer(number));
            assert_eq!(Some(&often), footers.get(often.hash()).as_ref(), "{number}");
        }

        assert_eq!(None, footers.get(footer(1).hash()));
        assert!(footers.get(footer(3 * half).hash()).is_some());
        let halves = footers.halves();
        assert!(halves.young.len() + halves.old.len() <= 2 * half as usize);
        assert_eq!(halves.young_chunks, halves.young.values().map(|footer| weight(footer)).sum::<usize>());
    }

    #[test]
    fn given_a_footer_in_either_half_when_forgotten_then_not_there() {
        let footers = Footers::default();
        let (old, young) = (footer(1), footer(2));
        footers.put(&old);
        {
            let mut halves = footers.halves();
            halves.old = std::mem::take(&mut halves.young);
            halves.young_chunks = 0;
        }
        footers.put(&young);

        for footer in [&old, &young] {
            footers.forget(footer.hash());
            assert_eq!(None, footers.get(footer.hash()));
        }
        assert_eq!(0, footers.halves().young_chunks);
    }
}
