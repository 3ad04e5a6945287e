//! See [`zest_fuzz::bencode`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data| zest_fuzz::bencode(data));
