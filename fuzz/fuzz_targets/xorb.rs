//! See [`zest_fuzz::xorb`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data| zest_fuzz::xorb(data));
