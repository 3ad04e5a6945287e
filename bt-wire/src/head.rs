/// Length, id and the fixed fields of the longest kind, which is that of hashes.
const HEAD_BYTES_MAX: usize = 4 + 1 + 32 + 16;

/// The beginning of a frame: length prefix, id and all that stands before the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    len: u8,
}

impl Head {
    /// With nothing in it but room for the length prefix.
    pub(crate) fn new() -> Self {
        Self { bytes: [0; HEAD_BYTES_MAX], len: 4 }
    }

    /// With the length of all that follows the length prefix.
    pub(crate) fn with_length(mut self, length: u32) -> Self {
        self.bytes[..4].copy_from_slice(&length.to_be_bytes());
        self
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let len = usize::from(self.len);
        self.bytes[len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    pub(crate) fn put_u32s(&mut self, numbers: &[u32]) {
        numbers.iter().for_each(|number| self.put(&number.to_be_bytes()));
    }
}

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}
