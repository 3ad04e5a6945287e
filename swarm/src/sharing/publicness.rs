//! The proof that content is public: that someone without any credentials gets it from its Hub.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use xet_cas::client::{self, Commit, Content, Hub, Network};
use xet_cas::{FileHash, RepoId, RepoType};

use crate::store::Provenance;

/// How long a proof counts. Repositories are made private rarely, and then the owner expects it to work
/// within the day at most; an hour costs one listing an hour.
const PROOF_LIFETIME: Duration = Duration::from_secs(3_600);
/// How long a failed proof is not tried again.
const REFUSAL_LIFETIME: Duration = Duration::from_secs(60);
/// Attempts at each request of a proof, and how long each may take: others wait for theirs.
const PROOF_ATTEMPTS: u32 = 2;
const PROOF_DEADLINE: Duration = Duration::from_secs(10);
/// Proofs that are remembered; all are forgotten when there are more.
const PROOFS_MAX: usize = 10_000;

/// Proves publicness, anonymously whatever tokens the user has, and remembers for a while what came of it.
#[derive(Debug, Default)]
pub(crate) struct Publicness {
    proofs: std::sync::Mutex<HashMap<(Provenance, FileHash), Proof>>,
    /// One proof at a time: it paces the requests.
    prover: Mutex<Prover>,
}

#[derive(Debug, Default)]
struct Prover {
    network: Network,
    hubs: HashMap<String, Arc<Hub>>,
    /// The last anonymous listing, as one repository is mostly proved file after file.
    listing: Option<Listing>,
}

#[derive(Debug)]
struct Listing {
    endpoint: String,
    commit: Commit,
    files: HashMap<String, FileHash>,
    until: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Proof {
    is_public: bool,
    until: Instant,
}

impl Publicness {
    /// Hubs are reached in this way.
    pub(crate) fn new(network: Network) -> Self {
        Self { prover: Mutex::new(Prover { network, ..Prover::default() }), ..Self::default() }
    }

    /// Whether a file is public. Trouble with the network means no, for a minute.
    pub(crate) async fn is_public(&self, provenance: &Provenance, hash: FileHash) -> bool {
        let key = (provenance.clone(), hash);
        if let Some(known) = self.known(&key) {
            return known;
        }
        let mut prover = self.prover.lock().await;
        // Another asker may have found out meanwhile.
        if let Some(known) = self.known(&key) {
            return known;
        }
        let is_public = prover.prove(provenance, hash).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "a proof of publicness failed");
            false
        });
        let lifetime = if is_public { PROOF_LIFETIME } else { REFUSAL_LIFETIME };
        let mut proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        if proofs.len() >= PROOFS_MAX {
            proofs.clear();
        }
        proofs.insert(key, Proof { is_public, until: now() + lifetime });
        is_public
    }

    fn known(&self, key: &(Provenance, FileHash)) -> Option<bool> {
        let proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        proofs.get(key).filter(|proof| proof.until > now()).map(|proof| proof.is_public)
    }
}

impl Prover {
    /// The whole chain without credentials: the listing names this file under this path, the CAS gives a
    /// token for the repository, and the token gives the file's reconstruction.
    async fn prove(&mut self, provenance: &Provenance, hash: FileHash) -> Result<bool, client::Error> {
        let hub = self.hub(&provenance.endpoint)?;
        let (Ok(repo_type), Ok(repo)) = (provenance.repo_type.parse::<RepoType>(), provenance.repo.parse::<RepoId>())
        else {
            return Ok(false);
        };
        let commit = hub.resolve(repo_type, &repo, &provenance.commit).await?;
        let listing = self.listing(&hub, commit).await?;
        if listing.files.get(&provenance.path) != Some(&hash) {
            return Ok(false);
        }
        let commit = listing.commit.clone();
        hub.cas(&commit)?.probe(hash).await?;
        Ok(true)
    }

    async fn listing(&mut self, hub: &Hub, commit: Commit) -> Result<&Listing, client::Error> {
        let is_this = |listing: &&Listing| {
            listing.commit == commit && listing.endpoint == hub.endpoint() && listing.until > now()
        };
        let known = self.listing.take().filter(|listing| is_this(&listing));
        let listing = match known {
            Some(listing) => listing,
            None => {
                let listed = hub.list(&commit).await?;
                let in_cas = listed.into_iter().filter_map(|file| match file.content {
                    Content::Xet { hash, .. } => Some((file.path, hash)),
                    _ => None,
                });
                let (endpoint, files) = (hub.endpoint().to_owned(), in_cas.collect());
                Listing { endpoint, commit, files, until: now() + PROOF_LIFETIME }
            }
        };
        Ok(self.listing.insert(listing))
    }

    fn hub(&mut self, endpoint: &str) -> Result<Arc<Hub>, client::Error> {
        if let Some(hub) = self.hubs.get(endpoint) {
            return Ok(hub.clone());
        }
        let hub = Arc::new(anonymous_hub(endpoint, &self.network)?);
        self.hubs.insert(endpoint.to_owned(), hub.clone());
        Ok(hub)
    }
}

/// A client without any credentials, whatever the user has.
pub(super) fn anonymous_hub(endpoint: &str, network: &Network) -> Result<Hub, client::Error> {
    let mut config = client::Config::new(endpoint)?;
    config.network = network.clone();
    config.retry.attempts = PROOF_ATTEMPTS;
    config.retry.retry_after_max = PROOF_DEADLINE;
    config.deadlines.answer = PROOF_DEADLINE;
    Hub::new(&config)
}

#[expect(clippy::disallowed_methods, reason = "proofs age by the monotonic clock of the process that made them")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use xet_cas::client::{self, Commit, Content, Hub, PublishOptions};
    use xet_cas::server::{self, Origin};
    use xet_cas::{FileHash, RepoId, RepoType};

    use super::Publicness;
    use crate::store::Provenance;

    /// An origin with a public repository of two files: who asks, and the commit and the hashes of the files.
    async fn published(folder: &std::path::Path) -> (Hub, Commit, [FileHash; 2]) {
        let source = folder.join("source");
        std::fs::create_dir(&source).unwrap();
        for (name, byte) in [("a.safetensors", 1), ("b.safetensors", 2)] {
            std::fs::write(source.join(name), [byte, 0].repeat(150_000)).unwrap();
        }
        let origin = Origin::bind(server::Config::new(folder.join("data")), ([127, 0, 0, 1], 0).into()).await.unwrap();
        let hub = Hub::new(&client::Config::new(&origin.url()).unwrap()).unwrap();
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(origin.serve(std::future::pending()));
        let repo: RepoId = "org/model".parse().unwrap();
        hub.publish(&source, &repo, &PublishOptions::default(), |_| {}).await.unwrap();
        let commit = hub.resolve(RepoType::Model, &repo, "main").await.unwrap();
        let hashes = hub.list(&commit).await.unwrap().into_iter().filter_map(|file| match file.content {
            Content::Xet { hash, .. } => Some(hash),
            _ => None,
        });
        let hashes: Vec<_> = hashes.collect();
        (hub, commit, hashes.try_into().unwrap())
    }

    #[tokio::test]
    async fn given_a_file_under_another_path_than_the_listing_says_when_asked_then_it_is_not_public() {
        let folder = tempfile::tempdir().unwrap();
        let (hub, commit, [a, b]) = published(folder.path()).await;
        let provenance = Provenance {
            endpoint: hub.endpoint().to_owned(),
            repo_type: commit.repo_type.to_string(),
            repo: commit.repo.to_string(),
            commit: commit.sha.clone(),
            path: "a.safetensors".to_owned(),
        };
        let publicness = Publicness::default();

        assert!(publicness.is_public(&provenance, a).await);
        assert!(!publicness.is_public(&provenance, b).await);
        assert!(publicness.is_public(&Provenance { path: "b.safetensors".to_owned(), ..provenance }, b).await);
    }
}
