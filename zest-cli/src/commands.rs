//! One module a command. They fill in what the libraries need and show what comes out.

pub(crate) mod demo;
pub(crate) mod explain;
mod import;
pub(crate) mod origin;
pub(crate) mod publish;
pub(crate) mod pull;
pub(crate) mod seed;
pub(crate) mod serve;
pub(crate) mod upkeep;
pub(crate) mod version;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ready when the user or the system asks the process to stop. Signals count from the call on: one that comes before the
/// future is polled is not lost, and does not end the process unheard.
fn interrupt() -> impl Future<Output = ()> {
    let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()].map(|kind| signal(kind).ok());
    async {
        tokio::select! {
            () = received(terminate) => {}
            () = received(interrupt) => {}
        }
    }
}

/// Never ready if the signal cannot be had.
async fn received(signal: Option<Signal>) {
    match signal {
        Some(mut signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
