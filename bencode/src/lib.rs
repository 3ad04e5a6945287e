#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;

mod decode;
pub use decode::{Decoder, Mode, decode, decode_prefix};

mod document;
pub use document::{Dict, Document, Kind, List, Value};

mod deviation;
pub use deviation::{Deviation, Deviations};

mod integer;
pub use integer::Integer;

mod owned;
pub use owned::{OWNED_DEPTH_MAX, OwnedValue};

mod encode;
pub use encode::{Encoder, SingleItemEncoder, ToBencode, encode};

mod limits;
pub use limits::Limits;

mod error;
pub use error::{Error, Fault};

mod token;
