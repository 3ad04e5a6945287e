//! The types that everyone reads into and writes out of, derived. Strings are borrowed, except in `owned`, for who
//! cannot borrow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

macro_rules! types {
    ($($lifetime:lifetime)? text: $text:ty, bytes: $bytes:ty, bytes_with: $with:literal $(, $borrow:ident)?) => {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        pub struct Metainfo$(<$lifetime>)? {
            pub announce: $text,
            pub comment: $text,
            #[serde(rename = "creation date")]
            pub creation_date: u64,
            $(#[serde($borrow)])?
            pub info: Info$(<$lifetime>)?,
        }

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        pub struct Info$(<$lifetime>)? {
            $(#[serde($borrow)])?
            pub files: Vec<File$(<$lifetime>)?>,
            pub name: $text,
            #[serde(rename = "piece length")]
            pub piece_length: u32,
            #[serde(with = $with)]
            pub pieces: $bytes,
        }

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        pub struct File$(<$lifetime>)? {
            pub length: u64,
            $(#[serde($borrow)])?
            pub path: Vec<$text>,
        }

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        pub struct Packet$(<$lifetime>)? {
            #[serde(default, skip_serializing_if = "Option::is_none" $(, $borrow)?)]
            pub a: Option<Arguments$(<$lifetime>)?>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub q: Option<$text>,
            #[serde(default, skip_serializing_if = "Option::is_none" $(, $borrow)?)]
            pub r: Option<Answer$(<$lifetime>)?>,
            #[serde(with = $with)]
            pub t: $bytes,
            #[serde(default, skip_serializing_if = "Option::is_none", with = $with)]
            pub v: Option<$bytes>,
            pub y: $text,
        }

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        pub struct Arguments$(<$lifetime>)? {
            #[serde(with = $with)]
            pub id: $bytes,
            #[serde(default, skip_serializing_if = "Option::is_none", with = $with)]
            pub info_hash: Option<$bytes>,
            #[serde(default, skip_serializing_if = "Option::is_none", with = $with)]
            pub target: Option<$bytes>,
        }

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        pub struct Answer$(<$lifetime>)? {
            #[serde(with = $with)]
            pub id: $bytes,
            #[serde(default, skip_serializing_if = "Option::is_none", with = $with)]
            pub nodes: Option<$bytes>,
            #[serde(default, skip_serializing_if = "Option::is_none", with = $with)]
            pub token: Option<$bytes>,
            #[serde(default, skip_serializing_if = "Option::is_none" $(, $borrow)?)]
            pub values: Option<Vec<Peer$(<$lifetime>)?>>,
        }

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct Peer$(<$lifetime>)?(#[serde(with = $with)] pub $bytes);

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        pub struct Handshake$(<$lifetime>)? {
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub complete_ago: Option<i64>,
            $(#[serde($borrow)])?
            pub m: BTreeMap<$text, u8>,
            pub metadata_size: u64,
            pub p: u16,
            pub reqq: u32,
            pub upload_only: u8,
            pub v: $text,
            #[serde(with = $with)]
            pub yourip: $bytes,
        }
    };
}

pub mod borrowed {
    use super::*;
    types!('a text: &'a str, bytes: &'a [u8], bytes_with: "serde_bytes", borrow);
}

pub mod owned {
    use super::*;
    types!(text: String, bytes: Vec<u8>, bytes_with: "serde_bytes");
}
