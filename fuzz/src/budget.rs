use peak_alloc::PeakAlloc;

/// What a law may hold at once whatever its input, bytes: the books of two sides, and what the largest LZ4 frame
/// takes.
const HELD_BYTES: usize = 2 * 1024 * 1024;
/// And for each byte of its input: copies of it, and what it says in memory.
const HELD_PER_BYTE: usize = 16;

/// Runs a law, and panics if it held more memory at any time than its input justifies. Counts only where
/// [`PeakAlloc`] is the global allocator and no other thread runs: in fuzz targets, and in `tests/budget.rs`.
pub fn within_budget(law: fn(&[u8]), data: &[u8]) {
    PeakAlloc.reset_peak_usage();
    let before = PeakAlloc.current_usage();
    law(data);
    let held = PeakAlloc.peak_usage().saturating_sub(before);
    let budget = HELD_BYTES + HELD_PER_BYTE * data.len();
    assert!(held <= budget, "{held} bytes were held for an input of {}, allowed are {budget}", data.len());
}
