use crate::Error;

/// Name of the extension of BEP 54.
pub const LT_DONTHAVE: &str = "lt_donthave";

/// A message of the extension [`LT_DONTHAVE`] (BEP 54): the sender no longer has a piece, as when a cache drops
/// it. Its payload is the index, four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DontHave {
    /// Index of the piece.
    pub piece: u32,
}

impl DontHave {
    /// Reads the payload of a message of the extension.
    ///
    /// # Errors
    /// [`Error::ExtensionLength`].
    pub fn decode(payload: &[u8]) -> Result<Self, Error> {
        let piece = payload.try_into().map(u32::from_be_bytes);
        let piece = piece.map_err(|_| Error::ExtensionLength { name: LT_DONTHAVE, bytes: payload.len() })?;
        Ok(Self { piece })
    }

    /// The payload to send.
    pub const fn encode(self) -> [u8; 4] {
        self.piece.to_be_bytes()
    }
}
