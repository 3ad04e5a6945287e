//! Two exchanges with bytes between them: frames of BEP 3 and BEP 10, which arrive in pieces of any size.

use bep_xet::{Dialect, Error};
use bytes::{BufMut, BytesMut};

use super::*;

/// Extension id of `ut_xet` in both directions.
const EXTENSION_ID: u8 = 1;
/// Length, message id and extension id.
const HEAD_BYTES: usize = 6;

/// A connection in memory.
pub(super) struct Line {
    pub(super) sides: [Exchange; 2],
    /// On the way to each side.
    bytes: [BytesMut; 2],
    /// What each side has yet to read of the payload that it is in.
    payload_left: [u64; 2],
    /// The largest piece that a side reads at once.
    pub(super) piece_bytes: usize,
    pub(super) now: Instant,
}

impl Line {
    pub(super) fn new(sides: [Exchange; 2], piece_bytes: usize, now: Instant) -> Self {
        let bytes = [BytesMut::new(), BytesMut::new()];
        Self { sides, bytes, payload_left: [0; 2], piece_bytes, now }
    }

    /// Writes what one side has to send. Returns how many bytes.
    pub(super) fn write(&mut self, from: usize) -> usize {
        let out = &mut self.bytes[1 - from];
        let before = out.len();
        while let Some(message) = self.sides[from].poll_message() {
            if let Some(payload_bytes) = message.payload_bytes() {
                out.put_u32(u32::try_from(payload_bytes).unwrap() + 2);
                out.put_slice(&[20, EXTENSION_ID]);
            }
            let start = out.len();
            message.encode(out);
            if self.sides[from].dialect().is_legacy() && message.payload_bytes().is_some() {
                assert!((1..=4).contains(&out[start]), "anything else ends a process: {message:?}");
            }
        }
        out.len() - before
    }

    /// What is on the way to one side, for those who would change it.
    pub(super) fn bytes_to(&mut self, to: usize) -> &mut BytesMut {
        &mut self.bytes[to]
    }

    /// Reads what has come for one side, as a connection would: a frame that is too long is refused at its head.
    pub(super) fn read(&mut self, to: usize) -> Result<(), Error> {
        let (side, bytes, left) = (&mut self.sides[to], &mut self.bytes[to], &mut self.payload_left[to]);
        loop {
            if *left > 0 {
                let piece = bytes.len().min(self.piece_bytes).min(usize::try_from(*left).unwrap());
                if piece == 0 {
                    return Ok(());
                }
                *left -= piece as u64;
                side.handle_piece(bytes.split_to(piece).freeze(), self.now)?;
                continue;
            }
            let Some([l0, l1, l2, l3, 20, EXTENSION_ID]) = bytes.first_chunk::<HEAD_BYTES>().copied() else {
                return Ok(());
            };
            let _ = bytes.split_to(HEAD_BYTES);
            *left = u64::from(u32::from_be_bytes([l0, l1, l2, l3])).saturating_sub(2);
            side.begin_payload(*left)?;
        }
    }
}

/// Two sides that speak a dialect with each other.
pub(super) fn pair(dialect: Dialect, now: Instant) -> [Exchange; 2] {
    match dialect {
        Dialect::V2 => [exchange(now), exchange(now)],
        legacy => [super::legacy::legacy(legacy, now), super::legacy::legacy(legacy, now)],
    }
}
