//! The memory in which xorbs are put together and from which they are sent: so many buffers and no more. Who needs
//! one waits until an upload has given one back, which is what holds reading back to the pace of the uplink.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;

pub(super) struct Buffers {
    state: Mutex<State>,
    returned: Condvar,
    capacity: usize,
}

struct State {
    free: Vec<Vec<u8>>,
    /// Buffers that may still be made.
    unmade: usize,
}

impl Buffers {
    pub(super) fn new(count: usize, capacity: usize) -> Arc<Self> {
        let state = Mutex::new(State { free: Vec::new(), unmade: count });
        Arc::new(Self { state, returned: Condvar::new(), capacity })
    }

    /// An empty buffer. Blocks until there is one.
    pub(super) fn take(&self) -> Vec<u8> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(buffer) = state.free.pop() {
                return buffer;
            }
            if state.unmade > 0 {
                state.unmade -= 1;
                return Vec::with_capacity(self.capacity);
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
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
    use super::Buffers;

    #[test]
    fn given_all_buffers_lent_when_one_comes_back_then_whoever_waits_gets_it() {
        let buffers = Buffers::new(1, 16);
        let mut buffer = buffers.take();
        buffer.extend_from_slice(b"xorb");
        let lent = buffers.lend(buffer);
        let waiting = std::thread::spawn({
            let buffers = buffers.clone();
            move || buffers.take()
        });

        assert_eq!(b"xorb", &lent[..]);
        drop(lent);

        let again = waiting.join().unwrap();
        assert!(again.is_empty() && again.capacity() >= 16);
    }
}
