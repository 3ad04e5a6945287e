//! Writing beside a final name and then giving it, so that no reader ever sees half of anything.

use std::fs::File;
use std::io::{ErrorKind, Result as IoResult};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Partial;
use super::partial::STAGED;
use crate::Error;

pub(super) fn create_folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(Error::disk("create the folder", path))
}

pub(super) fn create_parent(path: &Path) -> Result<(), Error> {
    create_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Writes a small file beside its name, in `staging`, which is on the same file system and is swept of what
/// killed processes leave, and then gives it its name.
pub(super) fn write_atomically(staging: &Path, path: &Path, content: &[u8]) -> Result<(), Error> {
    let partial = Partial::create(staging, STAGED, content.len() as u64)?;
    partial.write(content, 0)?;
    create_parent(path)?;
    partial.persist(path).map(drop)
}

/// The same for what may be lost in a power failure, since its readers notice.
pub(super) fn write_quickly(staging: &Path, path: &Path, content: &[u8]) -> Result<(), Error> {
    let partial = Partial::create(staging, STAGED, content.len() as u64)?;
    partial.write(content, 0)?;
    create_parent(path)?;
    partial.rename(path).map(drop)
}

/// Writes what comes in pieces.
pub(super) fn write_pieces(staging: &Path, path: &Path, pieces: impl Iterator<Item = Vec<u8>>) -> Result<(), Error> {
    let partial = Partial::create(staging, STAGED, 0)?;
    let mut offset = 0;
    for piece in pieces {
        partial.write(&piece, offset)?;
        offset += piece.len() as u64;
    }
    create_parent(path)?;
    partial.persist(path).map(drop)
}

/// Leaves alone what is right already, which may be on a disk that cannot be written.
pub(super) fn write_if_different(staging: &Path, path: &Path, content: &[u8]) -> Result<(), Error> {
    if std::fs::read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    write_atomically(staging, path, content)
}

/// Copies a finished file, or shares its blocks where the file system can.
pub(super) fn copy(staging: &Path, source: &Path, target: &Path) -> Result<(), Error> {
    let mut bytes = File::open(source).map_err(Error::disk("open", source))?;
    let copy = Partial::create(staging, STAGED, 0)?;
    // Not `fs::copy`, which would copy the permissions too: shared payloads are read-only, copies need not be.
    std::io::copy(&mut bytes, &mut copy.file()).map_err(Error::disk("copy", source))?;
    create_parent(target)?;
    copy.persist(target).map(drop)
}

/// Links, in one step where there is nothing, and otherwise by putting a new link in the place of the old.
pub(super) fn link(staging: &Path, path: &Path, target: &Path) -> Result<(), Error> {
    create_parent(path)?;
    match symlink(target, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        result => return result.map_err(Error::disk("link", path)),
    }
    if std::fs::read_link(path).is_ok_and(|present| present == target) {
        return Ok(());
    }
    let staged = StagedLink::create(staging.join(staged_name()), target).map_err(Error::disk("link", path))?;
    staged.rename(path).map_err(Error::disk("link", path))
}

/// Whether links can be made in a folder.
pub(super) fn can_link(folder: &Path) -> bool {
    let probe = folder.join(staged_name());
    let linked = symlink("nowhere", &probe);
    if linked.is_ok()
        && let Err(error) = std::fs::remove_file(&probe)
    {
        tracing::debug!(path = %probe.display(), %error, "cannot remove a link");
    }
    linked.is_ok()
}

fn staged_name() -> String {
    format!("{STAGED}.{:08x}", rand::random::<u32>())
}

/// A link under a passing name, which is removed unless it gets its final one.
#[derive(Debug)]
pub(super) struct StagedLink {
    path: Option<PathBuf>,
}

impl StagedLink {
    pub(super) fn create(path: PathBuf, target: &Path) -> IoResult<Self> {
        symlink(target, &path)?;
        Ok(Self { path: Some(path) })
    }

    /// Gives it its name, in the place of whatever had it.
    pub(super) fn rename(mut self, name: &Path) -> IoResult<()> {
        let Some(path) = &self.path else { return Ok(()) };
        std::fs::rename(path, name)?;
        self.path = None;
        Ok(())
    }
}

impl Drop for StagedLink {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(path = %path.display(), %error, "cannot remove a link");
        }
    }
}
