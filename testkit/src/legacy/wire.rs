//! Handshakes and frames, which both sides share.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
/// The reserved bit of BEP 10.
const RESERVED: [u8; 8] = [0, 0, 0, 0, 0, 0x10, 0, 0];
/// Bytes of a handshake, and where the info hash stands.
const HANDSHAKE_BYTES: usize = 68;
const INFO_HASH: std::ops::Range<usize> = 28..48;
const EXTENDED: u8 = 20;
/// Number of `ut_xet`: both sides give 1, and use 1.
const UT_XET: u8 = 1;
/// Longest frame that is read, bytes: a xorb and what stands around it.
const FRAME_BYTES_MAX: usize = 65 * 1024 * 1024;

/// One of the dialects before version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegacyDialect {
    /// BEP XET as published: chunks by their hash.
    Base,
    /// That of zest 0.4: chunks of xorbs.
    Ranged,
}

impl LegacyDialect {
    /// What the extension handshake says. The `xet` of some base peers is of another shape than that of version 2.
    fn extension_handshake(self) -> &'static [u8] {
        match self {
            Self::Base => b"d1:md6:ut_xeti1ee3:xetd7:versioni1eee",
            Self::Ranged => b"d1:md6:ut_xeti1ee1:pi6881e1:v8:zest/0.4e",
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    pub(super) dialect: LegacyDialect,
}

impl Wire {
    pub(super) async fn dial(stream: TcpStream, dialect: LegacyDialect, info_hash: [u8; 20]) -> io::Result<Self> {
        let mut wire = Self { stream, dialect };
        wire.send_handshake(&info_hash).await?;
        let theirs = wire.read_handshake().await?;
        if theirs != info_hash {
            return Err(io::Error::other("it is of another swarm"));
        }
        wire.shake_extensions().await?;
        Ok(wire)
    }

    pub(super) async fn accept(stream: TcpStream, dialect: LegacyDialect) -> io::Result<Self> {
        let mut wire = Self { stream, dialect };
        let theirs = wire.read_handshake().await?;
        wire.send_handshake(&theirs).await?;
        wire.shake_extensions().await?;
        Ok(wire)
    }

    async fn send_handshake(&mut self, info_hash: &[u8]) -> io::Result<()> {
        let handshake = [PROTOCOL, &RESERVED[..], info_hash, b"-ZE0400-legacy peer."].concat();
        self.stream.write_all(&handshake).await
    }

    async fn read_handshake(&mut self) -> io::Result<[u8; 20]> {
        let mut theirs = [0; HANDSHAKE_BYTES];
        self.stream.read_exact(&mut theirs).await?;
        theirs[INFO_HASH].try_into().map_err(io::Error::other)
    }

    /// Sends the extension handshake, unchoke and interested, and drops a peer that begins with anything but the first.
    async fn shake_extensions(&mut self) -> io::Result<()> {
        self.send(0, self.dialect.extension_handshake()).await?;
        self.stream.write_all(&[0, 0, 0, 1, 1, 0, 0, 0, 1, 2]).await?;
        match self.frame().await?.as_slice() {
            [EXTENDED, 0, handshake @ ..] if handshake.windows(9).any(|at| at == b"6:ut_xeti") => Ok(()),
            _ => Err(io::Error::other("it begins with something else")),
        }
    }

    /// Sends an extension message.
    pub(super) async fn send(&mut self, id: u8, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&head(id, payload.len())).await?;
        self.stream.write_all(payload).await
    }

    pub(super) async fn send_xet(&mut self, payload: &[u8]) -> io::Result<()> {
        self.send(UT_XET, payload).await
    }

    /// The head of a frame whose payload has this length, and the front of that.
    pub(super) async fn send_front(&mut self, payload_bytes: usize, front: &[u8]) -> io::Result<()> {
        self.stream.write_all(&head(UT_XET, payload_bytes)).await?;
        self.stream.write_all(front).await
    }

    /// The next payload of `ut_xet`. Its kind must be one that programs in the field know: others end some of them.
    pub(super) async fn next_xet(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let mut frame = self.frame().await?;
            if let [EXTENDED, UT_XET, kind, ..] = frame[..] {
                if !(1..=4).contains(&kind) {
                    return Err(io::Error::other(format!("a message of kind {kind:#x}")));
                }
                return Ok(frame.split_off(2));
            }
        }
    }

    async fn frame(&mut self) -> io::Result<Vec<u8>> {
        let length = self.stream.read_u32().await? as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame).await?;
        Ok(frame)
    }
}

fn head(id: u8, payload_bytes: usize) -> [u8; 6] {
    let [l0, l1, l2, l3] = u32::try_from(payload_bytes + 2).unwrap_or(u32::MAX).to_be_bytes();
    [l0, l1, l2, l3, EXTENDED, id]
}

/// The number at this place of a message.
pub(super) fn number(payload: &[u8], at: usize) -> io::Result<u32> {
    let bytes = payload.get(at..).and_then(|rest| rest.first_chunk()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(u32::from_be_bytes(*bytes))
}
