//! A folder that holds the files themselves, as `hf download --local-dir` leaves it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use xet_cas::client::{Commit, TreeFile};

use super::Candidates;
use super::cache_layout::{leads_to, tag};
use super::hub_layout::TreeJson;
use super::staging::{copy, create_folder, create_parent, write_if_different, write_quickly};
use crate::Error;
use crate::verified::VerifiedFile;

#[derive(Debug, Clone)]
pub(super) struct FolderLayout {
    root: PathBuf,
    /// `.cache/huggingface`, which tools keep beside the files.
    metadata: PathBuf,
}

impl FolderLayout {
    pub(super) fn new(root: PathBuf) -> Self {
        let metadata = root.join(".cache/huggingface");
        Self { root, metadata }
    }

    pub(super) fn path(&self) -> &Path {
        &self.root
    }

    pub(super) fn downloads(&self) -> PathBuf {
        self.metadata.join("download")
    }

    pub(super) fn lock_path(&self, file: &TreeFile) -> PathBuf {
        self.downloads().join(format!("{}.lock", file.path))
    }

    pub(super) fn prepare(&self, commit: &Commit, all_files: &[TreeFile]) -> Result<(), Error> {
        let staging = self.downloads();
        create_folder(&staging)?;
        tag(&self.metadata);
        write_if_different(&staging, &self.metadata.join(".gitignore"), b"*")?;
        TreeJson::new(all_files).write(&staging, &self.metadata.join("trees"), &commit.sha)
    }

    pub(super) fn look(&self, files: &[TreeFile], found: &mut Candidates) {
        files.iter().for_each(|file| found.look_at(&self.name(file), file.size));
    }

    pub(super) fn put(&self, verified: &VerifiedFile, file: &TreeFile) -> Result<(PathBuf, File), Error> {
        let name = self.name(file);
        create_parent(&name)?;
        verified.partial().persist(&name).map(|file| (name, file))
    }

    /// Gives bytes, which are at all of `sources`, every name that they have in the repository.
    pub(super) fn expose(&self, sources: &[PathBuf], files: &[TreeFile], commit: &Commit) -> Result<(), Error> {
        let Some(source) = sources.first() else { return Ok(()) };
        for file in files {
            let name = self.name(file);
            if !leads_to(&name, sources) {
                copy(&self.downloads(), source, &name)?;
            }
            self.write_metadata(file, commit)?;
        }
        Ok(())
    }

    fn name(&self, file: &TreeFile) -> PathBuf {
        self.root.join(&file.path)
    }

    /// What `hf download --local-dir` reads to tell that a file is up to date.
    fn write_metadata(&self, file: &TreeFile, commit: &Commit) -> Result<(), Error> {
        let path = self.downloads().join(format!("{}.metadata", file.path));
        let stamp = format!("{}\n{}\n", commit.sha, file.etag());
        if std::fs::read_to_string(&path).is_ok_and(|present| present.starts_with(&stamp)) {
            return Ok(());
        }
        let written = system_now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        write_quickly(&self.downloads(), &path, format!("{stamp}{written}\n").as_bytes())
    }
}

#[expect(clippy::disallowed_methods, reason = "the store is a shell: files bear wall-clock times")]
fn system_now() -> SystemTime {
    SystemTime::now()
}
