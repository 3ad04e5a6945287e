//! See [`zest_fuzz::multipart_there_and_back`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data| zest_fuzz::multipart_there_and_back(data));
