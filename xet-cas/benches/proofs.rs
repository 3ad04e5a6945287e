//! What a proof costs for a file of a million chunks (about 64 GB): to prepare, to cut, to check and to
//! send, beside hashing the whole list in the same run.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench reads the clock and prints")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use xet_cas::proof::{RunProof, Tree};
use xet_cas::{ChunkHash, ChunkRange, Error, Leaf};

const LEAVES: u32 = 1_000_000;

fn main() -> Result<(), Error> {
    let leaves: Vec<Leaf> = (0..LEAVES)
        .map(|i| Leaf { hash: ChunkHash::of(&i.to_le_bytes()), length: 8192 + i.wrapping_mul(2_654_435_761) % 122_880 })
        .collect();
    let (root, _) = best_of(5, || Ok(Leaf::file_hash(black_box(&leaves))))?;
    let (build, tree) = best_of(5, || Tree::new(leaves.clone()))?;
    println!("{LEAVES} leaves, {} levels above them", tree.depth());
    println!("root of the whole list {:>9.1} ms", millis(root));
    println!(
        "all levels             {:>9.1} ms = {:.2} x that",
        millis(build),
        build.as_secs_f64() / root.as_secs_f64()
    );
    println!(
        "{:>6} {:>9} {:>10} {:>10} {:>10} {:>12}",
        "chunks", "bytes", "siblings", "cut ns", "check ns", "of the root"
    );
    for count in [1, 10, 100, 1_000, 10_000] {
        let starts = (0..500).map(|i| i * 1999 % (LEAVES - count)).collect::<Vec<_>>();
        let (mut beside, mut cut, mut check) = (0, Duration::ZERO, Duration::ZERO);
        for start in &starts {
            let run = ChunkRange { start: *start, end: start + count };
            let (took, proof) = timed(|| tree.run_proof(black_box(run)))?;
            cut += took;
            beside += bytes_beside_the_list(&proof);
            let (took, candidate) = timed(|| proof.verify(tree.file_hash(), tree.bytes()))?;
            check += took;
            black_box(candidate.at_depth(tree.depth())?);
        }
        let runs = starts.len() as u32;
        let beside = beside / runs as usize;
        println!(
            "{count:>6} {:>9} {beside:>10} {:>10} {:>10} {:>11.4}%",
            beside + count as usize * Leaf::ENCODED_BYTES,
            (cut / runs).as_nanos(),
            (check / runs).as_nanos(),
            100.0 * (check / runs).as_secs_f64() / root.as_secs_f64(),
        );
    }
    Ok(())
}

/// Offset, depth, two counts a level, 40 bytes a sibling.
fn bytes_beside_the_list(proof: &RunProof) -> usize {
    9 + proof.levels.iter().map(|level| 2 + 40 * (level.left.len() + level.right.len())).sum::<usize>()
}

fn best_of<T>(times: usize, run: impl Fn() -> Result<T, Error>) -> Result<(Duration, T), Error> {
    let mut best = timed(&run)?;
    for _ in 1..times {
        let next = timed(&run)?;
        if next.0 < best.0 {
            best = next;
        }
    }
    Ok(best)
}

fn timed<T>(run: impl FnOnce() -> Result<T, Error>) -> Result<(Duration, T), Error> {
    let begun = Instant::now();
    let made = run()?;
    Ok((begun.elapsed(), made))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
