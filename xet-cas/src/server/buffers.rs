//! Memory in which file data goes out, used again and again.
//!
//! Fresh memory of this size comes from the system page by page, each cleared, which takes about as long as to fill it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::CHUNK_BYTES_MAX;
use crate::xorb::RecordHeader;

/// Room in a buffer, bytes: any record fits, and so do half as many bytes and another chunk.
pub(super) const ROOM_BYTES: usize = 2 * CHUNK_BYTES_MAX + RecordHeader::BYTES;
/// Shorter pieces, bytes, have memory of their own: they are not worth a buffer.
const SMALL_BYTES: usize = 16 * 1024;
/// Buffers kept while nobody needs them: 16 MiB.
const IDLE_MAX: usize = 64;

/// Buffers that wait to be used again. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Box<[u8]>>>>);

impl Buffers {
    /// One with anything in it: the last that was given back, which is the likeliest to be in the processor's cache.
    pub(super) fn take(&self) -> Buffer {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = idle.unwrap_or_else(|| vec![0; ROOM_BYTES].into());
        Buffer { bytes, home: self.clone() }
    }

    /// One with room for so many bytes.
    pub(super) fn take_for(&self, bytes: usize) -> Buffer {
        match bytes {
            SMALL_BYTES..=ROOM_BYTES => self.take(),
            _ => Buffer { bytes: vec![0; bytes].into(), home: self.clone() },
        }
    }
}

/// Memory that goes back to where they came from.
pub(super) struct Buffer {
    /// Empty only while this is dropped.
    bytes: Box<[u8]>,
    home: Buffers,
}

impl Buffer {
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.bytes
    }

    /// What is at the front, on its way out.
    pub(super) fn filled(self, length: usize) -> Bytes {
        Bytes::from_owner(Filled(self)).slice(..length)
    }
}

struct Filled(Buffer);

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut idle = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if self.bytes.len() == ROOM_BYTES && idle.len() < IDLE_MAX {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_buffer_that_was_sent_when_all_of_it_is_dropped_then_the_next_one_is_the_same() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer.room()[..4].copy_from_slice(b"data");
        let place = buffer.room().as_ptr();

        let sent = buffer.filled(4);
        let part = sent.slice(2..);
        drop(sent);
        assert_ne!(place, buffers.take().room().as_ptr());

        assert_eq!(b"ta", &part[..]);
        drop(part);
        assert_eq!(place, buffers.take().room().as_ptr());
    }

    #[test]
    fn given_many_buffers_when_all_are_given_back_then_only_so_many_are_kept() {
        let buffers = Buffers::default();
        let taken: Vec<Buffer> = (0..IDLE_MAX + 9).map(|_| buffers.take()).collect();
        drop(taken);

        assert_eq!(IDLE_MAX, buffers.0.lock().unwrap().len());
    }

    #[test]
    fn given_a_small_piece_when_it_is_given_back_then_not_kept() {
        let buffers = Buffers::default();
        assert_eq!(b"\0\0\0", &buffers.take_for(3).filled(3)[..]);
        assert_eq!(ROOM_BYTES + 1, buffers.take_for(ROOM_BYTES + 1).room().len());
        assert_eq!(ROOM_BYTES, buffers.take_for(ROOM_BYTES).room().len());

        assert_eq!(1, buffers.0.lock().unwrap().len());
    }
}
