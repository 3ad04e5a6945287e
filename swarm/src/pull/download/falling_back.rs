//! A CAS that cannot be used: the Hub has the files as they are, and their SHA-256 tells whether they are right.

use xet_cas::client;

use super::{Group, Job};
use crate::Event;
use crate::schedule::SourceMode;

/// Files in a row that the CAS does not help with before it is not asked about the rest: each costs all the attempts
/// that the client makes.
const CAS_FAILURES_IN_A_ROW_MAX: usize = 3;

impl Job {
    /// Whether a file that the CAS does not help with is fetched as it is. Without the word of the CAS no peer can be
    /// asked for it either.
    pub(super) fn may_fall_back(&self, error: &client::Error) -> bool {
        self.mode != SourceMode::PeersOnly && error.is_cas_unusable()
    }

    pub(super) async fn fall_back(&mut self, number: usize, error: &client::Error) {
        let Some(open) = self.drop_file(number) else { return };
        // One that does not know a file may know the others, and has said so at once.
        if !matches!(error, client::Error::NotFound { .. }) {
            self.cas_failures_in_a_row += 1;
        }
        if self.has_fallen_back {
            let what = format!("{}, as it is", open.group.file().path);
            self.shared.tell(Event::Retry { what, reason: error.to_string() }).await;
        } else {
            self.has_fallen_back = true;
            let message = format!("the CAS cannot be used, so files come from the Hub as they are: {error}");
            self.shared.tell(Event::Warning { message }).await;
        }
        self.enqueue(Group { is_plain: true, ..open.group });
        if self.is_cas_given_up() {
            let waiting = std::mem::take(&mut self.waiting);
            waiting.into_iter().for_each(|group| self.enqueue(group));
        }
    }

    pub(super) fn is_cas_given_up(&self) -> bool {
        self.cas_failures_in_a_row >= CAS_FAILURES_IN_A_ROW_MAX
    }
}
