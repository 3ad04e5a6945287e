//! Messages of every kind.

use bt_wire::{Block, HashRange, Message};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

/// 32 bytes.
macro_rules! root {
    () => {
        "abababababababababababababababababababababababababababababababab"
    };
}

/// One of each kind, and the frame it is, from BEP 3, 5, 6, 10 and 52.
pub(crate) fn golden() -> Vec<(Message, &'static str)> {
    let block = Block { piece: 1, begin: 0x4000, length: 0x4000 };
    let bytes = Bytes::from_static;
    let range = HashRange { pieces_root: [0xab; 32], base_layer: 1, index: 4, length: 2, proof_layers: 3 };
    vec![
        (Message::KeepAlive, "00000000"),
        (Message::Choke, "00000001 00"),
        (Message::Unchoke, "00000001 01"),
        (Message::Interested, "00000001 02"),
        (Message::NotInterested, "00000001 03"),
        (Message::Have { piece: 0x0102_0304 }, "00000005 04 01020304"),
        (Message::Bitfield(bytes(b"\xff\x80")), "00000003 05 ff80"),
        (Message::Bitfield(bytes(b"")), "00000001 05"),
        (Message::Request(block), "0000000d 06 00000001 00004000 00004000"),
        (Message::Piece { piece: 1, begin: 0x4000, data: bytes(b"data") }, "0000000d 07 00000001 00004000 64617461"),
        (Message::Piece { piece: 0, begin: 0, data: bytes(b"") }, "00000009 07 00000000 00000000"),
        (Message::Cancel(block), "0000000d 08 00000001 00004000 00004000"),
        (Message::Port(6881), "00000003 09 1ae1"),
        (Message::Extended { id: 0, payload: bytes(b"d1:mdee") }, "00000009 14 00 64313a6d646565"),
        (Message::Extended { id: 1, payload: bytes(b"") }, "00000002 14 01"),
        (Message::SuggestPiece { piece: 7 }, "00000005 0d 00000007"),
        (Message::HaveAll, "00000001 0e"),
        (Message::HaveNone, "00000001 0f"),
        (Message::RejectRequest(block), "0000000d 10 00000001 00004000 00004000"),
        (Message::AllowedFast { piece: 7 }, "00000005 11 00000007"),
        (Message::HashRequest(range), concat!("00000031 15 ", root!(), " 00000001 00000004 00000002 00000003")),
        (
            Message::Hashes { range, hashes: bytes(&[0xab; 32]) },
            concat!("00000051 16 ", root!(), " 00000001 00000004 00000002 00000003 ", root!()),
        ),
        (Message::HashReject(range), concat!("00000031 17 ", root!(), " 00000001 00000004 00000002 00000003")),
        (Message::Unknown { id: 18, payload: bytes(b"\0\0\0\x07") }, "00000005 12 00000007"),
        (Message::Unknown { id: 255, payload: bytes(b"") }, "00000001 ff"),
    ]
}

/// The bytes of hexadecimal digits with spaces.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// Any message of any kind.
pub(crate) fn any_message() -> impl Strategy<Value = Message> {
    let payload = || vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let block = || any::<(u32, u32, u32)>().prop_map(|(piece, begin, length)| Block { piece, begin, length });
    let range = || {
        any::<([u8; 32], u32, u32, u32, u32)>().prop_map(|(pieces_root, base_layer, index, length, proof_layers)| {
            HashRange { pieces_root, base_layer, index, length, proof_layers }
        })
    };
    let hashes = vec(any::<[u8; 32]>(), 0..5).prop_map(|hashes| Bytes::from(hashes.concat()));
    prop_oneof![
        prop::sample::select(vec![
            Message::KeepAlive,
            Message::Choke,
            Message::Unchoke,
            Message::Interested,
            Message::NotInterested,
            Message::HaveAll,
            Message::HaveNone,
        ]),
        any::<u32>().prop_map(|piece| Message::Have { piece }),
        payload().prop_map(Message::Bitfield),
        block().prop_map(Message::Request),
        (any::<(u32, u32)>(), payload()).prop_map(|((piece, begin), data)| Message::Piece { piece, begin, data }),
        block().prop_map(Message::Cancel),
        any::<u16>().prop_map(Message::Port),
        (any::<u8>(), payload()).prop_map(|(id, payload)| Message::Extended { id, payload }),
        any::<u32>().prop_map(|piece| Message::SuggestPiece { piece }),
        block().prop_map(Message::RejectRequest),
        any::<u32>().prop_map(|piece| Message::AllowedFast { piece }),
        range().prop_map(Message::HashRequest),
        (range(), hashes).prop_map(|(range, hashes)| Message::Hashes { range, hashes }),
        range().prop_map(Message::HashReject),
        (24..=255_u8, payload()).prop_map(|(id, payload)| Message::Unknown { id, payload }),
    ]
}
