//! LZ4 frames. Written are those of the deployed client, byte by byte. Blocks are decoded straight into the caller's buffer for the kind of frame that Xet
//! clients write (independent blocks, no checksums); `lz4_flex`'s frame reader takes every other.

use std::fmt;
use std::io::Read;

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use lz4_flex::frame::FrameDecoder;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Magic, flags, block descriptor, header checksum.
const PLAIN_HEADER_BYTES: usize = 7;
/// The headers that Xet clients write: independent blocks, and no checksum of them, content size or dictionary
/// id. With each, how long a block may be.
const PLAIN_HEADERS: [([u8; PLAIN_HEADER_BYTES], usize); 2] =
    [(*b"\x04\x22\x4d\x18\x60\x40\x82", 64 * 1024), (*b"\x04\x22\x4d\x18\x60\x50\xfb", 256 * 1024)];
/// Top bit of a block's size word: the block is not compressed.
const STORED_BLOCK: u32 = 1 << 31;
/// Bits 4..=6 of the block descriptor: 4 is 64 KiB, 5 is 256 KiB. Chunks are at most 128 KiB, so larger
/// block classes only serve to make a reader allocate.
const BLOCK_CLASS_MAX: u8 = 5;

/// Writes frames as the deployed client does.
pub(super) struct FrameWriter {
    /// Large: 32-bit positions, which is what that client's frame writer uses for blocks of any size.
    matches: CompressTable,
    /// As long as the longest frame so far; only the front of it is a frame.
    frame: Vec<u8>,
}

impl Default for FrameWriter {
    fn default() -> Self {
        Self { matches: CompressTable::large(), frame: Vec::new() }
    }
}

impl FrameWriter {
    /// The frame of `raw`, which may be longer than it.
    pub(super) fn write(&mut self, raw: &[u8]) -> &[u8] {
        let [small, large] = PLAIN_HEADERS;
        let (header, block_bytes_max) = if raw.len() <= small.1 { small } else { large };
        let blocks = raw.chunks(block_bytes_max);
        let room =
            header.len() + blocks.clone().map(|block| 4 + get_maximum_output_size(block.len())).sum::<usize>() + 4;
        if self.frame.len() < room {
            self.frame.resize(room, 0);
        }
        self.frame[..header.len()].copy_from_slice(&header);
        let mut end = header.len();
        for block in blocks {
            let (word, out) = self.frame[end..].split_at_mut(4);
            let length =
                compress_into_with_table(block, out, &mut self.matches).ok().filter(|length| *length < block.len());
            let (stored, length) = match length {
                Some(length) => (0, length),
                None => {
                    out[..block.len()].copy_from_slice(block);
                    (STORED_BLOCK, block.len())
                }
            };
            word.copy_from_slice(&(stored | length as u32).to_le_bytes());
            end += 4 + length;
        }
        self.frame[end..end + 4].fill(0);
        &self.frame[..end + 4]
    }
}

impl fmt::Debug for FrameWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameWriter").field("frame_bytes", &self.frame.len()).finish_non_exhaustive()
    }
}

/// Decodes one frame that holds exactly `out.len()` bytes.
pub(super) fn decompress_into(frame: &[u8], out: &mut [u8]) -> Result<(), String> {
    let Some((header, blocks)) = frame.split_first_chunk::<PLAIN_HEADER_BYTES>() else {
        return Err("shorter than an LZ4 frame header".into());
    };
    if header[..4] != MAGIC {
        return Err("not an LZ4 frame".into());
    }
    if header[5] >> 4 & 7 > BLOCK_CLASS_MAX {
        return Err("LZ4 block class above 256 KiB".into());
    }
    match PLAIN_HEADERS.iter().find(|(plain, _)| plain == header) {
        Some((_, block_bytes_max)) => decompress_plain(blocks, *block_bytes_max, out),
        None => decompress_any(frame, out),
    }
}

/// Accepts no frame that `lz4_flex`'s frame reader, which the deployed client uses, would refuse.
fn decompress_plain(mut blocks: &[u8], block_bytes_max: usize, mut out: &mut [u8]) -> Result<(), String> {
    loop {
        let (word, rest) = blocks.split_first_chunk::<4>().ok_or("the LZ4 frame has no end mark")?;
        let word = u32::from_le_bytes(*word);
        if word == 0 {
            return match (rest, &*out) {
                ([], []) => Ok(()),
                ([], missing) => Err(format!("the LZ4 frame is {} bytes short", missing.len())),
                (trailing, _) => Err(format!("{} bytes after the LZ4 frame", trailing.len())),
            };
        }
        let (block, rest) =
            rest.split_at_checked((word & !STORED_BLOCK) as usize).ok_or("an LZ4 block is cut short")?;
        if block.len() > block_bytes_max {
            return Err("an LZ4 block is longer than its frame allows".into());
        }
        let written = if word & STORED_BLOCK == 0 {
            let room = out.len().min(block_bytes_max);
            lz4_flex::block::decompress_into(block, &mut out[..room]).map_err(|error| error.to_string())?
        } else {
            out.get_mut(..block.len()).ok_or("the LZ4 frame holds too many bytes")?.copy_from_slice(block);
            block.len()
        };
        // The frame reader would take it for the end of the frame.
        if written == 0 {
            return Err("an LZ4 block is empty".into());
        }
        out = out.get_mut(written..).ok_or("the LZ4 frame holds too many bytes")?;
        blocks = rest;
    }
}

fn decompress_any(frame: &[u8], out: &mut [u8]) -> Result<(), String> {
    let mut rest = frame;
    let mut decoder = FrameDecoder::new(&mut rest);
    decoder.read_exact(out).map_err(|error| error.to_string())?;
    let surplus = decoder.read(&mut [0]).map_err(|error| error.to_string())?;
    match (surplus, rest.len()) {
        (0, 0) => Ok(()),
        (0, trailing) => Err(format!("{trailing} bytes after the LZ4 frame")),
        _ => Err("the LZ4 frame holds too many bytes".into()),
    }
}
