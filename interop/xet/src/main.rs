//! Two implementations of the same formats, given the same things, in one process. Prints one line a promise, and
//! stops at the first difference. `SEED=N` takes other files.

mod files;
mod names;
mod noise;
mod shards;
mod xorbs;

use std::fmt::Debug;
use std::process::ExitCode;

use xet_core_structures::merklehash::MerkleHash;

use crate::files::File;

/// Where the two differ.
type Difference = String;

fn main() -> ExitCode {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"));
    println!("seed {seed}");
    let files = files::files(seed);
    let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
    println!("{} files, {bytes} bytes", files.len());
    for (promise, check) in promises() {
        match check(&files) {
            Ok(()) => println!("ok: {promise}"),
            Err(difference) => {
                println!("DIFFERS: {promise}: {difference}\nagain with SEED={seed}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

type Check = fn(&[File]) -> Result<(), Difference>;

fn promises() -> impl Iterator<Item = (&'static str, Check)> {
    [&names::PROMISES[..], &xorbs::PROMISES, shards::FORMS.as_flattened(), &shards::PROMISES]
        .into_iter()
        .flatten()
        .copied()
}

/// `what` is whatever was given to both.
fn equal<T: PartialEq + Debug>(what: &str, ours: T, theirs: T) -> Result<(), Difference> {
    if ours == theirs {
        return Ok(());
    }
    let (ours, theirs) = (format!("{ours:?}"), format!("{theirs:?}"));
    let same = ours.bytes().zip(theirs.bytes()).take_while(|(ours, theirs)| ours == theirs).count();
    let from_there = |text: &str| text.chars().skip(same.saturating_sub(100)).take(200).collect::<String>();
    Err(format!("{what}: ours …{}…, theirs …{}…", from_there(&ours), from_there(&theirs)))
}

/// What one side wrote, the other is to take.
fn taken<T, E: Debug>(what: &str, by: &str, result: Result<T, E>) -> Result<T, Difference> {
    result.map_err(|error| format!("{what}: refused by {by}: {error:?}"))
}

fn raw(hash: &MerkleHash) -> [u8; 32] {
    (*hash).into()
}
