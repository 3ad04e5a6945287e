use std::collections::BTreeSet;

use bt_wire::{ExtensionHandshake, HandshakeCodec, Limits, Message, PeerCodec};
use bytes::BytesMut;
use tokio_util::codec::Decoder;
use zest_fuzz::BtWireRecipe;

use super::seeds;

#[test]
fn given_the_bt_wire_seeds_when_decoded_then_every_message_field_and_fault_is_among_them() {
    let (mut messages, mut outcomes) = (Vec::new(), BTreeSet::new());
    for (_, bytes) in seeds("bt_wire") {
        let mut buffer = BytesMut::from(&bytes[..]);
        match HandshakeCodec::new().decode_eof(&mut buffer) {
            Ok(_) => {}
            Err(bt_wire::Error::NotBitTorrent) => assert!(outcomes.insert("NotBitTorrent".to_owned())),
            Err(error) => {
                outcomes.extend(variant(&error));
                continue;
            }
        }
        let mut codec = PeerCodec::default();
        loop {
            match codec.decode_eof(&mut buffer) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => {
                    outcomes.extend(variant(&error));
                    break;
                }
            }
        }
    }
    let handshakes = check_messages(&messages);
    outcomes.extend(handshakes.iter().filter_map(|result| variant(result.as_ref().err()?)));

    let expected = ["Ended", "ExtensionHandshake", "FrameTooLarge", "MessageLength", "NotADictionary", "NotBitTorrent"];
    assert_eq!(BTreeSet::from(expected.map(str::to_owned)), outcomes);
    check_every_field(handshakes.into_iter().flatten());
}

#[test]
fn given_the_bt_wire_recipes_when_built_then_every_message_and_field_is_among_them() {
    let recipes: Vec<BtWireRecipe> =
        seeds("bt_wire_there_and_back").iter().map(|(_, bytes)| BtWireRecipe::read(bytes)).collect();
    let messages: Vec<Message> = recipes.iter().flat_map(|recipe| recipe.messages.clone()).collect();
    let large = |message: &Message| message.payload().is_some_and(|payload| payload.len() >= 10_000);

    check_messages(&messages);
    assert!(messages.iter().any(large));
    check_every_field(recipes.iter().flat_map(|recipe| recipe.extension_handshakes.clone()));
    assert!(recipes.iter().any(|recipe| recipe.messages.is_empty()));
}

/// Every kind is there. Returns the extension handshakes.
fn check_messages(messages: &[Message]) -> Vec<Result<ExtensionHandshake, bt_wire::Error>> {
    let kinds: BTreeSet<String> = messages.iter().filter_map(variant).collect();
    let expected = [
        "Bitfield",
        "Cancel",
        "Choke",
        "Extended",
        "Have",
        "Interested",
        "KeepAlive",
        "NotInterested",
        "Piece",
        "Port",
        "Request",
        "Unchoke",
        "Unknown",
    ];
    assert_eq!(BTreeSet::from(expected.map(str::to_owned)), kinds);
    let payload = |message: &Message| match message {
        Message::Extended { id: 0, payload } => Some(ExtensionHandshake::decode(payload, &Limits::default())),
        _ => None,
    };
    messages.iter().filter_map(payload).collect()
}

fn check_every_field(handshakes: impl IntoIterator<Item = ExtensionHandshake>) {
    let handshakes: Vec<_> = handshakes.into_iter().collect();
    let has_all = |h: &ExtensionHandshake| {
        h.m.iter().any(|(_, id)| id == 0)
            && h.m.iter().any(|(_, id)| id != 0)
            && h.v.is_some()
            && (h.p.is_some() && h.reqq.is_some() && h.metadata_size.is_some())
            && (h.yourip.is_some() && h.ipv4.is_some() && h.ipv6.is_some())
            && (h.upload_only.is_some() && h.complete_ago.is_some() && !h.other.is_empty())
    };
    assert!(handshakes.iter().any(has_all));
    assert!(handshakes.iter().any(|handshake| handshake.v.is_none() || handshake.p.is_none()));
}

/// The name of a variant.
fn variant(value: &impl std::fmt::Debug) -> Option<String> {
    format!("{value:?}").split(['(', ' ', '{']).next().map(str::to_owned)
}
