//! Work that blocks, off the threads that serve connections.

use tokio::task::JoinHandle;

/// Runs it, to its end even if nobody waits for it any more.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    outcome(tokio::task::spawn_blocking(work)).await
}

/// What comes of work that was begun. Panics if it did.
pub(super) async fn outcome<T>(work: JoinHandle<T>) -> T {
    match work.await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is going away cancels it, and takes whoever waits here with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::blocking;

    #[test]
    fn given_a_runtime_that_is_going_away_when_work_is_waited_for_then_no_panic() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        runtime.shutdown_background();
        let _context = handle.enter();

        assert_eq!(None, blocking(|| 1).now_or_never());
    }

    #[tokio::test]
    async fn given_work_that_panics_when_waited_for_then_so_does_who_waits() {
        let work = std::panic::AssertUnwindSafe(blocking(|| panic!("of the work"))).catch_unwind();

        let panic = work.await.unwrap_err();

        assert_eq!(Some(&"of the work"), panic.downcast_ref::<&str>());
    }
}
