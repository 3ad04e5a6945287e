//! The memory in which xorbs are put together and from which they are sent: so many buffers and no more. Who needs
//! one waits until an upload has given one back, which is what holds reading back to the pace of the uplink.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::client::Error;

pub(super) struct Buffers {
    state: Mutex<State>,
    returned: Condvar,
    capacity: usize,
    patience: Duration,
}

struct State {
    free: Vec<Vec<u8>>,
    /// Buffers that may still be made.
    unmade: usize,
}

impl Buffers {
    pub(super) fn new(count: usize, capacity: usize, patience: Duration) -> Arc<Self> {
        let state = Mutex::new(State { free: Vec::new(), unmade: count });
        Arc::new(Self { state, returned: Condvar::new(), capacity, patience })
    }

    /// An empty buffer. Blocks until there is one.
    ///
    /// # Errors
    /// [`Error::Deadline`] if none comes back: a server that stops reading holds what it was sent.
    pub(super) fn take(&self) -> Result<Vec<u8>, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(buffer) = state.free.pop() {
                return Ok(buffer);
            }
            if state.unmade > 0 {
                state.unmade -= 1;
                return Ok(Vec::with_capacity(self.capacity));
            }
            let waited = self.returned.wait_timeout(state, self.patience).unwrap_or_else(PoisonError::into_inner);
            if waited.1.timed_out() {
                let (what, waited_for) = ("upload".to_owned(), "one of the xorbs on its way");
                return Err(Error::Deadline { what, waited_for, deadline: self.patience });
            }
            state = waited.0;
        }
    }

    /// What a buffer holds, to be sent. The buffer comes back when the last copy of the result is dropped.
    pub(super) fn lend(self: &Arc<Self>, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, owner: Arc::clone(self) })
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).free.push(buffer);
        self.returned.notify_one();
    }
}

struct Lent {
    buffer: Vec<u8>,
    owner: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.owner.give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Buffers;
    use crate::client::Error;

    #[test]
    fn given_all_buffers_lent_when_one_comes_back_then_whoever_waits_gets_it() {
        let buffers = Buffers::new(1, 16, Duration::from_secs(60));
        let mut buffer = buffers.take().unwrap();
        buffer.extend_from_slice(b"xorb");
        let lent = buffers.lend(buffer);
        let waiting = std::thread::spawn({
            let buffers = buffers.clone();
            move || buffers.take().unwrap()
        });

        assert_eq!(b"xorb", &lent[..]);
        drop(lent);

        let again = waiting.join().unwrap();
        assert!(again.is_empty() && again.capacity() >= 16);
    }

    #[test]
    fn given_a_buffer_that_never_comes_back_when_waited_for_then_the_deadline_passes() {
        let buffers = Buffers::new(1, 16, Duration::from_millis(1));
        let _lent = buffers.lend(buffers.take().unwrap());

        assert!(matches!(buffers.take(), Err(Error::Deadline { .. })));
    }
}
