use bt_wire::{
    Block, Capability, Error, ExtensionHandshake, ExtensionIds, Extensions, Handshake, HandshakeCodec, InfoHash,
    Limits, Message, PeerCodec, PeerId, Reserved,
};
use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::Recipe;
use crate::bencode::read_value;
use crate::xorb::Damage;

/// What a recipe builds at most.
const MESSAGES_BUILT_MAX: usize = 100;
/// Well within what an extension handshake may have.
const OTHER_LEVELS_BUILT_MAX: usize = 20;
const OTHER_VALUES_BUILT_MAX: usize = 1_000;

/// The bytes are what a peer sends: a handshake and messages, or messages alone.
pub fn bt_wire(data: &[u8]) {
    let whole = Received::from([data]);
    assert_eq!(whole, Received::from(data.chunks(1)));
    assert_eq!(whole, Received::from(data.chunks(7)));

    let encoded = whole.encode();
    assert_eq!(encoded, data[..encoded.len()], "there is one way to write it");
    let mut extensions = Extensions::new(ExtensionIds::new([("ut_xet", 1)]));
    for message in &whole.messages {
        if let Message::Extended { id: 0, payload } = message {
            check_extension_handshake(payload, &mut extensions);
        }
    }
}

/// What came out of a stream.
#[derive(Debug, PartialEq)]
struct Received {
    handshake: Option<Handshake>,
    messages: Vec<Message>,
    /// What it ended with.
    error: Option<String>,
}

impl Received {
    fn from<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let (mut pieces, mut buffer) = (pieces.into_iter(), BytesMut::new());
        let mut received = Self { handshake: None, messages: Vec::new(), error: None };
        loop {
            match HandshakeCodec::new().decode(&mut buffer) {
                Ok(Some(handshake)) => received.handshake = Some(handshake),
                Ok(None) => match pieces.next() {
                    Some(piece) => {
                        buffer.extend_from_slice(piece);
                        continue;
                    }
                    None => return received,
                },
                Err(Error::NotBitTorrent) => {}
                Err(error) => panic!("{error}"),
            }
            break;
        }
        let mut codec = PeerCodec::default();
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(message)) => received.messages.push(message),
                Ok(None) => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => break,
                },
                Err(error) => {
                    assert!(error.is_peer_fault());
                    received.error = Some(error.to_string());
                    return received;
                }
            }
        }
        received.error = codec.decode_eof(&mut buffer).err().map(|error| error.to_string());
        received
    }

    fn encode(&self) -> BytesMut {
        let mut stream = BytesMut::new();
        if let Some(handshake) = self.handshake {
            HandshakeCodec::new().encode(handshake, &mut stream).expect("it has one length");
        }
        for message in &self.messages {
            let at = stream.len();
            PeerCodec::default().encode(message.clone(), &mut stream).expect("it fits");
            assert_eq!(&stream[at..], message.encode().expect("it fits"));
            let again = Message::decode(Bytes::copy_from_slice(&stream[at + 4..])).expect("we read what we wrote");
            assert_eq!(message, &again);
        }
        stream
    }
}

fn check_extension_handshake(payload: &[u8], extensions: &mut Extensions) {
    match ExtensionHandshake::decode(payload, &Limits::default()) {
        Ok(handshake) => {
            let encoded = handshake.encode().expect("it is not too deep");
            let again = ExtensionHandshake::decode(&encoded, &Limits::default()).expect("we read what we wrote");
            assert_eq!(handshake, again);
            extensions.handle_handshake(&handshake);
            for (name, id) in handshake.m.iter().take(1_000) {
                assert_eq!(id, handshake.m.id(name).map_or(0, |id| id.get()));
                assert!(id == 0 || handshake.m.name(id).is_some());
            }
        }
        Err(error) => assert!(error.is_peer_fault()),
    }
}

/// The bytes are a recipe for what a peer sends and for what happens to it on the way.
pub fn bt_wire_there_and_back(data: &[u8]) {
    let BtWireRecipe { handshake, messages, extension_handshakes, damage } = BtWireRecipe::read(data);
    let sent = Received { handshake: Some(handshake), messages, error: None };
    let stream = sent.encode();

    assert_eq!(Ok(handshake), Handshake::decode(stream.first_chunk().expect("it is there")).map_err(|_| ()));
    assert_eq!(sent, Received::from([&stream[..]]));
    for extension_handshake in &extension_handshakes {
        let payload = extension_handshake.encode().expect("it is not too deep");
        if payload.len() <= Limits::default().extension_handshake_bytes_max {
            let decoded = ExtensionHandshake::decode(&payload, &Limits::default()).expect("we read what we wrote");
            assert_eq!(extension_handshake, &decoded);
        }
    }
    bt_wire(&damage.apply(stream.into()));
}

/// What a peer sends, and what happens to it on the way.
#[derive(Debug)]
pub struct BtWireRecipe {
    /// First.
    pub handshake: Handshake,
    /// Then.
    pub messages: Vec<Message>,
    /// Which are among the messages.
    pub extension_handshakes: Vec<ExtensionHandshake>,
    damage: Damage,
}

impl BtWireRecipe {
    /// Damage and handshake, then messages until all bytes are read or there are as many as may be.
    pub fn read(bytes: &[u8]) -> Self {
        let mut recipe = Recipe::new(bytes);
        let damage = Damage::read(&mut recipe);
        let mut handshake = Handshake::new(InfoHash::from_bytes(recipe.array()), PeerId::from_bytes(recipe.array()));
        if recipe.flag() {
            handshake.reserved = Reserved::from_bytes(recipe.array()).with(Capability::Fast);
        }
        let (mut messages, mut extension_handshakes) = (Vec::new(), Vec::new());
        while !recipe.is_done() && messages.len() < MESSAGES_BUILT_MAX {
            match recipe.byte() % 14 {
                13 => {
                    let handshake = read_extension_handshake(&mut recipe);
                    messages.push(handshake.to_message().expect("it is not too deep"));
                    extension_handshakes.push(handshake);
                }
                kind => messages.push(read_message(kind, &mut recipe)),
            }
        }
        Self { handshake, messages, extension_handshakes, damage }
    }
}

fn read_message(kind: u8, recipe: &mut Recipe<'_>) -> Message {
    let number = |recipe: &mut Recipe<'_>| recipe.up_to(u32::MAX);
    let block =
        |recipe: &mut Recipe<'_>| Block { piece: number(recipe), begin: number(recipe), length: number(recipe) };
    match kind {
        0 => Message::KeepAlive,
        1 => Message::Choke,
        2 => Message::Unchoke,
        3 => Message::Interested,
        4 => Message::NotInterested,
        5 => Message::Have { piece: number(recipe) },
        6 => Message::Bitfield(read_payload(recipe)),
        7 => Message::Request(block(recipe)),
        8 => Message::Piece { piece: number(recipe), begin: number(recipe), data: read_payload(recipe) },
        9 => Message::Cancel(block(recipe)),
        10 => Message::Port(u16::from_le_bytes(recipe.array())),
        11 => Message::Extended { id: recipe.byte(), payload: read_payload(recipe) },
        // Above those that have a meaning.
        _ => Message::Unknown { id: recipe.byte() | 0x80, payload: read_payload(recipe) },
    }
}

/// Bytes as they are, or many of one.
fn read_payload(recipe: &mut Recipe<'_>) -> Bytes {
    if recipe.flag() {
        let length = recipe.up_to(20_000);
        vec![recipe.byte(); length as usize].into()
    } else {
        let length = recipe.byte();
        Bytes::copy_from_slice(recipe.literal(length.into()))
    }
}

fn read_extension_handshake(recipe: &mut Recipe<'_>) -> ExtensionHandshake {
    let mut handshake = ExtensionHandshake::default();
    let name = |recipe: &mut Recipe<'_>| {
        let length = recipe.byte() % 16;
        recipe.literal(length.into()).to_vec()
    };
    handshake.m = ExtensionIds::new((0..recipe.byte() % 16).map(|_| (name(recipe), recipe.byte())).collect::<Vec<_>>());
    let fields = u16::from_le_bytes(recipe.array());
    let has = |field: u8| fields >> field & 1 == 1;
    handshake.v = has(0).then(|| String::from_utf8_lossy(&name(recipe)).into_owned());
    handshake.p = has(1).then(|| u16::from_le_bytes(recipe.array()));
    handshake.reqq = has(2).then(|| u32::from_le_bytes(recipe.array()));
    handshake.yourip =
        has(3).then(|| if recipe.flag() { recipe.array::<4>().into() } else { recipe.array::<16>().into() });
    handshake.ipv4 = has(4).then(|| recipe.array::<4>().into());
    handshake.ipv6 = has(5).then(|| recipe.array::<16>().into());
    handshake.metadata_size = has(6).then(|| u64::from_le_bytes(recipe.array()));
    handshake.upload_only = has(7).then(|| recipe.flag());
    handshake.complete_ago = has(8).then(|| i64::from_le_bytes(recipe.array()));
    if has(9) {
        // No known key begins so.
        let key = [&b"x-"[..], &name(recipe)].concat();
        handshake.other.insert(key, read_value(recipe, OTHER_LEVELS_BUILT_MAX, OTHER_VALUES_BUILT_MAX));
    }
    handshake
}
