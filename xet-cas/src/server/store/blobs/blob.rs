//! Stored bytes, open for reading.

use std::fs::File;
use std::io::{self, BufReader, Read};

/// Read at once by who reads in order, bytes.
const READ_BYTES: usize = 128 * 1024;

/// Stored bytes. They stay readable while this is held, also if they are collected meanwhile.
#[derive(Debug)]
pub(in super::super::super) struct Blob {
    source: Source,
    bytes: u64,
}

#[derive(Debug)]
enum Source {
    File(File),
    #[cfg(feature = "s3")]
    Bucket(super::bucket::Remote),
}

impl Blob {
    pub(super) fn of_file(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { source: Source::File(file), bytes })
    }

    #[cfg(feature = "s3")]
    pub(super) fn of_bucket(remote: super::bucket::Remote, bytes: u64) -> Self {
        Self { source: Source::Bucket(remote), bytes }
    }

    /// How many there are.
    pub(in super::super::super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How much to read at once for who wants so much: not less than makes reading worth while.
    pub(in super::super::super) fn read_bytes(&self, wanted: usize) -> usize {
        match &self.source {
            Source::File(_) => wanted,
            #[cfg(feature = "s3")]
            Source::Bucket(_) => wanted.max(super::bucket::READ_BYTES),
        }
    }

    /// Fills `buffer` with what begins at `offset`. Blocks.
    pub(in super::super::super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.source {
            Source::File(file) => read_file_at(file, buffer, offset),
            #[cfg(feature = "s3")]
            Source::Bucket(remote) => remote.read_exact_at(buffer, offset),
        }
    }

    /// Fills as much of `buffer` as there is in memory of what begins at `offset`; `None` if that is nothing, or if nobody
    /// knows. Waits for no disk.
    pub(in super::super::super) fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        match &self.source {
            Source::File(file) => read_cached_at(file, buffer, offset),
            #[cfg(feature = "s3")]
            Source::Bucket(_) => None,
        }
    }

    /// Reads in order, from `offset` to the end. Blocks.
    pub(in super::super::super) fn reader(self, offset: u64) -> impl Read {
        let read_bytes = match &self.source {
            Source::File(_) => READ_BYTES,
            #[cfg(feature = "s3")]
            Source::Bucket(_) => super::bucket::READ_BYTES,
        };
        BufReader::with_capacity(read_bytes, InOrder { blob: self, at: offset })
    }
}

struct InOrder {
    blob: Blob,
    at: u64,
}

impl Read for InOrder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.blob.bytes.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        self.blob.read_exact_at(&mut buffer[..length], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

#[cfg(target_os = "linux")]
fn read_cached_at(file: &File, buffer: &mut [u8], offset: u64) -> Option<usize> {
    use rustix::io::{ReadWriteFlags, preadv2};

    // File systems that cannot tell (tmpfs) say that they do not support it.
    let read = preadv2(file, &mut [io::IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT);
    read.ok().filter(|read| *read > 0)
}

#[cfg(not(target_os = "linux"))]
fn read_cached_at(_: &File, _: &mut [u8], _: u64) -> Option<usize> {
    None
}

#[cfg(unix)]
fn read_file_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_file_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}
