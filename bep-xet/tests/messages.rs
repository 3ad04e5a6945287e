//! The messages on the wire.

#[cfg(test)]
mod messages {
    mod dialect;
    mod golden;
    mod handshake;
    mod legacy;
    mod malformed;
    mod round_trip;

    use bep_xet::Message;
    use bytes::{Bytes, BytesMut};

    /// Bytes of hexadecimal digits; spaces and line ends between them are for the reader.
    fn hex(text: &str) -> Bytes {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn encode(message: &Message) -> Bytes {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        out.freeze()
    }
}
