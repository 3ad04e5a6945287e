//! Finding the files of a cache that may be in the CAS, without reading them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use xet_cas::{FileHash, RepoId, RepoType};

use super::AdoptRequest;
use crate::store::{Identity, Provenance, TreeJson};

/// Folders of a snapshot that are looked into, one in the other; repositories have a few.
const DEPTH_MAX: usize = 32;
/// Shorter files are rarely in the CAS; of those without a listing none is looked at.
const UNLISTED_BYTES_MIN: u64 = 1024 * 1024;
/// Digits of a SHA-256, by which large files are named; regular ones have git's 40.
const SHA256_DIGITS: usize = 64;

/// A file that may be in the CAS.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its bytes, behind all links.
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    /// Its name in the CAS, as the commit's listing says.
    pub(super) claimed: Option<FileHash>,
    pub(super) provenance: Provenance,
}

/// All such files of the wanted repositories, each once, under the first name found.
pub(super) fn scan(request: &AdoptRequest) -> Vec<Candidate> {
    let mut found = BTreeMap::new();
    for folder in folders(&request.cache) {
        let Some((repo_type, repo)) = folder.file_name().and_then(|name| repo_of(name.to_str()?)) else { continue };
        if !request.repos.is_empty() && !request.repos.contains(&(repo_type, repo.clone())) {
            continue;
        }
        for snapshot in folders(&folder.join("snapshots")) {
            let Some(commit) = snapshot.file_name().and_then(|name| name.to_str()) else { continue };
            let listing = TreeJson::read(&folder.join("trees").join(format!("{commit}.json")));
            let listed = listing.map(|listing| listing.xet_hashes());
            let provenance = Provenance {
                endpoint: request.endpoint.clone(),
                repo_type: repo_type.to_string(),
                repo: repo.to_string(),
                commit: commit.to_owned(),
                path: String::new(),
            };
            let mut files = Vec::new();
            walk(&snapshot, DEPTH_MAX, &mut files);
            for file in files {
                let candidate = candidate(&snapshot, &file, listed.as_ref(), &provenance);
                if let Some(candidate) = candidate {
                    found.entry(candidate.path.clone()).or_insert(candidate);
                }
            }
        }
    }
    found.into_values().collect()
}

fn candidate(
    snapshot: &Path,
    file: &Path,
    listed: Option<&HashMap<String, FileHash>>,
    provenance: &Provenance,
) -> Option<Candidate> {
    let name = file.strip_prefix(snapshot).ok()?.to_str()?.to_owned();
    let path = std::fs::canonicalize(file).ok()?;
    let identity = Identity::of(&path)?;
    let claimed = match listed {
        Some(listed) => Some(*listed.get(&name)?),
        None => {
            let blob = std::fs::read_link(file).ok();
            let is_named_large = blob.and_then(|blob| Some(blob.file_name()?.len() == SHA256_DIGITS));
            (identity.size >= UNLISTED_BYTES_MIN && is_named_large != Some(false)).then_some(())?;
            None
        }
    };
    Some(Candidate { path, identity, claimed, provenance: Provenance { path: name, ..provenance.clone() } })
}

/// `models--org--name`.
fn repo_of(folder: &str) -> Option<(RepoType, RepoId)> {
    let (plural, repo) = folder.split_once("--")?;
    let repo_type = plural.strip_suffix('s')?.parse().ok()?;
    Some((repo_type, repo.replace("--", "/").parse().ok()?))
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => walk(&entry.path(), depth - 1, files),
            Ok(kind) if !kind.is_dir() => files.push(entry.path()),
            _ => {}
        }
    }
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::repo_of;

    #[test]
    fn given_a_folder_of_the_cache_when_read_then_its_repository() {
        let read = |folder| repo_of(folder).map(|(kind, repo)| (kind.to_string(), repo.to_string()));
        let repo = |kind: &str, name: &str| Some((kind.to_owned(), name.to_owned()));
        assert_eq!(repo("model", "org/name"), read("models--org--name"));
        assert_eq!(repo("dataset", "squad"), read("datasets--squad"));
        assert_eq!(None, read("blobs"));
        assert_eq!(None, read("models--..--etc--passwd"));
    }
}
