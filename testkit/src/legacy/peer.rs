//! The answering side, and what it does wrong.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use xet_cas::xorb::Records;
use xet_cas::{ChunkHash, Leaf};

use super::LegacyDialect;
use super::wire::Wire;

/// What a [`LegacyPeer`] does wrong. What is not said is done right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LegacyFault {
    /// Nothing.
    Honest,
    /// One bit of every answer is flipped, in the middle.
    FlipsABit,
    /// Half of every answer is sent, as if it were all.
    SendsHalf,
    /// The length inside of the message is that of the frame, and as much again.
    LengthBeyondTheFrame,
    /// Every answer is a frame of 2^32 − 1 bytes.
    HugeFrame,
    /// Every answer says that it is as long as a xorb can be, and comes so slowly that it never ends: a byte each time.
    Drips {
        /// From one byte to the next.
        every: Duration,
    },
    /// Half of every answer comes, and nothing more.
    SilentMidAnswer,
    /// No request is answered.
    Silent,
    /// There is nothing of anything.
    HasNothing,
    /// Data for a request that was never made.
    AnswersAnother,
    /// The connection ends in the middle of every answer.
    HangsUpMidAnswer,
    /// Messages of unknown kinds before every answer, which is allowed.
    SaysUnknownThings,
}

/// A peer of a legacy dialect on a free port of 127.0.0.1. Dropping the handle ends every connection.
#[derive(Debug)]
pub struct LegacyPeer {
    address: SocketAddr,
    counters: Arc<Counters>,
    _tasks: JoinSet<()>,
}

/// What a [`LegacyPeer`] was asked so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegacyAsked {
    /// Connections whose handshakes were complete.
    pub handshakes: u64,
    /// Requests.
    pub requests: u64,
}

#[derive(Debug, Default)]
struct Counters {
    handshakes: AtomicU64,
    requests: AtomicU64,
}

/// What is answered to a hash: serialized xorbs, or raw chunks.
type Content = BTreeMap<[u8; 32], Vec<u8>>;

impl LegacyPeer {
    /// Listens, with these xorbs: records, and maybe a footer.
    ///
    /// # Errors
    /// If no socket can be had, or a xorb is none.
    pub async fn start(
        dialect: LegacyDialect,
        xorbs: impl IntoIterator<Item = Vec<u8>>,
        fault: LegacyFault,
    ) -> io::Result<Self> {
        let content = Arc::new(content(dialect, xorbs)?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let counters = Arc::new(Counters::default());
        let (mut tasks, counted) = (JoinSet::new(), counters.clone());
        tasks.spawn(async move {
            let mut sessions = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (content, counters) = (content.clone(), counted.clone());
                // However it ends, it ends this connection alone, and mostly as the test wants it.
                sessions.spawn(async move { drop(serve(stream, dialect, &content, fault, &counters).await) });
            }
        });
        Ok(Self { address, counters, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked so far.
    #[must_use]
    pub fn asked(&self) -> LegacyAsked {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LegacyAsked { handshakes: read(&self.counters.handshakes), requests: read(&self.counters.requests) }
    }
}

fn content(dialect: LegacyDialect, xorbs: impl IntoIterator<Item = Vec<u8>>) -> io::Result<Content> {
    let mut content = Content::new();
    for xorb in xorbs {
        let (mut leaves, mut scratch) = (Vec::new(), Vec::new());
        for record in Records::new(&xorb) {
            let record = record.map_err(io::Error::other)?;
            let chunk = record.decode(&mut scratch).map_err(io::Error::other)?;
            leaves.push(Leaf::of(chunk));
            if dialect == LegacyDialect::Base {
                content.insert(*ChunkHash::of(chunk).as_bytes(), chunk.to_vec());
            }
        }
        if dialect == LegacyDialect::Ranged {
            content.insert(*Leaf::xorb_hash(&leaves).as_bytes(), xorb);
        }
    }
    Ok(content)
}

async fn serve(
    stream: TcpStream,
    dialect: LegacyDialect,
    content: &Content,
    fault: LegacyFault,
    counters: &Counters,
) -> io::Result<()> {
    let mut wire = Wire::accept(stream, dialect).await?;
    counters.handshakes.fetch_add(1, Ordering::Relaxed);
    loop {
        let request = wire.next_xet().await?;
        let (1, Some(id), Some(hash)) =
            (request[0], request.get(1..5), request.get(5..).and_then(|rest| rest.first_chunk::<32>()))
        else {
            continue;
        };
        counters.requests.fetch_add(1, Ordering::Relaxed);
        let data = content.get(hash).filter(|_| fault != LegacyFault::HasNothing);
        let Some(data) = data else {
            wire.send_xet(&[&[3], id, hash].concat()).await?;
            continue;
        };
        answer(&mut wire, id, data, fault).await?;
    }
}

async fn answer(wire: &mut Wire, id: &[u8], data: &[u8], fault: LegacyFault) -> io::Result<()> {
    let (mut id, mut data, mut length) = (id.to_vec(), data.to_vec(), data.len());
    let middle = length / 2;
    match fault {
        LegacyFault::Silent => return Ok(()),
        LegacyFault::FlipsABit => data[middle] ^= 1,
        LegacyFault::SendsHalf => {
            data.truncate(middle);
            length = middle;
        }
        LegacyFault::LengthBeyondTheFrame => length *= 2,
        LegacyFault::AnswersAnother => id[0] ^= 0x40,
        LegacyFault::Drips { .. } => length = 64 * 1024 * 1024,
        LegacyFault::SaysUnknownThings => {
            for kind in [0x10, 0x7f, 0xff] {
                wire.send_xet(&[kind, 0, 0, 0, 9]).await?;
            }
        }
        _ => {}
    }
    let mut payload = [&[2], &id[..]].concat();
    if wire.dialect == LegacyDialect::Ranged {
        payload.extend([0; 4]);
    }
    payload.extend((length as u32).to_be_bytes());
    let head_bytes = payload.len();
    payload.extend(&data);
    match fault {
        LegacyFault::HugeFrame => wire.send_front(u32::MAX as usize - 2, &payload).await,
        LegacyFault::SilentMidAnswer => {
            wire.send_front(payload.len(), &payload[..head_bytes + middle]).await?;
            // Whatever it said would be more of the answer.
            tokio::io::copy(&mut wire.stream, &mut tokio::io::sink()).await.map(drop)
        }
        LegacyFault::HangsUpMidAnswer => {
            wire.send_front(payload.len(), &payload[..head_bytes + middle]).await?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        LegacyFault::Drips { every } => {
            wire.send_front(head_bytes + length, &payload[..head_bytes]).await?;
            for byte in payload[head_bytes..].iter().chain(std::iter::repeat(&0)) {
                tokio::io::AsyncWriteExt::write_u8(&mut wire.stream, *byte).await?;
                tokio::time::sleep(every).await;
            }
            Ok(())
        }
        _ => wire.send_xet(&payload).await,
    }
}
