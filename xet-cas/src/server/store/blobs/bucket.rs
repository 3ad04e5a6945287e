//! Bytes in a bucket of an S3-compatible store. An object appears when all of it has arrived.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use tempfile::NamedTempFile;
use tokio::runtime::Handle;

use super::super::StoreError;
use super::super::folder::in_path;
use super::{Blob, Kind};

/// Read from the bucket at once, bytes: each read is a request.
pub(super) const READ_BYTES: usize = 1024 * 1024;
/// Larger files are sent in parts of this size, bytes: what S3 takes as a part begins at 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Files sent at once.
const PUTS_MAX: usize = 8;

pub(in super::super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    /// Before every name; empty or without a slash at its end.
    prefix: String,
    /// Where requests run. Whoever calls here is on a thread that may block.
    runtime: Handle,
}

impl Bucket {
    pub(in super::super) fn new(store: Arc<dyn ObjectStore>, prefix: &str, runtime: Handle) -> Self {
        Self { store, prefix: prefix.trim_matches('/').to_owned(), runtime }
    }

    fn path(&self, kind: Kind, name: &str) -> Path {
        Path::from(format!("{}/{}", self.prefix, kind.path(name)))
    }

    pub(super) fn put(&self, kind: Kind, files: Vec<(String, NamedTempFile)>) -> Result<(), StoreError> {
        let puts = files.into_iter().map(|(name, file)| self.put_one(self.path(kind, &name), file));
        self.runtime.block_on(stream::iter(puts).buffer_unordered(PUTS_MAX).try_collect::<()>())
    }

    async fn put_one(&self, path: Path, mut file: NamedTempFile) -> Result<(), StoreError> {
        let failed = in_bucket("write", &path);
        let length = file.seek(SeekFrom::End(0)).map_err(in_path("read a file", file.path()))?;
        file.rewind().map_err(in_path("read a file", file.path()))?;
        if length <= PART_BYTES as u64 {
            let content = next_part(&mut file)?;
            return self.store.put(&path, content.into()).await.map(drop).map_err(failed);
        }
        let mut upload = self.store.put_multipart(&path).await.map_err(&failed)?;
        match send_parts(&mut *upload, &mut file, &failed).await {
            Ok(()) => Ok(()),
            Err(error) => {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(%path, %error, "parts of an upload to the bucket may stay");
                }
                Err(error)
            }
        }
    }

    pub(super) fn open(&self, kind: Kind, name: &str) -> Result<Option<Blob>, StoreError> {
        let path = self.path(kind, name);
        match self.runtime.block_on(self.store.head(&path)) {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(in_bucket("look up", &path)(error)),
            Ok(ObjectMeta { size, .. }) => {
                let remote = Remote { store: Arc::clone(&self.store), path, runtime: self.runtime.clone() };
                Ok(Some(Blob::of_bucket(remote, size)))
            }
        }
    }

    pub(super) fn remove(&self, kind: Kind, name: &str) -> Result<(), StoreError> {
        let path = self.path(kind, name);
        match self.runtime.block_on(self.store.delete(&path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(in_bucket("remove", &path)(error)),
        }
    }

    pub(super) fn list(&self, kind: Kind, each: &mut dyn FnMut(String, u64)) -> Result<(), StoreError> {
        let folder = Path::from(format!("{}/{}", self.prefix, kind.folder()));
        self.runtime.block_on(async {
            let mut listed = self.store.list(Some(&folder));
            while let Some(object) = listed.try_next().await.map_err(in_bucket("list", &folder))? {
                if let Some(name) = object.location.filename().filter(|name| kind.is_name(name)) {
                    each(name.to_owned(), object.size);
                }
            }
            Ok(())
        })
    }
}

async fn send_parts(
    upload: &mut dyn MultipartUpload,
    file: &mut NamedTempFile,
    failed: &impl Fn(object_store::Error) -> StoreError,
) -> Result<(), StoreError> {
    loop {
        let part = next_part(file)?;
        if part.is_empty() {
            return upload.complete().await.map(drop).map_err(failed);
        }
        upload.put_part(part.into()).await.map_err(failed)?;
    }
}

fn next_part(file: &mut NamedTempFile) -> Result<Vec<u8>, StoreError> {
    let mut part = Vec::new();
    let read = file.as_file().take(PART_BYTES as u64).read_to_end(&mut part);
    read.map_err(in_path("read a file", file.path()))?;
    Ok(part)
}

fn in_bucket(what: &'static str, path: &Path) -> impl Fn(object_store::Error) -> StoreError + use<> {
    let path = path.to_string();
    move |source| StoreError::Bucket { what, path: path.clone(), source }
}

/// An object of the bucket.
#[derive(Debug)]
pub(super) struct Remote {
    store: Arc<dyn ObjectStore>,
    path: Path,
    runtime: Handle,
}

impl Remote {
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let range = offset..offset + buffer.len() as u64;
        let read = self.runtime.block_on(self.store.get_range(&self.path, range)).map_err(io::Error::other)?;
        if read.len() != buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.copy_from_slice(&read);
        Ok(())
    }
}
