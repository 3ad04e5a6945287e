//! Xorbs: up to 64 MiB of chunks, stored as a sequence of self-describing records.
//!
//! A slice of a xorb that begins and ends at record boundaries needs nothing else to be decoded, which
//! is what byte ranges of a reconstruction are. Servers append a [footer](Footer) to what they store.

mod record;
pub use record::{Record, RecordHeader, Records, complete_records_bytes};

mod footer;
pub use footer::Footer;

mod validator;
pub use validator::Validator;

mod builder;
pub use builder::{Builder, Serialized};

/// Raw (uncompressed) bytes that a xorb holds at most.
pub const RAW_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Chunks that a xorb holds at most.
pub const CHUNKS_MAX: usize = 8_192;
/// Serialized bytes of a xorb at most, without footer: every chunk stored as it is, with its header.
pub const SERIALIZED_BYTES_MAX: u64 = RAW_BYTES_MAX + (RecordHeader::BYTES * CHUNKS_MAX) as u64;
