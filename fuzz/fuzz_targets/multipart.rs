//! See [`zest_fuzz::multipart`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data| zest_fuzz::multipart(data));
