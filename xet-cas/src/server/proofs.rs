//! Who has shown to have which file.
//!
//! A commit names a file by its SHA-256 alone, and for a gated repository everybody is told that. So that nobody
//! gets a file by committing its name elsewhere, a repository takes only files that it had before or that were
//! uploaded for it: the shard of an upload proves that the client has every chunk.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::store::RepoKey;
use crate::FileHash;

/// Uploads remembered at least, and half of those remembered at most; some 20 MB together. A client that is forgotten
/// is told to upload again, which sends nothing but the shard.
const RECENT_MAX: usize = 200_000;

/// Files that were uploaded for a repository and are perhaps not committed yet.
#[derive(Default)]
pub(super) struct Proofs(Mutex<Generations>);

/// When the young are many, they become the old, and the old are forgotten.
#[derive(Default)]
struct Generations {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl Proofs {
    pub(super) fn note(&self, repo: &RepoKey, file: FileHash) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.young.insert(name(repo, file));
        if known.young.len() >= RECENT_MAX {
            known.old = std::mem::take(&mut known.young);
        }
    }

    pub(super) fn has(&self, repo: &RepoKey, file: FileHash) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = name(repo, file);
        known.young.contains(&name) || known.old.contains(&name)
    }
}

fn name(repo: &RepoKey, file: FileHash) -> [u8; 32] {
    *blake3::hash(format!("{} {} {file}", repo.kind, repo.id).as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RepoType;

    #[test]
    fn given_uploads_when_noted_then_known_for_their_repository_until_many_others_came() {
        let proofs = Proofs::default();
        let repo = |kind| RepoKey { kind, id: "lab/tiny".parse().unwrap() };
        let (model, dataset) = (repo(RepoType::Model), repo(RepoType::Dataset));
        let file = |n: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&n.to_le_bytes());
            FileHash::from_bytes(bytes)
        };

        proofs.note(&model, file(0));

        assert!(proofs.has(&model, file(0)));
        assert!(!proofs.has(&model, file(1)) && !proofs.has(&dataset, file(0)));
        let last = RECENT_MAX as u32 + 1;
        (1..=last).for_each(|n| proofs.note(&model, file(n)));
        assert!(proofs.has(&model, file(0)) && proofs.has(&model, file(last)));
        (1..=last).for_each(|n| proofs.note(&dataset, file(n)));
        assert!(!proofs.has(&model, file(0)));
        let known = proofs.0.lock().unwrap();
        assert!(known.young.len() + known.old.len() <= 2 * RECENT_MAX);
    }
}
