//! How files are put together, and which file has which SHA-256.
//!
//! A file is kept as a shard that holds it alone: the protocol's own form.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::batch::Batch;
use super::folder::read;
use super::{Store, StoreError};
use crate::server::plain::PlainReader;
use crate::shard::{Shard, ShardFile};
use crate::{FileHash, Term};

/// SHA-256 of no bytes. Clients that never hashed an empty file announce zeros for it.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// What such clients announce.
const NOT_HASHED: [u8; 32] = [0; 32];

impl Store {
    fn file_path(&self, file: FileHash) -> PathBuf {
        self.named("files", &file.to_string())
    }

    /// The terms of a file; `None` if it is unknown. The empty file needs no upload.
    pub(in super::super) fn file(&self, file: FileHash) -> Result<Option<Vec<Term>>, StoreError> {
        if file == FileHash::ZERO {
            return Ok(Some(Vec::new()));
        }
        let path = self.file_path(file);
        let Some(content) = read(&path)? else { return Ok(None) };
        let corrupt = |reason: String| StoreError::Corrupt { path: path.clone(), reason };
        let mut shard = Shard::decode_upload(&content).map_err(|error| corrupt(error.to_string()))?;
        match (shard.files.pop(), shard.files.is_empty()) {
            (Some(record), true) if record.hash == file => Ok(Some(record.terms)),
            _ => Err(corrupt("it does not describe the file that names it".into())),
        }
    }

    /// Whether some commit of a repository has a file.
    pub(in super::super) fn file_is_in(&self, repo: &super::RepoKey, file: FileHash) -> Result<bool, StoreError> {
        // STOPGAP until the store knows: the head of main alone.
        let Some(head) = self.resolve(repo, super::MAIN)? else { return Ok(false) };
        let commit = self.commit(repo, &head)?;
        Ok(commit.files.values().any(|entry| matches!(&entry.content, super::Content::Xet { hash, .. } if *hash == file)))
    }

    /// Keeps files whose descriptions have been checked, and then their SHA-256. False: all were known.
    pub(super) fn put_files(&self, files: Vec<ShardFile>) -> Result<bool, StoreError> {
        let mut any_new = false;
        let mut records = Batch::new(self);
        for file in files.iter().filter(|file| file.hash != FileHash::ZERO) {
            let record = Shard { files: vec![file.clone()], xorbs: Vec::new() };
            any_new |= records.add(self.file_path(file.hash), &record.encode_upload())?;
        }
        records.finish()?;
        let mut names = Batch::new(self);
        for file in files {
            any_new |= match file.sha256 {
                None | Some(NOT_HASHED) => false,
                Some(sha256) => self.name_file(&mut names, &hex(&sha256), file.hash, file.terms)?,
            };
        }
        names.finish()?;
        Ok(any_new)
    }

    /// The first claim that a file has a SHA-256 is believed: it can only mislead who refers to it by that
    /// SHA-256 alone, and the file's own hash is checked by whoever downloads it. Two claims for the same
    /// SHA-256 cannot both be true, and reading the file tells which is.
    fn name_file(
        &self,
        names: &mut Batch<'_>,
        sha256: &str,
        file: FileHash,
        terms: Vec<Term>,
    ) -> Result<bool, StoreError> {
        let path = self.named("sha256", sha256);
        let content = file.to_string();
        match read(&path)? {
            None => names.add(path, content.as_bytes()),
            Some(known) if known == content.as_bytes() => Ok(false),
            Some(_) if self.sha256_of(terms)? == sha256 => self.replace(&path, content.as_bytes()).map(|()| true),
            Some(_) => Err(StoreError::WrongSha256 { file, sha256: sha256.to_owned() }),
        }
    }

    fn sha256_of(&self, terms: Vec<Term>) -> Result<String, StoreError> {
        let mut hasher = Sha256::new();
        let mut reader = PlainReader::whole(terms);
        while let Some(piece) = reader.next(self, 1)? {
            hasher.update(&piece);
        }
        Ok(hex(&hasher.finalize()))
    }

    /// The file with this SHA-256 (64 lowercase hexadecimal digits), if an upload announced one.
    pub(in super::super) fn file_of_sha256(&self, sha256: &str) -> Result<Option<FileHash>, StoreError> {
        if sha256 == EMPTY_SHA256 {
            return Ok(Some(FileHash::ZERO));
        }
        let path = self.named("sha256", sha256);
        let Some(content) = read(&path)? else { return Ok(None) };
        match String::from_utf8_lossy(&content).parse() {
            Ok(file) => Ok(Some(file)),
            Err(error) => Err(StoreError::Corrupt { path, reason: format!("{error}") }),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
