//! How files are put together, and which file has which SHA-256.
//!
//! A file is kept as a shard that holds it alone: the protocol's own form.

use std::collections::BTreeSet;
use std::path::PathBuf;

use redb::{ReadableTable as _, WriteTransaction};
use sha2::{Digest as _, Sha256};

use super::metadata::{Done, FILES, SHA256};
use super::xorbs::note_use;
use super::{Store, StoreError};
use crate::reconstruction::describe::file_bytes;
use crate::server::app::unix_now;
use crate::server::plain::PlainReader;
use crate::shard::{Shard, ShardFile};
use crate::{FileHash, Term, XorbHash};

/// SHA-256 of no bytes. Clients that never hashed an empty file announce zeros for it.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// What such clients announce.
const NOT_HASHED: [u8; 32] = [0; 32];
/// Of a file that is hashed again, read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// How many times the data of its xorbs a file may have, to be read because its SHA-256 is contested.
const READ_AGAIN_MAX: u64 = 4;
/// In front of a record: when the file was registered, Unix seconds, little-endian.
const TIME_BYTES: usize = 8;

impl Store {
    /// The terms of a file; `None` if it is unknown. The empty file needs no upload.
    pub(in super::super) fn file(&self, file: FileHash) -> Result<Option<Vec<Term>>, StoreError> {
        if file == FileHash::ZERO {
            return Ok(Some(Vec::new()));
        }
        self.metadata.read(|transaction| {
            let Some(record) = transaction.open_table(FILES)?.get(file.as_bytes())? else { return Ok(None) };
            Ok(Some(terms_of(file, record.value())?))
        })
    }

    /// Whether it is known how a file is put together.
    pub(in super::super) fn has_file(&self, file: FileHash) -> Result<bool, StoreError> {
        if file == FileHash::ZERO {
            return Ok(true);
        }
        self.metadata.read(|transaction| Ok(transaction.open_table(FILES)?.get(file.as_bytes())?.is_some()))
    }

    /// Keeps files whose descriptions have been checked, and their SHA-256. False: all were known.
    pub(in super::super) fn put_files(&self, files: &[ShardFile]) -> Result<bool, StoreError> {
        let mut rewritten = Vec::new();
        for file in files {
            if let Some(sha256) = announced(file)
                && self.is_contested(&sha256, file)?
            {
                rewritten.push(sha256);
            }
        }
        self.metadata.write(|transaction| {
            let mut any_new = false;
            for file in files.iter().filter(|file| file.hash != FileHash::ZERO) {
                any_new |= put_file(transaction, file)?;
            }
            let mut names = transaction.open_table(SHA256)?;
            for file in files {
                let Some(sha256) = announced(file) else { continue };
                let known = names.get(&sha256)?.map(|known| *known.value());
                if known.is_none() || (known != Some(*file.hash.as_bytes()) && rewritten.contains(&sha256)) {
                    names.insert(&sha256, file.hash.as_bytes())?;
                    any_new = true;
                }
            }
            Ok(any_new)
        })
    }

    /// The first claim that a file has a SHA-256 is believed: it can only mislead who refers to it by that
    /// SHA-256 alone, and the file's own hash is checked by whoever downloads it. Two claims for the same
    /// SHA-256 cannot both be true, and reading the file tells which is: an error if it is not this one.
    fn is_contested(&self, sha256: &[u8; 32], file: &ShardFile) -> Result<bool, StoreError> {
        let known = self
            .metadata
            .read(|transaction| Ok(transaction.open_table(SHA256)?.get(sha256)?.map(|known| *known.value())))?;
        if known.is_none_or(|known| known == *file.hash.as_bytes()) {
            return Ok(false);
        }
        // Whoever says of a little data, named again and again, that it has a SHA-256 is not worth hours of reading.
        let mut stored = 0;
        let distinct: BTreeSet<XorbHash> = file.terms.iter().map(|term| term.xorb).collect();
        for xorb in distinct {
            stored += self.footer(xorb)?.raw_bytes();
        }
        let is_worth_it = file_bytes(&file.terms) <= stored.saturating_mul(READ_AGAIN_MAX);
        match is_worth_it && self.sha256_of(file.terms.clone())? == *sha256 {
            true => Ok(true),
            false => Err(StoreError::WrongSha256 { file: file.hash, sha256: hex(sha256) }),
        }
    }

    fn sha256_of(&self, terms: Vec<Term>) -> Result<[u8; 32], StoreError> {
        let mut hasher = Sha256::new();
        let mut reader = PlainReader::whole(terms);
        while let Some(piece) = reader.next(self, PIECE_BYTES)? {
            hasher.update(&piece);
        }
        Ok(hasher.finalize().into())
    }

    /// The file with this SHA-256 (64 lowercase hexadecimal digits), if an upload announced one.
    pub(in super::super) fn file_of_sha256(&self, sha256: &str) -> Result<Option<FileHash>, StoreError> {
        if sha256 == EMPTY_SHA256 {
            return Ok(Some(FileHash::ZERO));
        }
        let Some(sha256) = from_hex(sha256) else { return Ok(None) };
        self.metadata.read(|transaction| {
            let known = transaction.open_table(SHA256)?.get(&sha256)?;
            Ok(known.map(|known| FileHash::from_bytes(*known.value())))
        })
    }
}

/// Keeps a file if it is new. Its xorbs must be here, and are not collected for a while from now on.
fn put_file(transaction: &WriteTransaction, file: &ShardFile) -> Done<bool> {
    let mut last = None;
    for term in &file.terms {
        if last.replace(term.xorb) != Some(term.xorb) && !note_use(transaction, term.xorb)? {
            return Err(StoreError::MissingXorb { xorb: term.xorb }.into());
        }
    }
    let record = Shard { files: vec![file.clone()], xorbs: Vec::new() };
    let record = [&unix_now().to_le_bytes()[..], &record.encode_upload()].concat();
    let mut files = transaction.open_table(FILES)?;
    let is_new = files.get(file.hash.as_bytes())?.is_none();
    // Also if it is known: it is new to be collected.
    files.insert(file.hash.as_bytes(), record.as_slice())?;
    Ok(is_new)
}

/// What a record says: its terms.
pub(super) fn terms_of(file: FileHash, record: &[u8]) -> Result<Vec<Term>, StoreError> {
    let corrupt = |reason: String| StoreError::Corrupt { path: PathBuf::from(format!("files/{file}")), reason };
    let shard = record.get(TIME_BYTES..).unwrap_or_default();
    let mut shard = Shard::decode_upload(shard).map_err(|error| corrupt(error.to_string()))?;
    match (shard.files.pop(), shard.files.is_empty()) {
        (Some(described), true) if described.hash == file => Ok(described.terms),
        _ => Err(corrupt("it does not describe the file that names it".into())),
    }
}

/// When a record was written, Unix seconds.
pub(super) fn registered(record: &[u8]) -> u64 {
    record.first_chunk().map_or(0, |time| u64::from_le_bytes(*time))
}

fn announced(file: &ShardFile) -> Option<[u8; 32]> {
    file.sha256.filter(|sha256| *sha256 != NOT_HASHED)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads 64 hexadecimal digits.
pub(super) fn from_hex(text: &str) -> Option<[u8; 32]> {
    // The digits of a `blake3::Hash` are in the order of its bytes.
    blake3::Hash::from_hex(text).ok().map(Into::into)
}
