//! Stores xorbs while others are being packed, and registers the files that lie in them.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rayon::ThreadPool;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::PublishProgress;
use super::buffers::Buffers;
use super::folder::LocalFile;
use super::known::{self, Known};
use super::pipeline::{Ask, Output, PackedXorb, Pipeline, Receiver};
use crate::client::blocking::outcome;
use crate::client::{Cas, Error};
use crate::pack::{PackedFile, Packer};
use crate::shard::{SHARD_BYTES_MAX, Shard, ShardXorb};
use crate::{ChunkHash, FileHash, xorb};

/// Raw bytes of the xorbs that are made. The format allows four times as many; smaller ones need less memory while
/// they wait, and several can be on the way at once.
const XORB_RAW_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What the headers of a xorb's records need besides: all of these at 8 KiB, the smallest chunk but for the last of
/// a file. More make the buffer grow.
const XORB_HEADER_BYTES: usize = 2_048 * xorb::RecordHeader::BYTES;
/// Xorbs on the way at once: two fill an uplink while a third waits for an answer.
const UPLOADS_MAX: usize = 3;
/// Buffers for xorbs: those on the way and one that is filled, 64 MiB.
const BUFFERS: usize = UPLOADS_MAX + 1;
/// For one of the xorbs on the way to arrive, or to be given up by what it waits for itself: at 15 KB/s three take an
/// hour.
const BUFFER_DEADLINE: Duration = Duration::from_secs(3_600);
/// A shard is sent when it has grown to this, bytes, far below what a shard may have.
const SHARD_BYTES: usize = 8 * 1024 * 1024;
/// Questions about chunks that are under way at once.
const QUESTIONS_MAX: usize = 8;
/// Questions that may fail before no more are asked: it only costs bytes, and each failure costs time.
const FAILED_QUESTIONS_MAX: u32 = 3;

/// What was stored and registered.
#[derive(Debug, Default)]
pub(super) struct Uploaded {
    pub(super) files: Vec<UploadedFile>,
    /// Bytes of chunks that were found nowhere.
    pub(super) new_bytes: u64,
    /// Bytes that were sent, shards included.
    pub(super) sent_bytes: u64,
}

#[derive(Debug)]
pub(super) struct UploadedFile {
    /// Its number in the list that was passed.
    pub(super) number: usize,
    pub(super) sha256: [u8; 32],
    pub(super) size: u64,
}

/// Uploads files.
pub(super) struct Uploader<'a, P> {
    /// `None`: there is nobody to ask, so everything is new.
    pub(super) cas: Option<Cas>,
    /// False: nothing is sent, and what would be is counted.
    pub(super) sends: bool,
    /// Whether the CAS is asked what it has.
    pub(super) asks: bool,
    pub(super) known: &'a mut Known,
    pub(super) progress: &'a P,
}

impl<P: Fn(PublishProgress)> Uploader<'_, P> {
    pub(super) async fn upload(
        &mut self,
        files: Arc<Vec<LocalFile>>,
        pool: Arc<ThreadPool>,
    ) -> Result<Uploaded, Error> {
        let mut uploaded = Uploaded::default();
        if files.is_empty() {
            return Ok(uploaded);
        }
        let (sender, mut outputs) = mpsc::channel(1);
        let packer = Packer::new(self.known.take_index(), XORB_RAW_BYTES_MAX);
        let buffers = Buffers::new(BUFFERS, XORB_RAW_BYTES_MAX as usize + XORB_HEADER_BYTES, BUFFER_DEADLINE);
        let cas = self.cas.clone().filter(|_| self.asks);
        let questions = Questions { cas, runtime: Handle::current(), wanted: sender.clone(), failed: 0 };
        let packing = tokio::task::spawn_blocking(move || {
            let pipeline = Pipeline::new(packer, questions, buffers);
            pipeline.run(&pool, files, &ToUploader(sender))
        });

        let mut packing = Some(packing);
        let mut uploads = FuturesUnordered::new();
        let mut pending = Pending::default();
        while packing.is_some() || !uploads.is_empty() {
            // Only what has been stored may be named, so a shard waits for the xorbs that came before it.
            let is_full = pending.shard.upload_bytes() >= SHARD_BYTES;
            if is_full && uploads.is_empty() {
                self.register(&mut pending, &mut uploaded).await?;
                continue;
            }
            tokio::select! {
                Some(stored) = uploads.next() => {
                    let (xorb, sent_bytes): (ShardXorb, u64) = stored?;
                    uploaded.sent_bytes += sent_bytes;
                    let raw_bytes = xorb.leaves.iter().map(|leaf| u64::from(leaf.length)).sum();
                    (self.progress)(PublishProgress::XorbStored { raw_bytes, sent_bytes });
                    if self.sends {
                        self.known.stage(&xorb);
                    }
                    pending.push_xorb(xorb);
                }
                output = outputs.recv(), if packing.is_some() && !is_full && uploads.len() < UPLOADS_MAX => {
                    match (output, packing.take()) {
                        (Some(output), still_packing) => {
                            packing = still_packing;
                            match output {
                                Output::Xorb(xorb) => uploads.push(store(self.receiver(), xorb)),
                                Output::File(file) => pending.push_file(file),
                            }
                        }
                        (None, Some(over)) => uploaded.new_bytes = outcome(over).await?,
                        (None, None) => {}
                    }
                }
            }
        }
        self.register(&mut pending, &mut uploaded).await?;
        Ok(uploaded)
    }

    /// Who is sent something.
    fn receiver(&self) -> Option<Cas> {
        self.cas.clone().filter(|_| self.sends)
    }

    /// Says to the CAS what the files are made of.
    async fn register(&mut self, pending: &mut Pending, uploaded: &mut Uploaded) -> Result<(), Error> {
        let Pending { mut shard, files, .. } = std::mem::take(pending);
        uploaded.files.extend(files);
        if shard.files.is_empty() && shard.xorbs.is_empty() {
            return Ok(());
        }
        self.known.complete(&mut shard);
        let body = Bytes::from(shard.encode_upload());
        uploaded.sent_bytes += body.len() as u64;
        if body.len() > SHARD_BYTES_MAX {
            let reason = "a file of it is made of more pieces than one shard can describe".to_owned();
            return Err(Error::Unpublishable { path: "the folder".into(), reason });
        }
        if let Some(cas) = self.receiver() {
            cas.upload_shard(&body).await?;
            self.known.registered(shard).await;
        }
        Ok(())
    }
}

async fn store(cas: Option<Cas>, xorb: PackedXorb) -> Result<(ShardXorb, u64), Error> {
    let PackedXorb { content, records } = xorb;
    let sent_bytes = match cas {
        Some(cas) => cas.upload_xorb(content.hash, &records).await?,
        None => records.len() as u64,
    };
    Ok((content, sent_bytes))
}

/// What is stored and not registered.
#[derive(Default)]
struct Pending {
    shard: Shard,
    files: Vec<UploadedFile>,
    /// Which the shard describes: files of the same content are described once.
    described: HashSet<FileHash>,
}

impl Pending {
    fn push_xorb(&mut self, xorb: ShardXorb) {
        self.shard.xorbs.push(xorb);
    }

    fn push_file(&mut self, file: PackedFile) {
        let PackedFile { number, shard_file } = file;
        let size = shard_file.terms.iter().map(|term| u64::from(term.unpacked_length)).sum();
        self.files.push(UploadedFile { number, sha256: shard_file.sha256.unwrap_or_default(), size });
        if self.described.insert(shard_file.hash) {
            self.shard.files.push(shard_file);
        }
    }
}

/// What is packed goes to the uploader, for as long as it wants any.
struct ToUploader(mpsc::Sender<Output>);

impl Receiver for ToUploader {
    fn is_gone(&self) -> bool {
        self.0.is_closed()
    }

    fn take(&self, output: Output) {
        // Nobody there: that is asked after every batch.
        drop(self.0.blocking_send(output));
    }
}

/// Asks the CAS.
struct Questions {
    cas: Option<Cas>,
    runtime: Handle,
    /// Closed once nobody waits for the answers.
    wanted: mpsc::Sender<Output>,
    failed: u32,
}

impl Ask for Questions {
    fn ask(&mut self, chunks: &[ChunkHash], packer: &mut Packer) {
        let Some(cas) = self.cas.as_ref().filter(|_| self.failed < FAILED_QUESTIONS_MAX) else { return };
        let answers = futures::stream::iter(chunks).map(|chunk| cas.find_chunk(*chunk)).buffer_unordered(QUESTIONS_MAX);
        let mut answers = pin!(answers.take_until(self.wanted.closed()));
        while let Some(answer) = self.runtime.block_on(answers.next()) {
            match answer {
                Ok(Some(shard)) => known::insert_answer(packer.index_mut(), &shard),
                Ok(None) => {}
                Err(error) => {
                    tracing::info!(%error, "a chunk is taken for unknown");
                    self.failed += 1;
                    if self.failed >= FAILED_QUESTIONS_MAX {
                        return;
                    }
                }
            }
        }
    }
}
