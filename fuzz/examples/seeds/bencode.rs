//! Bencode, and recipes for it.

use bencode::{OwnedValue, encode};

use super::{CHANGED_BYTE, LOST_END, NO_DAMAGE, Seed};

/// One for every fault, under usual limits or cramped ones, and one for every way not to be canonical.
pub(super) fn values() -> Vec<Seed> {
    let files = OwnedValue::list((1..4_u8).map(|i| {
        let path = OwnedValue::list(["folder".into(), format!("model-{i}.safetensors").into()]);
        OwnedValue::dict([("length", (u64::from(i) << 30).into()), ("path", path)])
    }));
    let info = OwnedValue::dict([("files", files), ("name", "model".into()), ("piece length", 262_144_u32.into())]);
    let metainfo = OwnedValue::dict([("announce", "http://tracker.example/announce".into()), ("info", info)]);
    let metainfo = encode(&metainfo).expect("it is not deep");
    let seed = |name, bytes: &[u8]| (name, bytes.to_vec());
    vec![
        seed("metainfo", &metainfo),
        seed("krpc", b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"),
        seed("integers", b"li0ei-1ei-9223372036854775808ei18446744073709551615ee"),
        seed("empty_values", b"l0:ledee"),
        seed("metadata_piece", b"d8:msg_typei1e5:piecei0e10:total_sizei4eedata"),
        seed("truncated", &metainfo[..metainfo.len() / 2]),
        seed("unexpected_byte", b"i1xe"),
        seed("integer_overflow", b"i18446744073709551616e"),
        seed("length_overflow", b"18446744073709551616:"),
        seed("string_too_long", b"9223372036854775807:abc"),
        seed("digits_for_ever", &[b"i", &b"0".repeat(300)[..]].concat()),
        seed("many_tokens", &[b"l", &b"le".repeat(2_000)[..], b"e"].concat()),
        seed("larger_than_cramped", b"l40:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa40:bbbb"),
        seed("equal_keys_apart", b"d1:ai1e1:bi2e1:ai3ee"),
        seed("key_is_a_list", b"dlei1ee"),
        seed("key_without_value", b"d1:ae"),
        seed("too_deep", &[b"l".repeat(65), b"e".repeat(65)].concat()),
        seed("as_deep_as_may_be", &[b"d0:".repeat(64), b"0:".to_vec(), b"e".repeat(64)].concat()),
        seed("unsorted_keys", b"d1:bi1e1:ai2ee"),
        seed("duplicate_key", b"d1:ai1e1:ai2ee"),
        seed("leading_zero", b"i-007e"),
        seed("negative_zero", b"i-0e"),
        seed("plus_sign", b"i+7e"),
        seed("length_leading_zero", b"003:abc"),
    ]
}

/// The order of instructions is that of `BencodeRecipe::read`.
pub(super) fn recipes() -> Vec<Seed> {
    let text = b"\x06\x04text";
    let scalars = [&b"\x05\x2a"[..], &[3], &i64::MIN.to_le_bytes(), &[4], &u64::MAX.to_le_bytes(), text].concat();
    let long = b"\x07\x00\x10\x00\x00z";
    let list = [&b"\x01"[..], &scalars, long, b"\x01\x00\x02\x00"].concat();
    // In a dictionary, a key follows each instruction.
    let dict = b"\x02\x05\x01b\x2a\x06\x01a\x01x\x01\x01c\x05\x01\x00\x02\x01d\x05\x01e\x02\x00\x00";
    let recipe = |damage: &[u8], value: &[u8]| [damage, value].concat();
    vec![
        ("list", recipe(&NO_DAMAGE, &list)),
        ("dict", recipe(&NO_DAMAGE, dict)),
        ("integer", recipe(&NO_DAMAGE, b"\x05\x2a")),
        ("bytes", recipe(&NO_DAMAGE, text)),
        ("as_deep_as_may_be", recipe(&NO_DAMAGE, &[1; 70])),
        ("a_changed_byte", recipe(&CHANGED_BYTE, &list)),
        ("a_lost_end", recipe(&LOST_END, dict)),
        ("nothing", NO_DAMAGE.to_vec()),
    ]
}
