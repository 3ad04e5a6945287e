//! Hands out a file to whoever connects: `cargo run --example serve -- FILE`, then `fetch` with the address that
//! it prints.

use std::io;

use bt_wire::{
    Capability, Connection, ConnectionConfig, Event, Handshake, Lane, LaneFull, Message, PeerId, PeerState, Pieces,
    SendError,
};
use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a piece.
const PIECE_BYTES: u32 = 256 * 1024;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example tells what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: serve FILE")?;
    let content = Bytes::from(std::fs::read(path)?);
    let pieces = Pieces::new(content.len() as u64, PIECE_BYTES).ok_or("the file is empty or huge")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{} {}", listener.local_addr()?, content.len());
    loop {
        let (stream, address) = listener.accept().await?;
        match serve(stream, &content, pieces).await {
            Ok(()) => println!("{address}: done"),
            Err(error) => println!("{address}: {error}"),
        }
    }
}

async fn serve(stream: TcpStream, content: &Bytes, pieces: Pieces) -> Result<(), Box<dyn std::error::Error>> {
    stream.set_nodelay(true)?;
    bt_wire::limit_unsent(&stream, bt_wire::NOTSENT_LOWAT_BYTES)?;
    let mut config = ConnectionConfig::default();
    config.limits.pieces = Some(pieces);
    let limits = config.limits;

    // A swarm is as good as any other here: the answer names the one that was asked for.
    let mut ours = None;
    let me = PeerId::new(PeerId::ZEST_PREFIX, *b"serve exampl");
    let (mut connection, theirs) = Connection::accept(stream, config, |start| {
        let mut answer = Handshake::new(start.info_hash, me);
        answer.reserved = answer.reserved.with(Capability::Fast);
        ours = Some(answer);
        ours
    })
    .await?;
    let in_use = ours.ok_or("answered")?.reserved.common(theirs.reserved);
    let mut state = PeerState::new(in_use, limits);
    let first = if in_use.has(Capability::Fast) { Message::HaveAll } else { all(pieces) };
    for message in [first, Message::Unchoke] {
        state.handle_sent(&message);
        connection.send(Lane::Control, message)?;
    }

    // At most one block waits for room in the lane; while it does, requests are left to wait, too.
    let mut waiting: Vec<Message> = Vec::new();
    loop {
        let event = match connection.next().await {
            Ok(event) => event,
            Err(bt_wire::CloseReason::ByPeer) => return Ok(()),
            Err(reason) => return Err(reason.into()),
        };
        match event {
            Event::Message(message) => {
                state.handle_message(&message, now())?;
                if let Message::Request(block) = message {
                    let begin = block.piece as usize * PIECE_BYTES as usize + block.begin as usize;
                    let data = content.slice(begin..begin + block.length as usize);
                    waiting.insert(0, Message::Piece { piece: block.piece, begin: block.begin, data });
                }
            }
            Event::Room(_) => {}
            other => return Err(io::Error::other(format!("not expected: {other:?}")).into()),
        }
        while let Some(message) = waiting.pop() {
            state.handle_sent(&message);
            if let Err(error) = connection.send(Lane::Bulk, message) {
                match error {
                    SendError::Full(LaneFull { message, .. }) => waiting.push(message),
                    error => return Err(error.into()),
                }
                break;
            }
        }
    }
}

/// A bitfield of all pieces.
fn all(pieces: Pieces) -> Message {
    let mut bits = vec![0xff; pieces.bitfield_bytes() as usize];
    if let (Some(last), spare @ 1..) = (bits.last_mut(), bits_beyond(pieces)) {
        *last <<= spare;
    }
    Message::Bitfield(bits.into())
}

fn bits_beyond(pieces: Pieces) -> u32 {
    pieces.bitfield_bytes() * 8 - pieces.count()
}

#[expect(clippy::disallowed_methods, reason = "a program has a clock")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
