//! Makes one segment of new files and of older segments. Reads and writes from front to back, and keeps in memory
//! only the numbers that files get.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use xet_cas::{FileHash, Leaf};

use super::entry::{Entry, prefix};
use super::filter::{Filter, WORD_BYTES};
use super::segment::{Footer, PAGE_ENTRIES, Segment, invalid};
use crate::Error;
use crate::store::Partial;

/// Bytes that are written at once.
const WRITE_BYTES: usize = 256 * 1024;
/// In place of the number of a file that is left out.
const LEFT_OUT: u32 = u32::MAX;

/// Files that are in no segment yet.
#[derive(Debug)]
pub(super) struct Fresh {
    files: Vec<FileHash>,
    entries: Vec<Entry>,
}

impl Fresh {
    pub(super) fn new(mut files: Vec<(FileHash, Vec<Leaf>)>) -> Self {
        files.sort_unstable_by_key(|(file, _)| *file);
        files.dedup_by_key(|(file, _)| *file);
        let mut entries = Vec::with_capacity(files.iter().map(|(_, leaves)| leaves.len()).sum());
        let mut hashes = Vec::with_capacity(files.len());
        // Lists go as they are taken over, so that not much more than one of the two is in memory.
        for (file, (hash, leaves)) in (0..LEFT_OUT).zip(files) {
            let entry = |(chunk, leaf): (u32, &Leaf)| Entry { prefix: prefix(&leaf.hash), file, chunk };
            entries.extend((0..=u32::MAX).zip(&leaves).map(entry));
            hashes.push(hash);
        }
        entries.sort_unstable();
        entries.dedup_by(|later, first| first.is_repeated_by(later));
        Self { files: hashes, entries }
    }

    pub(super) fn entry_count(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// Why there is no new segment.
#[derive(Debug)]
pub(super) enum MergeError {
    /// A segment that was to be merged cannot be read.
    Input { number: u64, error: io::Error },
    /// The new one cannot be written.
    Output(Error),
}

impl From<Error> for MergeError {
    fn from(error: Error) -> Self {
        Self::Output(error)
    }
}

/// Writes a segment of all files in `fresh` and `inputs` but those that are `forgotten`. `None` if none are left.
pub(super) fn merge(
    folder: &Path,
    fresh: &Fresh,
    inputs: &[Arc<Segment>],
    forgotten: &BTreeSet<FileHash>,
) -> Result<Option<Segment>, MergeError> {
    let blame = |(input, error): (usize, io::Error)| match inputs.get(input) {
        Some(segment) => MergeError::Input { number: segment.number(), error },
        None => MergeError::Output(Error::internal(error)),
    };
    let mut output = Output::create(folder)?;
    // The new files are the last run.
    let tables = inputs.iter().map(|segment| Box::new(segment.read_files()) as Run<'_, FileHash>);
    let tables = tables.chain([Box::new(fresh.files.iter().copied().map(Ok)) as _]);
    let tables = Merged::new(tables.collect()).map_err(blame)?;
    let (files, numbers) = write_table(&mut output, tables, forgotten, blame)?;
    if files == 0 {
        return Ok(None);
    }
    let entries = inputs.iter().map(|segment| Box::new(segment.read_entries()) as Run<'_, Entry>);
    let entries = entries.chain([Box::new(fresh.entries.iter().copied().map(Ok)) as _]);
    // Tables and numbers have one order, so a run that was sorted stays so.
    let entries = entries.zip(&numbers).map(|(run, numbers)| Box::new(renumber(run, numbers)) as _);
    let entries = Merged::new(entries.collect()).map_err(blame)?;
    let entries_max = fresh.entry_count() + inputs.iter().map(|segment| segment.entry_count()).sum::<u64>();
    let (entries, mut loaded, filter) = write_entries(&mut output, entries, entries_max, blame)?;
    let filter = filter.encode();
    loaded.extend_from_slice(&filter);
    output.write(&loaded)?;
    let filter_words = (filter.len() / WORD_BYTES) as u32;
    output.write(&Footer { entries, files, filter_words }.encode(&loaded))?;
    output.finish(folder).map(Some).map_err(MergeError::from)
}

/// Writes the names of all files, each once. Returns how many, and for each run the numbers that its files have now.
fn write_table(
    output: &mut Output,
    mut tables: Merged<'_, FileHash>,
    forgotten: &BTreeSet<FileHash>,
    blame: impl Fn((usize, io::Error)) -> MergeError,
) -> Result<(u32, Vec<Vec<u32>>), MergeError> {
    let mut numbers = vec![Vec::new(); tables.runs.len()];
    let (mut files, mut last) = (0, None);
    while let Some((run, file)) = tables.next().map_err(&blame)? {
        if forgotten.contains(&file) {
            numbers[run].push(LEFT_OUT);
            continue;
        }
        if last != Some(file) {
            output.write(file.as_bytes())?;
            last = Some(file);
            files += 1;
        }
        if files == LEFT_OUT {
            return Err(Error::internal("more files than a segment can number").into());
        }
        numbers[run].push(files - 1);
    }
    Ok((files, numbers))
}

/// Writes all entries, but a chunk once for each file. Returns how many, the first prefix of every page, and the filter.
fn write_entries(
    output: &mut Output,
    mut entries: Merged<'_, Entry>,
    entries_max: u64,
    blame: impl Fn((usize, io::Error)) -> MergeError,
) -> Result<(u64, Vec<u8>, Filter), MergeError> {
    let (mut count, mut fences, mut filter) = (0_u64, Vec::new(), Filter::with_room_for(entries_max));
    let mut last = None::<Entry>;
    while let Some((_, entry)) = entries.next().map_err(&blame)? {
        if last.is_some_and(|last| last.is_repeated_by(&entry)) {
            continue;
        }
        if count.is_multiple_of(PAGE_ENTRIES as u64) {
            fences.extend_from_slice(&entry.prefix.to_be_bytes());
        }
        filter.insert(entry.prefix);
        output.write(&entry.encode())?;
        last = Some(entry);
        count += 1;
    }
    Ok((count, fences, filter))
}

/// Gives entries the numbers that their files have in the new segment.
fn renumber<'a>(run: Run<'a, Entry>, numbers: &'a [u32]) -> impl Iterator<Item = io::Result<Entry>> + 'a {
    run.filter_map(|entry| {
        let numbered = entry.and_then(|entry| match numbers.get(entry.file as usize) {
            Some(&LEFT_OUT) => Ok(None),
            Some(&file) => Ok(Some(Entry { file, ..entry })),
            None => Err(invalid("an entry names a file that is not in the table")),
        });
        numbered.transpose()
    })
}

/// Values in order.
type Run<'a, T> = Box<dyn Iterator<Item = io::Result<T>> + 'a>;

/// Sorted runs as one. There are few of them.
struct Merged<'a, T> {
    runs: Vec<(Option<T>, Run<'a, T>)>,
}

impl<'a, T: Ord + Copy> Merged<'a, T> {
    /// Fails with the number of a run that cannot be read.
    fn new(runs: Vec<Run<'a, T>>) -> Result<Self, (usize, io::Error)> {
        let begin = |(number, mut run): (usize, Run<'a, T>)| match run.next().transpose() {
            Ok(first) => Ok((first, run)),
            Err(error) => Err((number, error)),
        };
        Ok(Self { runs: runs.into_iter().enumerate().map(begin).collect::<Result<_, _>>()? })
    }

    /// The smallest value that is left, and the number of the run that it is from. Fails with the number of a run
    /// that cannot be read, or is not sorted.
    fn next(&mut self) -> Result<Option<(usize, T)>, (usize, io::Error)> {
        let heads = self.runs.iter().enumerate().filter_map(|(number, (head, _))| Some((number, (*head)?)));
        let Some((number, value)) = heads.min_by_key(|(_, value)| *value) else { return Ok(None) };
        let (head, rest) = &mut self.runs[number];
        *head = rest.next().transpose().map_err(|error| (number, error))?;
        if head.is_some_and(|next| next < value) {
            return Err((number, invalid("it is not sorted")));
        }
        Ok(Some((number, value)))
    }
}

/// A segment that is being written, under a name that no reader looks for.
struct Output {
    partial: Partial,
    buffer: Vec<u8>,
    written: u64,
}

impl Output {
    fn create(folder: &Path) -> Result<Self, Error> {
        let partial = Partial::create(folder, "segment", 0)?;
        Ok(Self { partial, buffer: Vec::with_capacity(WRITE_BYTES), written: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.buffer.len() + bytes.len() > WRITE_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.partial.write(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self, folder: &Path) -> Result<Segment, Error> {
        self.flush()?;
        // Never a number that was used before: readers take a segment that they have open for the same one.
        let number = rand::random();
        let path = Segment::path(folder, number);
        self.partial.persist(&path)?;
        Segment::open(folder, number).map_err(Error::disk("open", path))
    }
}
