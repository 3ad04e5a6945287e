//! What is there already: known to the index, or checked by hashing it once. Looks only; nothing is written
//! but the index.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use xet_cas::client::{Content, TreeFile};

use super::{Group, tell};
use crate::plan::TermRun;
use crate::store::{FileRecord, Identity, Index, Place, XorbRecord, hash_file};
use crate::verified::XorbRun;
use crate::{Error, Event};

/// Verified files are remembered after so many hashed bytes, so that an interrupt costs no more than that.
const RECORD_AFTER_BYTES: u64 = 1 << 30;

/// What a look found.
#[derive(Default)]
pub(super) struct Found {
    /// Content that has to be fetched.
    pub(super) missing: Vec<Group>,
    /// Content that is there, and where: every name of it that holds it already.
    pub(super) present: Vec<(Group, Vec<PathBuf>)>,
}

/// Looks for every file.
pub(super) async fn look(
    place: &Arc<Place>,
    groups: Vec<Group>,
    index: &Index,
    events: &mpsc::Sender<Event>,
) -> Result<Found, Error> {
    let (scan_place, scan_index) = (place.clone(), index.clone());
    let scan = tokio::task::spawn_blocking(move || Scan::new(&scan_place, groups, &scan_index));
    let Scan { candidates, warning } = scan.await.map_err(Error::internal)?;
    if let Some(message) = warning {
        tell(events, Event::Warning { message }).await;
    }
    let unknown = candidates.iter().flat_map(|(group, places)| places.iter().map(move |place| (group, place)));
    let unknown: Vec<u64> = unknown.filter(|(_, place)| !place.is_known).map(|(group, _)| group.bytes()).collect();
    if !unknown.is_empty() {
        tell(events, Event::Checking { files: unknown.len(), bytes: unknown.iter().sum() }).await;
    }
    let (place, index) = (place.clone(), index.clone());
    let check = tokio::task::spawn_blocking(move || check(&place, candidates, &index));
    let (found, warnings) = check.await.map_err(Error::internal)?;
    for message in warnings {
        tell(events, Event::Warning { message }).await;
    }
    Ok(found)
}

/// Hashes what is not known. A file that cannot be read counts as missing.
fn check(place: &Place, candidates: Vec<(Group, Vec<Candidate>)>, index: &Index) -> (Found, Vec<String>) {
    let (mut found, mut warnings) = (Found::default(), Vec::new());
    let (mut verified, mut hashed_bytes) = (Vec::new(), 0);
    for (mut group, places) in candidates {
        let mut good = Vec::new();
        for Candidate { path, identity: seen, is_known } in places {
            if is_known {
                good.push(path);
                continue;
            }
            let file = group.file();
            match hash_file(&path, file) {
                Ok((digest, identity)) if digest == file.etag() => {
                    let checked = Checked::Etag(digest);
                    verified.extend(identity.and_then(|identity| record(place, file, path.clone(), identity, checked)));
                    good.push(path);
                }
                Ok(_) => {
                    warnings.push(format!("{} is damaged or was changed; it is fetched again", path.display()));
                    group.refused.push(seen);
                }
                Err(error) => {
                    warnings.push(format!("{error}; it is fetched again"));
                    group.refused.push(seen);
                }
            }
            hashed_bytes += group.bytes();
        }
        if good.is_empty() {
            found.missing.push(group);
        } else {
            found.present.push((group, good));
        }
        if hashed_bytes >= RECORD_AFTER_BYTES {
            hashed_bytes = 0;
            warnings.extend(index.record(&std::mem::take(&mut verified)).err().map(|error| error.to_string()));
        }
    }
    warnings.extend(index.record(&verified).err().map(|error| error.to_string()));
    (found, warnings)
}

/// What was recomputed from a file's bytes.
pub(super) enum Checked {
    /// The hash that names it in caches.
    Etag(String),
    /// The name it has in the CAS, which of its chunks are whole xorbs, and what it is made of.
    Xet(String, Vec<XorbRun>, Arc<[TermRun]>),
}

/// What is remembered of a verified file: what was recomputed, and nothing that was only claimed. `None` for
/// a path that cannot be written down.
pub(super) fn record(
    place: &Place,
    file: &TreeFile,
    path: PathBuf,
    identity: Identity,
    checked: Checked,
) -> Option<FileRecord> {
    path.to_str()?;
    let (etag, xet_hash, xorbs, runs) = match checked {
        Checked::Etag(etag) => (Some(etag), None, Vec::new(), Arc::default()),
        Checked::Xet(hash, xorbs, runs) => (None, Some(hash), xorbs, runs),
    };
    let xorb = |run: XorbRun| XorbRecord {
        hash: run.xorb.to_string(),
        first_chunk: run.chunks.start,
        end_chunk: run.chunks.end,
    };
    let xorbs = xorbs.into_iter().map(xorb).collect();
    Some(FileRecord { path, identity, etag, xet_hash, xorbs, runs, provenance: place.provenance(file) })
}

/// Whether what was recomputed once is what is wanted now.
fn is_the_content(record: &FileRecord, file: &TreeFile) -> bool {
    if record.etag.as_deref() == Some(file.etag()) {
        return true;
    }
    matches!(&file.content, Content::Xet { hash, .. } if record.xet_hash == Some(hash.to_string()))
}

/// A file of the right length at one of the content's names.
struct Candidate {
    path: PathBuf,
    identity: Identity,
    /// It is as it was when it was verified.
    is_known: bool,
}

/// A first look, without reading any file.
#[derive(Default)]
struct Scan {
    candidates: Vec<(Group, Vec<Candidate>)>,
    warning: Option<String>,
}

impl Scan {
    fn new(place: &Place, groups: Vec<Group>, index: &Index) -> Self {
        let mut warning = None;
        let look = |group: Group| {
            let mut places = place.look(&group.files);
            places.retain(|(_, identity)| !group.refused.contains(identity));
            (group, places)
        };
        let looked: Vec<(Group, Vec<(PathBuf, Identity)>)> = groups.into_iter().map(look).collect();
        let identities: Vec<Identity> =
            looked.iter().flat_map(|(_, places)| places.iter().map(|(_, identity)| *identity)).collect();
        let known = index.unchanged(&identities).unwrap_or_else(|error| {
            warning = Some(error.to_string());
            HashMap::new()
        });
        let candidates = looked.into_iter().map(|(group, places)| {
            let judge = |(path, identity)| Candidate {
                is_known: known.get(&identity).is_some_and(|record| is_the_content(record, group.file())),
                path,
                identity,
            };
            let places = places.into_iter().map(judge).collect();
            (group, places)
        });
        Self { candidates: candidates.collect(), warning }
    }
}
