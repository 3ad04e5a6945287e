//! See [`zest_fuzz::shard`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data| zest_fuzz::shard(data));
