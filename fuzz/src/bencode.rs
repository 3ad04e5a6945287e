use std::collections::BTreeMap;

use bencode::{
    Decoder, Document, FrameFinder, Kind, Limits, OwnedValue, Value, decode, decode_prefix, encode, from_bytes,
    to_bytes,
};
use bendy::encoding::ToBencode;
use bendy::state_tracker::Token;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::Recipe;
use crate::xorb::Damage;

/// Levels that both decoders allow.
const DEPTH_MAX: usize = 64;
/// What a recipe builds at most.
const VALUES_BUILT_MAX: usize = 10_000;

/// The bytes are bencode.
pub fn bencode(data: &[u8]) {
    let (strict, lenient) = (decode(data), Decoder::lenient().decode(data));
    assert_eq!(bendy_accepts(data), strict.is_ok(), "{strict:?}");
    assert_eq!(lenient.as_ref().is_ok_and(|document| document.deviations().is_empty()), strict.is_ok());
    for error in [strict.as_ref().err(), lenient.as_ref().err()].into_iter().flatten() {
        assert!(error.is_peer_fault() && error.to_string().len() < 2_000);
    }
    if let Ok(document) = lenient {
        check_document(&document, data);
        let owned = document.root().into_owned().expect("the decoder allows no more levels");
        let canonical = encode(&owned).expect("nor does the encoder");
        assert_eq!(strict.is_ok(), canonical == data);
        assert_eq!(Ok(&canonical), to_bytes(&owned).as_ref());
        assert_eq!(&canonical, &owned.to_bencode().expect("bendy takes as many levels"));
        assert_eq!(Ok(&owned), OwnedValue::deserialize(document.root()).as_ref());
        let again = decode(&canonical).expect("what is encoded is canonical");
        assert_eq!(Ok(owned), again.root().into_owned());
    }
    check_types(data, strict);
    check_prefix(data);
    for decoder in [Decoder::strict(), Decoder::lenient(), cramped()] {
        check_pieces(decoder, data);
    }
}

/// A decoder whose every limit small inputs reach.
pub fn cramped() -> Decoder {
    let mut limits = Limits::default();
    (limits.depth_max, limits.tokens_max, limits.string_bytes_max, limits.value_bytes_max) = (4, 12, 40, 60);
    Decoder::lenient().limits(limits)
}

/// What reads without a document accepts and says the same.
fn check_types(data: &[u8], strict: Result<Document<'_>, bencode::Error>) {
    let owned = strict.map(|document| document.root().into_owned().expect("it has no more levels than that"));
    assert_eq!(owned, from_bytes(data));
    assert_eq!(owned.map(|_| ()), from_bytes::<IgnoredAny>(data).map(|_| ()));
}

/// Calls with ever more of the input that a stream of it makes.
const PIECES: usize = 8;

/// Input that comes in pieces is found and refused as the whole is. (Byte by byte where it is short.)
fn check_pieces(decoder: Decoder, data: &[u8]) {
    let mut finder = FrameFinder::new(decoder);
    let step = (data.len() / PIECES).max(1);
    let mut ends = (0..data.len()).step_by(step).chain([data.len()]);
    let whole = decoder.decode_prefix(data);
    match ends.find_map(|end| finder.find(&data[..end]).transpose()) {
        None => assert!(whole.is_err_and(|error| error.is_truncated())),
        Some(Err(error)) => assert_eq!(Some(&error), whole.as_ref().err()),
        Some(Ok((found, _))) => {
            let (whole, _) = whole.expect("a value was found in its pieces");
            assert_eq!((whole.raw(), whole.deviations()), (found.raw(), found.deviations()));
            check_document(&found, whole.raw());
        }
    }
}

/// Whether the canonical decoder that is not ours reads one value with integers that fit.
fn bendy_accepts(data: &[u8]) -> bool {
    let (mut open, mut values) = (0_usize, 0);
    for token in bendy::decoding::Decoder::new(data).with_max_depth(DEPTH_MAX).tokens() {
        match token {
            Err(_) => return false,
            Ok(Token::Num(digits)) if digits.parse::<i64>().is_err() && digits.parse::<u64>().is_err() => return false,
            Ok(Token::List | Token::Dict) => open += 1,
            Ok(Token::End) => open -= 1,
            Ok(Token::Num(_) | Token::String(_)) => {}
        }
        values += usize::from(open == 0);
    }
    values == 1
}

/// A value's parts follow each other without a gap.
fn check_document(document: &Document<'_>, data: &[u8]) {
    assert_eq!(data, document.raw());
    let mut values = vec![(document.root(), 0..data.len())];
    while let Some((value, span)) = values.pop() {
        assert_eq!(span, value.span());
        assert_eq!(&data[span.clone()], value.raw());
        let mut at = span.start + 1;
        match value.kind() {
            Kind::Integer => assert!(value.as_integer().is_some()),
            Kind::Bytes => assert!(value.as_bytes().is_some_and(|bytes| value.raw().ends_with(bytes))),
            Kind::List => {
                for item in value.as_list().into_iter().flatten() {
                    assert_eq!(at, item.span().start);
                    at = item.span().end;
                    values.push((item, item.span()));
                }
                assert_eq!(at + 1, span.end);
            }
            Kind::Dict => {
                let pairs: Vec<_> = value.as_dict().into_iter().flatten().collect();
                for (key, value) in &pairs {
                    assert_eq!(*key, &data[..value.span().start][value.span().start - key.len()..]);
                    assert!(at < value.span().start);
                    at = value.span().end;
                    values.push((*value, value.span()));
                }
                assert_eq!(at + 1, span.end);
                if let Some((key, last)) = pairs.last() {
                    let found = value.get(key).expect("it is there");
                    assert!(found.span().start <= last.span().start, "the first counts");
                }
            }
        }
    }
}

/// A value at the front is the same whatever follows it.
fn check_prefix(data: &[u8]) {
    if let Ok((document, rest)) = decode_prefix(data) {
        let (front, behind) = data.split_at(document.raw().len());
        assert_eq!(behind, rest);
        assert!(decode(front).is_ok());
        for end in [0, front.len() / 2, front.len() - 1] {
            assert!(decode(&front[..end]).is_err_and(|error| error.is_truncated()));
        }
    }
}

/// The bytes are a recipe for a value and for what happens to it on the way.
pub fn bencode_there_and_back(data: &[u8]) {
    let BencodeRecipe { value, damage } = BencodeRecipe::read(data);
    let encoded = encode(&value).expect("it is not too deep");
    let document = decode(&encoded).expect("we read what we wrote");

    assert_eq!(Ok(&value), document.root().into_owned().as_ref());
    check_same(document.root(), &value);
    bencode(&damage.apply(encoded));
}

fn check_same(decoded: Value<'_, '_>, value: &OwnedValue) {
    let mut values = vec![(decoded, value)];
    while let Some((decoded, value)) = values.pop() {
        assert_eq!(value.kind(), decoded.kind());
        assert_eq!((value.as_integer(), value.as_bytes()), (decoded.as_integer(), decoded.as_bytes()));
        values.extend(decoded.as_list().into_iter().flatten().zip(value.as_list().into_iter().flatten()));
        for ((key, inner), (expected_key, expected)) in decoded.as_dict().into_iter().flatten().zip(pairs(value)) {
            assert_eq!(expected_key, key);
            values.push((inner, expected));
        }
    }
}

fn pairs(value: &OwnedValue) -> impl Iterator<Item = (&Vec<u8>, &OwnedValue)> {
    value.as_dict().into_iter().flatten()
}

/// A value to build, and what happens to it on the way.
#[derive(Debug)]
pub struct BencodeRecipe {
    /// What to build.
    pub value: OwnedValue,
    damage: Damage,
}

impl BencodeRecipe {
    /// Damage, then a value.
    pub fn read(bytes: &[u8]) -> Self {
        let mut recipe = Recipe::new(bytes);
        let damage = Damage::read(&mut recipe);
        Self { damage, value: read_value(&mut recipe, DEPTH_MAX, VALUES_BUILT_MAX) }
    }
}

/// A list or dictionary that is not complete.
enum Building {
    List(Vec<OwnedValue>),
    Dict { pairs: BTreeMap<Vec<u8>, OwnedValue>, key: Vec<u8> },
}

/// Reads instructions, a byte with what it needs: what they say of a list or dictionary is said of the innermost one.
/// All are closed when the bytes are read or the value is as large as may be.
pub(crate) fn read_value(recipe: &mut Recipe<'_>, levels_max: usize, values_max: usize) -> OwnedValue {
    let mut open: Vec<Building> = Vec::new();
    for built in 0.. {
        let instruction = if recipe.is_done() || built >= values_max { 0 } else { recipe.byte() % 8 };
        if let (1.., Some(Building::Dict { key, .. })) = (instruction, open.last_mut()) {
            let length = recipe.byte() % 16;
            *key = recipe.literal(length.into()).to_vec();
        }
        let value = match instruction {
            1 if open.len() < levels_max => {
                open.push(Building::List(Vec::new()));
                continue;
            }
            2 if open.len() < levels_max => {
                open.push(Building::Dict { pairs: BTreeMap::new(), key: Vec::new() });
                continue;
            }
            3 => i64::from_le_bytes(recipe.array()).into(),
            4 => u64::from_le_bytes(recipe.array()).into(),
            5 => OwnedValue::from(recipe.byte()),
            6 => {
                let length = recipe.byte();
                recipe.literal(length.into()).into()
            }
            7 => {
                let length = recipe.up_to(10_000);
                OwnedValue::from(vec![recipe.byte(); length as usize])
            }
            _ => match open.pop() {
                Some(Building::List(items)) => OwnedValue::List(items),
                Some(Building::Dict { pairs, .. }) => OwnedValue::Dict(pairs),
                None => OwnedValue::List(vec![]),
            },
        };
        match open.last_mut() {
            Some(Building::List(items)) => items.push(value),
            Some(Building::Dict { pairs, key }) => {
                pairs.insert(std::mem::take(key), value);
            }
            None => return value,
        }
    }
    unreachable!("instructions run out, which closes everything")
}
