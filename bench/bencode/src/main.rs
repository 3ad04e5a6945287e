//! Prints the tables of docs/benchmarks.md. `ROUNDS=N` sets the rounds (61), `ONLY=name` one contender, for a profiler.

mod inputs;
mod measure;
mod types;

use std::hint::black_box;

use bencode::{OwnedValue, Value, encode};
use bendy::decoding::FromBencode;
use bendy::encoding::ToBencode;
use librqbit_bencode as rqbit;
use serde::{Deserialize, Serialize};

use crate::inputs::{Input, inputs};
use crate::measure::{Contender, Counting, measure};
use crate::types::{borrowed, owned};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    for input in inputs() {
        let tokens = input.messages.iter().map(|message| tokens(message)).sum();
        let bytes: usize = input.messages.iter().map(Vec::len).sum();
        println!("### {}: {} messages, {bytes} bytes, {tokens} tokens\n", input.name, input.messages.len());
        let of = Size { messages: input.messages.len(), bytes, tokens };
        table("decode, to any value", &of, decode_to_values(&input.messages));
        match input.name.as_bytes()[0] {
            b'm' => typed::<borrowed::Metainfo, owned::Metainfo>(&input, &of),
            b'1' => typed::<borrowed::Packet, owned::Packet>(&input, &of),
            _ => typed::<borrowed::Handshake, owned::Handshake>(&input, &of),
        }
    }
}

/// With its lifetime as a parameter.
trait Borrowed {
    type Of<'a>: Deserialize<'a> + Serialize;
}

macro_rules! borrowed {
    ($($name:ident)*) => {$(
        impl Borrowed for borrowed::$name<'_> {
            type Of<'a> = borrowed::$name<'a>;
        }
    )*}
}

borrowed!(Metainfo Packet Handshake);

fn typed<B: Borrowed, O: for<'a> Deserialize<'a> + Serialize>(input: &Input, of: &Size) {
    table("decode, to types that borrow", of, decode_borrowed::<B>(&input.messages));
    table("decode, to types that own", of, decode_owned::<O>(&input.messages));

    let values: Vec<_> = input.messages.iter().map(|message| owned_value(message)).collect();
    let types: Vec<B::Of<'_>> = input.messages.iter().map(|message| bencode::from_bytes(message).unwrap()).collect();
    table("encode", of, encoders(&values, &types, &input.messages));
}

struct Size {
    messages: usize,
    bytes: usize,
    tokens: usize,
}

fn table(what: &str, of: &Size, mut contenders: Vec<Contender<'_>>) {
    let variable = |name: &str| std::env::var(name).ok();
    if let Some(only) = variable("ONLY") {
        contenders.retain(|contender| contender.name.contains(&only));
    }
    let rounds = variable("ROUNDS").map_or(61, |rounds| rounds.parse().expect("a number"));
    let figures = measure(&mut contenders, rounds);
    let seconds = |ours: bool| {
        let all = contenders.iter().zip(&figures).filter(move |(contender, _)| contender.is_ours == ours);
        all.map(|(_, figures)| figures.median_seconds()).min_by(f64::total_cmp).unwrap_or(f64::NAN)
    };
    println!("| {what} | ns a token | MB/s | allocations a message | of the best rival's speed |");
    println!("|---|---|---|---|---|");
    for (contender, figures) in contenders.iter().zip(&figures) {
        let median = figures.median_seconds();
        println!(
            "| {} | {:.2} | {:.0} | {:.1} | {:.2} |",
            if contender.is_ours { format!("**{}**", contender.name) } else { contender.name.to_owned() },
            median * 1e9 / of.tokens as f64,
            of.bytes as f64 / median / 1e6,
            figures.allocations as f64 / of.messages as f64,
            seconds(false) / median,
        );
    }
    println!();
}

fn contender<'a>(name: &'static str, run: impl FnMut() + 'a) -> Contender<'a> {
    Contender { name, is_ours: name.starts_with("zest"), run: Box::new(run) }
}

/// Every message, through the same function.
fn each<'a, T>(
    name: &'static str,
    messages: &'a [Vec<u8>],
    decode: impl Fn(&'a [u8]) -> T + 'a,
) -> Contender<'a> {
    contender(name, move || messages.iter().for_each(|message| drop(black_box(decode(message)))))
}

fn decode_to_values(messages: &[Vec<u8>]) -> Vec<Contender<'_>> {
    vec![
        each("zest `decode`", messages, |message| bencode::decode(message).unwrap()),
        each("zest `decode`, lenient", messages, |message| bencode::Decoder::lenient().decode(message).unwrap()),
        each("zest `decode`, every value visited", messages, |message| {
            let document = bencode::decode(message).unwrap();
            let sum = visit(document.root());
            (document, sum)
        }),
        each("zest `OwnedValue`", messages, owned_value),
        each("bendy tokens", messages, |message| {
            let decoder = bendy::decoding::Decoder::new(message);
            decoder.tokens().map(|token| token.unwrap()).fold(0, |count, token| {
                black_box(token);
                count + 1
            })
        }),
        each("bendy `Value`", messages, |message| {
            // Its `from_bencode` allows one level.
            let mut decoder = bendy::decoding::Decoder::new(message).with_max_depth(64);
            bendy::value::Value::decode_bencode_object(decoder.next_object().unwrap().unwrap()).unwrap()
        }),
        each("librqbit `BencodeValueBorrowed`", messages, |message| {
            rqbit::dyn_from_bytes::<rqbit::ByteBuf<'_>>(message).unwrap()
        }),
        each("bt_bencode `Value`", messages, |message| bt_bencode::from_slice::<bt_bencode::Value>(message).unwrap()),
        each("serde_bencode `Value`", messages, |message| {
            serde_bencode::from_bytes::<serde_bencode::value::Value>(message).unwrap()
        }),
    ]
}

fn decode_borrowed<B: Borrowed>(messages: &[Vec<u8>]) -> Vec<Contender<'_>> {
    let bendy = |message| bendy::serde::from_bytes::<B::Of<'_>>(message).ok();
    let mut contenders = vec![
        each("zest `from_bytes`", messages, |message| bencode::from_bytes::<B::Of<'_>>(message).unwrap()),
        each("librqbit `from_bytes`", messages, |message| rqbit::from_bytes::<B::Of<'_>>(message).unwrap()),
        each("bt_bencode `from_slice`", messages, |message| bt_bencode::from_slice::<B::Of<'_>>(message).unwrap()),
    ];
    // To bendy an `Option` is a list, so it does not read what has any.
    if bendy(&messages[0]).is_some() {
        contenders.push(each("bendy `from_bytes`", messages, move |message| bendy(message).unwrap()));
    }
    contenders
}

fn decode_owned<O: for<'a> Deserialize<'a>>(messages: &[Vec<u8>]) -> Vec<Contender<'_>> {
    let bendy = |message| bendy::serde::from_bytes::<O>(message).ok();
    let mut contenders = vec![
        each("zest `from_bytes`", messages, |message| bencode::from_bytes::<O>(message).unwrap()),
        each("librqbit `from_bytes`", messages, |message| rqbit::from_bytes::<O>(message).unwrap()),
        each("bt_bencode `from_slice`", messages, |message| bt_bencode::from_slice::<O>(message).unwrap()),
        each("serde_bencode `from_bytes`", messages, |message| serde_bencode::from_bytes::<O>(message).unwrap()),
    ];
    if bendy(&messages[0]).is_some() {
        contenders.push(each("bendy `from_bytes`", messages, move |message| bendy(message).unwrap()));
    }
    contenders
}

fn encoders<'a, T: Serialize>(
    values: &'a [OwnedValue],
    types: &'a [T],
    messages: &'a [Vec<u8>],
) -> Vec<Contender<'a>> {
    fn every<'a, T>(name: &'static str, all: &'a [T], encode: impl Fn(&T) -> Vec<u8> + 'a) -> Contender<'a> {
        contender(name, move || all.iter().for_each(|one| drop(black_box(encode(one)))))
    }
    fn rqbit_to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
        let mut out = Vec::new();
        rqbit::bencode_serialize_to_writer(value, &mut out).unwrap();
        out
    }
    for ((value, typed), message) in values.iter().zip(types).zip(messages) {
        assert_eq!(message, &encode(value).unwrap());
        assert_eq!(message, &value.to_bencode().unwrap());
        assert_eq!(message, &bencode::to_bytes(typed).unwrap());
        assert_eq!(message, &rqbit_to_bytes(typed));
        assert_eq!(message, &bt_bencode::to_vec(typed).unwrap());
        assert_eq!(message, &serde_bencode::to_bytes(typed).unwrap());
    }
    let (mut values_out, mut types_out) = (Vec::new(), Vec::new());
    vec![
        every("zest `encode` of `OwnedValue`", values, |value| encode(value).unwrap()),
        contender("zest `encode_into`, one buffer", move || {
            values.iter().for_each(|value| {
                values_out.clear();
                bencode::encode_into(value, &mut values_out).unwrap();
                black_box(&values_out);
            });
        }),
        every("zest `to_bytes` of types", types, |typed| bencode::to_bytes(typed).unwrap()),
        contender("zest `to_bytes_into`, one buffer", move || {
            types.iter().for_each(|typed| {
                types_out.clear();
                bencode::to_bytes_into(typed, &mut types_out).unwrap();
                black_box(&types_out);
            });
        }),
        every("bendy `to_bencode` of our `OwnedValue`", values, |value| value.to_bencode().unwrap()),
        every("librqbit `bencode_serialize_to_writer` of types", types, rqbit_to_bytes),
        every("bt_bencode `to_vec` of types", types, |typed| bt_bencode::to_vec(typed).unwrap()),
        every("serde_bencode `to_bytes` of types", types, |typed| serde_bencode::to_bytes(typed).unwrap()),
    ]
}

fn owned_value(message: &[u8]) -> OwnedValue {
    bencode::decode(message).unwrap().root().into_owned().unwrap()
}

/// Reads everything that is in a value.
fn visit(value: Value<'_, '_>) -> u64 {
    if let Some(bytes) = value.as_bytes() {
        bytes.len() as u64
    } else if let Some(pairs) = value.as_dict() {
        pairs.map(|(key, value)| key.len() as u64 + visit(value)).sum()
    } else if let Some(items) = value.as_list() {
        items.map(visit).sum()
    } else {
        value.as_integer().and_then(|integer| integer.as_u64()).unwrap_or_default()
    }
}

/// Integers, strings, and beginnings and ends of lists and dictionaries.
fn tokens(message: &[u8]) -> usize {
    fn count(value: Value<'_, '_>) -> usize {
        let items = value.as_list().into_iter().flatten().map(count).sum::<usize>();
        let pairs = value.as_dict().into_iter().flatten().map(|(_, value)| 1 + count(value)).sum::<usize>();
        items + pairs + if value.as_list().is_some() || value.as_dict().is_some() { 2 } else { 1 }
    }
    count(bencode::decode(message).unwrap().root())
}
