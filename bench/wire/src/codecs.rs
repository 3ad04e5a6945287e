//! Messages from memory and to memory.

use std::hint::black_box;

use bt_wire::{Block, Message, PeerCodec};
use bytes::{Bytes, BytesMut};
use librqbit_clone_to_owned::CloneToOwned;
use librqbit_peer_protocol as rqbit;
use tokio_util::codec::{Decoder, Encoder};

use crate::{Run, by_cpu, compare};

/// What is copied into a read buffer at once, as a socket would.
const READ_BYTES: usize = 64 * 1024;
const SMALL_MESSAGES: usize = 2_000_000;
const PIECES: usize = 60_000;
const BLOCK_BYTES: usize = 16 * 1024;

pub fn print() {
    println!(
        "| in memory | bt-wire: CPU ns | M/s | GB/s | allocations | rqbit: CPU ns | M/s | GB/s | allocations | rqbit / bt-wire | of CPU |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let small: Vec<Message> = (0..1_000).map(small).collect();
    let stream = frames(&small);
    let rounds = SMALL_MESSAGES / small.len();
    compare("small mix, decode", by_cpu, || decode_ours(&stream, rounds), || decode_theirs(&stream, rounds, false));
    let theirs: Vec<rqbit::Message<'_>> = (0..1_000).map(small_of_theirs).collect();
    compare("small mix, encode", by_cpu, || encode_ours(&small, rounds), || encode_theirs(&theirs, rounds));

    let pieces: Vec<Message> = (0..100).map(piece).collect();
    let stream = frames(&pieces);
    let rounds = PIECES / pieces.len();
    compare(
        "16 KiB pieces, decode; rqbit borrows",
        by_cpu,
        || decode_ours(&stream, rounds),
        || decode_theirs(&stream, rounds, false),
    );
    compare(
        "16 KiB pieces, decode to keep",
        by_cpu,
        || decode_ours(&stream, rounds),
        || decode_theirs(&stream, rounds, true),
    );
    let data = vec![7; BLOCK_BYTES];
    let theirs: Vec<rqbit::Message<'_>> =
        (0..100).map(|at| rqbit::Message::Piece(rqbit::Piece::from_data(at, 0, &data))).collect();
    compare(
        "16 KiB pieces, head and slice of the payload",
        by_cpu,
        || heads_ours(&pieces, rounds),
        || encode_theirs(&theirs, rounds),
    );
}

fn small(at: u32) -> Message {
    let block = Block { piece: at, begin: 16_384, length: 16_384 };
    match at % 10 {
        0 => Message::Choke,
        1 => Message::Unchoke,
        2 => Message::Interested,
        3..=5 => Message::Have { piece: at },
        6..=8 => Message::Request(block),
        _ => Message::Cancel(block),
    }
}

fn small_of_theirs(at: u32) -> rqbit::Message<'static> {
    let request = rqbit::Request::new(at, 16_384, 16_384);
    match at % 10 {
        0 => rqbit::Message::Choke,
        1 => rqbit::Message::Unchoke,
        2 => rqbit::Message::Interested,
        3..=5 => rqbit::Message::Have(at),
        6..=8 => rqbit::Message::Request(request),
        _ => rqbit::Message::Cancel(request),
    }
}

fn piece(at: u32) -> Message {
    Message::Piece { piece: at, begin: 0, data: vec![7; BLOCK_BYTES].into() }
}

fn frames(messages: &[Message]) -> Vec<u8> {
    messages.iter().flat_map(|message| message.encode().expect("it fits")).collect()
}

fn decode_ours(stream: &[u8], rounds: usize) -> Run {
    Run::of(|| {
        let (mut codec, mut buffer, mut messages) = (PeerCodec::default(), BytesMut::new(), 0);
        for _ in 0..rounds {
            for read in stream.chunks(READ_BYTES) {
                buffer.extend_from_slice(read);
                while let Some(message) = codec.decode(&mut buffer).expect("it is well-formed") {
                    black_box(&message);
                    messages += 1;
                }
            }
        }
        (messages, (rounds * stream.len()) as u64)
    })
}

/// In a buffer whose rest is moved to the front, as their ring comes to.
fn decode_theirs(stream: &[u8], rounds: usize, keep: bool) -> Run {
    Run::of(|| {
        let (mut buffer, mut held, mut messages) = (vec![0; 2 * READ_BYTES], 0, 0);
        for _ in 0..rounds {
            for read in stream.chunks(READ_BYTES) {
                buffer[held..][..read.len()].copy_from_slice(read);
                held += read.len();
                let mut at = 0;
                loop {
                    match rqbit::Message::deserialize(&buffer[at..held], &[]) {
                        Ok((message, bytes)) => {
                            if let (true, rqbit::Message::Piece(piece)) = (keep, &message) {
                                black_box(piece.clone_to_owned(None));
                            }
                            black_box(&message);
                            at += bytes;
                            messages += 1;
                        }
                        Err(rqbit::MessageDeserializeError::NotEnoughData(..)) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                buffer.copy_within(at..held, 0);
                held -= at;
            }
        }
        (messages, (rounds * stream.len()) as u64)
    })
}

fn encode_ours(messages: &[Message], rounds: usize) -> Run {
    Run::of(|| {
        let (mut codec, mut buffer, mut bytes) = (PeerCodec::default(), BytesMut::with_capacity(64 * 1024), 0);
        for _ in 0..rounds {
            for message in messages {
                codec.encode(message, &mut buffer).expect("it fits");
            }
            bytes += black_box(&buffer).len() as u64;
            buffer.clear();
        }
        ((rounds * messages.len()) as u64, bytes)
    })
}

/// What is handed to a vectored write.
fn heads_ours(messages: &[Message], rounds: usize) -> Run {
    Run::of(|| {
        let mut bytes = 0;
        for _ in 0..rounds {
            for message in messages {
                let head = message.head().expect("it fits");
                let payload: &Bytes = message.payload().expect("it has one");
                bytes += (black_box(&head).as_ref().len() + black_box(payload).len()) as u64;
            }
        }
        ((rounds * messages.len()) as u64, bytes)
    })
}

fn encode_theirs(messages: &[rqbit::Message<'_>], rounds: usize) -> Run {
    Run::of(|| {
        let (mut buffer, mut bytes) = ([0; rqbit::MAX_MSG_LEN], 0);
        for _ in 0..rounds {
            for message in messages {
                bytes += message.serialize(&mut buffer, &Default::default).expect("it fits") as u64;
                black_box(&buffer);
            }
        }
        ((rounds * messages.len()) as u64, bytes)
    })
}
