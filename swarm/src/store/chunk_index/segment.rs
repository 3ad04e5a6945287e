//! A segment: sorted entries of some files in one file that is never changed.
//!
//! ```text
//! hashes of the files, sorted      32 bytes each
//! entries, sorted                  16 bytes each, in pages of 128
//! first prefix of every page        8 bytes each, big-endian
//! filter of all prefixes            8 bytes for 8 entries
//! footer                           64 bytes: magic and version, entries, files, words of the filter, checksum
//! ```
//!
//! First prefixes and filter are kept in memory, 8.5 bits a chunk; a lookup that passes the filter reads the one page
//! that they name. The checksum covers what is read when a segment is opened. The rest is found out when it is used.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use xet_cas::FileHash;

use super::entry::Entry;
use super::filter::{Filter, WORD_BYTES};

/// Entries in a page. A page is what one lookup reads, and has eight bytes in memory.
pub(super) const PAGE_ENTRIES: usize = 128;
const PAGE_BYTES: usize = PAGE_ENTRIES * Entry::BYTES;
/// Pages that one lookup reads at most: a chunk that is in very many files fills several.
const LOOKUP_PAGES_MAX: usize = 4;
/// Bytes of the name of a file.
pub(super) const FILE_BYTES: usize = 32;
/// Bytes of a page's first prefix.
const FENCE_BYTES: usize = 8;
/// Bytes that are read at once when a segment is merged.
const READ_BYTES: usize = 64 * 1024;

/// A segment that is open.
#[derive(Debug)]
pub(super) struct Segment {
    number: u64,
    file: File,
    footer: Footer,
    /// The first prefix of every page.
    fences: Vec<u64>,
    filter: Filter,
}

/// The end of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) entries: u64,
    pub(super) files: u32,
    pub(super) filter_words: u32,
}

impl Footer {
    const MAGIC: [u8; 16] = *b"zest chunks v1\n\0";
    const CHECKSUM_AT: usize = 32;
    pub(super) const BYTES: usize = Self::CHECKSUM_AT + 32;

    /// `loaded`: first prefixes and filter, as they are stored.
    pub(super) fn encode(&self, loaded: &[u8]) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&Self::MAGIC);
        bytes[16..24].copy_from_slice(&self.entries.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.files.to_be_bytes());
        bytes[28..32].copy_from_slice(&self.filter_words.to_be_bytes());
        let checksum = Sha256::new().chain_update(loaded).chain_update(&bytes[..Self::CHECKSUM_AT]).finalize();
        bytes[Self::CHECKSUM_AT..].copy_from_slice(&checksum);
        bytes
    }

    /// Reads the counts, which are yet to be compared with the checksum.
    fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let entries = u64::from_be_bytes(std::array::from_fn(|i| bytes[16 + i]));
        let [files, filter_words] = [24, 28].map(|at| u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i])));
        bytes.starts_with(&Self::MAGIC).then_some(Self { entries, files, filter_words })
    }

    fn entries_at(&self) -> u64 {
        u64::from(self.files) * FILE_BYTES as u64
    }

    fn fences_bytes(&self) -> u64 {
        self.entries.div_ceil(PAGE_ENTRIES as u64) * FENCE_BYTES as u64
    }

    /// Where first prefixes and filter are. `None` if no file is as long as that.
    fn loaded_range(&self) -> Option<Range<u64>> {
        let start = self.entries.checked_mul(Entry::BYTES as u64)?.checked_add(self.entries_at())?;
        let filter_bytes = u64::from(self.filter_words) * WORD_BYTES as u64;
        Some(start..start.checked_add(self.fences_bytes())?.checked_add(filter_bytes)?)
    }
}

impl Segment {
    pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
        folder.join(format!("{number:016x}.segment"))
    }

    /// Opens a segment. One that is no segment, or not a whole one, is [invalid data](ErrorKind::InvalidData).
    pub(super) fn open(folder: &Path, number: u64) -> io::Result<Self> {
        let file = File::open(Self::path(folder, number))?;
        let length = file.metadata()?.len();
        let footer_at = length.checked_sub(Footer::BYTES as u64).ok_or_else(|| invalid("it is too short"))?;
        let mut footer_bytes = [0; Footer::BYTES];
        file.read_exact_at(&mut footer_bytes, footer_at)?;
        let footer = Footer::decode(&footer_bytes).ok_or_else(|| invalid("it is no segment"))?;
        let range = footer.loaded_range().filter(|range| range.end == footer_at);
        let range = range.ok_or_else(|| invalid("its length is not what it says"))?;

        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start)?;
        if footer.encode(&bytes) != footer_bytes {
            return Err(invalid("its checksum differs"));
        }
        let (fences, filter) = bytes.split_at(footer.fences_bytes() as usize);
        let (fences, _) = fences.as_chunks::<FENCE_BYTES>();
        let fences = fences.iter().map(|fence| u64::from_be_bytes(*fence)).collect();
        Ok(Self { number, file, footer, fences, filter: Filter::decode(filter) })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn entry_count(&self) -> u64 {
        self.footer.entries
    }

    /// Appends entries with this prefix to `found`, until it holds `found_max`.
    pub(super) fn find(&self, prefix: u64, found_max: usize, found: &mut Vec<Entry>) -> io::Result<()> {
        if self.fences.is_empty() || !self.filter.may_have(prefix) {
            return Ok(());
        }
        // Entries with the prefix may begin in the page before the first one that begins with it.
        let mut page = self.fences.partition_point(|first| *first < prefix).saturating_sub(1);
        let mut buffer = [[0; Entry::BYTES]; PAGE_ENTRIES];
        for _ in 0..LOOKUP_PAGES_MAX {
            let entries = self.read_page(page, &mut buffer)?;
            let first = entries.partition_point(|bytes| Entry::decode(bytes).prefix < prefix);
            let matching = entries[first..].iter().map(Entry::decode).take_while(|entry| entry.prefix == prefix);
            found.extend(matching.take(found_max.saturating_sub(found.len())));
            page += 1;
            if found.len() >= found_max || self.fences.get(page) != Some(&prefix) {
                break;
            }
        }
        Ok(())
    }

    fn read_page<'a>(
        &self,
        page: usize,
        buffer: &'a mut [[u8; Entry::BYTES]; PAGE_ENTRIES],
    ) -> io::Result<&'a [[u8; Entry::BYTES]]> {
        let before = page as u64 * PAGE_ENTRIES as u64;
        let count = self.footer.entries.saturating_sub(before).min(PAGE_ENTRIES as u64) as usize;
        let entries = &mut buffer[..count];
        let at = self.footer.entries_at() + page as u64 * PAGE_BYTES as u64;
        self.file.read_exact_at(entries.as_flattened_mut(), at)?;
        Ok(entries)
    }

    /// The file of this number.
    pub(super) fn file(&self, number: u32) -> io::Result<FileHash> {
        if number >= self.footer.files {
            return Err(invalid("an entry names a file that is not in the table"));
        }
        let mut hash = [0; FILE_BYTES];
        self.file.read_exact_at(&mut hash, u64::from(number) * FILE_BYTES as u64)?;
        Ok(FileHash::from_bytes(hash))
    }

    /// Whether the chunks of a file are in this segment.
    pub(super) fn has_file(&self, file: FileHash) -> io::Result<bool> {
        let mut range = 0..self.footer.files;
        while !range.is_empty() {
            let middle = range.start + (range.end - range.start) / 2;
            match self.file(middle)?.cmp(&file) {
                std::cmp::Ordering::Less => range.start = middle + 1,
                std::cmp::Ordering::Greater => range.end = middle,
                std::cmp::Ordering::Equal => return Ok(true),
            }
        }
        Ok(false)
    }

    /// All files, in order, read as they are asked for.
    pub(super) fn read_files(&self) -> impl Iterator<Item = io::Result<FileHash>> {
        let hashes = self.records::<FILE_BYTES>(0, u64::from(self.footer.files));
        hashes.map(|hash| hash.map(FileHash::from_bytes))
    }

    /// All entries, in order, read as they are asked for.
    pub(super) fn read_entries(&self) -> impl Iterator<Item = io::Result<Entry>> {
        let entries = self.records::<{ Entry::BYTES }>(self.footer.entries_at(), self.footer.entries);
        entries.map(|bytes| bytes.map(|bytes| Entry::decode(&bytes)))
    }

    fn records<const BYTES: usize>(&self, at: u64, count: u64) -> impl Iterator<Item = io::Result<[u8; BYTES]>> {
        let mut reader = BufReader::with_capacity(READ_BYTES, ReadAt { file: &self.file, at });
        (0..count).map(move |_| {
            let mut record = [0; BYTES];
            reader.read_exact(&mut record)?;
            Ok(record)
        })
    }
}

/// Reads on from a place of its own, whoever else reads the file.
struct ReadAt<'a> {
    file: &'a File,
    at: u64,
}

impl Read for ReadAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

pub(super) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
