//! LZ4 frames. Blocks are decoded straight into the caller's buffer for the kind of frame that Xet
//! clients write (independent blocks, no checksums); `lz4_flex`'s frame reader takes every other.

use std::io::{Read, Write};

use lz4_flex::frame::{FrameDecoder, FrameEncoder};

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

pub(super) fn compress(raw: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::new(Vec::with_capacity(raw.len() / 2));
    encoder.write_all(raw).expect("writing to a Vec cannot fail");
    encoder.finish().expect("writing to a Vec cannot fail")
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
