//! Reads files one after the other into batches of whole chunks. A batch holds many small files, or a part of a
//! large one.

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::sync::Arc;

use super::folder::{FileState, LocalFile, changed, local_file};
use crate::client::Error;
use crate::{CHUNK_BYTES_MAX, Chunker};

/// Bytes of a batch: enough chunks to share between cores, few enough that two batches are little memory.
pub(super) const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Files that end in one batch at most, so that empty ones do not make a batch without end.
const BATCH_FILES_MAX: usize = 1_024;

/// Whole chunks of one or more files.
#[derive(Debug, Default)]
pub(super) struct Batch {
    data: Vec<u8>,
    pub(super) parts: Vec<Part>,
}

/// Consecutive chunks of one file.
#[derive(Debug)]
pub(super) struct Part {
    /// Where the chunks lie in the batch, one behind the other.
    pub(super) chunks: Vec<Range<usize>>,
    /// The number of the file if it ends here.
    pub(super) ends: Option<usize>,
}

impl Batch {
    /// The bytes of every chunk.
    pub(super) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().flat_map(|part| &part.chunks).map(|chunk| &self.data[chunk.clone()])
    }

    /// All bytes of a part.
    pub(super) fn bytes(&self, part: &Part) -> &[u8] {
        match (part.chunks.first(), part.chunks.last()) {
            (Some(first), Some(last)) => &self.data[first.start..last.end],
            _ => &[],
        }
    }
}

/// Reads all files of a list.
pub(super) struct Reader {
    files: Arc<Vec<LocalFile>>,
    next: usize,
    open: Option<OpenFile>,
    /// The beginning of a chunk whose end was not read yet.
    begun: Vec<u8>,
}

struct OpenFile {
    number: usize,
    reader: File,
    chunker: Chunker,
    state: FileState,
    bytes: u64,
}

impl Reader {
    pub(super) fn new(files: Arc<Vec<LocalFile>>) -> Self {
        Self { files, next: 0, open: None, begun: Vec::new() }
    }

    /// Fills `batch`, whose memory is used again. False: there is nothing left.
    pub(super) fn read(&mut self, batch: &mut Batch) -> Result<bool, Error> {
        batch.parts.clear();
        batch.data.clear();
        batch.data.reserve_exact(BATCH_BYTES + CHUNK_BYTES_MAX);
        batch.data.append(&mut self.begun);
        let mut ended = 0;
        while batch.data.len() < BATCH_BYTES && ended < BATCH_FILES_MAX {
            let open = match self.open.take() {
                Some(open) => open,
                None if self.next < self.files.len() => self.open_next()?,
                None => break,
            };
            match self.read_part(open, batch)? {
                Some(still_open) => {
                    self.open = Some(still_open);
                    break;
                }
                None => ended += 1,
            }
        }
        Ok(!batch.parts.is_empty())
    }

    fn open_next(&mut self) -> Result<OpenFile, Error> {
        let number = self.next;
        self.next += 1;
        let file = &self.files[number];
        let local = |error| local_file(&file.source, error);
        let reader = File::open(&file.source).map_err(local)?;
        let state = FileState::of(&reader.metadata().map_err(local)?);
        if state != file.state {
            return Err(changed(file));
        }
        Ok(OpenFile { number, reader, chunker: Chunker::new(), state, bytes: 0 })
    }

    /// Reads until the batch is full or the file at its end; gives the file back if it is not.
    fn read_part(&mut self, mut open: OpenFile, batch: &mut Batch) -> Result<Option<OpenFile>, Error> {
        let file = &self.files[open.number];
        let local = |error| local_file(&file.source, error);
        // What of the batch belongs to the chunk that is open.
        let mut start = batch.data.len() - open.chunker.pending_bytes();
        let mut chunks = Vec::new();
        let is_at_end = loop {
            let from = batch.data.len();
            let room = BATCH_BYTES.saturating_sub(from);
            if room == 0 {
                break false;
            }
            let read = (&mut open.reader).take(room as u64).read_to_end(&mut batch.data).map_err(local)?;
            open.bytes += read as u64;
            let mut at = from;
            while let Some(length) = open.chunker.next_boundary(&batch.data[at..]) {
                at += length;
                chunks.push(start..at);
                start = at;
            }
            if read < room {
                break true;
            }
        };
        if !is_at_end {
            self.begun.extend_from_slice(&batch.data[start..]);
            batch.data.truncate(start);
            batch.parts.push(Part { chunks, ends: None });
            return Ok(Some(open));
        }
        if start < batch.data.len() {
            chunks.push(start..batch.data.len());
        }
        let after = FileState::of(&open.reader.metadata().map_err(local)?);
        if open.bytes != file.size || after != open.state {
            return Err(changed(file));
        }
        batch.parts.push(Part { chunks, ends: Some(open.number) });
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::Arc;

    use super::{BATCH_BYTES, Batch, Error, FileState, LocalFile, Reader};
    use crate::CHUNK_BYTES_MAX;

    /// Bytes without a pattern, from this seed.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed;
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&(state >> 16).to_le_bytes()[..5]);
        }
        bytes.truncate(length);
        bytes
    }

    fn file(folder: &tempfile::TempDir, name: &str, content: &[u8]) -> LocalFile {
        let source = folder.path().join(name);
        std::fs::write(&source, content).unwrap();
        let state = FileState::of(&source.metadata().unwrap());
        LocalFile { path: name.into(), size: content.len() as u64, source, state }
    }

    /// The number of a file, and its chunks.
    type Cut = (usize, Vec<Vec<u8>>);

    /// The chunks of every file that ends, in order.
    fn read(files: Vec<LocalFile>) -> Result<Vec<Cut>, Error> {
        let (mut reader, mut batch) = (Reader::new(Arc::new(files)), Batch::default());
        let (mut ended, mut open) = (Vec::new(), Vec::new());
        while reader.read(&mut batch)? {
            assert!(batch.data.len() <= BATCH_BYTES + CHUNK_BYTES_MAX, "{}", batch.data.len());
            let mut chunks = batch.chunks().map(<[u8]>::to_vec);
            for part in &batch.parts {
                let of_part: Vec<_> = chunks.by_ref().take(part.chunks.len()).collect();
                assert_eq!(of_part.concat(), batch.bytes(part));
                open.extend(of_part);
                if let Some(number) = part.ends {
                    ended.push((number, std::mem::take(&mut open)));
                }
            }
        }
        assert!(open.is_empty());
        Ok(ended)
    }

    #[test]
    fn given_files_of_all_sizes_when_read_in_batches_then_cut_as_each_is_alone() {
        let folder = tempfile::tempdir().unwrap();
        let sizes = [0, 1, 70_000, BATCH_BYTES - 71_001, 1, 0, BATCH_BYTES, 3 * BATCH_BYTES + 17, 0, 9_000_000, 5];
        let contents: Vec<_> = sizes.iter().zip(1..).map(|(size, seed)| noise(seed, *size)).collect();
        let files = contents.iter().enumerate().map(|(n, content)| file(&folder, &n.to_string(), content));

        let read = read(files.collect()).unwrap();

        let expected: Vec<Cut> =
            contents.iter().map(|content| crate::chunks(content).map(<[u8]>::to_vec).collect()).enumerate().collect();
        assert!(expected == read);
    }

    #[test]
    fn given_thousands_of_tiny_files_when_read_then_in_several_batches() {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<_> = (0..3_000).map(|n| file(&folder, &n.to_string(), &[7; 3][..n % 4])).collect();

        let (mut reader, mut batch, mut parts) = (Reader::new(Arc::new(files)), Batch::default(), Vec::new());
        while reader.read(&mut batch).unwrap() {
            parts.push(batch.parts.len());
        }

        assert_eq!(3_000, parts.iter().sum::<usize>());
        assert!(parts.len() == 3, "{parts:?}");
    }

    #[test]
    fn given_a_file_that_changes_before_or_while_it_is_read_then_refused() {
        let folder = tempfile::tempdir().unwrap();
        let before = file(&folder, "before", b"one");
        File::options().append(true).open(&before.source).unwrap().write_all(b" more").unwrap();
        assert!(matches!(read(vec![before]), Err(Error::Unpublishable { .. })));

        let content = noise(1, 3 * BATCH_BYTES);
        let during = file(&folder, "during", &content);
        let source = during.source.clone();
        let (mut reader, mut batch) = (Reader::new(Arc::new(vec![during])), Batch::default());
        assert!(reader.read(&mut batch).unwrap());
        let mut writer = File::options().write(true).open(&source).unwrap();
        writer.write_all(b"other").unwrap();
        writer.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let mut rest = std::iter::from_fn(|| Some(reader.read(&mut batch)));
        assert!(matches!(rest.find(|read| !matches!(read, Ok(true))), Some(Err(Error::Unpublishable { .. }))));
    }
}
