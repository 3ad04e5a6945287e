/// Length, id and the fixed fields of the longest kind, which is that of hashes.
pub(crate) const HEAD_BYTES_MAX: usize = 4 + 1 + 32 + 16;

/// The beginning of a frame: length prefix, id and all that stands before the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    len: u8,
}

impl Head {
    /// Before bytes that are no message.
    #[cfg(feature = "net")]
    pub(crate) const EMPTY: Self = Self { bytes: [0; HEAD_BYTES_MAX], len: 0 };

    /// Of the first bytes of these, as [`HeadWriter`] has written them.
    pub(crate) fn new(bytes: [u8; HEAD_BYTES_MAX], len: usize) -> Self {
        Self { bytes, len: len.min(HEAD_BYTES_MAX) as u8 }
    }
}

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Writes a head to where it is to be: moving what was just written in parts is what would take the time.
pub(crate) struct HeadWriter<'a> {
    out: &'a mut [u8; HEAD_BYTES_MAX],
    len: usize,
}

impl<'a> HeadWriter<'a> {
    /// With the length of all that follows the length prefix, and nothing of that.
    pub(crate) fn new(out: &'a mut [u8; HEAD_BYTES_MAX], length: u32) -> Self {
        let mut writer = Self { out, len: 0 };
        writer.put(&length.to_be_bytes());
        writer
    }

    /// Of a known length, so that it is a store and no call.
    pub(crate) fn put<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.out[self.len..self.len + N].copy_from_slice(bytes);
        self.len += N;
    }

    pub(crate) fn put_u32s<const N: usize>(&mut self, numbers: [u32; N]) {
        numbers.iter().for_each(|number| self.put(&number.to_be_bytes()));
    }

    /// Bytes that are written.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}
