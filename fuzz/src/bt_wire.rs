use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bt_wire::{
    Block, Capability, CloseReason, Connection, ConnectionConfig, DontHave, Error, Event, ExtensionHandshake,
    ExtensionIds, Extensions, Handshake, HandshakeCodec, HandshakeDecoder, HandshakeStage, HashRange, InfoHash, Limits,
    METADATA_PIECE_BYTES, Message, MetadataCollector, MetadataMessage, PeerCodec, PeerExchange, PeerId, PeerState,
    PexFlags, PexMeter, PexPeer, Pieces, Reserved,
};
use bytes::{Bytes, BytesMut};
use tokio::runtime::{Builder, Runtime};
use tokio_util::codec::{Decoder, Encoder};

use crate::Recipe;
use crate::bencode::read_value;
use crate::xorb::Damage;

/// What a recipe builds at most.
const MESSAGES_BUILT_MAX: usize = 100;
/// Well within what an extension handshake may have.
const OTHER_LEVELS_BUILT_MAX: usize = 20;
const OTHER_VALUES_BUILT_MAX: usize = 1_000;

/// The numbers under which the messages of extensions come here.
const UT_METADATA: u8 = 2;
const UT_PEX: u8 = 3;
const LT_DONTHAVE: u8 = 4;
/// What a connection delivers whole, so that parts are among what it delivers.
const WHOLE_BYTES_MAX: u32 = 300;

/// The bytes are what a peer sends: a handshake and messages, or messages alone.
pub fn bt_wire(data: &[u8]) {
    let whole = Received::from([data]);
    assert_eq!(whole, Received::from(data.chunks(1)));
    assert_eq!(whole, Received::from(data.chunks(7)));

    let encoded = whole.encode();
    assert_eq!(encoded, data[..encoded.len()], "there is one way to write it");
    check_stages(data, &whole);
    check_connection(&data[whole.handshake.map_or(0, |_| Handshake::BYTES)..], &whole);
    let mut extensions = Extensions::new(ExtensionIds::new([("ut_xet", 1)]));
    for message in &whole.messages {
        match message {
            Message::Extended { id: 0, payload } => check_extension_handshake(payload, &mut extensions),
            Message::Extended { id: UT_METADATA, payload } => check_metadata(payload),
            Message::Extended { id: UT_PEX, payload } => check_peer_exchange(payload),
            Message::Extended { id: LT_DONTHAVE, payload } => match DontHave::decode(payload) {
                Ok(message) => assert_eq!(message.encode()[..], payload[..]),
                Err(error) => assert!(error.is_peer_fault()),
            },
            _ => {}
        }
    }
    check_state(&whole);
}

/// A handshake in stages is the same as one in whole.
fn check_stages(data: &[u8], whole: &Received) {
    let (mut decoder, mut complete) = (HandshakeDecoder::new(), None);
    for mut input in data.chunks(5) {
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(HandshakeStage::Start(start))) => {
                    assert!(complete.is_none() && start.info_hash.as_bytes().len() == 20)
                }
                Ok(Some(HandshakeStage::Complete(handshake))) => complete = Some(handshake),
                Ok(None) => break,
                Err(_) => {
                    assert!(whole.handshake.is_none());
                    return;
                }
            }
        }
    }
    assert_eq!(whole.handshake, complete);
}

thread_local! {
    /// Only for its clock.
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("there is room");
}

/// A connection delivers what the codec decodes, large payloads in parts.
fn check_connection(stream: &[u8], whole: &Received) {
    let (messages, reason) = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let mut config = ConnectionConfig::default();
            config.whole_bytes_max = WHOLE_BYTES_MAX;
            let mut connection = Connection::established(tokio::io::join(stream, tokio::io::sink()), &[], config);
            let mut messages: Vec<Message> = Vec::new();
            let mut parts = BytesMut::new();
            let mut begun = None;
            loop {
                match connection.next().await {
                    Ok(Event::Message(message)) => messages.push(message),
                    Ok(Event::Large { message, payload_bytes }) => {
                        assert!(payload_bytes > 0);
                        begun = Some(message);
                    }
                    Ok(Event::Part { data, left }) => {
                        parts.extend_from_slice(&data);
                        if left == 0 {
                            let head = begun.take().and_then(|message| message.head().ok()).expect("it has begun");
                            let frame = [&head.as_ref()[4..], &parts.split()].concat();
                            messages.push(Message::decode(frame.into()).expect("it is whole"));
                        }
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(reason) => break (messages, reason),
                }
            }
        })
    });
    if whole.handshake.is_none() && whole.error.is_none() && whole.messages.is_empty() {
        // It may be the beginning of a handshake, of which the codec of messages was not asked.
        return;
    }
    assert_eq!(whole.messages, messages);
    match reason {
        CloseReason::ByPeer => assert_eq!(None, whole.error),
        CloseReason::Wire(error) => assert_eq!(Some(error.to_string()), whole.error),
        other => panic!("{other:?}"),
    }
}

fn check_metadata(payload: &Bytes) {
    match MetadataMessage::decode(payload.clone(), &Limits::default()) {
        Ok(message) => {
            let again = MetadataMessage::decode(message.encode(), &Limits::default()).expect("we read what we wrote");
            assert_eq!(message, again);
            if let MetadataMessage::Data { piece, total_size, data } = message {
                let mut collector = MetadataCollector::new(total_size.into(), &Limits::default()).expect("decoded");
                let is_last = collector.handle_data(piece, total_size, &data).expect("it was checked");
                assert_eq!(collector.missing().next().is_none(), is_last);
            }
        }
        Err(error) => assert!(error.is_peer_fault()),
    }
}

fn check_peer_exchange(payload: &[u8]) {
    match PeerExchange::decode(payload, &Limits::default()) {
        Ok(message) => {
            let again = PeerExchange::decode(&message.encode(), &Limits::default()).expect("we read what we wrote");
            assert_eq!(message, again);
            assert!(PexMeter::new().handle_message(&message, now()).is_ok(), "the first one may be large");
        }
        Err(error) => assert!(error.is_peer_fault()),
    }
}

/// Whatever comes, and whatever is sent between, what is remembered stays within its bounds.
fn check_state(received: &Received) {
    let all = Reserved::from_bytes([0xff; 8]);
    for (in_use, pieces) in [(all, Pieces::new(1 << 20, 1 << 14)), (all, None), (Reserved::default(), None)] {
        let mut limits = Limits::default();
        limits.pieces = pieces;
        let mut state = PeerState::new(in_use, limits);
        let begin = now();
        for (at, message) in (0..).zip(&received.messages) {
            // What is sent is what came before it, so that some of it is asked for.
            state.handle_sent(message);
            if let Err(violation) = state.handle_message(message, begin + Duration::from_secs(at)) {
                assert!(!violation.to_string().is_empty());
            }
            assert!(state.peer_requests() <= bt_wire::REQUESTS_MAX);
            assert!(pieces.is_none() || !state.has(64));
        }
        let _ = state.learn_pieces(Pieces::new(100, 10).expect("ten pieces"));
        assert!(!state.has(10));
    }
}

#[expect(clippy::disallowed_methods, reason = "there is no other way to make an instant")]
fn now() -> Instant {
    Instant::now()
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
            match recipe.byte() % 25 {
                21 => {
                    let handshake = read_extension_handshake(&mut recipe);
                    messages.push(handshake.to_message().expect("it is not too deep"));
                    extension_handshakes.push(handshake);
                }
                22 => {
                    let payload = read_metadata(&mut recipe).encode();
                    messages.push(Message::Extended { id: UT_METADATA, payload });
                }
                23 => {
                    let payload = read_peer_exchange(&mut recipe).encode();
                    messages.push(Message::Extended { id: UT_PEX, payload });
                }
                24 => {
                    let payload = DontHave { piece: u32::from_le_bytes(recipe.array()) }.encode();
                    messages.push(Message::Extended { id: LT_DONTHAVE, payload: payload.to_vec().into() });
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
        13 => Message::SuggestPiece { piece: number(recipe) },
        14 => Message::HaveAll,
        15 => Message::HaveNone,
        16 => Message::RejectRequest(block(recipe)),
        17 => Message::AllowedFast { piece: number(recipe) },
        18 => Message::HashRequest(read_hash_range(recipe)),
        19 => {
            let range = read_hash_range(recipe);
            let hashes = recipe.byte();
            Message::Hashes { range, hashes: vec![recipe.byte(); usize::from(hashes) * 32].into() }
        }
        20 => Message::HashReject(read_hash_range(recipe)),
        // Above those that have a meaning.
        _ => Message::Unknown { id: recipe.byte() | 0x80, payload: read_payload(recipe) },
    }
}

fn read_hash_range(recipe: &mut Recipe<'_>) -> HashRange {
    HashRange {
        pieces_root: [recipe.byte(); 32],
        base_layer: recipe.byte().into(),
        index: recipe.up_to(u32::MAX),
        length: recipe.up_to(u32::MAX),
        proof_layers: recipe.byte().into(),
    }
}

fn read_metadata(recipe: &mut Recipe<'_>) -> MetadataMessage {
    let piece = recipe.up_to(2_000);
    match recipe.byte() % 4 {
        0 => MetadataMessage::Request { piece },
        1 => MetadataMessage::Reject { piece },
        2 => MetadataMessage::Unknown { msg_type: 7, payload: Bytes::from_static(b"d8:msg_typei7ee") },
        _ => {
            let bytes = 1 + recipe.up_to(METADATA_PIECE_BYTES - 1);
            let total_size = piece * METADATA_PIECE_BYTES + bytes;
            MetadataMessage::Data { piece, total_size, data: vec![recipe.byte(); bytes as usize].into() }
        }
    }
}

/// Those of IPv4 first.
fn read_peer_exchange(recipe: &mut Recipe<'_>) -> PeerExchange {
    let [added4, added6, dropped4, dropped6] = recipe.array().map(|count: u8| usize::from(count % 60));
    let mut v4 = |_| SocketAddr::from((recipe.array::<4>(), u16::from_le_bytes(recipe.array())));
    let (added4, dropped4) =
        ((0..added4).map(&mut v4).collect::<Vec<_>>(), (0..dropped4).map(&mut v4).collect::<Vec<_>>());
    let mut v6 = |_| SocketAddr::from((recipe.array::<16>(), u16::from_le_bytes(recipe.array())));
    let (added6, dropped6) =
        ((0..added6).map(&mut v6).collect::<Vec<_>>(), (0..dropped6).map(&mut v6).collect::<Vec<_>>());
    let peer = |address| PexPeer { address, flags: PexFlags(recipe.byte()) };
    PeerExchange {
        added: [added4, added6].concat().into_iter().map(peer).collect(),
        dropped: [dropped4, dropped6].concat(),
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
