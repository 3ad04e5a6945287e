//! One module a command. They fill in what the libraries need and show what comes out.

pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod origin;
pub(crate) mod publish;
pub(crate) mod pull;
pub(crate) mod seed;
pub(crate) mod serve;
pub(crate) mod version;

use tokio::signal::unix::{SignalKind, signal};

/// Ready when the user or the system asks the process to stop.
async fn interrupt() {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        result = tokio::signal::ctrl_c() => if result.is_err() { std::future::pending().await },
        () = terminate => {}
    }
}
