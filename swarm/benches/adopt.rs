//! What it costs to index a cache: `cargo bench -p zest-swarm --bench adopt`.
//!
//! A cache with one file is indexed, beside nothing but reading, cutting and hashing the same file on one thread. In
//! turn, medians of the ratios; the file is in the page cache. `BYTES=1000000000` changes its size.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench prints and reads the clock")]

use std::error::Error;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Instant;

use swarm::{AdoptRequest, Index, adopt};
use xet_cas::{Chunker, Leaf};

const ROUNDS: usize = 9;
const PIECE_BYTES: usize = 1024 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let bytes = std::env::var("BYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000_000_u64);
    let work = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "." })?;
    let cache = work.path().join("hub");
    let snapshot = cache.join("models--lab--model/snapshots/0123456789012345678901234567890123456789");
    std::fs::create_dir_all(&snapshot)?;
    let file = snapshot.join("model.safetensors");
    write_noise(&file, bytes)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    let mut ratios = Vec::new();
    println!("| round | hashing alone, s | `adopt`, s | speed of the second / first |\n|---|---|---|---|");
    for round in 1..=ROUNDS {
        let begun = Instant::now();
        let leaves = hash_alone(&file)?;
        let alone = begun.elapsed().as_secs_f64();
        let index = Index::new(work.path().join(format!("home-{round}")));
        let (events, mut watched) = tokio::sync::mpsc::channel(64);
        let begun = Instant::now();
        let adopted = runtime.block_on(async {
            let drain = async { while watched.recv().await.is_some() {} };
            let request = AdoptRequest::new(&cache, "http://127.0.0.1:1");
            tokio::join!(adopt(request, None, index, events), drain).0
        })?;
        let indexed = begun.elapsed().as_secs_f64();
        assert_eq!((1, bytes), (adopted.files, adopted.bytes));
        assert!(leaves > 0);
        ratios.push(alone / indexed);
        println!("| {round} | {alone:.2} | {indexed:.2} | {:.2} |", alone / indexed);
    }
    ratios.sort_by(f64::total_cmp);
    println!("| **median** | | | **{:.2}** |", ratios[ROUNDS / 2]);
    Ok(())
}

fn write_noise(path: &Path, bytes: u64) -> std::io::Result<()> {
    let (mut file, mut state, mut left) = (File::create(path)?, 0x9e37_79b9_7f4a_7c15_u64, bytes);
    let mut piece = vec![0; PIECE_BYTES];
    while left > 0 {
        for word in piece.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let length = left.min(PIECE_BYTES as u64) as usize;
        file.write_all(&piece[..length])?;
        left -= length as u64;
    }
    Ok(())
}

/// The least that indexing must do.
fn hash_alone(path: &Path) -> std::io::Result<usize> {
    let (mut file, mut chunker, mut leaves) = (File::open(path)?, Chunker::new(), Vec::new());
    let (mut chunk, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        let mut rest = &piece[..read];
        while let Some(boundary) = chunker.next_boundary(rest) {
            chunk.extend_from_slice(&rest[..boundary]);
            leaves.push(Leaf::of(&chunk));
            chunk.clear();
            rest = &rest[boundary..];
        }
        chunk.extend_from_slice(rest);
    }
    leaves.extend((!chunk.is_empty()).then(|| Leaf::of(&chunk)));
    Ok(leaves.len())
}
