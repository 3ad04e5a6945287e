//! A BitTorrent peer for tests against real programs. It knows no more than `bt_wire` and `bencode` do, and tells what
//! happens as one JSON object per line.
//!
//! `fetch` gets metadata and content from a peer by info hash, checks both and ends; `seed` hands out a torrent;
//! `exchange` has and wants nothing, says which peers it hears of, and tells of those it was given with `--tell`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use bt_wire::{CloseReason, ExtensionHandshake, InfoHash};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

mod exchange;
mod fetch;
mod seed;
mod session;
mod torrent;

use session::{Caller, Session};
use torrent::Torrent;

const USAGE: &str = "\
usage: zest-testkit-bt-peer fetch    --address IP --info-hash HEX --dial ADDRESS
       zest-testkit-bt-peer seed     --address IP --torrent FILE --content DIR [--dial ADDRESS]
       zest-testkit-bt-peer exchange --address IP --info-hash HEX [--dial ADDRESS] [--tell ADDRESS]
`seed` listens on a free port, and so do the others without --dial.";

/// Whatever ends a role: [`CloseReason`], where it is the connection.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
enum Role {
    Fetch,
    Seed(Arc<Torrent>),
    Exchange { tell: Option<SocketAddr> },
}

impl Role {
    async fn play(self, session: Session) -> Result<(), Failure> {
        match self {
            Self::Fetch => fetch::fetch(session).await,
            Self::Seed(torrent) => seed::seed(session, &torrent).await,
            Self::Exchange { tell } => exchange::exchange(session, tell).await,
        }
    }
}

struct Arguments {
    role: Role,
    info_hash: InfoHash,
    /// Ours.
    address: IpAddr,
    dial: Option<SocketAddr>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Arguments, Failure> {
    let mut given = std::env::args().skip(1);
    let role = given.next().ok_or("no role")?;
    let mut options = BTreeMap::new();
    while let Some(name) = given.next() {
        let value = given.next().ok_or_else(|| format!("{name} needs a value"))?;
        options.insert(name, value);
    }
    let mut take = |name: &str| options.remove(name);
    let needed = |value: Option<String>, name: &str| value.ok_or(format!("{name} is missing"));
    let address = needed(take("--address"), "--address")?.parse()?;
    let dial = take("--dial").map(|address| address.parse()).transpose()?;
    let (role, info_hash) = if role == "seed" {
        let (torrent, content) = (take("--torrent"), take("--content"));
        let (torrent, content) = (needed(torrent, "--torrent")?, needed(content, "--content")?);
        let torrent = Torrent::open(Path::new(&torrent), Path::new(&content))?;
        let info_hash = torrent.info_hash();
        (Role::Seed(Arc::new(torrent)), info_hash)
    } else {
        let role = match (role.as_str(), dial) {
            ("fetch", Some(_)) => Role::Fetch,
            ("exchange", _) => Role::Exchange { tell: take("--tell").map(|address| address.parse()).transpose()? },
            _ => return Err("no such role, or --dial is missing".into()),
        };
        (role, needed(take("--info-hash"), "--info-hash")?.parse()?)
    };
    match options.keys().next() {
        None => Ok(Arguments { role, info_hash, address, dial }),
        Some(unknown) => Err(format!("unknown: {unknown}").into()),
    }
}

async fn run(Arguments { role, info_hash, address, dial }: Arguments) -> Result<(), Failure> {
    let mut met = JoinSet::new();
    let listener = match (&role, dial) {
        (Role::Seed(_), _) | (_, None) => Some(TcpListener::bind((address, 0)).await?),
        _ => None,
    };
    let ours = listener.as_ref().map(TcpListener::local_addr).transpose()?;
    if let Some(peer) = dial {
        let socket = if peer.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind((address, 0).into())?;
        let stream = socket.connect(peer).await?;
        met.spawn(meet(stream, peer, Caller::Us, ours, role.clone(), info_hash));
    }
    let Some(listener) = listener else {
        return met.join_next().await.unwrap_or(Ok(Ok(())))?;
    };
    report(json!({"event": "listening", "peer": ours}));
    loop {
        let (stream, peer) = listener.accept().await?;
        met.spawn(meet(stream, peer, Caller::Peer, ours, role.clone(), info_hash));
        // Whatever ended a connection is reported.
        while met.try_join_next().is_some() {}
    }
}

/// Plays the role with one peer.
async fn meet(
    stream: TcpStream,
    peer: SocketAddr,
    caller: Caller,
    listening: Option<SocketAddr>,
    role: Role,
    info_hash: InfoHash,
) -> Result<(), Failure> {
    let mut says = ExtensionHandshake::default();
    says.p = listening.map(|ours| ours.port());
    says.yourip = Some(peer.ip());
    if let Role::Seed(torrent) = &role {
        says.metadata_size = Some(torrent.metadata.len() as u64);
    }
    let played = match Session::begin(stream, peer, caller, info_hash, says).await {
        Ok(session) => role.play(session).await,
        Err(reason) => Err(reason.into()),
    };
    if let Err(error) = &played {
        let reason = error.downcast_ref::<CloseReason>();
        let is_peer_fault = reason.is_some_and(CloseReason::is_peer_fault);
        report(json!({"event": "closed", "peer": peer, "reason": chain(&**error), "is_peer_fault": is_peer_fault}));
    }
    played
}

fn report(event: Value) {
    // Who reads may have gone; then nobody needs it.
    let _ = writeln!(io::stdout().lock(), "{event}");
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(|error| error.to_string()).collect::<Vec<_>>().join(": ")
}
