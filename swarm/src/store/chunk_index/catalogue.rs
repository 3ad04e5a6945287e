//! Which segments there are, and which files in them no longer count. Replaced as a whole: that is the moment at
//! which a change happens.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use xet_cas::FileHash;

use super::segment::{FILE_BYTES, Segment, invalid};
use crate::Error;
use crate::store::Identity;
use crate::store::staging::write_atomically;

/// Segments, at most: each is an open file and one read more in a lookup.
pub(super) const SEGMENTS_MAX: usize = 12;
/// Forgotten files that are remembered as such, at most; then all segments are merged, without them. 32 KiB.
pub(super) const FORGOTTEN_MAX: usize = 1024;
/// Times that the catalogue is read while segments that it names go away.
const LOADS_MAX: usize = 3;

const MAGIC: [u8; 16] = *b"zest chunk cat1\n";
const CHECKSUM_BYTES: usize = 32;
const NUMBER_BYTES: usize = 8;
/// Magic, and two counts.
const HEAD_BYTES: usize = MAGIC.len() + 4 + 4;
const CATALOGUE_BYTES_MAX: usize =
    HEAD_BYTES + SEGMENTS_MAX * NUMBER_BYTES + FORGOTTEN_MAX * FILE_BYTES + CHECKSUM_BYTES;

/// The catalogue, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Catalogue {
    /// Numbers of segments, the largest segment first.
    pub(super) segments: Vec<u64>,
    pub(super) forgotten: BTreeSet<FileHash>,
}

impl Catalogue {
    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join("catalogue")
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(self.segments.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&(self.forgotten.len() as u32).to_be_bytes());
        self.segments.iter().for_each(|number| bytes.extend_from_slice(&number.to_be_bytes()));
        self.forgotten.iter().for_each(|file| bytes.extend_from_slice(file.as_bytes()));
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    /// Reads the stored form; `None` if this is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
        let (counts, rest) = content.strip_prefix(&MAGIC)?.split_first_chunk::<8>()?;
        let count = |at: usize| u32::from_be_bytes(std::array::from_fn(|i| counts[at + i])) as usize;
        let (segments, forgotten) = rest.split_at_checked(count(0).checked_mul(NUMBER_BYTES)?)?;
        if checksum != &*Sha256::digest(content) || forgotten.len() != count(4).checked_mul(FILE_BYTES)? {
            return None;
        }
        let segments = segments.as_chunks::<NUMBER_BYTES>().0.iter().map(|number| u64::from_be_bytes(*number));
        let forgotten = forgotten.as_chunks::<FILE_BYTES>().0.iter().map(|hash| FileHash::from_bytes(*hash));
        Some(Self { segments: segments.collect(), forgotten: forgotten.collect() })
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        write_atomically(folder, &Self::path(folder), &self.encode())
    }

    fn read(folder: &Path) -> io::Result<Self> {
        let file = std::fs::File::open(Self::path(folder))?;
        let mut bytes = Vec::new();
        file.take(CATALOGUE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        let catalogue = Some(bytes).filter(|bytes| bytes.len() <= CATALOGUE_BYTES_MAX);
        catalogue.and_then(|bytes| Self::decode(&bytes)).ok_or_else(|| invalid("it is no catalogue"))
    }
}

/// What a catalogue names, opened.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The file that was read, by which it is told whether there is another by now.
    source: Option<Identity>,
    /// There is no catalogue, or none that can be read.
    pub(super) is_missing: bool,
    /// The largest first.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Segments that are not there or cannot be used, and why.
    pub(super) unusable: Vec<(u64, io::Error)>,
    pub(super) forgotten: BTreeSet<FileHash>,
}

impl View {
    /// Whether the catalogue is still the one that was read.
    pub(super) fn is_current(&self, folder: &Path) -> bool {
        self.source.is_some() && Identity::of(&Catalogue::path(folder)) == self.source
    }

    /// Opens what the catalogue names. Segments that `before` has open are not opened again.
    pub(super) fn load(folder: &Path, before: &Self) -> Self {
        let mut tries_left = LOADS_MAX;
        loop {
            let source = Identity::of(&Catalogue::path(folder));
            let catalogue = match Catalogue::read(folder) {
                Ok(catalogue) => catalogue,
                Err(error) => {
                    tracing::debug!(%error, folder = %folder.display(), "there is no chunk catalogue");
                    return Self { source, is_missing: true, ..Self::default() };
                }
            };
            let mut view = Self { source, forgotten: catalogue.forgotten, ..Self::default() };
            for number in catalogue.segments {
                let known = before.segments.iter().find(|segment| segment.number() == number).cloned();
                match known.map_or_else(|| Segment::open(folder, number).map(Arc::new), Ok) {
                    Ok(segment) => view.segments.push(segment),
                    Err(error) => view.unusable.push((number, error)),
                }
            }
            tries_left -= 1;
            // What was merged meanwhile is gone, and the catalogue says into what.
            if view.unusable.is_empty() || view.is_current(folder) || tries_left == 0 {
                return view;
            }
        }
    }

    /// Whether the chunks of a file are in a segment. One that cannot be read counts as one that has it not.
    pub(super) fn has_file(&self, file: FileHash) -> bool {
        self.segments.iter().any(|segment| segment.has_file(file).unwrap_or(false))
    }
}
