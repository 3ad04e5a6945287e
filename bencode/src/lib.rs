// The examples of the README need the feature.
#![cfg_attr(feature = "serde", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "serde"), doc = "Bencode: decoded without copies or recursion, under limits.")]
#![no_std]

extern crate alloc;

mod decode;
pub use decode::{Decoder, Mode, decode, decode_prefix};

mod document;
pub use document::{Dict, Document, Kind, List, Value};

mod deviation;
pub use deviation::{Deviation, Deviations};

mod integer;
pub use integer::{Integer, OutOfRange};

mod owned;
pub use owned::{OWNED_DEPTH_MAX, OwnedValue};

mod encode;
pub use encode::{encode, encode_into};

mod frame;
pub use frame::FrameFinder;

#[cfg(feature = "serde")]
mod de;
#[cfg(feature = "serde")]
pub use de::from_bytes;

#[cfg(feature = "serde")]
mod ser;
#[cfg(feature = "serde")]
pub use ser::{to_bytes, to_bytes_into};

#[cfg(feature = "serde")]
mod raw;
#[cfg(feature = "serde")]
pub use raw::{OwnedRawValue, RawValue, WithRaw};

mod limits;
pub use limits::Limits;

mod error;
pub use error::{Error, Fault};

#[cfg(feature = "bendy")]
mod bendy;
#[cfg(feature = "serde")]
mod direct;
#[cfg(feature = "serde")]
mod owned_serde;
mod path;
mod scan;
mod token;
