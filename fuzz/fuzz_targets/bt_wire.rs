//! See [`zest_fuzz::bt_wire`].
#![no_main]

#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

libfuzzer_sys::fuzz_target!(|data| zest_fuzz::within_budget(zest_fuzz::bt_wire, data));
