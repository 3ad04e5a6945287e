//! Prints what a metainfo file says, and its info hash: `cargo run --features serde --example info_hash -- FILE`.
//! Without a file, of one that is made up.
#![expect(clippy::print_stdout, reason = "it is a program")]

use bencode::{WithRaw, from_bytes};
use serde::Deserialize;
use sha1::{Digest, Sha1};

#[derive(Deserialize)]
struct Metainfo<'a> {
    announce: Option<&'a str>,
    #[serde(borrow)]
    info: WithRaw<'a, Info<'a>>,
}

#[derive(Deserialize)]
struct Info<'a> {
    name: &'a str,
    #[serde(rename = "piece length")]
    piece_length: u64,
    length: Option<u64>,
    #[serde(borrow, default)]
    files: Vec<File<'a>>,
}

#[derive(Deserialize)]
struct File<'a> {
    length: u64,
    #[serde(borrow)]
    path: Vec<&'a str>,
}

const MADE_UP: &[u8] = b"d8:announce27:http://tracker.example:69694:infod6:lengthi300e4:name5:model\
    12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bytes = std::env::args_os().nth(1).map_or(Ok(MADE_UP.to_vec()), std::fs::read)?;
    let Metainfo { announce, info: WithRaw { raw, value: info } } = from_bytes(&bytes)?;

    let hash: String = Sha1::digest(raw.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    println!("info hash     {hash}");
    println!("announce      {}", announce.unwrap_or("none"));
    println!("name          {}", info.name);
    println!("piece length  {}", info.piece_length);
    if let Some(length) = info.length {
        println!("length        {length}");
    }
    for File { length, path } in info.files {
        println!("{length:>12}  {}", path.join("/"));
    }
    Ok(())
}
