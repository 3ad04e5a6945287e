/// Length, id and the fixed fields of the longest kind, which is that of hashes.
const HEAD_BYTES_MAX: usize = 4 + 1 + 32 + 16;

/// The beginning of a frame: length prefix, id and all that stands before the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    len: u8,
}

impl Head {
    /// With the length of all that follows the length prefix, and nothing of that.
    pub(crate) fn new(length: u32) -> Self {
        let mut bytes = [0; HEAD_BYTES_MAX];
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        Self { bytes, len: 4 }
    }

    /// Of a known length, so that it is a store and no call.
    pub(crate) fn put<const N: usize>(&mut self, bytes: &[u8; N]) {
        let len = usize::from(self.len);
        self.bytes[len..len + N].copy_from_slice(bytes);
        self.len += N as u8;
    }

    pub(crate) fn put_u32s<const N: usize>(&mut self, numbers: [u32; N]) {
        numbers.iter().for_each(|number| self.put(&number.to_be_bytes()));
    }
}

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}
