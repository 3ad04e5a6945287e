use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use xet_cas::client::{self, Content, Hub, PublishOptions};
use xet_cas::server::{self, Origin};
use xet_cas::{ChunkHash, RepoId};

use super::{Config, PullRequest, pull};
use crate::{Destination, Index};

/// Bytes that repeat nowhere.
fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes as u64 / 32).flat_map(|block| Sha256::digest(block.to_le_bytes())).collect()
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
    let origin = Origin::bind(server::Config::new(folder.path().join("data")), ([127, 0, 0, 1], 0).into());
    let origin = origin.await.unwrap();
    let hub = Arc::new(Hub::new(&client::Config::new(&origin.url()).unwrap()).unwrap());
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(origin.serve(std::future::pending()));
    let repo: RepoId = "org/model".parse().unwrap();
    hub.publish(&source, &repo, &PublishOptions::default(), |_| {}).await.unwrap();
    let index = Index::new(folder.path().join("zest"));
    let request = PullRequest::new(repo.clone(), Destination::Cache(folder.path().join("cache")));
    let config = Config::default();
    let (events, mut watched) = mpsc::channel(1);
    let watch = async { while watched.recv().await.is_some() {} };

    let (summary, ()) = tokio::join!(pull(hub.clone(), &request, &index, &config, events), watch);

    summary.unwrap();
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
