//! The asking side.

use std::io;
use std::net::SocketAddr;

use sha1::{Digest as _, Sha1};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::LegacyDialect;
use super::wire::{Wire, number};

/// A client of a legacy dialect. Nothing in it has a deadline.
#[derive(Debug)]
pub struct LegacyClient {
    wire: Wire,
    next_id: u32,
}

/// What came for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegacyAnswer {
    /// Data, as it stands in the message.
    Data(Vec<u8>),
    /// There is none; the hash that this message names.
    NotFound([u8; 32]),
    /// An error of this code.
    Error(u32),
}

impl LegacyClient {
    /// The swarm of a xorb.
    #[must_use]
    pub fn xorb_swarm(xorb: [u8; 32]) -> [u8; 20] {
        Sha1::digest([&b"zest-xet-v1:"[..], &xorb].concat()).into()
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// If the peer is not there, hangs up, or is not a peer.
    pub async fn connect(address: SocketAddr, dialect: LegacyDialect, swarm: [u8; 20]) -> io::Result<Self> {
        let wire = Wire::dial(TcpStream::connect(address).await?, dialect, swarm).await?;
        Ok(Self { wire, next_id: 0 })
    }

    /// Asks for a chunk (base), or for the first 100 chunks of a xorb (ranged).
    ///
    /// # Errors
    /// If the peer hangs up, or says something else.
    pub async fn get(&mut self, hash: [u8; 32]) -> io::Result<LegacyAnswer> {
        let id = self.ask_only(hash).await?;
        let (answered, answer) = self.next().await?;
        if answered == id { Ok(answer) } else { Err(io::Error::other("an answer to something else")) }
    }

    /// Asks, and does not wait. Returns the id of the request.
    ///
    /// # Errors
    /// If the peer has hung up.
    pub async fn ask_only(&mut self, hash: [u8; 32]) -> io::Result<u32> {
        let id = self.next_id;
        self.next_id += 1;
        let mut request = [&[1][..], &id.to_be_bytes(), &hash].concat();
        if self.wire.dialect == LegacyDialect::Ranged {
            request.extend([0, 0, 0, 0, 0, 0, 0, 100]);
        }
        self.wire.send_xet(&request).await?;
        Ok(id)
    }

    /// Sends a `ut_xet` message of these bytes.
    ///
    /// # Errors
    /// If the peer has hung up.
    pub async fn write_message(&mut self, payload: &[u8]) -> io::Result<()> {
        self.wire.send_xet(payload).await
    }

    /// The next answer: to which request, and what.
    ///
    /// # Errors
    /// If the peer hangs up, or says something that is no answer.
    pub async fn next(&mut self) -> io::Result<(u32, LegacyAnswer)> {
        let payload = self.wire.next_xet().await?;
        let id = number(&payload, 1)?;
        let answer = match payload.first() {
            Some(2) => {
                let head = if self.wire.dialect == LegacyDialect::Ranged { 13 } else { 9 };
                let data = payload.get(head..).ok_or(io::ErrorKind::InvalidData)?;
                if number(&payload, head - 4)? as usize != data.len() {
                    return Err(io::Error::other("data of another length than it says"));
                }
                LegacyAnswer::Data(data.to_vec())
            }
            Some(3) => LegacyAnswer::NotFound(payload[5..].try_into().map_err(io::Error::other)?),
            Some(4) => LegacyAnswer::Error(number(&payload, 5)?),
            kind => return Err(io::Error::other(format!("no answer: {kind:?}"))),
        };
        Ok((id, answer))
    }

    /// Reads until the peer hangs up.
    pub async fn wait_for_end(&mut self) {
        let mut buffer = vec![0; 64 * 1024];
        while matches!(self.wire.stream.read(&mut buffer).await, Ok(1..)) {}
    }
}
