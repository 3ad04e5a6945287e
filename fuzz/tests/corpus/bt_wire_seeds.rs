use std::collections::BTreeSet;

use bt_wire::{
    DontHave, ExtensionHandshake, HandshakeCodec, Limits, Message, MetadataMessage, PeerCodec, PeerExchange,
};
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

    outcomes.extend(check_extensions(&messages));
    let expected = [
        "Ended",
        "Extension",
        "ExtensionField",
        "ExtensionHandshake",
        "ExtensionLength",
        "FrameTooLarge",
        "MessageLength",
        "MessageTooLarge",
        "Metadata",
        "MetadataSize",
        "NotADictionary",
        "NotBitTorrent",
        "PexTooManyPeers",
    ];
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
    assert_eq!(None, check_extensions(&messages).pop());
    assert!(messages.iter().any(large));
    check_every_field(recipes.iter().flat_map(|recipe| recipe.extension_handshakes.clone()));
    assert!(recipes.iter().any(|recipe| recipe.messages.is_empty()));
}

/// Every kind is there. Returns the extension handshakes.
fn check_messages(messages: &[Message]) -> Vec<Result<ExtensionHandshake, bt_wire::Error>> {
    let kinds: BTreeSet<String> = messages.iter().filter_map(variant).collect();
    let expected = [
        "AllowedFast",
        "Bitfield",
        "Cancel",
        "Choke",
        "Extended",
        "HashReject",
        "HashRequest",
        "Hashes",
        "Have",
        "HaveAll",
        "HaveNone",
        "Interested",
        "KeepAlive",
        "NotInterested",
        "Piece",
        "Port",
        "RejectRequest",
        "Request",
        "SuggestPiece",
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

/// Every kind of message of every extension is there. Returns the names of what is wrong with the others.
fn check_extensions(messages: &[Message]) -> Vec<String> {
    let (mut kinds, mut faults) = (BTreeSet::new(), Vec::new());
    for message in messages {
        let decoded = match message {
            Message::Extended { id: 2, payload } => {
                MetadataMessage::decode(payload.clone(), &Limits::default()).map(|message| variant(&message))
            }
            Message::Extended { id: 3, payload } => PeerExchange::decode(payload, &Limits::default()).map(|message| {
                let v4 = message.added.iter().any(|peer| peer.address.is_ipv4());
                let v6 = message.dropped.iter().any(|address| address.is_ipv6());
                Some(format!("pex {v4} {v6}"))
            }),
            Message::Extended { id: 4, payload } => DontHave::decode(payload).map(|message| variant(&message)),
            _ => continue,
        };
        match decoded {
            Ok(kind) => kinds.extend(kind),
            Err(fault) => faults.extend(variant(&fault)),
        }
    }
    for expected in ["Request", "Reject", "Data", "Unknown", "pex true true", "DontHave"] {
        assert!(kinds.contains(expected), "{expected}: {kinds:?}");
    }
    faults
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
