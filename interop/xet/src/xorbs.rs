//! Xorbs of one are read by the other, and are the same but for how well they are compressed.

use std::io::Cursor;

use bytes::Bytes;
use xet_cas::xorb::{Builder, Footer, Record, Records, Serialized};
use xet_cas::{CompressionPolicy, Leaf, Scheme, chunks};
use xet_core_structures::xorb_object::{
    Chunk, CompressionScheme, RawXorbData, SerializedXorbObject, XorbObject, deserialize_chunks,
};
use xet_data::deduplication::Chunker as TheirChunker;

use crate::files::File;
use crate::{Check, Difference, equal, raw, taken};

pub const PROMISES: [(&str, Check); 3] = [
    ("xorbs have the same names, chunks, schemes and almost the same lengths", same_xorbs),
    ("xorbs that we wrote are read by the deployed client, with footer and without", theirs_reads_ours),
    ("xorbs that the deployed client wrote are read by us, with footer and without", ours_reads_theirs),
];

const POLICIES: [(CompressionPolicy, CompressionScheme); 4] = [
    (CompressionPolicy::Always(Scheme::None), CompressionScheme::None),
    (CompressionPolicy::Always(Scheme::Lz4), CompressionScheme::LZ4),
    (CompressionPolicy::Always(Scheme::Bg4Lz4), CompressionScheme::ByteGrouping4LZ4),
    (CompressionPolicy::Auto, CompressionScheme::Auto),
];
/// Chunks between predictions: the default of the deployed client.
const RETEST_INTERVAL: usize = 32;
/// Compressed bytes are part of no name, and two encoders may differ by so much.
const LONGER_PERCENT_MAX: usize = 2;

/// The same files in one xorb, under one policy.
struct Pair<'a> {
    what: String,
    chunks: Vec<&'a [u8]>,
    ours: Serialized,
    theirs: SerializedXorbObject,
    their_footer: Vec<u8>,
}

/// All long files alone, and the short ones in one.
fn pairs(files: &[File], mut check: impl FnMut(Pair<'_>) -> Result<(), Difference>) -> Result<(), Difference> {
    let (short, long): (Vec<&File>, Vec<&File>) =
        files.iter().filter(|file| !file.bytes.is_empty()).partition(|file| file.bytes.len() < 1_000_000);
    let xorbs = long.iter().map(|file| vec![*file]).chain(short.chunks(20).map(<[&File]>::to_vec));
    for files in xorbs {
        for (policy, scheme) in POLICIES {
            let what = format!("{} ({} files), {policy:?}", files[0].name, files.len());
            check(Pair::new(what, &files, policy, scheme)?)?;
        }
    }
    Ok(())
}

impl<'a> Pair<'a> {
    fn new(
        what: String,
        files: &[&'a File],
        policy: CompressionPolicy,
        scheme: CompressionScheme,
    ) -> Result<Self, Difference> {
        let mut builder = Builder::new(policy);
        let (mut cut, mut their_cut, mut starts) = (Vec::new(), Vec::<Chunk>::new(), Vec::new());
        for file in files {
            builder.begin_file();
            starts.push(cut.len());
            for chunk in chunks(&file.bytes) {
                taken(&what, "us", builder.push(Leaf::of(chunk), chunk))?;
                cut.push(chunk);
            }
            their_cut.extend(TheirChunker::default().next_block_bytes(&Bytes::copy_from_slice(&file.bytes), true));
        }
        let write = |with_footer| {
            let xorb = RawXorbData::from_chunks(&their_cut, starts.clone());
            let written = SerializedXorbObject::from_xorb_with_compression(xorb, scheme, with_footer, RETEST_INTERVAL);
            taken(&what, "its writer", written)
        };
        let (theirs, with_footer) = (write(false)?, write(true)?);
        let their_footer = with_footer.serialized_data[theirs.serialized_data.len()..].to_vec();
        Ok(Self { chunks: cut, ours: builder.finish(), theirs, their_footer, what })
    }
}

fn same_xorbs(files: &[File]) -> Result<(), Difference> {
    pairs(files, |pair| {
        equal(&pair.what, *pair.ours.hash().as_bytes(), raw(&pair.theirs.hash))?;
        let headers = |records| -> Result<Vec<_>, Difference> {
            Records::new(records)
                .map(|record| {
                    let Record { header, .. } = taken(&pair.what, "us", record)?;
                    Ok((header.scheme, header.raw_length))
                })
                .collect()
        };
        equal(&pair.what, headers(&pair.ours.records)?, headers(&pair.theirs.serialized_data)?)?;
        let (ours, theirs) = (pair.ours.records.len(), pair.theirs.serialized_data.len());
        if ours > theirs + theirs * LONGER_PERCENT_MAX / 100 {
            return Err(format!("{}: ours has {ours} bytes, theirs {theirs}", pair.what));
        }
        Ok(())
    })
}

fn theirs_reads_ours(files: &[File]) -> Result<(), Difference> {
    pairs(files, |Pair { what, chunks, ours, .. }| {
        let name = ours.hash().as_bytes().into();
        let whole = chunks.concat();
        let mut ends: Vec<u32> = chunks
            .iter()
            .scan(0, |end, chunk| {
                *end += chunk.len() as u32;
                Some(*end)
            })
            .collect();
        ends.insert(0, 0);
        let read = taken(&what, "their reader", deserialize_chunks(&mut Cursor::new(&ours.records)))?;
        if read != (whole.clone(), ends) {
            return Err(format!("{what}: they read other bytes"));
        }

        let mut stored = Cursor::new([&ours.records[..], &ours.footer.encode()].concat());
        let validated = taken(&what, "their validation", XorbObject::validate_xorb_object(&mut stored, &name))?;
        let xorb = validated.ok_or_else(|| format!("{what}: their validation finds it wrong"))?;
        if taken(&what, "their reader", xorb.get_all_bytes(&mut stored))? != whole {
            return Err(format!("{what}: they read other bytes by the footer"));
        }
        Ok(())
    })
}

fn ours_reads_theirs(files: &[File]) -> Result<(), Difference> {
    pairs(files, |Pair { what, chunks, ours, theirs, their_footer }| {
        let mut scratch = Vec::new();
        let mut read = 0;
        for record in Records::new(&theirs.serialized_data) {
            let record = taken(&what, "us", record)?;
            if chunks.get(read) != Some(&taken(&what, "us", record.decode(&mut scratch))?) {
                return Err(format!("{what}: we read other bytes in chunk {read}"));
            }
            read += 1;
        }
        equal(&what, read, chunks.len())?;

        let stored = [&theirs.serialized_data[..], &their_footer].concat();
        let footer = taken(&what, "us", Footer::validate(ours.hash(), &stored))?;
        equal(&what, footer.leaves(), ours.footer.leaves())?;
        equal(&what, &footer, &taken(&what, "us", Footer::validate(ours.hash(), &theirs.serialized_data))?)?;
        equal(&format!("{what}, footer"), footer.encode(), their_footer)
    })
}
