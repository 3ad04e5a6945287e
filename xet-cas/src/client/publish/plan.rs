//! Which files go which way: which are there already, which stand in the commit, which go through the CAS.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use rayon::ThreadPool;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::folder::{FileState, LocalFile, changed, local_file};
use super::target::{LARGE_BYTES_MIN, SAMPLE_BYTES, Target, hex};
use super::{PublishProgress, Way};
use crate::api::{GitBlobHasher, PreuploadMode, UploadMode};
use crate::client::Error;
use crate::client::blocking::blocking;

/// Bytes read from a file at once.
const READ_BYTES: usize = 256 * 1024;
/// Digits of a SHA-256, as opposed to one of git's names.
const SHA256_DIGITS: usize = 64;

/// The files by the way they go.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) regular: Vec<LocalFile>,
    pub(super) large: Vec<LocalFile>,
    /// Files that the repository has.
    pub(super) unchanged: u64,
}

impl Plan {
    /// Asks the Hub about every file, and hashes those for which it has something already. `asks` is false if there
    /// is no repository that could be asked about.
    pub(super) async fn make(
        target: &Target<'_>,
        files: Vec<LocalFile>,
        asks: bool,
        pool: &Arc<ThreadPool>,
        progress: &impl Fn(PublishProgress),
    ) -> Result<Self, Error> {
        let modes = if asks {
            target.preupload(&files).await?.into_iter().map(Some).collect()
        } else {
            vec![None; files.len()]
        };
        let candidates: Vec<_> = files.into_iter().zip(modes).collect();
        let pool = Arc::clone(pool);
        let compared = blocking(move || {
            pool.install(|| candidates.into_par_iter().map(compare).collect::<Result<Vec<_>, Error>>())
        });
        let compared = compared.await?;
        let mut plan = Self::default();
        for (file, way) in compared {
            progress(PublishProgress::File { path: file.path.clone(), bytes: file.size, way });
            match way {
                Way::Ignored => {}
                Way::Unchanged => plan.unchanged += 1,
                Way::InCommit => plan.regular.push(file),
                Way::Xet => plan.large.push(file),
            }
        }
        Ok(plan)
    }
}

/// What a Hub would say that has nothing yet: text stands in the commit, unless it is long.
fn guessed(file: &LocalFile) -> Result<PreuploadMode, Error> {
    let mut start = [0; SAMPLE_BYTES];
    let mut reader = File::open(&file.source).map_err(|error| local_file(&file.source, error))?;
    let read = reader.read(&mut start).map_err(|error| local_file(&file.source, error))?;
    let is_large = file.size >= LARGE_BYTES_MIN || start[..read].contains(&0);
    let upload_mode = if is_large { UploadMode::Lfs } else { UploadMode::Regular };
    Ok(PreuploadMode { path: file.path.clone(), upload_mode, should_ignore: false, oid: None })
}

fn compare((file, mode): (LocalFile, Option<PreuploadMode>)) -> Result<(LocalFile, Way), Error> {
    let mode = mode.map_or_else(|| guessed(&file), Ok)?;
    let is_there = match &mode.oid {
        Some(oid) if oid.len() == SHA256_DIGITS => *oid == sha256(&file)?,
        Some(oid) => *oid == git_name(&file)?,
        None => false,
    };
    let way = match mode.upload_mode {
        _ if mode.should_ignore => Way::Ignored,
        _ if is_there => Way::Unchanged,
        // There is nothing of an empty file that could be stored elsewhere.
        UploadMode::Lfs if file.size > 0 => Way::Xet,
        _ => Way::InCommit,
    };
    Ok((file, way))
}

fn sha256(file: &LocalFile) -> Result<String, Error> {
    let mut digest = Sha256::new();
    read(file, |piece| digest.update(piece))?;
    Ok(hex(&digest.finalize()))
}

fn git_name(file: &LocalFile) -> Result<String, Error> {
    let mut digest = GitBlobHasher::new(file.size);
    read(file, |piece| digest.update(piece))?;
    Ok(digest.finish())
}

fn read(file: &LocalFile, mut take: impl FnMut(&[u8])) -> Result<(), Error> {
    let local = |error| local_file(&file.source, error);
    let mut reader = File::open(&file.source).map_err(local)?;
    let mut buffer = vec![0; READ_BYTES.min(file.size as usize + 1)];
    loop {
        let read = reader.read(&mut buffer).map_err(local)?;
        if read == 0 {
            break;
        }
        take(&buffer[..read]);
    }
    let after = FileState::of(&reader.metadata().map_err(local)?);
    if after == file.state { Ok(()) } else { Err(changed(file)) }
}
