//! Two peers on a loopback TCP connection: one serves a xorb, the other fetches it.
//!
//! ```text
//! cargo run -p zest-bep-xet --example two_peers -- v2        # or: ranged, base
//! ```
//!
//! An `Exchange` does no I/O. What is around it here is all that a program needs: frames, a clock, and a socket.

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bep_xet::{
    Config, Deadlines, Dialect, Event, Exchange, Limits, Message, Object, PeerRequestId, Range, Status, XetHandshake,
};
use bytes::{BufMut, Bytes, BytesMut};
use xet_cas::xorb::{Builder, Serialized};
use xet_cas::{ChunkHash, ChunkRange, CompressionPolicy, Leaf};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Number that both sides gave `ut_xet` in their extension handshakes.
const UT_XET: u8 = 1;
/// Number of extension messages in BEP 10.
const EXTENDED: u8 = 20;

fn main() -> Result<()> {
    // What the extension handshake would say.
    let dialect = match std::env::args().nth(1).as_deref() {
        None | Some("v2") => Dialect::V2,
        Some("ranged") => Dialect::Ranged,
        Some("base") => Dialect::Base,
        Some(other) => return Err(format!("{other} is none of v2, ranged and base").into()),
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let seeder = std::thread::spawn(move || -> Result<()> { Line::new(listener.accept()?.0, dialect)?.seed() });
    Line::new(TcpStream::connect(address)?, dialect)?.fetch()?;
    seeder.join().map_err(|_| "the seeder panicked")?
}

fn chunks() -> [Vec<u8>; 3] {
    [vec![1; 70_000], b"hello".repeat(9_000), vec![3; 100_000]]
}

fn xorb() -> Result<Serialized> {
    let mut builder = Builder::new(CompressionPolicy::Auto);
    for chunk in chunks() {
        builder.push(Leaf::of(&chunk), &chunk)?;
    }
    Ok(builder.finish())
}

/// A connection after its handshakes.
struct Line {
    stream: TcpStream,
    exchange: Exchange,
}

impl Line {
    fn new(stream: TcpStream, dialect: Dialect) -> Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let (config, limits) = (Config::default(), Limits::default());
        let xet = XetHandshake::new(&limits, None).to_value();
        let (client, xet) = match dialect {
            Dialect::V2 => (Some("zest 0.1.0"), Some(&xet)),
            Dialect::Ranged => (Some("zest/0.4"), None),
            Dialect::Base => (None, None),
        };
        let exchange = Exchange::for_peer(config, limits, client, xet, now())?;
        Ok(Self { stream, exchange })
    }

    fn fetch(mut self) -> Result<()> {
        let deadlines = Deadlines { progress: Duration::from_secs(5), total: Duration::from_secs(60) };
        let mut missing = 0;
        for range in wanted(self.exchange.dialect())? {
            self.exchange.request_range(range, deadlines, now())?;
            missing += 1;
        }
        while missing > 0 {
            self.write()?;
            self.read_frame()?;
            while let Some(event) = self.exchange.poll_event() {
                match event {
                    // Of version 2, unchecked: the caller has a list or a proof. Here it only looks.
                    Event::Chunk { index, header, .. } => println!("chunk {index}: {} bytes", header.raw_length),
                    Event::Proven { chunks, .. } => {
                        for chunk in chunks {
                            println!("chunk {}: {} bytes, proven", chunk.index(), chunk.leaf().length);
                        }
                    }
                    Event::Ended { status: Status::Done, .. } => missing -= 1,
                    Event::Ended { status, .. } => return Err(format!("the request ended: {status:?}").into()),
                    Event::Failed { error } => return Err(error.into()),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn seed(mut self) -> Result<()> {
        let xorb = xorb()?;
        while self.read_frame()? {
            while let Some(event) = self.exchange.poll_event() {
                match event {
                    Event::RangeAsked { id, range } if range.object == Object::xorb(xorb.hash()) => {
                        for index in range.start..range.end {
                            let chunks = ChunkRange { start: index as u32, end: index as u32 + 1 };
                            let at = xorb.footer.byte_range(chunks).ok_or("no such chunk")?;
                            let record = Bytes::copy_from_slice(&xorb.records[at.start as usize..at.end as usize]);
                            self.make_room()?;
                            self.exchange.send_chunk(id, chunks.start, record, now())?;
                        }
                        self.exchange.end(id, Status::Done, range.end, Duration::ZERO)?;
                    }
                    Event::XorbAsked { id, xorb: hash, .. } if hash == xorb.hash() => {
                        self.respond(id, Bytes::from(xorb.records.clone()))?;
                    }
                    Event::ChunkAsked { id, chunk } => {
                        match chunks().into_iter().find(|raw| ChunkHash::of(raw) == chunk) {
                            Some(raw) => self.respond(id, raw.into())?,
                            None => self.exchange.end(id, Status::NotFound, 0, Duration::ZERO)?,
                        }
                    }
                    Event::RangeAsked { id, .. } | Event::XorbAsked { id, .. } => {
                        self.exchange.end(id, Status::NotFound, 0, Duration::ZERO)?;
                    }
                    Event::Failed { error } => return Err(error.into()),
                    _ => {}
                }
            }
            self.write()?;
        }
        Ok(())
    }

    /// Sends a response of a legacy dialect, a piece at a time: none is held as a whole where it comes from a file.
    fn respond(&mut self, id: PeerRequestId, mut data: Bytes) -> Result<()> {
        self.make_room()?;
        self.exchange.begin_response(id, data.len() as u64, now())?;
        while !data.is_empty() {
            self.make_room()?;
            self.exchange.send_data(id, data.split_to(data.len().min(64 * 1024)), now())?;
        }
        Ok(())
    }

    fn make_room(&mut self) -> Result<()> {
        if self.exchange.wants_data() { Ok(()) } else { self.write() }
    }

    /// Writes what waits. What begins a payload gets the head of a frame; the data of a response follows as it is.
    fn write(&mut self) -> Result<()> {
        let mut out = BytesMut::new();
        while let Some(message) = self.exchange.poll_message() {
            if let Some(payload_bytes) = message.payload_bytes() {
                out.put_u32(u32::try_from(payload_bytes)? + Message::FRAME_BYTES as u32);
                out.put_slice(&[EXTENDED, UT_XET]);
            }
            message.encode(&mut out);
        }
        Ok(self.stream.write_all(&out)?)
    }

    /// Reads a frame, in pieces if it is long. False at the end of the connection.
    fn read_frame(&mut self) -> Result<bool> {
        let mut head = [0; 6];
        match self.stream.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        let [l0, l1, l2, l3, EXTENDED, UT_XET] = head else { return Err("a frame of something else".into()) };
        let mut left = u64::from(u32::from_be_bytes([l0, l1, l2, l3])).saturating_sub(Message::FRAME_BYTES as u64);
        self.exchange.begin_payload(left)?;
        while left > 0 {
            let mut piece = vec![0; left.min(64 * 1024) as usize];
            self.stream.read_exact(&mut piece)?;
            left -= piece.len() as u64;
            self.exchange.handle_piece(piece.into(), now())?;
        }
        Ok(true)
    }
}

/// What can be asked for in a dialect: chunks of a xorb, or chunks by their own names.
fn wanted(dialect: Dialect) -> Result<Vec<Range>> {
    let all = ChunkRange { start: 0, end: chunks().len() as u32 };
    Ok(match dialect {
        Dialect::V2 | Dialect::Ranged => vec![Range::chunks(Object::xorb(xorb()?.hash()), all)],
        Dialect::Base => {
            let chunk = |raw: Vec<u8>| Object::chunk(ChunkHash::of(&raw));
            chunks().into_iter().map(|raw| Range::chunks(chunk(raw), ChunkRange { start: 0, end: 1 })).collect()
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "the clock of this program")]
fn now() -> Instant {
    Instant::now()
}
