//! A model to show: weights that do not compress, weights that do, and the small files around them.

use std::fs::File;
use std::io::{BufWriter, Result, Write};
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// Bytes written at once.
const BLOCK_BYTES: usize = 1024 * 1024;

/// Writes about `bytes` into `folder`, the same for the same number.
pub(super) fn generate(folder: &Path, bytes: u64) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut random = SmallRng::seed_from_u64(bytes);
    weights(&folder.join("model-00001-of-00002.safetensors"), bytes * 2 / 3, |block| random.fill_bytes(block))?;
    let mut value = 1.0_f32;
    weights(&folder.join("model-00002-of-00002.safetensors"), bytes / 3, |block| {
        for number in block.chunks_exact_mut(4) {
            value += 1.0 / 1024.0;
            number.copy_from_slice(&value.to_le_bytes());
        }
    })?;
    std::fs::write(folder.join("config.json"), "{\n  \"model_type\": \"demo\"\n}\n")?;
    std::fs::write(folder.join("README.md"), "# A generated model\n\nIts weights mean nothing.\n")?;
    std::fs::write(folder.join(".gitattributes"), "*.safetensors filter=lfs diff=lfs merge=lfs -text\n")
}

/// A safetensors file of one tensor.
fn weights(path: &Path, bytes: u64, mut fill: impl FnMut(&mut [u8])) -> Result<()> {
    let bytes = bytes / 4 * 4;
    let header = format!(r#"{{"weight":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{bytes}]}}}}"#, bytes / 4);
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut block = vec![0; BLOCK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(BLOCK_BYTES as u64) as usize;
        fill(&mut block[..length]);
        file.write_all(&block[..length])?;
        left -= length as u64;
    }
    file.flush()
}
