//! A peer with one fault, for measurements: `zest-testkit-faulty-peer DIR --listen ADDR --fault NAME`.
//!
//! It has the files of a folder, without those in folders below it, and serves until SIGTERM. It prints one JSON object
//! when it listens, and one with what it was asked when it ends.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use testkit::{FaultyPeer, PeerFault};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: zest-testkit-faulty-peer DIR --listen ADDR --fault silent|silent-mid-chunk|lies";

struct Arguments {
    dir: PathBuf,
    listen: SocketAddr,
    fault: PeerFault,
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::read(std::env::args().skip(1)) else {
        let _ = writeln!(io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    let served = tokio::runtime::Runtime::new().and_then(|runtime| runtime.block_on(serve(&arguments)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let Arguments { dir, listen, .. } = arguments;
            let _ = writeln!(io::stderr(), "cannot serve {} on {listen}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: &Arguments) -> io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let peer = FaultyPeer::start_at(arguments.listen, files(&arguments.dir)?, arguments.fault).await?;
    let listening = serde_json::json!({ "event": "listening", "peer": peer.address().to_string() });
    writeln!(io::stdout(), "{listening}")?;
    terminated.recv().await;
    let asked = peer.asked();
    let stopped = serde_json::json!({
        "event": "stopped",
        "connections": asked.connections,
        "handshakes": asked.handshakes,
        "ranges": asked.ranges,
        "chunks_sent": asked.chunks_sent,
    });
    writeln!(io::stdout(), "{stopped}")
}

/// Content of the files, those without any left out.
fn files(dir: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.metadata()?.len() > 0 {
            files.push(fs::read(entry.path())?);
        }
    }
    Ok(files)
}

impl Arguments {
    fn read(mut given: impl Iterator<Item = String>) -> Option<Self> {
        let (mut dir, mut listen, mut fault) = (None, None, None);
        while let Some(argument) = given.next() {
            match argument.as_str() {
                "--listen" => listen = Some(given.next()?.parse().ok()?),
                "--fault" => fault = Some(fault_named(&given.next()?)?),
                flag if flag.starts_with('-') => return None,
                path => {
                    if dir.replace(PathBuf::from(path)).is_some() {
                        return None;
                    }
                }
            }
        }
        Some(Self { dir: dir?, listen: listen?, fault: fault? })
    }
}

fn fault_named(name: &str) -> Option<PeerFault> {
    Some(match name {
        "silent" => PeerFault::SilentAfterHandshake,
        "silent-mid-chunk" => PeerFault::SilentMidChunk,
        "lies" => PeerFault::FlipsABit,
        _ => return None,
    })
}
