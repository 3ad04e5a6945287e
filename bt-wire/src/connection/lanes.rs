use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf as _, Bytes};

use crate::{Error, Handshake, Head, Message};

/// Slices handed to the system at once.
pub(crate) const SLICES_MAX: usize = 64;
/// Every payload that is not copied takes two slices: itself and the heads before it. One is left for the end.
const PAYLOADS_MAX: usize = (SLICES_MAX - 1) / 2;
/// Payloads up to here are copied beside their heads: that costs less than a slice of their own.
const INLINE_BYTES_MAX: usize = 256;
/// Heads and small payloads written at once, bytes.
const SCRATCH_BYTES_MAX: usize = 16 * 1024;

/// Which messages overtake which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// What is small and urgent: overtakes all bulk of which nothing has been written yet. In order within
    /// itself.
    Control,
    /// What is large: blocks, chunks. In order within itself.
    Bulk,
}

/// A message that was not taken because its lane is full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the lane is full")]
pub struct LaneFull {
    /// Which lane.
    pub lane: Lane,
    /// The message.
    pub message: Message,
}

/// What waits to be written.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// Before everything else, because some of it is written.
    started: Option<Frame>,
    control: Queue,
    bulk: Queue,
}

#[derive(Debug)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    bytes_max: usize,
    /// A message was refused since there was room.
    refused: bool,
}

/// What is not written of a frame.
#[derive(Debug)]
struct Frame {
    head: Head,
    /// Bytes of the head that are written.
    head_written: usize,
    payload: Bytes,
}

impl Frame {
    fn head(&self) -> &[u8] {
        &self.head.as_ref()[self.head_written..]
    }

    fn len(&self) -> usize {
        self.head().len() + self.payload.len()
    }

    fn advance(&mut self, written: usize) {
        let of_head = written.min(self.head().len());
        self.head_written += of_head;
        self.payload.advance(written - of_head);
    }
}

impl Queue {
    fn new(bytes_max: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, bytes_max, refused: false }
    }

    fn push(&mut self, frame: Frame) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    fn has_room(&self) -> bool {
        self.bytes < self.bytes_max
    }
}

impl Lanes {
    /// A lane takes messages while it holds less than its bytes.
    pub(crate) fn new(control_bytes_max: usize, bulk_bytes_max: usize) -> Self {
        Self { started: None, control: Queue::new(control_bytes_max), bulk: Queue::new(bulk_bytes_max) }
    }

    fn queue(&self, lane: Lane) -> &Queue {
        match lane {
            Lane::Control => &self.control,
            Lane::Bulk => &self.bulk,
        }
    }

    fn queue_mut(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Bulk => &mut self.bulk,
        }
    }

    pub(crate) fn has_room(&self, lane: Lane) -> bool {
        self.queue(lane).has_room()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.started.is_none() && self.control.frames.is_empty() && self.bulk.frames.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.started.as_ref().map_or(0, Frame::len) + self.control.bytes + self.bulk.bytes
    }

    /// The first bytes of a connection.
    pub(crate) fn push_handshake(&mut self, handshake: &Handshake) {
        let payload = Bytes::copy_from_slice(&handshake.encode());
        self.control.push(Frame { head: Head::EMPTY, head_written: 0, payload });
    }

    pub(crate) fn push(&mut self, lane: Lane, message: Message) -> Result<(), PushError> {
        let queue = self.queue_mut(lane);
        if !queue.has_room() {
            queue.refused = true;
            return Err(PushError::Full(LaneFull { lane, message }));
        }
        let head = message.head().map_err(PushError::Unframeable)?;
        queue.push(Frame { head, head_written: 0, payload: message.into_payload().unwrap_or_default() });
        Ok(())
    }

    /// A lane that refused a message and is at least half empty: told once.
    pub(crate) fn poll_room(&mut self) -> Option<Lane> {
        let has_room = |lane: &Lane| {
            let queue = self.queue(*lane);
            queue.refused && queue.bytes <= queue.bytes_max / 2
        };
        let lane = [Lane::Control, Lane::Bulk].into_iter().find(has_room)?;
        self.queue_mut(lane).refused = false;
        Some(lane)
    }

    /// What to write, in order: slices of payloads and, in `scratch`, all that is between them. Returns how
    /// many slices there are.
    pub(crate) fn slices<'a>(&'a self, scratch: &'a mut Vec<u8>, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        scratch.clear();
        let mut payloads: [(usize, &'a [u8]); PAYLOADS_MAX] = [(0, &[]); PAYLOADS_MAX];
        let mut count = 0;
        for frame in self.started.iter().chain(&self.control.frames).chain(&self.bulk.frames) {
            if count == payloads.len() || scratch.len() > SCRATCH_BYTES_MAX {
                break;
            }
            scratch.extend_from_slice(frame.head());
            if frame.payload.len() <= INLINE_BYTES_MAX {
                scratch.extend_from_slice(&frame.payload);
            } else {
                payloads[count] = (scratch.len(), &frame.payload);
                count += 1;
            }
        }
        let (scratch, mut begin, mut used) = (&scratch[..], 0, 0);
        let mut put = |slice: &'a [u8]| {
            if !slice.is_empty() {
                slices[used] = IoSlice::new(slice);
                used += 1;
            }
        };
        for (end, payload) in &payloads[..count] {
            put(&scratch[begin..*end]);
            put(payload);
            begin = *end;
        }
        put(&scratch[begin..]);
        used
    }

    /// So many of the bytes that [`slices`](Self::slices) gave are written. Returns how many frames are
    /// complete with that.
    pub(crate) fn advance(&mut self, mut written: usize) -> u64 {
        let mut complete = 0;
        while written > 0 {
            let next = self.started.take().or_else(|| self.control.pop()).or_else(|| self.bulk.pop());
            let Some(mut frame) = next else { break };
            let len = frame.len();
            if written < len {
                frame.advance(written);
                self.started = Some(frame);
                break;
            }
            written -= len;
            complete += 1;
        }
        complete
    }
}

/// Why a message is not queued.
#[derive(Debug)]
pub(crate) enum PushError {
    Full(LaneFull),
    Unframeable(Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Block;

    /// Writes at most so many bytes.
    fn write(lanes: &mut Lanes, bytes_max: usize) -> Vec<u8> {
        let (mut scratch, mut written) = (Vec::new(), Vec::new());
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let used = lanes.slices(&mut scratch, &mut slices);
        for slice in &slices[..used] {
            written.extend_from_slice(&slice[..slice.len().min(bytes_max - written.len())]);
        }
        lanes.advance(written.len());
        written
    }

    fn piece(piece: u32, bytes: usize) -> Message {
        Message::Piece { piece, begin: 0, data: vec![piece as u8; bytes].into() }
    }

    #[test]
    fn given_bulk_that_waits_when_control_comes_then_it_overtakes_all_but_what_is_started() {
        let mut lanes = Lanes::new(1_000, 100_000);
        for at in 0..3 {
            lanes.push(Lane::Bulk, piece(at, 1_000)).unwrap();
        }
        let mut written = write(&mut lanes, 500);
        lanes.push(Lane::Control, Message::Choke).unwrap();
        lanes.push(Lane::Control, Message::Have { piece: 7 }).unwrap();
        while !lanes.is_empty() {
            written.extend(write(&mut lanes, 333));
        }

        let order = [piece(0, 1_000), Message::Choke, Message::Have { piece: 7 }, piece(1, 1_000), piece(2, 1_000)];
        assert_eq!(order.map(|message| message.encode().unwrap()).concat(), written);
    }

    #[test]
    fn given_messages_of_all_sizes_when_written_in_any_pieces_then_the_bytes_are_those_of_the_messages() {
        let sizes = [0, 1, 255, 256, 257, 1_000, 70_000];
        let messages: Vec<Message> = (0..300)
            .map(|at: u32| match at % 3 {
                0 => Message::Request(Block { piece: at, begin: 0, length: 1 }),
                _ => piece(at, sizes[at as usize % sizes.len()]),
            })
            .collect();
        let expected: Vec<u8> = messages.iter().flat_map(|message| message.encode().unwrap()).collect();
        for pieces in [1, 7, 4_096, usize::MAX] {
            let mut lanes = Lanes::new(0, usize::MAX);
            for message in &messages {
                lanes.push(Lane::Bulk, message.clone()).unwrap();
            }
            assert_eq!(expected.len(), lanes.bytes());
            let mut written = Vec::new();
            // Small steps are slow for what is long.
            while !lanes.is_empty() && (pieces > 100 || written.len() < 3_000) {
                written.extend(write(&mut lanes, pieces));
            }
            assert!(expected.starts_with(&written));
            assert_eq!(expected.len() - written.len(), lanes.bytes());
        }
    }

    #[test]
    fn given_a_large_payload_when_written_then_the_slice_is_the_payload_itself() {
        let mut lanes = Lanes::new(0, usize::MAX);
        let message = piece(1, 16_384);
        let payload = message.payload().unwrap().as_ptr();
        lanes.push(Lane::Bulk, message).unwrap();

        let (mut scratch, mut slices) = (Vec::new(), [IoSlice::new(&[]); SLICES_MAX]);
        assert_eq!(2, lanes.slices(&mut scratch, &mut slices));
        assert_eq!((13, 16_384), (slices[0].len(), slices[1].len()));
        assert_eq!(payload, slices[1].as_ptr());
    }

    #[test]
    fn given_a_full_lane_when_more_comes_then_it_is_refused_and_room_told_once() {
        let mut lanes = Lanes::new(1_000, 10);
        lanes.push(Lane::Bulk, Message::Have { piece: 1 }).unwrap();
        lanes.push(Lane::Bulk, Message::Have { piece: 2 }).unwrap();
        let refused = lanes.push(Lane::Bulk, Message::Choke);
        assert!(matches!(refused, Err(PushError::Full(LaneFull { lane: Lane::Bulk, message: Message::Choke }))));
        assert!(lanes.has_room(Lane::Control) && !lanes.has_room(Lane::Bulk));
        assert_eq!(None, lanes.poll_room());

        write(&mut lanes, 17);
        assert_eq!(Some(Lane::Bulk), lanes.poll_room());
        assert_eq!(None, lanes.poll_room());
        assert!(lanes.push(Lane::Bulk, Message::Choke).is_ok());
    }
}
