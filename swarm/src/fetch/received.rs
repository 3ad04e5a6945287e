//! Records as they arrive: in pieces that know nothing of where one begins.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use xet_cas::Error as FormatError;
use xet_cas::xorb::RecordHeader;

/// What was received and not handed on, as the connection delivered it: it is not copied to lie in one buffer.
#[derive(Debug, Default)]
pub(super) struct Received {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    /// Lengths of the records that begin in it, of which the last one may not be complete.
    lengths: VecDeque<usize>,
    /// Where the last one of them ends.
    end: usize,
}

/// Complete records, or what stands where one should.
#[derive(Debug)]
pub(super) struct Records {
    pieces: VecDeque<Bytes>,
    lengths: VecDeque<usize>,
}

impl Received {
    /// Takes what has arrived.
    ///
    /// # Errors
    /// A malformed header, as soon as it is there.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), FormatError> {
        self.bytes += piece.len();
        self.pieces.push_back(piece);
        while let Some(header) = self.header_at(self.end) {
            let length = RecordHeader::decode(&header)?.record_bytes();
            self.lengths.push_back(length);
            self.end += length;
        }
        Ok(())
    }

    /// How much there is, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands on the records that are complete, if there are any.
    pub(super) fn take_complete(&mut self) -> Option<Records> {
        let incomplete = if self.end > self.bytes { self.lengths.pop_back() } else { None };
        let bytes = self.end - incomplete.unwrap_or(0);
        let lengths = std::mem::replace(&mut self.lengths, incomplete.into_iter().collect());
        let pieces = take_front(&mut self.pieces, bytes);
        self.bytes -= bytes;
        self.end -= bytes;
        (!lengths.is_empty()).then_some(Records { pieces, lengths })
    }

    /// Hands on everything: nothing more comes. A record that is not complete is the last one.
    pub(super) fn take_all(&mut self) -> Option<Records> {
        let Self { pieces, bytes, mut lengths, end } = std::mem::take(self);
        if let Some(last) = lengths.back_mut().filter(|_| end > bytes) {
            *last -= end - bytes;
        } else if end < bytes {
            lengths.push_back(bytes - end);
        }
        (!lengths.is_empty()).then_some(Records { pieces, lengths })
    }

    fn header_at(&self, mut at: usize) -> Option<[u8; RecordHeader::BYTES]> {
        if at + RecordHeader::BYTES > self.bytes {
            return None;
        }
        let mut header = [0; RecordHeader::BYTES];
        let mut missing = &mut header[..];
        for piece in &self.pieces {
            let here = piece.get(at..).unwrap_or_default();
            at -= at.min(piece.len());
            let (now, later) = missing.split_at_mut(here.len().min(missing.len()));
            now.copy_from_slice(&here[..now.len()]);
            missing = later;
        }
        Some(header)
    }
}

impl Iterator for Records {
    type Item = Bytes;

    /// The next record; copied only if it came in several pieces.
    fn next(&mut self) -> Option<Bytes> {
        let length = self.lengths.pop_front()?;
        let first = self.pieces.front_mut()?;
        if first.len() > length {
            return Some(first.split_to(length));
        }
        let parts = take_front(&mut self.pieces, length);
        if let [only] = parts.as_slices().0 {
            return Some(only.clone());
        }
        let mut record = BytesMut::with_capacity(length);
        parts.iter().for_each(|part| record.extend_from_slice(part));
        Some(record.freeze())
    }
}

/// Takes so many bytes from the front.
fn take_front(pieces: &mut VecDeque<Bytes>, mut bytes: usize) -> VecDeque<Bytes> {
    let mut front = VecDeque::new();
    while bytes > 0
        && let Some(mut piece) = pieces.pop_front()
    {
        if piece.len() > bytes {
            let taken = piece.split_to(bytes);
            pieces.push_front(std::mem::replace(&mut piece, taken));
        }
        bytes -= piece.len();
        front.push_back(piece);
    }
    front
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use xet_cas::Scheme;
    use xet_cas::xorb::RecordHeader;

    use super::Received;

    /// Records of these payload lengths.
    fn records(lengths: &[u32]) -> Vec<Vec<u8>> {
        let record = |(index, length): (usize, &u32)| {
            let header = RecordHeader { scheme: Scheme::None, stored_length: *length, raw_length: *length };
            let mut record = header.encode().to_vec();
            record.resize(header.record_bytes(), index as u8 + 1);
            record
        };
        lengths.iter().enumerate().map(record).collect()
    }

    proptest! {
        #[test]
        fn given_any_pieces_when_records_are_taken_at_any_time_then_they_are_those_that_were_sent(
            lengths in vec(1_u32..60, 1..12),
            cuts in vec((1_usize..40, any::<bool>()), 1..200),
            missing in 0_usize..30,
        ) {
            let sent = records(&lengths);
            let wire = sent.concat();
            let mut rest = Bytes::from(wire[..wire.len() - missing.min(wire.len())].to_vec());
            let (mut received, mut taken) = (Received::default(), Vec::new());
            for (bytes, takes) in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                received.push(rest.split_to(bytes.min(rest.len()))).unwrap();
                if takes {
                    let complete = received.take_complete().into_iter().flatten();
                    taken.extend(complete.map(|record| record.to_vec()));
                    prop_assert_eq!(&sent[..taken.len()], &taken[..]);
                }
            }
            let whole = received.take_complete().into_iter().flatten();
            taken.extend(whole.map(|record| record.to_vec()));
            prop_assert_eq!(&sent[..taken.len()], &taken[..]);
            prop_assert!(missing > 0 || taken.len() == sent.len());
            taken.extend(received.take_all().into_iter().flatten().map(|record| record.to_vec()));
            prop_assert_eq!(&wire[..wire.len() - missing.min(wire.len())], taken.concat());
            prop_assert_eq!(0, received.bytes());
        }
    }

    #[test]
    fn given_a_malformed_header_in_pieces_when_its_last_byte_arrives_then_refused() {
        let [good] = &records(&[7])[..] else { unreachable!() };
        let mut received = Received::default();
        received.push(Bytes::from(good.clone())).unwrap();
        for byte in [9, 1, 0, 0, 0, 1, 0] {
            received.push(Bytes::from(vec![byte])).unwrap();
        }

        assert!(received.push(Bytes::from_static(&[0])).is_err());
    }
}
