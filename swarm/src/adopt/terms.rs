//! Asking the CAS what a file is made of.

use std::sync::Arc;

use xet_cas::Leaf;
use xet_cas::client::{self, Commit, Hub};

use crate::plan::FilePlan;
use crate::store::{FileRecord, Provenance, XorbRecord};
use crate::verified::whole_xorbs;

/// Failures in a row after which no more is asked: the CAS is not there, or this user may not.
const FAILURES_MAX: u32 = 3;

/// Learns the terms of files. Without a Hub, nothing.
pub(super) struct Terms {
    hub: Option<Arc<Hub>>,
    /// The last commit that was found, as one repository mostly has many files.
    commit: Option<Commit>,
    failures: u32,
}

impl Terms {
    pub(super) fn new(hub: Option<Arc<Hub>>) -> Self {
        Self { hub, commit: None, failures: 0 }
    }

    /// Completes a record by what the CAS says of its file. That it says nothing costs a later pull what it could
    /// have copied, and is no failure.
    pub(super) async fn learn(&mut self, record: &mut FileRecord, leaves: &[Leaf]) {
        let Some(hub) = self.hub.clone().filter(|_| self.failures < FAILURES_MAX) else { return };
        match self.ask(&hub, record).await {
            Ok(plan) => {
                self.failures = 0;
                let xorb = |run: crate::verified::XorbRun| XorbRecord {
                    hash: run.xorb.to_string(),
                    first_chunk: run.chunks.start,
                    end_chunk: run.chunks.end,
                };
                record.xorbs = whole_xorbs(&plan.xorb_candidates, leaves).into_iter().map(xorb).collect();
                record.runs = plan.runs;
            }
            Err(error) => {
                self.failures += 1;
                tracing::info!(path = %record.path.display(), %error, "nobody says what this file is made of");
            }
        }
    }

    async fn ask(&mut self, hub: &Hub, record: &FileRecord) -> Result<FilePlan, client::Error> {
        let malformed = |reason: String| client::Error::Malformed { what: record.path.display().to_string(), reason };
        let Provenance { repo_type, repo, commit, .. } = &record.provenance;
        let hash = record.xet_hash.as_ref().and_then(|hash| hash.parse().ok());
        let hash = hash.ok_or_else(|| malformed("it is not in the CAS".into()))?;
        let is_this = |known: &&Commit| {
            known.sha == *commit && known.repo.as_str() == repo && known.repo_type.to_string() == *repo_type
        };
        let commit = match self.commit.as_ref().filter(is_this) {
            Some(known) => known.clone(),
            None => {
                let repo = repo.parse().map_err(|_| malformed("its repository has no proper name".into()))?;
                let found = hub.resolve(repo_type.parse().map_err(malformed)?, &repo, commit).await?;
                self.commit.insert(found).clone()
            }
        };
        let answer = hub.cas(&commit)?.reconstruct(hash, record.identity.size).await?;
        FilePlan::new(answer, record.identity.size).map_err(|error| malformed(error.to_string()))
    }
}
