//! See [`zest_fuzz::bep_xet`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data| zest_fuzz::bep_xet(data));
