//! What BitTorrent peers send, and recipes for it.

use bencode::OwnedValue;
use bt_wire::{Block, ExtensionHandshake, ExtensionIds, Handshake, InfoHash, Message, PeerId};
use bytes::Bytes;

use super::{CHANGED_BYTE, LOST_END, NO_DAMAGE, Seed};

/// Every message, every field of the extension handshake, and every way to be refused but the one that
/// takes 64 KiB.
pub(super) fn streams() -> Vec<Seed> {
    let handshake = Handshake::new(InfoHash::from_bytes([1; 20]), PeerId::new(PeerId::ZEST_PREFIX, [2; 12]));
    let block = Block { piece: 1, begin: 16_384, length: 16_384 };
    let data = Bytes::from_static(b"data");
    let messages = [
        extension_handshake().to_message().expect("it is not deep"),
        Message::KeepAlive,
        Message::Choke,
        Message::Unchoke,
        Message::Interested,
        Message::NotInterested,
        Message::Have { piece: 7 },
        Message::Bitfield(data.clone()),
        Message::Request(block),
        Message::Piece { piece: 1, begin: 16_384, data: data.clone() },
        Message::Cancel(block),
        Message::Port(6881),
        Message::Extended { id: 1, payload: data.clone() },
        Message::Unknown { id: 200, payload: data },
    ];
    let frames = messages.map(|message| message.encode().expect("it is small")).concat();
    let stream = |messages: &[u8]| [&handshake.encode(), messages].concat();
    let extended = |payload: &[u8]| {
        let payload = Bytes::copy_from_slice(payload);
        stream(&Message::Extended { id: 0, payload }.encode().expect("it is small"))
    };
    vec![
        ("handshake_and_messages", stream(&frames)),
        ("messages", frames.clone()),
        ("handshake_cut", handshake.encode()[..60].to_vec()),
        ("message_cut", stream(&frames[..frames.len() - 2])),
        ("keep_alives", stream(&[0; 400])),
        ("frame_too_large", stream(&[0xff; 4])),
        ("have_too_long", stream(b"\0\0\0\x06\x04\0\0\0\x01\0")),
        ("piece_without_offset", stream(b"\0\0\0\x05\x07\0\0\0\x01")),
        ("extension_handshake_empty", extended(b"de")),
        ("extension_handshake_malformed", extended(b"d1:md")),
        ("extension_handshake_a_list", extended(b"le")),
        ("extension_handshake_m_a_list", extended(b"d1:mlee")),
        ("extension_handshake_careless", extended(b"d1:v3:a\xffb1:pi1e1:pi-2e1:md1:xi300e1:y0:e6:yourip1:aee\r\n")),
        ("extension_handshake_too_deep", extended(&[&b"d1:x"[..], &b"l".repeat(70), &b"e".repeat(71)].concat())),
    ]
}

fn extension_handshake() -> ExtensionHandshake {
    let mut handshake = ExtensionHandshake::default();
    handshake.m = ExtensionIds::new([("ut_xet", 1), ("ut_metadata", 2), ("ut_pex", 0)]);
    handshake.v = Some("zest/0.1.0".to_owned());
    handshake.p = Some(6881);
    handshake.reqq = Some(250);
    handshake.yourip = Some([127, 0, 0, 1].into());
    handshake.ipv4 = Some([127, 0, 0, 1].into());
    handshake.ipv6 = Some([0, 0, 0, 0, 0, 0, 0, 1].into());
    handshake.metadata_size = Some(31_235);
    handshake.upload_only = Some(true);
    handshake.complete_ago = Some(-1);
    let xet = OwnedValue::dict([("v", OwnedValue::from(2_u8)), ("ht", OwnedValue::list([0_u8.into()]))]);
    handshake.other.insert(b"xet".to_vec(), xet);
    handshake
}

/// The order of instructions is that of `BtWireRecipe::read`.
pub(super) fn recipes() -> Vec<Seed> {
    let ids = [[1; 20], [2; 20]].concat();
    let small = b"\x00\x04data";
    let large = b"\x01\x10\x27\x00\x00z";
    let block = [1, 0, 0, 0, 0, 64, 0, 0, 0, 64, 0, 0];
    let messages = [
        &b"\x00\x01\x02\x03\x04\x05\x07\x00\x00\x00"[..],
        &[&b"\x06"[..], small].concat(),
        &[&b"\x07"[..], &block].concat(),
        &[&b"\x08\x01\x00\x00\x00\x00\x40\x00\x00"[..], large].concat(),
        &[&b"\x09"[..], &block].concat(),
        b"\x0a\xe1\x1a",
        &[&b"\x0b\x01"[..], large].concat(),
        &[&b"\x0c\xc8"[..], small].concat(),
    ]
    .concat();
    let all_fields = [
        &b"\x0d\x02\x06ut_xet\x01\x06ut_pex\x00\xff\x03\x04zest\xe1\x1a\xfa\x00\x00\x00\x01\x7f\x00\x00\x01\x7f\x00\x00\x01"[..],
        &[9; 16],
        b"\x03\x7a\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x02id\x02\x05\x01v\x02\x00",
    ]
    .concat();
    let no_fields = b"\x0d\x00\x00\x00";
    let recipe = |damage: &[u8], reserved: &[u8], messages: &[u8]| [damage, &ids, reserved, messages].concat();
    let reserved = [&[1][..], &[0x80, 0, 0, 0, 0, 0, 0, 1]].concat();
    let all = [&messages[..], no_fields, &all_fields].concat();
    vec![
        ("messages", recipe(&NO_DAMAGE, &[0], &all)),
        ("other_reserved_bits", recipe(&NO_DAMAGE, &reserved, &messages)),
        ("a_changed_byte", recipe(&CHANGED_BYTE, &[0], &all)),
        ("a_lost_end", recipe(&LOST_END, &[0], &all)),
        ("handshake_alone", recipe(&NO_DAMAGE, &[0], &[])),
    ]
}
