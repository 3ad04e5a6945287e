/// What is refused from a peer. Begin with `default()` and assign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest frame, bytes, its length prefix not counted. Default 1 MiB for what the message carries and 64
    /// bytes for what stands before that. A frame beyond it is refused as soon as its length is known.
    pub frame_bytes_max: u32,
    /// Largest extension handshake, bytes. Default 64 KiB; programs in the field send a few hundred bytes.
    pub extension_handshake_bytes_max: usize,
    /// Integers, strings, beginnings and ends in an extension handshake. Default 10,000, which bounds the
    /// memory of the keys that are kept to about a megabyte.
    pub extension_handshake_tokens_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 1024 * 1024 + 64,
            extension_handshake_bytes_max: 64 * 1024,
            extension_handshake_tokens_max: 10_000,
        }
    }
}
