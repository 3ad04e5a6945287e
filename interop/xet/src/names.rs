//! Where files are cut, and what everything is called.

use bytes::Bytes;
use xet_cas::{ChunkHash, Chunker, Leaf, RangeHash, chunks};
use xet_core_structures::merklehash::{MerkleHash, file_hash, file_hash_with_salt, xorb_hash};
use xet_core_structures::metadata_shard::chunk_verification::range_hash_from_chunks;
use xet_core_structures::metadata_shard::hash_is_global_dedup_eligible;
use xet_data::deduplication::Chunker as TheirChunker;

use crate::files::File;
use crate::noise::Noise;
use crate::{Check, Difference, equal, raw};

pub const PROMISES: [(&str, Check); 6] = [
    ("files are cut at the same places, and chunks have the same hashes", cuts),
    ("files in pieces are cut as whole ones", cuts_of_pieces),
    ("files have the same names, with a salt and without", file_names),
    ("xorbs have the same names", xorb_names),
    ("runs of chunks have the same verification hashes", range_hashes),
    ("hashes have the same text, the same keyed form, and are eligible for deduplication alike", texts),
];

/// Leaves and theirs, of a file that both cut at the same places.
fn leaves(file: &File) -> (Vec<Leaf>, Vec<(MerkleHash, u64)>) {
    let leaves: Vec<Leaf> = chunks(&file.bytes).map(Leaf::of).collect();
    let theirs = leaves.iter().map(|leaf| (leaf.hash.as_bytes().into(), leaf.length.into())).collect();
    (leaves, theirs)
}

fn cuts(files: &[File]) -> Result<(), Difference> {
    for file in files {
        let ours: Vec<([u8; 32], Vec<u8>)> =
            chunks(&file.bytes).map(|chunk| (*ChunkHash::of(chunk).as_bytes(), chunk.to_vec())).collect();
        let theirs = TheirChunker::default().next_block_bytes(&Bytes::copy_from_slice(&file.bytes), true);
        let theirs: Vec<_> = theirs.iter().map(|chunk| (raw(&chunk.hash), chunk.data.to_vec())).collect();
        let lengths = |cut: &[([u8; 32], Vec<u8>)]| cut.iter().map(|(_, chunk)| chunk.len()).collect::<Vec<_>>();
        equal(&format!("{}, lengths of chunks", file.name), lengths(&ours), lengths(&theirs))?;
        equal(&file.name, ours, theirs)?;
    }
    Ok(())
}

fn cuts_of_pieces(files: &[File]) -> Result<(), Difference> {
    let mut noise = Noise::new(files.len() as u64);
    for file in files {
        let (mut chunker, mut their_chunker) = (Chunker::new(), TheirChunker::default());
        let (mut ours, mut theirs, mut begun) = (Vec::new(), Vec::new(), 0);
        let mut rest = &file.bytes[..];
        while !rest.is_empty() {
            let length = if noise.between(0, 4) == 0 { noise.between(1, 100) } else { noise.between(1, 200_000) };
            let (mut piece, after) = rest.split_at(length.min(rest.len()));
            rest = after;
            theirs.extend(their_chunker.next_block(piece, false).iter().map(|chunk| chunk.data.len()));
            while let Some(end) = chunker.next_boundary(piece) {
                ours.push(begun + end);
                begun = 0;
                piece = &piece[end..];
            }
            begun = chunker.pending_bytes();
        }
        ours.extend((begun > 0).then_some(begun));
        theirs.extend(their_chunker.finish().map(|chunk| chunk.data.len()));
        equal(&file.name, ours, theirs)?;
    }
    Ok(())
}

fn file_names(files: &[File]) -> Result<(), Difference> {
    for (file, seed) in files.iter().zip(1..) {
        let (ours, theirs) = leaves(file);
        let salt = std::array::from_fn(|i| Noise::new(seed).bytes(32)[i]);
        equal(&file.name, *Leaf::file_hash(&ours).as_bytes(), raw(&file_hash(&theirs)))?;
        let (salted, their_salted) = (Leaf::file_hash_salted(&ours, Some(&salt)), file_hash_with_salt(&theirs, &salt));
        equal(&format!("{}, salted", file.name), *salted.as_bytes(), raw(&their_salted))?;
    }
    Ok(())
}

fn xorb_names(files: &[File]) -> Result<(), Difference> {
    for file in files {
        let (ours, theirs) = leaves(file);
        for first in 0..ours.len() {
            let (ours, theirs) = (Leaf::xorb_hash(&ours[first..]), xorb_hash(&theirs[first..]));
            equal(&format!("{}, from chunk {first}", file.name), *ours.as_bytes(), raw(&theirs))?;
        }
    }
    equal("no chunks", *Leaf::xorb_hash(&[]).as_bytes(), raw(&xorb_hash(&[])))
}

fn range_hashes(files: &[File]) -> Result<(), Difference> {
    for file in files {
        let (ours, theirs) = leaves(file);
        let theirs: Vec<MerkleHash> = theirs.iter().map(|(hash, _)| *hash).collect();
        for (first, end) in (0..ours.len()).flat_map(|first| [(first, first + 1), (first, ours.len())]) {
            let range = RangeHash::of(ours[first..end].iter().map(|leaf| &leaf.hash));
            let what = format!("{}, chunks {first}..{end}", file.name);
            equal(&what, *range.as_bytes(), raw(&range_hash_from_chunks(&theirs[first..end])))?;
        }
    }
    Ok(())
}

fn texts(files: &[File]) -> Result<(), Difference> {
    let mut noise = Noise::new(files.len() as u64);
    for file in files {
        for (leaf, (theirs, _)) in std::iter::zip(leaves(file).0, leaves(file).1) {
            let key: [u8; 32] = std::array::from_fn(|_| noise.next() as u8);
            equal(&file.name, leaf.hash.to_string(), theirs.hex())?;
            equal(&file.name, leaf.hash.to_string().parse().ok(), Some(leaf.hash))?;
            equal(&file.name, *leaf.hash.keyed(&key).as_bytes(), raw(&theirs.hmac(key.into())))?;
            equal(&file.name, leaf.hash.is_global_dedup_eligible(), hash_is_global_dedup_eligible(&theirs))?;
        }
    }
    Ok(())
}
