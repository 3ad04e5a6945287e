//! Access to `tests/vectors/xet.json`; the README next to it describes its contents.

use std::fmt::Debug;
use std::str::FromStr;
use std::sync::LazyLock;

use serde_json::Value;
use xet_cas::{ChunkHash, Leaf};

use super::samples::{f32_ramp, splitmix};

static VECTORS: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("../vectors/xet.json")).unwrap());

/// One section of the vectors.
pub(super) fn section(name: &str) -> &'static Value {
    let section = &VECTORS[name];
    assert!(!section.is_null(), "the vectors have no section {name}");
    section
}

/// The elements of an array. An empty one would make its test pass without testing anything.
pub(super) fn cases(array: &Value) -> &[Value] {
    let cases = array.as_array().unwrap();
    assert!(!cases.is_empty());
    cases
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

pub(super) fn numbers(array: &Value) -> Vec<u64> {
    array.as_array().unwrap().iter().map(number).collect()
}

/// A hash of any kind in text form.
pub(super) fn hash<H: FromStr<Err: Debug>>(value: &Value) -> H {
    text(value).parse().unwrap()
}

pub(super) fn hashes<H: FromStr<Err: Debug>>(array: &Value) -> Vec<H> {
    array.as_array().unwrap().iter().map(hash).collect()
}

/// A plain byte dump.
pub(super) fn hex(value: &Value) -> Vec<u8> {
    let digits = text(value).as_bytes();
    assert!(digits.len().is_multiple_of(2));
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

pub(super) fn hex32(value: &Value) -> [u8; 32] {
    hex(value).try_into().unwrap()
}

/// The bytes that an input descriptor stands for.
pub(super) fn input(descriptor: &Value) -> Vec<u8> {
    let (kind, value) = descriptor.as_object().unwrap().iter().next().unwrap();
    let n = || value["n"].as_u64().unwrap() as usize;
    let cycled = |pattern: Vec<u8>| pattern.into_iter().cycle().take(n()).collect();
    match kind.as_str() {
        "ascii" => text(value).into(),
        "zeros" => vec![0; number(value) as usize],
        "repeat_byte" => vec![number(&value["byte"]) as u8; n()],
        "repeat_hex" => cycled(hex(&value["hex"])),
        "repeat_splitmix" => cycled(splitmix(number(&value["seed"]), number(&value["period"]) as usize)),
        "splitmix64_le" => splitmix(number(&value["seed"]), n()),
        "f32ramp_le" => f32_ramp(n()),
        "high_two_bytes_of_each_f32ramp_value" => {
            f32_ramp(2 * n()).chunks(4).flat_map(|value| value[2..].to_vec()).collect()
        }
        unknown => panic!("input descriptor {unknown}"),
    }
}

/// `merkle.leaf_rule`: the chunk that holds the number `i`, said to be 1000 + 37·i bytes long.
pub(super) fn leaf(i: u64) -> Leaf {
    Leaf { hash: ChunkHash::of(&i.to_le_bytes()), length: 1000 + 37 * i as u32 }
}
