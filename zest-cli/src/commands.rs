//! One module a command. They fill in what the libraries need and show what comes out.

pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod origin;
pub(crate) mod publish;
pub(crate) mod pull;
pub(crate) mod seed;
pub(crate) mod serve;
pub(crate) mod version;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ready when the user or the system asks the process to stop, from the moment of the call on.
fn interrupt() -> impl Future<Output = ()> {
    let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async {
        let wait = async |signal: std::io::Result<Signal>| match signal {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        };
        tokio::select! {
            () = wait(interrupt) => {}
            () = wait(terminate) => {}
        }
    }
}
