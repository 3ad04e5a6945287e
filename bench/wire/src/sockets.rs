//! Through a Unix socket, one thread at each end.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use bt_wire::{BUFFER_BYTES, Connection, ConnectionConfig, Event, Lane, Message};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream as AsyncUnixStream;

use crate::{Run, by_wall, compare};

const BLOCK_BYTES: usize = 16 * 1024;
const PIECES: usize = 100_000;
const SMALL_MESSAGES: usize = 3_000_000;

pub fn print() {
    println!();
    println!(
        "| through a Unix socket | connection: wall ns | M/s | GB/s | allocations | raw loop: wall ns | M/s | GB/s | allocations | raw / connection | of CPU |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let pieces = frames(64, |at| Message::Piece { piece: at, begin: 0, data: vec![7; BLOCK_BYTES].into() });
    let small = frames(5_000, |at| Message::Have { piece: at });
    let read_messages = |frames: &Frames, count| Run::of(|| between(|end| write_raw(end, frames, count), receive));
    let read = |frames: &Frames, count| {
        Run::of(|| between(|end| write_raw(end, frames, count), |end| (count as u64, read_raw(end))))
    };
    let read_blocking = |frames: &Frames, count| {
        Run::of(|| between(|end| write_raw(end, frames, count), |end| (count as u64, read_raw_blocking(end))))
    };
    compare("16 KiB pieces, received", by_wall, || read_messages(&pieces, PIECES), || read(&pieces, PIECES));
    compare(
        "16 KiB pieces, received; raw loop without a runtime",
        by_wall,
        || read_messages(&pieces, PIECES),
        || read_blocking(&pieces, PIECES),
    );
    compare(
        "16 KiB pieces, sent",
        by_wall,
        || Run::of(|| between(|end| send(end, PIECES), |end| (PIECES as u64, read_raw(end)))),
        || read(&pieces, PIECES),
    );
    compare(
        "16 KiB pieces, sent and received",
        by_wall,
        || Run::of(|| between(|end| send(end, PIECES), receive)),
        || read(&pieces, PIECES),
    );
    compare(
        "small messages, received",
        by_wall,
        || read_messages(&small, SMALL_MESSAGES),
        || read(&small, SMALL_MESSAGES),
    );
    moved();
}

struct Frames {
    bytes: Vec<u8>,
    count: usize,
}

fn frames(count: usize, message: impl Fn(u32) -> Message) -> Frames {
    let bytes = (0..count as u32).flat_map(|at| message(at).encode().expect("it fits")).collect();
    Frames { bytes, count }
}

/// One end in a thread of its own, the other one here. What the latter returns.
fn between<T>(sender: impl FnOnce(UnixStream) + Send, receiver: impl FnOnce(UnixStream) -> T) -> T {
    let (a, b) = UnixStream::pair().expect("there are sockets");
    thread::scope(|scope| {
        scope.spawn(|| sender(a));
        receiver(b)
    })
}

fn write_raw(mut stream: UnixStream, frames: &Frames, count: usize) {
    for _ in 0..count / frames.count {
        stream.write_all(&frames.bytes).expect("the other end reads");
    }
    stream.write_all(&frames.bytes[..frames.bytes.len() / frames.count * (count % frames.count)]).expect("it reads");
}

fn read_raw(stream: UnixStream) -> u64 {
    let runtime = runtime();
    runtime.block_on(async {
        let (mut stream, mut buffer, mut bytes) = (to_async(stream), vec![0; BUFFER_BYTES], 0);
        loop {
            match stream.read(&mut buffer).await.expect("the other end writes") {
                0 => return bytes,
                read => bytes += read as u64,
            }
        }
    })
}

fn read_raw_blocking(mut stream: UnixStream) -> u64 {
    let (mut buffer, mut bytes) = (vec![0; BUFFER_BYTES], 0);
    loop {
        match Read::read(&mut stream, &mut buffer).expect("the other end writes") {
            0 => return bytes,
            read => bytes += read as u64,
        }
    }
}

/// With a runtime of its own.
fn run<T>(stream: UnixStream, work: impl AsyncFnOnce(Connection<AsyncUnixStream>) -> T) -> T {
    let runtime = runtime();
    runtime.block_on(async { work(Connection::established(to_async(stream), &[], ConnectionConfig::default())).await })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is room")
}

/// Within a runtime.
fn to_async(stream: UnixStream) -> AsyncUnixStream {
    stream.set_nonblocking(true).expect("it is a socket");
    AsyncUnixStream::from_std(stream).expect("it is a socket")
}

/// Messages and bytes.
fn receive(stream: UnixStream) -> (u64, u64) {
    run(stream, async |mut connection| {
        while connection.next().await.is_ok() {}
        let counters = connection.counters();
        (counters.messages_received, counters.bytes_received)
    })
}

fn send(stream: UnixStream, count: usize) {
    run(stream, async |mut connection| {
        let data = bytes::Bytes::from(vec![7; BLOCK_BYTES]);
        let mut sent = 0;
        while sent < count {
            let message = Message::Piece { piece: sent as u32, begin: 0, data: data.clone() };
            match connection.send(Lane::Bulk, message) {
                Ok(()) => sent += 1,
                Err(_) => match connection.next().await {
                    Ok(Event::Room(_)) => {}
                    other => panic!("{other:?}"),
                },
            }
        }
        connection.close().await.expect("the other end reads");
    })
}

/// How many bytes of payloads were copied in memory on their way in.
fn moved() {
    let pieces = frames(64, |at| Message::Piece { piece: at, begin: 0, data: vec![7; BLOCK_BYTES].into() });
    let receive = |stream| {
        run(stream, async |mut connection| {
            while connection.next().await.is_ok() {}
            connection.counters()
        })
    };
    let counters = between(|end| write_raw(end, &pieces, PIECES), receive);
    println!();
    println!("Of {} bytes received, {} were moved in memory.", counters.bytes_received, counters.bytes_moved);
}
