//! What BitTorrent peers send, and recipes for it.

use bencode::OwnedValue;
use bt_wire::{
    Block, DontHave, ExtensionHandshake, ExtensionIds, Handshake, HashRange, InfoHash, Message, MetadataMessage,
    PeerExchange, PeerId, PexFlags, PexPeer,
};
use bytes::Bytes;

use super::{CHANGED_BYTE, LOST_END, NO_DAMAGE, Seed};

/// Every message, every field of the extension handshake, and every way to be refused but the one that
/// takes 64 KiB.
pub(super) fn streams() -> Vec<Seed> {
    let handshake = Handshake::new(InfoHash::from_bytes([1; 20]), PeerId::new(PeerId::ZEST_PREFIX, [2; 12]));
    let block = Block { piece: 1, begin: 16_384, length: 16_384 };
    let data = Bytes::from_static(b"data");
    let range = HashRange { pieces_root: [3; 32], base_layer: 0, index: 2, length: 2, proof_layers: 1 };
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
        Message::SuggestPiece { piece: 7 },
        Message::HaveAll,
        Message::HaveNone,
        Message::RejectRequest(block),
        Message::AllowedFast { piece: 7 },
        Message::HashRequest(range),
        Message::Hashes { range, hashes: vec![9; 64].into() },
        Message::HashReject(range),
        Message::Unknown { id: 200, payload: data },
    ];
    let extensions = extension_messages().map(|message| message.encode().expect("it is small")).concat();
    let frames = messages.map(|message| message.encode().expect("it is small")).concat();
    let stream = |messages: &[u8]| [&handshake.encode(), messages].concat();
    let extended = |payload: &[u8]| {
        let payload = Bytes::copy_from_slice(payload);
        stream(&Message::Extended { id: 0, payload }.encode().expect("it is small"))
    };
    vec![
        ("handshake_and_messages", stream(&frames)),
        ("messages", frames.clone()),
        ("messages_of_extensions", stream(&extensions)),
        ("extensions_malformed", stream(&malformed_extension_messages())),
        (
            "large_payload",
            stream(&Message::Extended { id: 1, payload: vec![5; 1_000].into() }.encode().expect("it fits")),
        ),
        ("block_too_large", stream(b"\0\x02\0\x0a\x07")),
        ("hashes_cut", stream(&[&b"\0\0\0\x32\x16"[..], &[1; 49]].concat())),
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

/// Under the numbers of `bt_wire` in the laws.
fn extension_messages() -> [Message; 8] {
    let metadata = |message: MetadataMessage| Message::Extended { id: 2, payload: message.encode() };
    let pex = |message: PeerExchange| Message::Extended { id: 3, payload: message.encode() };
    let address = |ip: &str| std::net::SocketAddr::new(ip.parse().expect("an address"), 6_881);
    let peer = |ip| PexPeer { address: address(ip), flags: PexFlags::REACHABLE };
    [
        metadata(MetadataMessage::Request { piece: 1 }),
        metadata(MetadataMessage::Reject { piece: 1 }),
        metadata(MetadataMessage::Data { piece: 0, total_size: 5, data: Bytes::from_static(b"d1:xe") }),
        metadata(MetadataMessage::Unknown { msg_type: 9, payload: Bytes::from_static(b"d8:msg_typei9ee") }),
        pex(PeerExchange {
            added: vec![peer("10.0.0.1"), peer("10.0.0.2"), peer("2001:db8::1")],
            dropped: vec![address("10.0.0.3"), address("2001:db8::2")],
        }),
        pex(PeerExchange::default()),
        Message::Extended { id: 4, payload: DontHave { piece: 7 }.encode().to_vec().into() },
        Message::Extended { id: 0, payload: Bytes::from_static(b"de") },
    ]
}

/// Every way in which they can be refused.
fn malformed_extension_messages() -> Vec<u8> {
    let too_many = [&b"d5:added1206:"[..], &[1; 1_206], b"e"].concat();
    let malformed = [
        (2, &b"d8:msg_typei1e5:piecei0e10:total_sizei5eexxxx"[..]),
        (2, b"d8:msg_typei1e5:piecei9e10:total_sizei5ee"),
        (2, b"d8:msg_typei1e5:piecei0e10:total_sizei99999999999ee"),
        (2, b"d5:piecei0ee"),
        (2, b"d8"),
        (3, &too_many),
        (3, b"le5"),
        (3, b"d5:added"),
        (4, b"abc"),
    ];
    let message = |(id, payload)| Message::Extended { id, payload: Bytes::copy_from_slice(payload) };
    malformed.map(|malformed| message(malformed).encode().expect("it is small")).concat()
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
    let range = b"\x03\x00\x02\x00\x00\x00\x02\x00\x00\x00\x01";
    let messages = [
        &b"\x00\x01\x02\x03\x04\x05\x07\x00\x00\x00"[..],
        &[&b"\x06"[..], small].concat(),
        &[&b"\x07"[..], &block].concat(),
        &[&b"\x08\x01\x00\x00\x00\x00\x40\x00\x00"[..], large].concat(),
        &[&b"\x09"[..], &block].concat(),
        b"\x0a\xe1\x1a",
        &[&b"\x0b\x01"[..], large].concat(),
        &[&b"\x0c\xc8"[..], small].concat(),
        b"\x0d\x07\x00\x00\x00\x0e\x0f",
        &[&b"\x10"[..], &block].concat(),
        b"\x11\x07\x00\x00\x00",
        &[&b"\x12"[..], range].concat(),
        &[&b"\x13"[..], range, b"\x02\x09"].concat(),
        &[&b"\x14"[..], range].concat(),
        // Metadata: request, reject, unknown, data.
        b"\x16\x01\x00\x00\x00\x00\x16\x01\x00\x00\x00\x01\x16\x01\x00\x00\x00\x02",
        b"\x16\x01\x00\x00\x00\x03\x10\x00\x00\x00z",
        // Peer exchange: one of each.
        &[&b"\x17\x01\x01\x01\x01"[..], &[10; 2 * 6 + 2 * 18 + 2]].concat(),
        b"\x18\x07\x00\x00\x00",
    ]
    .concat();
    let all_fields = [
        &b"\x15\x02\x06ut_xet\x01\x06ut_pex\x00\xff\x03\x04zest\xe1\x1a\xfa\x00\x00\x00\x01\x7f\x00\x00\x01\x7f\x00\x00\x01"[..],
        &[9; 16],
        b"\x03\x7a\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x02id\x02\x05\x01v\x02\x00",
    ]
    .concat();
    let no_fields = b"\x15\x00\x00\x00";
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
