//! Cuts files into chunks and packs those that are new into xorbs.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;

use sha2::{Digest as _, Sha256};

use super::folder::{LocalFile, changed, local_file};
use crate::client::Error;
use crate::shard::{ShardFile, ShardXorb};
use crate::{
    ChunkHash, ChunkRange, Chunker, CompressionPolicy, FileHash, Leaf, RangeHash, RootBuilder, Term, XorbHash, xorb,
};

/// Bytes read from a file at once.
const READ_BYTES: usize = 1024 * 1024;
/// Chunks remembered to find them again, about 64 bytes each: 256 MiB of memory for 256 GiB of files.
/// Later chunks are stored without being remembered.
const REMEMBERED_CHUNKS_MAX: usize = 4 * 1024 * 1024;

/// What was packed.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) files: Vec<PackedFile>,
    pub(super) xorbs: Vec<ShardXorb>,
    /// Bytes of all xorbs, uncompressed.
    pub(super) unique_bytes: u64,
}

#[derive(Debug)]
pub(super) struct PackedFile {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
    pub(super) shard_file: ShardFile,
}

/// Where a chunk is stored: in which xorb of this session, at which index.
type Place = (usize, u32);

pub(super) struct Packer<F> {
    /// Takes a finished xorb; false: nobody wants it any more.
    emit: F,
    builder: xorb::Builder,
    places: HashMap<ChunkHash, Place>,
    xorbs: Vec<ShardXorb>,
    files: Vec<OpenFile>,
    unique_bytes: u64,
}

/// A file whose last xorb may not have a name yet.
struct OpenFile {
    path: String,
    size: u64,
    sha256: [u8; 32],
    hash: FileHash,
    terms: Vec<OpenTerm>,
}

struct OpenTerm {
    xorb: usize,
    chunks: ChunkRange,
    unpacked_length: u32,
    hashes: Vec<ChunkHash>,
}

impl<F: FnMut(xorb::Serialized) -> bool> Packer<F> {
    pub(super) fn new(emit: F) -> Self {
        Self {
            emit,
            builder: xorb::Builder::new(CompressionPolicy::Auto),
            places: HashMap::new(),
            xorbs: Vec::new(),
            files: Vec::new(),
            unique_bytes: 0,
        }
    }

    pub(super) fn add_file(&mut self, file: &LocalFile) -> Result<(), Error> {
        let local = |error| local_file(&file.source, error);
        let mut reader = File::open(&file.source).map_err(local)?;
        let mut open =
            OpenFile { path: file.path.clone(), size: 0, sha256: [0; 32], hash: FileHash::ZERO, terms: Vec::new() };
        let (mut sha256, mut root, mut chunker) = (Sha256::new(), RootBuilder::new(), Chunker::new());
        let (mut buffer, mut pending) = (vec![0; READ_BYTES], Vec::new());
        self.builder.begin_file();
        loop {
            let read = reader.read(&mut buffer).map_err(local)?;
            let mut data = &buffer[..read];
            open.size += read as u64;
            sha256.update(data);
            while let Some(end) = chunker.next_boundary(data) {
                let (last, rest) = data.split_at(end);
                pending.extend_from_slice(last);
                self.add_chunk(&mut open, &mut root, &pending)?;
                pending.clear();
                data = rest;
            }
            pending.extend_from_slice(data);
            if read == 0 {
                break;
            }
        }
        if !pending.is_empty() {
            self.add_chunk(&mut open, &mut root, &pending)?;
        }
        if open.size != file.size {
            return Err(changed(file));
        }
        open.sha256 = sha256.finalize().into();
        open.hash = root.finish_file();
        self.files.push(open);
        Ok(())
    }

    fn add_chunk(&mut self, file: &mut OpenFile, root: &mut RootBuilder, chunk: &[u8]) -> Result<(), Error> {
        let leaf = Leaf::of(chunk);
        root.push(&leaf);
        let place = match self.places.get(&leaf.hash) {
            Some(place) => *place,
            None => self.store(leaf, chunk, &file.path)?,
        };
        file.append(place, leaf);
        Ok(())
    }

    fn store(&mut self, leaf: Leaf, chunk: &[u8], path: &str) -> Result<Place, Error> {
        if !self.builder.fits(chunk.len()) {
            self.cut()?;
        }
        let index = self
            .builder
            .push(leaf, chunk)
            .map_err(|source| Error::Format { what: format!("packing of {path}"), source })?;
        let place = (self.xorbs.len(), index);
        if self.places.len() < REMEMBERED_CHUNKS_MAX {
            self.places.insert(leaf.hash, place);
        }
        self.unique_bytes += u64::from(leaf.length);
        Ok(place)
    }

    /// Hands over the xorb that is being built and begins another.
    fn cut(&mut self) -> Result<(), Error> {
        let builder = std::mem::replace(&mut self.builder, xorb::Builder::new(CompressionPolicy::Auto));
        let xorb = builder.finish();
        self.xorbs.push(ShardXorb { hash: xorb.hash(), leaves: xorb.footer.leaves().to_vec() });
        if (self.emit)(xorb) {
            return Ok(());
        }
        Err(Error::Transport { what: "upload".into(), reason: "it was given up".into() })
    }

    pub(super) fn finish(mut self) -> Result<Packed, Error> {
        if !self.builder.is_empty() {
            self.cut()?;
        }
        let names: Vec<XorbHash> = self.xorbs.iter().map(|xorb| xorb.hash).collect();
        let files = self.files.into_iter().map(|file| file.close(&names)).collect();
        Ok(Packed { files, xorbs: self.xorbs, unique_bytes: self.unique_bytes })
    }
}

impl OpenFile {
    /// Appends a chunk to the last term, or begins another one.
    fn append(&mut self, (xorb, index): Place, leaf: Leaf) {
        let fits = |term: &&mut OpenTerm| {
            term.xorb == xorb
                && term.chunks.end == index
                && u64::from(term.unpacked_length) + u64::from(leaf.length) <= xorb::RAW_BYTES_MAX
        };
        if let Some(term) = self.terms.last_mut().filter(fits) {
            term.chunks.end += 1;
            term.unpacked_length += leaf.length;
            term.hashes.push(leaf.hash);
            return;
        }
        let chunks = ChunkRange { start: index, end: index + 1 };
        self.terms.push(OpenTerm { xorb, chunks, unpacked_length: leaf.length, hashes: vec![leaf.hash] });
    }

    fn close(self, names: &[XorbHash]) -> PackedFile {
        let verification = self.terms.iter().map(|term| RangeHash::of(&term.hashes)).collect();
        let terms = self.terms.iter().map(|term| Term {
            xorb: names[term.xorb],
            chunks: term.chunks,
            unpacked_length: term.unpacked_length,
        });
        let shard_file = ShardFile {
            hash: self.hash,
            terms: terms.collect(),
            verification: Some(verification),
            sha256: Some(self.sha256),
        };
        PackedFile { path: self.path, size: self.size, sha256: self.sha256, shard_file }
    }
}
