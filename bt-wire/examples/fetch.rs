//! Fetches what `serve` hands out, and tells how fast: `cargo run --example fetch -- ADDRESS BYTES`.

use std::time::Instant;

use bt_wire::{
    Block, Capability, Connection, ConnectionConfig, Event, Handshake, InfoHash, Lane, Message, PeerId, PeerState,
    Pieces,
};
use tokio::net::TcpStream;

/// Bytes of a piece, as in `serve`.
const PIECE_BYTES: u32 = 256 * 1024;
const BLOCK_BYTES: u32 = 16 * 1024;
/// Requests that are not answered yet.
const REQUESTS_MAX: usize = 100;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example tells what it does")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usage = "usage: fetch ADDRESS BYTES";
    let (address, bytes) = std::env::args().nth(1).zip(std::env::args().nth(2)).ok_or(usage)?;
    let pieces = Pieces::new(bytes.parse()?, PIECE_BYTES).ok_or(usage)?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;

    let me = PeerId::new(PeerId::ZEST_PREFIX, *b"fetch exampl");
    let mut ours = Handshake::new(InfoHash::from_bytes([1; 20]), me);
    ours.reserved = ours.reserved.with(Capability::Fast);
    let mut config = ConnectionConfig::default();
    config.limits.pieces = Some(pieces);
    let limits = config.limits;
    let (mut connection, theirs) = Connection::connect(stream, ours, config).await?;
    let mut state = PeerState::new(ours.reserved.common(theirs.reserved), limits);

    let begin = now();
    let mut wanted = (0..pieces.count()).flat_map(|piece| {
        let piece_bytes = pieces.bytes_of(piece).unwrap_or_default();
        let begins = (0..piece_bytes).step_by(BLOCK_BYTES as usize);
        begins.map(move |begin| Block { piece, begin, length: BLOCK_BYTES.min(piece_bytes - begin) })
    });
    let (mut received, mut all_asked) = (0, false);
    while !(all_asked && state.requests() == 0) {
        if let Event::Message(message) = connection.next().await? {
            state.handle_message(&message, now())?;
            if let Message::Piece { data, .. } = message {
                received += data.len();
            }
        }
        while !state.is_peer_choking() && !all_asked && state.requests() < REQUESTS_MAX {
            let Some(block) = wanted.next() else {
                all_asked = true;
                break;
            };
            let request = Message::Request(block);
            state.handle_sent(&request);
            connection.send(Lane::Control, request)?;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("{received} bytes from {:?} in {seconds:.3} s", theirs.peer_id);
    connection.close().await?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program has a clock")]
fn now() -> Instant {
    Instant::now()
}
