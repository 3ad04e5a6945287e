use crate::scan::Scan;
use crate::{Decoder, Document, Error, Fault};

/// Finds where values end in bytes that arrive in pieces.
///
/// What was read once is not read again, so a value that comes byte by byte takes as long as one that comes whole.
/// What cannot become a value within the limits is refused at the first byte that shows it, or at the length that
/// announces it: nobody waits for it, or keeps room for it.
///
/// ```
/// use bencode::{Decoder, FrameFinder};
///
/// let mut finder = FrameFinder::new(Decoder::strict());
/// let mut buffer = b"d1:y1:".to_vec();
/// assert!(finder.find(&buffer)?.is_none());
///
/// buffer.extend(b"qei7e");
/// let (message, rest) = finder.find(&buffer)?.expect("it is complete");
/// assert_eq!(message.root().get(b"y").and_then(|kind| kind.as_str()), Some("q"));
/// assert_eq!(rest, b"i7e"); // where the next one begins
/// # Ok::<(), bencode::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct FrameFinder {
    decoder: Decoder,
    scan: Scan,
}

impl FrameFinder {
    /// Reads values as this decoder does.
    pub fn new(decoder: Decoder) -> Self {
        Self { decoder, scan: Scan::default() }
    }

    /// Looks for the end of the value that the buffer begins with: `None` if it has not come; else the value and what
    /// follows it, and the next call begins with another one.
    ///
    /// The buffer holds all that came since the last value, so each is a continuation of the one before. (With
    /// another, what is returned is of no use; it does no harm.)
    ///
    /// # Errors
    /// As of [`Decoder::decode_prefix`], but never for input that ends. They stay: a stream cannot go on after one.
    pub fn find<'a>(&mut self, buffer: &'a [u8]) -> Result<Option<(Document<'a>, &'a [u8])>, Error> {
        match self.decoder.run(&mut self.scan, buffer) {
            Ok(()) => Ok(Some(core::mem::take(&mut self.scan).finish(buffer))),
            Err(failure) if failure.fault == Fault::Truncated => Ok(None),
            Err(failure) => Err(Error::decode(failure.fault, failure.offset, self.scan.clone().path(buffer))),
        }
    }

    /// Bytes that were read of the value whose end has not come: whole tokens.
    pub fn bytes_read(&self) -> usize {
        self.scan.bytes()
    }
}
