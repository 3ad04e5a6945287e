use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use xet_cas::client::{self, Content, Hub, PublishOptions};
use xet_cas::server::{self, Origin};
use xet_cas::{ChunkHash, ChunkRange, Leaf, RepoId};

use super::{Config, PullRequest, pull};
use crate::plan::TermRun;
use crate::store::{FileRecord, Identity, Provenance};
use crate::{Destination, Error, Index, SourceBytes, Summary};

/// Bytes that repeat nowhere.
fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes as u64 / 32).flat_map(|block| Sha256::digest(block.to_le_bytes())).collect()
}

/// An origin with the files of a folder.
async fn published(source: &Path, repo: &RepoId) -> Arc<Hub> {
    let data = source.with_extension("data");
    let origin = Origin::bind(server::Config::new(data), ([127, 0, 0, 1], 0).into()).await.unwrap();
    let hub = Arc::new(Hub::new(&client::Config::new(&origin.url()).unwrap()).unwrap());
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(origin.serve(std::future::pending()));
    hub.publish(source, repo, &PublishOptions::default(), |_| {}).await.unwrap();
    hub
}

async fn pull_unwatched(hub: &Arc<Hub>, request: &PullRequest, index: &Index) -> Result<Summary, Error> {
    let (events, mut watched) = mpsc::channel(1);
    let watch = async { while watched.recv().await.is_some() {} };
    let config = Config::default();
    tokio::join!(pull(hub.clone(), request, index, &config, events), watch).0
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_file_that_claims_to_be_of_a_xorb_and_is_not_when_pulled_then_the_bytes_are_right_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let content = noise(1_500_000);
    std::fs::write(source.join("one.safetensors"), &content).unwrap();
    let repo: RepoId = "org/model".parse().unwrap();
    let hub = published(&source, &repo).await;
    let request = PullRequest::new(repo.clone(), Destination::Cache(folder.path().join("cache")));
    let commit = hub.resolve(request.repo_type, &repo, "main").await.unwrap();
    let cas = hub.cas(&commit).unwrap();
    let in_cas = hub.list(&commit).await.unwrap().into_iter().find_map(|file| match file.content {
        Content::Xet { hash, .. } => Some((hash, file.size)),
        _ => None,
    });
    let (hash, size) = in_cas.unwrap();
    let xorb = cas.reconstruct(hash, size).await.unwrap().terms[0].xorb;
    // Another CAS has said of a file, whose own hash is right, that it begins as this xorb does.
    let index = Index::new(folder.path().join("zest"));
    let path = folder.path().join("other");
    std::fs::write(&path, [9; 10_000]).unwrap();
    let leaves = [Leaf::of(&[9; 10_000])];
    let other = Leaf::file_hash(&leaves);
    index.store_leaves(other, &leaves).unwrap();
    let run = TermRun { xorb, chunks: ChunkRange { start: 0, end: 1 }, first_chunk: 0 };
    let [endpoint, repo_type, of_repo, sha] = ["http://other", "model", "a/b", "c"].map(str::to_owned);
    let record = FileRecord {
        identity: Identity::of(&path).unwrap(),
        path,
        etag: None,
        xet_hash: Some(other.to_string()),
        xorbs: Vec::new(),
        runs: [run].into(),
        provenance: Provenance { endpoint, repo_type, repo: of_repo, commit: sha, path: "p".into() },
    };
    index.record(&[record]).unwrap();

    let summary = pull_unwatched(&hub, &request, &index).await.unwrap();

    assert!(content == std::fs::read(Path::new(&summary.path).join("one.safetensors")).unwrap(), "other bytes");
    let SourceBytes { local, lan, wan, cdn } = summary.file_bytes;
    assert_eq!((content.len() as u64, 0), (local + lan + wan + cdn, local));
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_file_of_one_chunk_again_and_again_when_pulled_then_it_moves_once() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let content = vec![0; 16 << 20];
    std::fs::write(source.join("one.safetensors"), &content).unwrap();
    let repo: RepoId = "org/model".parse().unwrap();
    let hub = published(&source, &repo).await;
    let request = PullRequest::new(repo, Destination::Cache(folder.path().join("cache")));

    let summary = pull_unwatched(&hub, &request, &Index::new(folder.path().join("zest"))).await.unwrap();

    assert!(content == std::fs::read(Path::new(&summary.path).join("one.safetensors")).unwrap(), "other bytes");
    assert_eq!(content.len() as u64, summary.file_bytes.cdn);
    assert!(summary.wire_bytes.cdn < 1 << 20, "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn given_a_finished_pull_when_asked_then_every_chunk_and_every_term_of_its_files_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let (one, other) = (noise(1_500_000), noise(700_000));
    std::fs::write(source.join("one.safetensors"), &one).unwrap();
    // Made of parts of the first, in another order, some of them twice.
    std::fs::write(source.join("two.safetensors"), [&one[800_000..], &other, &one[..600_000]].concat()).unwrap();
    let repo: RepoId = "org/model".parse().unwrap();
    let hub = published(&source, &repo).await;
    let index = Index::new(folder.path().join("zest"));
    let request = PullRequest::new(repo.clone(), Destination::Cache(folder.path().join("cache")));

    pull_unwatched(&hub, &request, &index).await.unwrap();

    assert!(folder.path().join("zest/chunks/catalogue").exists(), "a lookup would make it");
    let commit = hub.resolve(request.repo_type, &repo, "main").await.unwrap();
    let cas = hub.cas(&commit).unwrap();
    for file in hub.list(&commit).await.unwrap() {
        let Content::Xet { hash, .. } = file.content else { continue };
        let leaves = index.leaves(hash).unwrap();
        let chunks: Vec<ChunkHash> = leaves.iter().map(|leaf| leaf.hash).collect();
        for (leaf, places) in leaves.iter().zip(index.find_chunks(&chunks)) {
            let (_, first) = places.iter().find(|(name, _)| *name == hash).unwrap();
            assert_eq!(leaf, &leaves[*first as usize]);
        }
        let mut first_chunk = 0;
        for term in cas.reconstruct(hash, file.size).await.unwrap().terms {
            let end_chunk = first_chunk + term.chunks.count() as usize;
            let runs = index.xorb_runs(&[term.xorb]).unwrap().remove(0);
            let holding = runs.iter().filter(|run| run.chunks.contains(&term.chunks));
            let mut of_this_file = holding.filter(|run| run.file.xet_hash.as_deref() == Some(&hash.to_string()));
            let run = of_this_file.next().unwrap();
            let begin = (run.first_chunk + term.chunks.start - run.chunks.start) as usize;
            assert_eq!(leaves[first_chunk..end_chunk], leaves[begin..][..term.chunks.count() as usize]);
            first_chunk = end_chunk;
        }
        assert_eq!(leaves.len(), first_chunk);
    }
}
