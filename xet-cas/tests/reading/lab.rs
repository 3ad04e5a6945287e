//! An origin with files of every kind, and a CAS that is nothing but a script.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use testkit::{Fault, FaultyOrigin, Rule, SeenRequest};
use tokio::task::JoinSet;
use xet_cas::client::{
    Commit, Config, Content, Error, FileReader, Hub, PublishOptions, ReadEvent, ReadObserver, ReadOptions, TreeFile,
};
use xet_cas::server::{self, Origin};
use xet_cas::xorb::{Builder, Records};
use xet_cas::{CompressionPolicy, FileHash, Leaf, RepoType, XorbHash};

pub(crate) const COMMIT: &str = "0123456789012345678901234567890123456789";
/// Path of the URLs of xorb data.
pub(crate) const DATA: &str = "/cas/xorbs/";
pub(crate) const TOKEN: &str = "/xet-read-token/";
pub(crate) const RECONSTRUCTIONS: &str = "/reconstructions/";
/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn hub(url: &str, set: impl FnOnce(&mut Config)) -> Hub {
    let mut config = Config::new(url).unwrap();
    config.retry.attempts = 3;
    config.retry.delay = Duration::from_millis(1);
    config.deadlines.stall = Duration::from_millis(500);
    config.deadlines.answer = Duration::from_millis(500);
    set(&mut config);
    Hub::new(&config).unwrap()
}

/// Everything that a reader brings.
pub(crate) async fn all(mut reader: FileReader) -> Result<Vec<u8>, Error> {
    let mut read = Vec::new();
    let drain = async {
        while let Some(piece) = reader.next().await {
            read.extend_from_slice(&piece?);
        }
        assert!(reader.next().await.is_none(), "it goes on after its end");
        Ok(read)
    };
    tokio::time::timeout(SOON, drain).await.expect("it hangs")
}

/// Options that note every event.
pub(crate) fn noted() -> (ReadOptions, Arc<Mutex<Vec<ReadEvent>>>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let noted = events.clone();
    let mut options = ReadOptions::default();
    options.on_event = Some(ReadObserver::new(move |event| noted.lock().unwrap().push(event.clone())));
    (options, events)
}

/// A real origin that holds a file in the CAS and a regular one.
pub(crate) struct Lab {
    pub(crate) faulty: FaultyOrigin,
    pub(crate) hub: Hub,
    pub(crate) commit: Commit,
    pub(crate) large: (TreeFile, Vec<u8>),
    pub(crate) regular: (TreeFile, Vec<u8>),
    _folder: TempDir,
    _servers: JoinSet<()>,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        // The second half repeats the first: chunks of one entry are needed twice.
        let half: Vec<u8> = (0..300_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let (large, regular) = ([half.clone(), half].concat(), b"{\"a\": 1}".repeat(2_000));
        std::fs::write(source.join("large.bin"), &large).unwrap();
        std::fs::write(source.join("config.json"), &regular).unwrap();
        let origin =
            Origin::bind(server::Config::new(folder.path().join("origin")), ([127, 0, 0, 1], 0).into()).await.unwrap();
        let faulty = FaultyOrigin::start(&origin.url()).await.unwrap();
        let mut servers = JoinSet::new();
        servers.spawn(async move { origin.serve(std::future::pending()).await.unwrap() });
        let hub = hub(&faulty.url(), |_| {});
        let repo = "lab/files".parse().unwrap();
        hub.publish(&source, &repo, &PublishOptions::default(), |_| {}).await.unwrap();
        let commit = hub.resolve(RepoType::Model, &repo, "main").await.unwrap();
        let files = hub.list(&commit).await.unwrap();
        let file = |name: &str| files.iter().find(|file| file.path == name).unwrap().clone();
        let (large, regular) = ((file("large.bin"), large), (file("config.json"), regular));
        Self { faulty, hub, commit, large, regular, _folder: folder, _servers: servers }
    }

    pub(crate) fn seen(&self, path: &str) -> Vec<SeenRequest> {
        self.faulty.requests().into_iter().filter(|seen| seen.target.contains(path)).collect()
    }

    pub(crate) async fn read(&self, range: impl std::ops::RangeBounds<u64>) -> Result<Vec<u8>, Error> {
        all(self.hub.read(&self.commit, &self.large.0, range, &ReadOptions::default())).await
    }
}

/// Chunks of a xorb.
pub(crate) type Run = std::ops::Range<usize>;
/// Something of a xorb, by its number.
pub(crate) type OfXorb<T> = (usize, T);

/// A single one, which is not meant as all that lies in it.
pub(crate) fn one(chunks: Run) -> Vec<Run> {
    vec![chunks]
}

/// A xorb of chunks of noise.
pub(crate) struct Xorb {
    pub(crate) hash: XorbHash,
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) records: Vec<u8>,
    /// Where each record begins, and where the last one ends.
    pub(crate) offsets: Vec<usize>,
}

impl Xorb {
    pub(crate) fn new(seed: u32, lengths: &[usize]) -> Self {
        let noise = |salt: usize, length: usize| -> Vec<u8> {
            let word = |i: u32| (i ^ seed << 8 ^ (salt as u32) << 20).wrapping_mul(2_654_435_761).rotate_left(9);
            (0..length.div_ceil(4) as u32)
                .flat_map(|i| word(i).wrapping_mul(0x85eb_ca6b).to_le_bytes())
                .take(length)
                .collect()
        };
        let chunks: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(salt, length)| noise(salt, *length)).collect();
        let mut builder = Builder::new(CompressionPolicy::Auto);
        for chunk in &chunks {
            builder.push(Leaf::of(chunk), chunk).unwrap();
        }
        let xorb = builder.finish();
        let mut offsets = vec![0];
        for record in Records::new(&xorb.records) {
            offsets.push(offsets.last().unwrap() + record.unwrap().header.record_bytes());
        }
        Self { hash: xorb.hash(), chunks, records: xorb.records.clone(), offsets }
    }

    /// The data of these chunks.
    pub(crate) fn slice(&self, chunks: &Run) -> &[u8] {
        &self.records[self.offsets[chunks.start]..self.offsets[chunks.end]]
    }

    fn range_json(&self, chunks: &Run) -> Value {
        let (start, end) = (self.offsets[chunks.start], self.offsets[chunks.end] - 1);
        json!({ "chunks": { "start": chunks.start, "end": chunks.end }, "bytes": { "start": start, "end": end } })
    }
}

/// A file that is put together from xorbs as a test says.
pub(crate) struct Script {
    pub(crate) faulty: FaultyOrigin,
    pub(crate) file: TreeFile,
    pub(crate) content: Vec<u8>,
    /// The answer to a question for its reconstruction.
    pub(crate) answer: Value,
}

impl Script {
    /// `terms`: xorbs by their number, and chunks of them. `entries`: likewise, with the ranges of one URL together.
    pub(crate) async fn new(xorbs: &[Xorb], terms: &[OfXorb<Run>], entries: &[OfXorb<Vec<Run>>]) -> Self {
        let faulty = FaultyOrigin::start("http://127.0.0.1:1").await.unwrap();
        let chunks: Vec<&Vec<u8>> =
            terms.iter().flat_map(|(xorb, chunks)| &xorbs[*xorb].chunks[chunks.clone()]).collect();
        let content = chunks.iter().copied().flatten().copied().collect::<Vec<u8>>();
        let leaves: Vec<Leaf> = chunks.iter().map(|chunk| Leaf::of(chunk)).collect();
        let term = |(xorb, chunks): &(usize, Run)| {
            let bytes: usize = xorbs[*xorb].chunks[chunks.clone()].iter().map(Vec::len).sum();
            let range = json!({ "start": chunks.start, "end": chunks.end });
            json!({ "hash": xorbs[*xorb].hash.to_string(), "unpacked_length": bytes, "range": range })
        };
        let mut urls = serde_json::Map::new();
        for (number, (xorb, ranges)) in entries.iter().enumerate() {
            let ranges: Vec<Value> = ranges.iter().map(|range| xorbs[*xorb].range_json(range)).collect();
            let url = json!({ "url": format!("{}/data/{number}?secret", faulty.url()), "ranges": ranges });
            let of_xorb = urls.entry(xorbs[*xorb].hash.to_string()).or_insert(json!([]));
            of_xorb.as_array_mut().unwrap().push(url);
        }
        let terms: Vec<Value> = terms.iter().map(term).collect();
        let answer = json!({ "offset_into_first_range": 0, "terms": terms, "xorbs": urls });
        let file = TreeFile {
            path: "a.bin".to_owned(),
            size: content.len() as u64,
            blob_id: COMMIT.to_owned(),
            content: Content::Xet { sha256: sha256(&content), hash: Leaf::file_hash(&leaves) },
        };
        let script = Self { faulty, file, content, answer };
        script.give_token();
        script
    }

    pub(crate) fn give_token(&self) {
        let token = json!({ "casUrl": self.faulty.url(), "exp": u64::MAX, "accessToken": "t" });
        self.faulty.add(Rule::path_contains(TOKEN, Fault::json(token.to_string())));
    }

    /// The reconstruction as it is now.
    pub(crate) fn give_answer(&self) {
        self.faulty.add(Rule::path_contains(RECONSTRUCTIONS, Fault::json(self.answer.to_string())));
    }

    /// What a URL answers.
    pub(crate) fn give_data(&self, number: usize, content_type: &str, data: impl Into<Bytes>) {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        let fault = Fault::Status { code: 206, headers, body: data.into() };
        self.faulty.add(Rule::path_starts_with(format!("/data/{number}?"), fault));
    }

    pub(crate) fn requests(&self, path: &str) -> usize {
        self.faulty.requests().iter().filter(|seen| seen.target.contains(path)).count()
    }

    pub(crate) async fn reader(&self, set: impl FnOnce(&mut Config), options: &ReadOptions) -> FileReader {
        let hub = hub(&self.faulty.url(), set);
        let commit = hub.resolve(RepoType::Model, &"lab/files".parse().unwrap(), COMMIT).await.unwrap();
        hub.read(&commit, &self.file, .., options)
    }

    pub(crate) async fn read(&self) -> Result<Vec<u8>, Error> {
        let mut options = ReadOptions::default();
        options.plain_fallback = false;
        all(self.reader(|_| {}, &options).await).await
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn file_hash(file: &TreeFile) -> FileHash {
    match file.content {
        Content::Xet { hash, .. } => hash,
        ref other => panic!("{other:?}"),
    }
}
