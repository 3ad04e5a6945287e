//! Whether the terms of a file are what they say, given the chunks of the xorbs.

use super::ShardFile;
use crate::{Error, Leaf, RangeHash, RootBuilder, Term, XorbHash};

impl ShardFile {
    /// Checks the file against the xorbs that it is made of, as a CAS has to before it keeps it: every term lies in its xorb
    /// and holds as many bytes as it says, its verification (if the file has any) is the hash of its chunks, and all of its
    /// chunks reduce to the name of the file.
    ///
    /// `leaves` gives the chunks of a xorb, which must be known to be what the xorb holds; it is asked for each term, in
    /// order. The work is in proportion to the chunks that the terms name, which deduplication can make far more than the
    /// shard has entries: bound them first.
    ///
    /// # Errors
    /// What `leaves` says, and the first thing that does not hold.
    pub fn verify<L: AsRef<[Leaf]>, E: From<Error>>(
        &self,
        mut leaves: impl FnMut(XorbHash) -> Result<L, E>,
    ) -> Result<(), E> {
        if let Some(hashes) = &self.verification {
            Error::check_equal(
                "terms of a file and verification entries",
                self.terms.len() as u64,
                hashes.len() as u64,
            )?;
        }
        let mut verification = self.verification.iter().flatten();
        let mut root = RootBuilder::new();
        for term in &self.terms {
            let xorb = leaves(term.xorb)?;
            let leaves = leaves_of(term, xorb.as_ref())?;
            if verification
                .next()
                .is_some_and(|claimed| *claimed != RangeHash::of(leaves.iter().map(|leaf| &leaf.hash)))
            {
                let reason =
                    format!("the range hash of chunks {:?} of xorb {} is wrong", term.chunks.indices(), term.xorb);
                return Err(Error::Reconstruction { reason }.into());
            }
            leaves.iter().for_each(|leaf| root.push(leaf));
        }
        let actual = root.finish_file();
        if actual != self.hash {
            return Err(Error::FileHash { claimed: self.hash, actual }.into());
        }
        Ok(())
    }
}

/// The chunks of a term, which hold as many bytes as it says.
fn leaves_of<'l>(term: &Term, xorb: &'l [Leaf]) -> Result<&'l [Leaf], Error> {
    let leaves = xorb.get(term.chunks.start as usize..term.chunks.end as usize).unwrap_or_default();
    if leaves.is_empty() {
        let (value, max) = (term.chunks.end.into(), xorb.len() as u64);
        return Err(Error::OutOfBounds { what: "last chunk of a term", value, min: 1, max });
    }
    let bytes = leaves.iter().map(|leaf| u64::from(leaf.length)).sum();
    Error::check_equal("unpacked length of a term and its chunks", term.unpacked_length.into(), bytes)?;
    Ok(leaves)
}
