//! See [`zest_fuzz::bep_xet_there_and_back`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data| zest_fuzz::bep_xet_there_and_back(data));
