//! What is there already: known to the index, or checked by hashing it once.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use xet_cas::client::{Content, TreeFile};

use super::Group;
use crate::store::{FileRecord, Identity, Index, Place, Presence, hash_file};
use crate::{Error, Event};

/// Gives present files all their names and returns what has to be fetched.
pub(super) async fn find_missing(
    place: &Arc<Place>,
    groups: Vec<Group>,
    index: &Index,
    events: &mpsc::Sender<Event>,
) -> Result<Vec<Group>, Error> {
    let (scan_place, scan_index) = (place.clone(), index.clone());
    let scan = tokio::task::spawn_blocking(move || Scan::new(&scan_place, groups, &scan_index));
    let Scan { mut missing, present, unknown, warning } = scan.await.map_err(Error::internal)?;
    if let Some(message) = warning {
        send(events, Event::Warning { message }).await;
    }
    if !unknown.is_empty() {
        let bytes = unknown.iter().map(|(group, _)| group.bytes()).sum();
        send(events, Event::Checking { files: unknown.len(), bytes }).await;
    }
    let (place, index) = (place.clone(), index.clone());
    let check = tokio::task::spawn_blocking(move || {
        let mut warnings = Vec::new();
        let mut verified = Vec::new();
        let mut damaged = Vec::new();
        for (group, path) in present {
            place.expose(&path, &group.files)?;
        }
        for (group, path) in unknown {
            let file = group.file();
            if hash_file(&path, file)? != file.etag() {
                warnings.push(format!("{} is damaged and is fetched again", path.display()));
                damaged.push(group);
                continue;
            }
            place.expose(&path, &group.files)?;
            verified.extend(Identity::of(&path).map(|identity| record(&place, file, path, identity)));
        }
        if let Err(error) = index.record(&verified) {
            warnings.push(error.to_string());
        }
        Ok::<_, Error>((warnings, damaged))
    });
    let (warnings, damaged) = check.await.map_err(Error::internal)??;
    for message in warnings {
        send(events, Event::Warning { message }).await;
    }
    missing.extend(damaged);
    Ok(missing)
}

/// What is remembered of a verified file.
pub(super) fn record(place: &Place, file: &TreeFile, path: PathBuf, identity: Identity) -> FileRecord {
    let xet_hash = match &file.content {
        Content::Xet { hash, .. } => Some(hash.to_string()),
        _ => None,
    };
    let provenance = place.provenance(file);
    FileRecord { path, identity, etag: file.etag().to_owned(), xet_hash, provenance }
}

/// A first look, without reading any file.
#[derive(Default)]
struct Scan {
    missing: Vec<Group>,
    /// As they were when they were verified.
    present: Vec<(Group, PathBuf)>,
    /// Of the right length, otherwise unknown.
    unknown: Vec<(Group, PathBuf)>,
    warning: Option<String>,
}

impl Scan {
    fn new(place: &Place, groups: Vec<Group>, index: &Index) -> Self {
        let mut scan = Self::default();
        let mut candidates = Vec::new();
        for group in groups {
            let found = group.files.iter().find_map(|file| match place.presence(file) {
                Presence::Candidate(identity) => Some((place.bytes_path(file), identity)),
                Presence::Absent => None,
            });
            match found {
                Some((path, identity)) => candidates.push((group, path, identity)),
                None => scan.missing.push(group),
            }
        }
        let identities: Vec<Identity> = candidates.iter().map(|(_, _, identity)| *identity).collect();
        let known = index.unchanged(&identities).unwrap_or_else(|error| {
            scan.warning = Some(error.to_string());
            Default::default()
        });
        for (group, path, identity) in candidates {
            let is_known = known.get(&identity).is_some_and(|record| record.etag == group.file().etag());
            let list = if is_known { &mut scan.present } else { &mut scan.unknown };
            list.push((group, path));
        }
        scan
    }
}

async fn send(events: &mpsc::Sender<Event>, event: Event) {
    if events.send(event).await.is_err() {
        tracing::trace!("nobody watches");
    }
}
