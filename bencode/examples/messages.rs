//! Finds messages in a stream, whole or in pieces, and answers them.
#![expect(clippy::print_stdout, reason = "it is a program")]

use bencode::{Decoder, Error, FrameFinder, Limits, OwnedValue, encode};

fn main() -> Result<(), Error> {
    // DHT packets are small: what is not is refused before it is kept.
    let mut limits = Limits::default();
    (limits.depth_max, limits.tokens_max, limits.value_bytes_max) = (8, 500, 2_000);
    let mut finder = FrameFinder::new(Decoder::lenient().limits(limits));

    let mut buffer = Vec::new();
    for piece in [&b"d1:q4:pi"[..], b"ng1:t2:aa1:y1:qed1:q9:find_", b"node1:t2:bb1:y1:qe"] {
        buffer.extend_from_slice(piece);
        while let Some((document, rest)) = finder.find(&buffer)? {
            let message = document.root();
            let method = message.get(b"q").and_then(|method| method.as_str()).unwrap_or("no method");
            let transaction = message.get(b"t").and_then(|transaction| transaction.as_bytes()).unwrap_or_default();
            let answer = OwnedValue::dict([("t", transaction.into()), ("y", "r".into())]);
            println!("{method}: {}", encode(&answer)?.escape_ascii());
            buffer = rest.to_vec();
        }
    }
    Ok(())
}
