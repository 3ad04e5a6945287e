//! What all sessions share that serve: whose turn it is, and how much may be sent.

mod turns;

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use self::turns::{Member, Turns};
use super::link::now;

/// The turns of all sessions, in one place. Clones are the same place.
#[derive(Debug, Clone)]
pub(super) struct Uploads {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    desk: Mutex<Desk>,
    /// Somebody waits for the limit.
    timer: Notify,
    limit: Option<NonZeroU64>,
    batch_bytes: u64,
}

#[derive(Debug)]
struct Desk {
    turns: Turns,
    bells: HashMap<Member, Arc<Notify>>,
}

impl Uploads {
    /// `limit` in bytes a second.
    pub(super) fn new(limit: Option<NonZeroU64>) -> Self {
        let turns = Turns::new(limit, now());
        let batch_bytes = turns.batch_bytes();
        let desk = Mutex::new(Desk { turns, bells: HashMap::new() });
        Self { shared: Arc::new(Shared { desk, timer: Notify::new(), limit, batch_bytes }) }
    }

    /// A session begins.
    pub(super) fn join(&self) -> Uploader {
        let bell = Arc::new(Notify::new());
        let mut desk = self.shared.desk();
        let member = desk.turns.join();
        desk.bells.insert(member, bell.clone());
        drop(desk);
        Uploader { shared: self.shared.clone(), member, bell }
    }

    /// Wakes those for whom the limit has room again. Never ends; without it nobody is woken under a limit.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped and another one made.
    pub(super) async fn run(&self) {
        loop {
            let due = {
                let mut desk = self.shared.desk();
                desk.ring();
                desk.turns.poll_timeout(now())
            };
            let timer = self.shared.timer.notified();
            match due {
                Some(due) => tokio::select! {
                    () = timer => {}
                    () = tokio::time::sleep_until(due.into()) => {}
                },
                None => timer.await,
            }
        }
    }
}

/// One session among those that send. It leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Uploader {
    shared: Arc<Shared>,
    member: Member,
    bell: Arc<Notify>,
}

impl Uploader {
    /// Says that there is something to send, and room for it.
    pub(super) fn ask(&self) {
        self.shared.change(|turns| turns.ask(self.member));
    }

    /// The right to send a batch, which has to be asked for before: if it is this session's turn.
    pub(super) fn take_grant(&self) -> Option<Grant> {
        let is_granted = self.shared.desk().turns.take_grant(self.member);
        is_granted.then(|| Grant { shared: self.shared.clone(), member: self.member, sent_bytes: 0 })
    }

    /// Waits until it may be this session's turn.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Bytes of records that a grant is for, at most.
    pub(super) fn batch_bytes(&self) -> u64 {
        self.shared.batch_bytes
    }

    /// What all sessions together may send, bytes a second.
    pub(super) fn limit(&self) -> Option<NonZeroU64> {
        self.shared.limit
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        self.shared.desk().bells.remove(&self.member);
        self.shared.change(|turns| turns.leave(self.member));
    }
}

/// The right to read a batch and to send it. Held while it is read; what was not used goes to others when it is dropped.
#[derive(Debug)]
pub(super) struct Grant {
    shared: Arc<Shared>,
    member: Member,
    sent_bytes: u64,
}

impl Grant {
    /// So many bytes will be sent.
    pub(super) fn use_bytes(&mut self, bytes: u64) {
        self.sent_bytes += bytes;
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.shared.change(|turns| turns.settle(self.member, self.sent_bytes));
    }
}

impl Shared {
    /// Changes something, and wakes whoever may send because of it.
    fn change(&self, change: impl FnOnce(&mut Turns)) {
        let mut desk = self.desk();
        change(&mut desk.turns);
        desk.ring();
        if self.limit.is_some() && desk.turns.poll_timeout(now()).is_some() {
            self.timer.notify_one();
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn ring(&mut self) {
        while let Some(member) = self.turns.poll_grant(now()) {
            if let Some(bell) = self.bells.get(&member) {
                bell.notify_one();
            }
        }
    }
}
