//! See [`zest_fuzz::bt_wire`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data| zest_fuzz::bt_wire(data));
