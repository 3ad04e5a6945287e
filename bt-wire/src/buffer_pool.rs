//! Memory for what is read, shared by many connections and bounded.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// Bytes of one buffer: two of the chunks that Xet peers send, or 16 blocks.
pub const BUFFER_BYTES: usize = 256 * 1024;
/// Buffers that are kept though nobody uses them, so that busy connections do not ask the system for memory.
const SPARE_BUFFERS_MAX: usize = 16;
/// What a pool counts in, bytes.
const UNIT_BYTES: usize = 4 * 1024;

/// What a connection does that wants to read and finds the pool dry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenDry {
    /// It reads on when a buffer comes back: the peer feels it. What keeps payloads while it waits for more
    /// of them must not keep more than the pool has.
    #[default]
    Wait,
    /// It allocates anyway. The pool bounds nothing then, and only tells ([`BufferPool::dry`]).
    Allocate,
}

/// Memory for the payloads of one or many connections. A payload keeps the buffer that it was read into until
/// it is dropped; the pool bounds the bytes of all buffers that are kept so. Beside that a connection has one
/// buffer of its own while there is something in it that is not complete, and none while it is idle.
#[derive(Debug, Clone)]
pub struct BufferPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    units: Arc<Semaphore>,
    units_max: u32,
    when_dry: WhenDry,
    spare: Mutex<Vec<BytesMut>>,
    dry: Notify,
    times_dry: AtomicU64,
}

impl BufferPool {
    /// Of so many bytes, at least one buffer.
    pub fn new(bytes_max: usize, when_dry: WhenDry) -> Self {
        let units_max = (bytes_max.max(BUFFER_BYTES) / UNIT_BYTES).min(u32::MAX as usize / 2);
        let units = Arc::new(Semaphore::new(units_max));
        Self(Arc::new(Shared {
            units,
            units_max: units_max as u32,
            when_dry,
            spare: Mutex::default(),
            dry: Notify::new(),
            times_dry: AtomicU64::new(0),
        }))
    }

    /// Bytes that can be taken now.
    pub fn available(&self) -> usize {
        self.0.units.available_permits() * UNIT_BYTES
    }

    /// How often a connection found too little in it.
    pub fn times_dry(&self) -> u64 {
        self.0.times_dry.load(Ordering::Relaxed)
    }

    /// Waits until a connection finds too little in it, or returns at once if one has since the last call: time
    /// to let go of payloads. One waiter is told.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn dry(&self) {
        self.0.dry.notified().await;
    }

    fn units_of(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.0.units_max)
    }

    fn spare(&self) -> Option<BytesMut> {
        self.0.spare.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, mut buffer: BytesMut) {
        // Only if no payload holds on to it any more.
        if buffer.try_reclaim(BUFFER_BYTES) && buffer.capacity() < 2 * BUFFER_BYTES {
            let mut spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.len() < SPARE_BUFFERS_MAX {
                spare.push(buffer);
            }
        }
    }
}

impl Default for BufferPool {
    /// 32 MiB, for which readers wait.
    fn default() -> Self {
        Self::new(32 * 1024 * 1024, WhenDry::Wait)
    }
}

/// A buffer that is read into. What is cut off it counts as taken from the pool.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: BytesMut,
    /// Of payloads that were cut off and are in use.
    lease: Weak<Lease>,
}

/// Given back when no payload has it any more. `None` beyond the pool.
type Lease = Option<OwnedSemaphorePermit>;

/// The front of a buffer, with what it counts.
struct Leased {
    // Dropped first, so that the memory is free when the pool says so.
    bytes: Bytes,
    _lease: Arc<Lease>,
}

impl AsRef<[u8]> for Leased {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Buffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Room behind what is there.
    pub(crate) fn room(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }
}

/// One connection's way to the pool.
#[derive(Debug)]
pub(crate) struct PoolHandle {
    pool: BufferPool,
    waiting: PollSemaphore,
    was_dry: bool,
}

impl PoolHandle {
    pub(crate) fn new(pool: BufferPool) -> Self {
        let waiting = PollSemaphore::new(pool.0.units.clone());
        Self { pool, waiting, was_dry: false }
    }

    /// Makes sure that a buffer has room for so much more, and says how many bytes had to be moved for it.
    pub(crate) fn reserve(&self, buffer: &mut Buffer, room: usize) -> usize {
        if buffer.room() >= room {
            return 0;
        }
        let held = buffer.bytes.len();
        // In place, if no payload of it is in use.
        if !buffer.bytes.try_reclaim(room) {
            let bytes = (held + room).max(BUFFER_BYTES);
            let mut fresh = match self.pool.spare() {
                Some(spare) if spare.capacity() >= bytes => spare,
                _ => BytesMut::with_capacity(bytes),
            };
            fresh.extend_from_slice(&buffer.bytes);
            *buffer = Buffer { bytes: fresh, lease: Weak::new() };
        }
        held
    }

    /// Gives a buffer back in which nothing is.
    pub(crate) fn release(&self, buffer: &mut Buffer) {
        if buffer.bytes.capacity() > 0 {
            self.pool.keep(std::mem::take(buffer).bytes);
        }
    }

    /// Cuts off the front of a buffer, when the pool allows that it is kept. Payloads are slices of it.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>, buffer: &mut Buffer, count: usize) -> Poll<Bytes> {
        let lease = match buffer.lease.upgrade() {
            Some(lease) => lease,
            None => {
                let lease = Arc::new(ready!(self.poll_lease(cx, buffer.bytes.capacity())));
                buffer.lease = Arc::downgrade(&lease);
                lease
            }
        };
        let bytes = buffer.bytes.split_to(count).freeze();
        Poll::Ready(Bytes::from_owner(Leased { bytes, _lease: lease }))
    }

    fn poll_lease(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<Lease> {
        let units = self.pool.units_of(bytes);
        if !self.was_dry {
            if let Ok(permit) = self.pool.0.units.clone().try_acquire_many_owned(units) {
                return Poll::Ready(Some(permit));
            }
            self.was_dry = true;
            self.pool.0.times_dry.fetch_add(1, Ordering::Relaxed);
            self.pool.0.dry.notify_one();
        }
        let lease = match self.pool.0.when_dry {
            WhenDry::Allocate => None,
            // It is never closed, so there always is one in the end.
            WhenDry::Wait => ready!(self.waiting.poll_acquire_many(cx, units)),
        };
        self.was_dry = false;
        Poll::Ready(lease)
    }
}
