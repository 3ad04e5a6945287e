use xet_cas::ByteRange;
use xet_cas::multipart::{ByteRanges, Piece};

use crate::Recipe;

const CONTENT_TYPE: &str = "multipart/byteranges; boundary=B";
/// What a recipe builds at most.
const RANGES_BUILT_MAX: usize = 100;
const RANGE_BYTES_BUILT_MAX: u32 = 100;

/// The bytes are an answer about two ranges.
pub fn multipart(data: &[u8]) {
    let ranges = vec![ByteRange { start: 2, end: 5 }, ByteRange { start: 10, end: 12 }];
    let whole = read(data, &ranges, data.len().max(1));
    assert_eq!(whole, read(data, &ranges, 1), "it depends on how the answer arrives");
    assert_eq!(whole, read(data, &ranges, 7), "it depends on how the answer arrives");
}

/// The bytes are a recipe for ranges, their data, and how the answer arrives.
pub fn multipart_there_and_back(data: &[u8]) {
    let MultipartRecipe { ranges, data, answer, pieces } = MultipartRecipe::read(data);
    assert!(answer.len() as u64 <= ByteRanges::bytes_max(&ranges));
    assert_eq!(Some(data), read(&answer, &ranges, pieces));
    assert_eq!(None, read(&answer[..answer.len() - 1], &ranges, pieces), "the end is cut off");
}

/// The data of each range, or nothing if anything is wrong.
fn read(answer: &[u8], ranges: &[ByteRange], pieces: usize) -> Option<Vec<Vec<u8>>> {
    let mut data = vec![Vec::new(); ranges.len()];
    let mut parser =
        ByteRanges::new(CONTENT_TYPE, ranges.to_vec()).expect("its boundary is one").expect("it has parts");
    for mut piece in answer.chunks(pieces) {
        while !piece.is_empty() {
            let taken = match parser.next(piece).ok()? {
                Piece::Framing(bytes) => bytes,
                Piece::Data { range, bytes } => {
                    data[range].extend_from_slice(&piece[..bytes]);
                    bytes
                }
            };
            assert!((1..=piece.len()).contains(&taken), "it stands still, or takes what is not there");
            piece = &piece[taken..];
        }
    }
    parser.finish().ok()?;
    let lengths = data.iter().map(|data| data.len() as u64);
    assert!(lengths.eq(ranges.iter().map(ByteRange::length)), "it ends well without all data");
    Some(data)
}

/// An answer to build.
#[derive(Debug)]
pub struct MultipartRecipe {
    /// What was asked for.
    pub ranges: Vec<ByteRange>,
    data: Vec<Vec<u8>>,
    answer: Vec<u8>,
    pieces: usize,
}

impl MultipartRecipe {
    /// How the answer arrives, then for each range how far it is from the one before, how long it is, and what it holds.
    pub fn read(bytes: &[u8]) -> Self {
        let mut recipe = Recipe::new(bytes);
        let pieces = 1 + recipe.up_to(50) as usize;
        let (mut ranges, mut data, mut answer, mut at) = (Vec::new(), Vec::new(), Vec::new(), 0);
        while ranges.is_empty() || (!recipe.is_done() && ranges.len() < RANGES_BUILT_MAX) {
            let start = at + u64::from(recipe.up_to(9));
            let length = 1 + recipe.up_to(RANGE_BYTES_BUILT_MAX);
            at = start + u64::from(length);
            let part: Vec<u8> = (0..length).map(|_| recipe.array::<1>()[0]).collect();
            let head = format!("--B\r\nContent-Range: bytes {start}-{}/{}\r\n\r\n", at - 1, at + 9);
            answer.extend_from_slice(head.as_bytes());
            answer.extend_from_slice(&part);
            answer.extend_from_slice(b"\r\n");
            ranges.push(ByteRange { start, end: at });
            data.push(part);
        }
        answer.extend_from_slice(b"--B--");
        Self { ranges, data, answer, pieces }
    }
}

#[cfg(test)]
mod tests {
    use xet_cas::ByteRange;

    use super::read;

    #[test]
    fn given_the_seeds_when_read_then_one_is_good_and_each_of_the_others_wrong_in_its_own_way() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/multipart");
        let ranges = [ByteRange { start: 2, end: 5 }, ByteRange { start: 10, end: 12 }];
        for seed in std::fs::read_dir(folder).unwrap().map(|seed| seed.unwrap().path()) {
            let is_good = read(&std::fs::read(&seed).unwrap(), &ranges, 5).is_some();
            assert_eq!(seed.ends_with("good"), is_good, "{}", seed.display());
        }
    }
}
