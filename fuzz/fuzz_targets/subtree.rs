//! See [`zest_fuzz::subtree`].
#![no_main]

#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

libfuzzer_sys::fuzz_target!(|data| zest_fuzz::within_budget(zest_fuzz::subtree, data));
