use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Requests that were taken back and may be answered all the same, because the answer was on its way. Beyond
/// this many the oldest are forgotten.
const TAKEN_BACK_MAX: usize = 4_096;

/// What was asked for and is not answered yet. The same can be asked for more than once.
#[derive(Debug, Clone)]
pub(crate) struct Requests<T> {
    open: HashMap<T, usize>,
    count: usize,
    taken_back: VecDeque<T>,
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Self { open: HashMap::new(), count: 0, taken_back: VecDeque::new() }
    }
}

impl<T: Copy + Eq + Hash> Requests<T> {
    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn insert(&mut self, request: T) {
        *self.open.entry(request).or_default() += 1;
        self.count += 1;
    }

    /// Takes one away. `false` if there was none.
    pub(crate) fn remove(&mut self, request: &T) -> bool {
        let Some(times) = self.open.get_mut(request) else { return false };
        *times -= 1;
        self.count -= 1;
        if *times == 0 {
            self.open.remove(request);
        }
        true
    }

    /// Takes one away that is open or was taken back. `false` if there was none.
    pub(crate) fn answer(&mut self, request: &T) -> bool {
        let late = |requests: &mut VecDeque<T>| {
            let at = requests.iter().position(|candidate| candidate == request);
            at.and_then(|at| requests.remove(at)).is_some()
        };
        self.remove(request) || late(&mut self.taken_back)
    }

    /// One is not to be answered any more, but may be.
    pub(crate) fn take_back(&mut self, request: T) {
        if self.remove(&request) {
            self.remember(request);
        }
    }

    /// None of them is to be answered any more, but may be.
    pub(crate) fn take_back_all(&mut self) {
        self.count = 0;
        for (request, times) in std::mem::take(&mut self.open) {
            for _ in 0..times {
                self.remember(request);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.open.clear();
        self.count = 0;
    }

    fn remember(&mut self, request: T) {
        if self.taken_back.len() >= TAKEN_BACK_MAX {
            self.taken_back.pop_front();
        }
        self.taken_back.push_back(request);
    }
}
