//! Signed URLs expire: one new answer serves all entries of a read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::client::{Cas, Error};
use crate::{ByteRange, FetchEntry, FileHash};

/// The newest URLs of the entries of a range of a file.
pub(super) struct Urls {
    pub(super) cas: Cas,
    hash: FileHash,
    asked: ByteRange,
    newest: Mutex<Newest>,
    /// How often new ones were asked for and an answer came, good or bad. Changes only while `newest` is locked.
    answers: AtomicU64,
}

#[derive(Default)]
struct Newest {
    generation: u32,
    entries: Vec<FetchEntry>,
    /// Why the last asking failed. It speaks for all who were waiting for its answer.
    failure: Option<Error>,
}

impl Urls {
    pub(super) fn new(cas: Cas, hash: FileHash, asked: ByteRange) -> Self {
        Self { cas, hash, asked, newest: Mutex::default(), answers: AtomicU64::new(0) }
    }

    /// Gives these entries URLs that are newer than those of `generation`, the first being 0. Of many that need them the
    /// first asks; what it gets, be it URLs or an error, is for all who were waiting meanwhile.
    pub(super) async fn renew(&self, entries: &mut [FetchEntry], generation: &mut u32) -> Result<(), Error> {
        let answers_before = self.answers.load(Ordering::Acquire);
        let mut newest = self.newest.lock().await;
        if newest.generation == *generation {
            let answers = self.answers.load(Ordering::Acquire);
            if let Some(failure) = newest.failure.as_ref().filter(|_| answers != answers_before) {
                return Err(failure.clone());
            }
            let asked = self.cas.reconstruct_range(self.hash, self.asked).await;
            self.answers.store(answers + 1, Ordering::Release);
            newest.failure = asked.as_ref().err().cloned();
            newest.entries = asked?.entries;
            newest.generation += 1;
        }
        let key = |entry: &FetchEntry| (entry.xorb, entry.chunks, entry.bytes);
        let urls: HashMap<_, _> = newest.entries.iter().map(|entry| (key(entry), &entry.url)).collect();
        for entry in entries {
            let url = urls.get(&key(entry)).ok_or_else(|| Error::Malformed {
                what: format!("new URLs for {}", self.hash),
                reason: "the file is split in another way than before".to_owned(),
            })?;
            entry.url.clone_from(url);
        }
        *generation = newest.generation;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::Urls;
    use crate::client::{Config, Hub, RetryObserver};
    use crate::{ByteRange, FileHash, RepoType};

    #[tokio::test]
    async fn given_a_cas_that_is_down_when_many_need_new_urls_then_one_of_them_asks_and_later_ones_again() {
        let retries = Arc::new(AtomicU32::new(0));
        let teller = retries.clone();
        let mut config = Config::new("http://127.0.0.1:1").unwrap();
        (config.retry.attempts, config.retry.delay) = (3, Duration::from_millis(1));
        config.on_retry = Some(RetryObserver::new(move |_| {
            teller.fetch_add(1, Ordering::Relaxed);
        }));
        let hub = Hub::new(&config).unwrap();
        let commit = hub.resolve(RepoType::Model, &"lab/files".parse().unwrap(), &"0".repeat(40)).await.unwrap();
        let asked = ByteRange { start: 0, end: 1 };
        let urls = Urls::new(hub.cas(&commit).unwrap(), FileHash::from_bytes([7; 32]), asked);
        for expected in [2, 4] {
            let all = futures::future::join_all((0..9).map(|_| async { urls.renew(&mut [], &mut 0).await })).await;

            assert!(all.iter().all(Result::is_err));
            assert_eq!(expected, retries.load(Ordering::Relaxed));
        }
    }
}
