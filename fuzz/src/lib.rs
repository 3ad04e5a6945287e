//! Laws that hold for every input, as plain functions that panic where one is broken. The targets in
//! `fuzz_targets/` search for such an input, and `tests/corpus.rs` replays the committed seeds under `cargo test`.
//!
//! Two laws a format. *Parse* (`xorb`): whatever the bytes, no panic and no allocation beyond input and
//! limits; what decodes encodes to something that decodes to the same. *There and back*
//! (`xorb_there_and_back`): the bytes are a [recipe](Recipe) for a value, which is encoded, decoded and compared.
//!
//! ```text
//! cargo +nightly fuzz run xorb fuzz/corpus/xorb fuzz/seeds/xorb -- -max_len=300000 -malloc_limit_mb=4 -max_total_time=30
//! cargo run -p zest-fuzz --example seeds      # writes fuzz/seeds anew
//! ```
//!
//! An input that broke a law is kept, under a name that says what was wrong, in `seeds/<target>/`.

mod recipe;
pub use recipe::Recipe;

mod budget;
pub use budget::within_budget;

mod xorb;
pub use xorb::{XorbRecipe, xorb, xorb_there_and_back};

mod bep_xet;
pub use bep_xet::{MessagesRecipe, bep_xet, bep_xet_there_and_back};

mod shard;
pub use shard::{ShardRecipe, shard, shard_there_and_back};

mod reconstruction;
pub use reconstruction::reconstruction;

mod subtree;
pub use subtree::subtree;
mod multipart;
pub use multipart::{MultipartRecipe, multipart, multipart_there_and_back};

mod bencode;
pub use bencode::{BencodeRecipe, bencode, bencode_there_and_back, cramped};

mod bt_wire;
pub use bt_wire::{BtWireRecipe, bt_wire, bt_wire_there_and_back};
