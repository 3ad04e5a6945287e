//! The footer that servers wrote once. It is read and not written.

use nom::bytes::complete::take;
use nom::number::complete::{le_u32, u8 as byte};
use nom::{IResult, Parser};

use super::{FOOTER_MARKER, Footer, RESERVED_BYTES, words};
use crate::xorb::CHUNKS_MAX;
use crate::{ChunkHash, Error, Leaf, XorbHash};

pub(super) const VERSION: u8 = 0;
/// Marker, version, hash and count, and what is reserved.
const FIXED_BYTES: u64 = 60;
/// End of the record and hash.
const BYTES_OF_A_CHUNK: u64 = 36;

/// A footer of version 0. How long its chunks are only their records tell.
#[derive(Debug)]
pub(super) struct FooterV0 {
    hash: XorbHash,
    record_ends: Vec<u32>,
    chunks: Vec<ChunkHash>,
}

impl FooterV0 {
    /// Reads a footer, its length not included.
    pub(super) fn decode(footer: &[u8]) -> Result<Self, Error> {
        let Ok((_, raw)) = raw_footer(footer) else {
            return Err(Error::truncated("xorb footer", footer.len() + 1, footer.len()));
        };
        if raw.marker != (FOOTER_MARKER.as_slice(), VERSION) {
            return Err(Error::Marker { what: "xorb footer" });
        }
        let count = raw.hashes.len() as u64 / 32;
        Error::check_bounds("chunks of a xorb", count, 1, CHUNKS_MAX as u64)?;
        Error::check_equal(
            "footer length and its fields",
            footer.len() as u64,
            FIXED_BYTES + BYTES_OF_A_CHUNK * count,
        )?;
        Ok(Self {
            hash: XorbHash::from_bytes(std::array::from_fn(|i| raw.hash[i])),
            record_ends: words(raw.record_ends),
            chunks: raw
                .hashes
                .chunks_exact(32)
                .map(|hash| ChunkHash::from_bytes(std::array::from_fn(|i| hash[i])))
                .collect(),
        })
    }

    /// Adds what only the records tell: how long each chunk is.
    pub(super) fn complete(self, lengths: impl ExactSizeIterator<Item = u32>) -> Result<Footer, Error> {
        Error::check_equal("chunks of a xorb and of its footer", lengths.len() as u64, self.chunks.len() as u64)?;
        let leaves = self.chunks.into_iter().zip(lengths).map(|(hash, length)| Leaf { hash, length }).collect();
        Ok(Footer { hash: self.hash, leaves, record_ends: self.record_ends })
    }
}

struct RawFooter<'a> {
    marker: (&'a [u8], u8),
    hash: &'a [u8],
    record_ends: &'a [u8],
    hashes: &'a [u8],
}

/// `<marker><hash><n><n record ends><n hashes><reserved>`
fn raw_footer(input: &[u8]) -> IResult<&[u8], RawFooter<'_>> {
    let table = |count: u32, width: usize| take((count as usize).saturating_mul(width));
    let (input, marker) = (take(7_usize), byte).parse(input)?;
    let (input, (hash, count)) = (take(32_usize), le_u32).parse(input)?;
    let (input, (record_ends, hashes, _)) = (table(count, 4), table(count, 32), take(RESERVED_BYTES)).parse(input)?;
    Ok((input, RawFooter { marker, hash, record_ends, hashes }))
}
