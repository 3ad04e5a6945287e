//! Threads for work that blocks: so many at once, and no more.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Short disk operations at once: reading a piece, writing a piece, looking up metadata.
const DISK_JOBS_MAX: usize = 64;
/// Checks of shards at once. Each may hold a shard (64 MiB) and what is decoded from it.
const HEAVY_JOBS_MAX: usize = 4;
/// Long answers about metadata at once: listings of thousands of files, what changed them last, comparisons. They are
/// asked for by readers, who must not stand in the way of those who upload.
const READS_MAX: usize = 4;
/// Checks of parts of xorbs at once, beyond one a core: they also write what they check, and may wait for the disk.
const MORE_CHECKS: usize = 2;

#[derive(Clone)]
pub(super) struct Workers {
    disk: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    checks: Arc<Semaphore>,
}

impl Workers {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let places = |jobs_max| Arc::new(Semaphore::new(jobs_max));
        Self {
            disk: places(DISK_JOBS_MAX),
            heavy: places(HEAVY_JOBS_MAX),
            reads: places(READS_MAX),
            checks: places(cores + MORE_CHECKS),
        }
    }

    /// Runs a short disk operation.
    pub(super) async fn disk<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        run(&self.disk, job).await
    }

    /// Runs a job that computes for some hundred microseconds.
    pub(super) async fn check<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        run(&self.checks, job).await
    }

    /// Runs a job that takes much memory or time.
    pub(super) async fn heavy<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        run(&self.heavy, job).await
    }

    /// Runs a job that puts a long answer together.
    pub(super) async fn reads<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        run(&self.reads, job).await
    }

    /// Waits until no job runs: what they hold is free then.
    pub(super) async fn idle(&self) {
        let _ = self.disk.acquire_many(DISK_JOBS_MAX as u32).await;
        let _ = self.heavy.acquire_many(HEAVY_JOBS_MAX as u32).await;
        let _ = self.reads.acquire_many(READS_MAX as u32).await;
    }
}

/// A job that has begun runs to its end even if nobody waits for it any more, and keeps its place until then.
async fn run<T: Send + 'static>(places: &Arc<Semaphore>, job: impl FnOnce() -> T + Send + 'static) -> T {
    let place = Arc::clone(places).acquire_owned().await;
    let job = tokio::task::spawn_blocking(move || {
        let _place = place;
        job()
    });
    match job.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is going away cancels a blocking job, and it takes this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
