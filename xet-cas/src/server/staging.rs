//! Uploads that came by a grant, until they are kept or given up.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::keys::{Grant, GrantId};
use super::store::{SealedXorb, StoreError};
use crate::XorbHash;

/// Uploads at once. One client has up to 64 under way, 124 if told to hurry.
const UPLOADS_MAX: usize = 256;
/// What they announced, bytes: the least that half a hundred full xorbs need, and little for a disk of models.
const BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Grants that are being used. Only an upload takes a place here: grants given out cost nothing.
#[derive(Default)]
pub(super) struct Staging(Mutex<HashMap<GrantId, Upload>>);

/// What has arrived, or why it is not kept.
type Arrived = Result<SealedXorb, StoreError>;

struct Upload {
    grant: Grant,
    /// Unix seconds.
    expires: u64,
    /// `None`: still arriving.
    body: Option<Arrived>,
}

/// Why an upload is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// An upload by this grant is arriving.
    Arriving,
    /// An upload by this grant has arrived.
    Arrived,
    /// There are too many.
    Full,
}

impl Staging {
    /// Whether an upload of so many bytes would be taken.
    pub(super) fn has_room(&self, length: u64) -> bool {
        has_room(&self.uploads(), length)
    }

    /// Takes a place for an upload that is about to arrive.
    pub(super) fn begin(&self, grant: Grant, expires: u64) -> Result<Place<'_>, Busy> {
        let mut uploads = self.uploads();
        let is_room = has_room(&uploads, grant.length);
        match uploads.entry(grant.id) {
            Entry::Occupied(upload) if upload.get().body.is_none() => Err(Busy::Arriving),
            Entry::Occupied(_) => Err(Busy::Arrived),
            Entry::Vacant(_) if !is_room => Err(Busy::Full),
            Entry::Vacant(vacant) => {
                vacant.insert(Upload { grant, expires, body: None });
                Ok(Place { staging: self, id: grant.id })
            }
        }
    }

    /// What has arrived by a grant for this xorb, which is over with that.
    pub(super) fn take(&self, id: GrantId, xorb: XorbHash) -> Option<Arrived> {
        let mut uploads = self.uploads();
        if uploads.get(&id)?.grant.xorb != xorb || uploads.get(&id)?.body.is_none() {
            return None;
        }
        uploads.remove(&id)?.body
    }

    /// Gives up what arrived and was not asked for until its grant expired.
    pub(super) fn sweep(&self, now: u64) {
        let mut given_up = Vec::new();
        {
            let is_over = |upload: &Upload| upload.body.is_some() && upload.expires <= now;
            given_up.extend(self.uploads().extract_if(|_, upload| is_over(upload)));
        }
        if !given_up.is_empty() {
            tracing::debug!(uploads = given_up.len(), "grants expired before their uploads were to be kept");
        }
    }

    /// How many there are, and what they announced, bytes.
    pub(super) fn usage(&self) -> (usize, u64) {
        let uploads = self.uploads();
        (uploads.len(), uploads.values().map(|upload| upload.grant.length).sum())
    }

    fn uploads(&self) -> MutexGuard<'_, HashMap<GrantId, Upload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_room(uploads: &HashMap<GrantId, Upload>, length: u64) -> bool {
    let staged: u64 = uploads.values().map(|upload| upload.grant.length).sum();
    uploads.len() < UPLOADS_MAX && staged.saturating_add(length) <= BYTES_MAX
}

/// The place of an upload that is arriving: free again when dropped.
#[derive(Debug)]
pub(super) struct Place<'s> {
    staging: &'s Staging,
    id: GrantId,
}

impl Place<'_> {
    /// The upload has arrived, as the grant says.
    pub(super) fn fill(self, body: Arrived) {
        if let Some(upload) = self.staging.uploads().get_mut(&self.id) {
            upload.body = Some(body);
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(upload) = self.staging.uploads().entry(self.id)
            && upload.get().body.is_none()
        {
            upload.remove();
        }
    }
}

impl std::fmt::Debug for Staging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staging").field("uploads", &self.uploads().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::NamedTempFile;

    use super::*;
    use crate::CompressionPolicy;
    use crate::xorb::Builder;

    fn grant(length: u64) -> Grant {
        Grant { id: GrantId::random(), xorb: XorbHash::from_bytes([7; 32]), length, checksum: 0 }
    }

    fn body() -> Arrived {
        sealed(NamedTempFile::new().unwrap())
    }

    fn sealed(file: NamedTempFile) -> Arrived {
        SealedXorb::new(&Builder::new(CompressionPolicy::Auto).finish().footer, file)
    }

    #[test]
    fn given_an_upload_when_it_arrives_then_taken_once_and_for_its_xorb_alone() {
        let staging = Staging::default();
        let grant = grant(1);
        let place = staging.begin(grant, 100).unwrap();
        assert_eq!(Busy::Arriving, staging.begin(grant, 100).unwrap_err());
        assert!(staging.take(grant.id, grant.xorb).is_none());

        place.fill(body());

        assert_eq!(Busy::Arrived, staging.begin(grant, 100).unwrap_err());
        assert!(staging.take(grant.id, XorbHash::ZERO).is_none());
        assert!(staging.take(GrantId::random(), grant.xorb).is_none());
        assert!(staging.take(grant.id, grant.xorb).is_some());
        assert!(staging.take(grant.id, grant.xorb).is_none());
    }

    #[test]
    fn given_an_upload_that_breaks_off_when_tried_again_then_there_is_a_place() {
        let staging = Staging::default();
        let grant = grant(1);
        drop(staging.begin(grant, 100).unwrap());
        assert!(staging.begin(grant, 100).is_ok());
    }

    #[test]
    fn given_too_many_uploads_or_bytes_when_another_comes_then_there_is_no_room() {
        let staging = Staging::default();
        let half = staging.begin(grant(BYTES_MAX / 2), 100).unwrap();
        assert!(staging.has_room(BYTES_MAX / 2) && !staging.has_room(BYTES_MAX / 2 + 1));
        assert_eq!(Busy::Full, staging.begin(grant(BYTES_MAX), 100).unwrap_err());
        drop(half);

        let places: Vec<_> = (0..UPLOADS_MAX).map(|_| staging.begin(grant(1), 100).unwrap()).collect();
        assert_eq!(Busy::Full, staging.begin(grant(1), 100).unwrap_err());
        drop(places);
        assert!(staging.has_room(BYTES_MAX));
    }

    #[test]
    fn given_expired_grants_when_swept_then_what_has_arrived_is_deleted() {
        let staging = Staging::default();
        let (early, late, arriving) = (grant(1), grant(1), grant(1));
        let file = NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        staging.begin(early, 100).unwrap().fill(sealed(file));
        staging.begin(late, 101).unwrap().fill(body());
        let place = staging.begin(arriving, 50).unwrap();

        staging.sweep(100);

        assert!(!path.exists() && staging.take(early.id, early.xorb).is_none());
        assert!(staging.take(late.id, late.xorb).is_some());
        place.fill(body());
        assert!(staging.take(arriving.id, arriving.xorb).is_some());
    }
}
