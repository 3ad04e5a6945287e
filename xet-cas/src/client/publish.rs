//! Publishing a folder: chunk, pack and upload what is large, register it, and commit everything at once.

mod folder;
mod pack;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use tokio::sync::mpsc;

use self::folder::LocalFile;
use self::pack::{Packed, PackedFile, Packer};
use super::http::Request;
use super::{Cas, Error, Hub, listing};
use crate::api::{
    CommitAnswer, CommitLine, CreateRepoRequest, PreuploadAnswer, PreuploadFile, PreuploadRequest, RepoId, RepoType,
    UploadMode, encode_segment,
};
use crate::shard::{SHARD_BYTES_MAX, Shard};
use crate::xorb;

/// Files in one preupload request: the Hub's limit.
const PREUPLOAD_FILES_MAX: usize = 256;
/// Bytes of a file that the Hub looks at to choose its upload mode.
const SAMPLE_BYTES: usize = 512;
/// Finished xorbs that wait for their upload, each up to 64 MiB: one is packed while one is sent.
const XORBS_WAITING_MAX: usize = 1;

/// Where and how to publish. Start from `default()` and assign.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PublishOptions {
    /// Kind of repository.
    pub repo_type: RepoType,
    /// Branch. Default (empty): `main`.
    pub revision: String,
    /// Title of the commit. Default (empty): one that says what zest did.
    pub message: String,
}

/// Where a publication stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishProgress {
    /// So many files of so many bytes will be published.
    Begun {
        /// Files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A xorb was stored.
    XorbStored {
        /// Uncompressed bytes it stands for.
        raw_bytes: u64,
        /// Bytes that were sent.
        sent_bytes: u64,
    },
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The new commit.
    pub commit: String,
    /// Files in the folder.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Bytes of chunks that were not found twice.
    pub unique_bytes: u64,
    /// Bytes of xorbs that were sent.
    pub sent_bytes: u64,
}

impl Hub {
    /// Publishes all files of a folder as one commit, creating the repository if there is none. Files of
    /// the same content are stored once, and so are chunks that recur within the folder.
    ///
    /// # Errors
    /// [`Error::LocalFile`] and [`Error::Unpublishable`] for what is wrong with the folder; or what any
    /// request can meet. Nothing is visible in the repository before the commit.
    ///
    /// # Cancel safety
    /// The folder is left unpublished, or published completely, if the future is dropped. The repository may
    /// have been created, and what was uploaded is not stored twice.
    pub async fn publish(
        &self,
        folder: &Path,
        repo: &RepoId,
        options: &PublishOptions,
        progress: impl Fn(PublishProgress),
    ) -> Result<Published, Error> {
        let target = Target { hub: self, repo, options };
        let files = read_folder(folder.to_owned()).await?;
        let (count, bytes) = (files.len() as u64, files.iter().map(|file| file.size).sum());
        progress(PublishProgress::Begun { files: count, bytes });
        target.create_repo().await?;
        let modes = target.upload_modes(&files).await?;

        let (large, regular): (Vec<_>, Vec<_>) =
            files.into_iter().zip(modes).partition(|(_, mode)| *mode == Some(UploadMode::Lfs));
        let large: Vec<LocalFile> = large.into_iter().map(|(file, _)| file).collect();
        let regular = regular.into_iter().filter(|(_, mode)| mode.is_some()).map(|(file, _)| file).collect();
        let (packed, sent_bytes) = target.upload_large(large, &progress).await?;
        let commit = target.commit(regular, &packed.files).await?;
        Ok(Published { commit, files: count, file_bytes: bytes, unique_bytes: packed.unique_bytes, sent_bytes })
    }
}

struct Target<'a> {
    hub: &'a Hub,
    repo: &'a RepoId,
    options: &'a PublishOptions,
}

impl Target<'_> {
    fn branch(&self) -> &str {
        if self.options.revision.is_empty() { "main" } else { &self.options.revision }
    }

    fn api(&self, call: &str) -> String {
        format!("/api/{}/{}/{call}/{}", self.options.repo_type.plural(), self.repo, encode_segment(self.branch()))
    }

    /// A repository that is there already is fine.
    async fn create_repo(&self) -> Result<(), Error> {
        let body = CreateRepoRequest {
            name: self.repo.name().to_owned(),
            organization: self.repo.owner().map(str::to_owned),
            kind: Some(self.options.repo_type.to_string()),
            private: false,
        };
        let request =
            self.post(format!("creation of {}", self.repo), "/api/repos/create", "application/json", json(&body))?;
        match self.hub.http.send(&request).await {
            Err(Error::Status { status, .. }) if status == StatusCode::CONFLICT.as_u16() => Ok(()),
            other => other.map(drop),
        }
    }

    /// How each file is to be uploaded; `None`: not at all.
    async fn upload_modes(&self, files: &[LocalFile]) -> Result<Vec<Option<UploadMode>>, Error> {
        let git_attributes = folder::git_attributes(files).await?;
        let mut modes = Vec::with_capacity(files.len());
        for batch in files.chunks(PREUPLOAD_FILES_MAX) {
            let mut asked = Vec::with_capacity(batch.len());
            for file in batch {
                let sample = BASE64.encode(folder::read_start(file, SAMPLE_BYTES).await?);
                asked.push(PreuploadFile { path: file.path.clone(), sample, size: file.size });
            }
            let body = PreuploadRequest { files: asked, git_attributes: git_attributes.clone() };
            let what = format!("upload modes for {}", self.repo);
            let request = self.post(what, &self.api("preupload"), "application/json", json(&body))?;
            let (answer, _) =
                self.hub.http.json::<PreuploadAnswer>(&request).await.map_err(|error| self.named(error))?;
            for file in batch {
                let mode = answer.files.iter().find(|mode| mode.path == file.path).ok_or_else(|| Error::Malformed {
                    what: request.what.clone(),
                    reason: format!("it says nothing of `{}`", file.path),
                })?;
                modes.push((!mode.should_ignore).then_some(mode.upload_mode));
            }
        }
        Ok(modes)
    }

    /// Packs on a thread of its own and uploads each xorb as it is cut; then registers the files.
    async fn upload_large(
        &self,
        files: Vec<LocalFile>,
        progress: &impl Fn(PublishProgress),
    ) -> Result<(Packed, u64), Error> {
        if files.is_empty() {
            return Ok((Packed::default(), 0));
        }
        let cas = self.write_cas()?;
        let (sender, mut xorbs) = mpsc::channel::<xorb::Serialized>(XORBS_WAITING_MAX);
        let packing = tokio::task::spawn_blocking(move || {
            let mut packer = Packer::new(|xorb| sender.blocking_send(xorb).is_ok());
            files.iter().try_for_each(|file| packer.add_file(file))?;
            packer.finish()
        });
        let mut sent_bytes = 0;
        while let Some(xorb) = xorbs.recv().await {
            let (hash, raw_bytes, bytes) = (xorb.hash(), xorb.footer.raw_bytes(), xorb.records.len() as u64);
            let is_new = cas.upload_xorb(hash, Bytes::from(xorb.records)).await?;
            let sent = if is_new { bytes } else { 0 };
            sent_bytes += sent;
            progress(PublishProgress::XorbStored { raw_bytes, sent_bytes: sent });
        }
        let packed = match packing.await {
            Ok(packed) => packed?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        for shard in split_shards(&packed)? {
            cas.upload_shard(Bytes::from(shard.encode_upload())).await?;
        }
        Ok((packed, sent_bytes))
    }

    async fn commit(&self, regular: Vec<LocalFile>, large: &[PackedFile]) -> Result<String, Error> {
        let message = &self.options.message;
        let summary = if message.is_empty() { "Publish with zest".to_owned() } else { message.clone() };
        let mut lines = vec![CommitLine::Header { summary, description: String::new(), parent_commit: None }];
        for file in regular {
            let content = folder::read_whole(&file).await?;
            lines.push(CommitLine::File {
                content: BASE64.encode(content),
                path: file.path,
                encoding: "base64".into(),
            });
        }
        lines.extend(large.iter().map(|file| CommitLine::LfsFile {
            path: file.path.clone(),
            algo: "sha256".into(),
            oid: file.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
            size: file.size,
        }));
        let mut body = Vec::new();
        for line in &lines {
            body.extend_from_slice(&json(line));
            body.push(b'\n');
        }
        let what = format!("commit to {}", self.repo);
        let mut request = self.post(what.clone(), &self.api("commit"), "application/x-ndjson", body.into())?;
        request.answer_deadline = Some(self.hub.http.deadlines.upload_answer);
        let (answer, _) = self.hub.http.json::<CommitAnswer>(&request).await.map_err(|error| self.named(error))?;
        if !listing::is_hex(&answer.commit_oid, 40) {
            let reason = "the commit is not 40 hexadecimal digits".to_owned();
            return Err(Error::Malformed { what, reason });
        }
        Ok(answer.commit_oid)
    }

    fn write_cas(&self) -> Result<Cas, Error> {
        let url = self.hub.url(&self.api("xet-write-token"))?;
        Ok(Cas::new(
            self.hub.http.clone(),
            url,
            self.hub.token().cloned(),
            self.hub.address(self.options.repo_type, self.repo),
        ))
    }

    fn post(&self, what: String, path: &str, content_type: &'static str, body: Bytes) -> Result<Request, Error> {
        let request = Request::new(Method::POST, what, self.hub.url(path)?);
        Ok(request.token(self.hub.token()).body(Some(content_type), body))
    }

    fn named(&self, error: Error) -> Error {
        self.hub.address(self.options.repo_type, self.repo).name(error, self.branch())
    }
}

async fn read_folder(folder: std::path::PathBuf) -> Result<Vec<LocalFile>, Error> {
    match tokio::task::spawn_blocking(move || folder::walk(&folder)).await {
        Ok(files) => files,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Puts xorbs and files into as few shards as their size limit allows. A file may come in a later shard
/// than its xorbs: they are stored by then.
fn split_shards(packed: &Packed) -> Result<Vec<Shard>, Error> {
    let mut shards = Vec::new();
    let mut shard = Shard::default();
    let mut close_if_full = |shard: &mut Shard, is_full: fn(&Shard) -> bool| {
        if is_full(shard) {
            shards.push(std::mem::take(shard));
        }
    };
    // A single file or xorb is far smaller than a quarter of a shard: 262,144 terms and hashes.
    let is_full = |shard: &Shard| shard.upload_bytes() > SHARD_BYTES_MAX / 4 * 3;
    for xorb in &packed.xorbs {
        close_if_full(&mut shard, is_full);
        shard.xorbs.push(xorb.clone());
    }
    for file in &packed.files {
        close_if_full(&mut shard, is_full);
        shard.files.push(file.shard_file.clone());
        if shard.upload_bytes() > SHARD_BYTES_MAX {
            let reason = "it is made of more pieces than one shard can describe".to_owned();
            return Err(Error::Unpublishable { path: file.path.clone().into(), reason });
        }
    }
    shards.push(shard);
    Ok(shards)
}

fn json(value: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("these types have no keys that JSON cannot hold"))
}
