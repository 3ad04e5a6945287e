use std::time::{Duration, Instant};

use bep_xet::{
    Chunk, Config, Deadlines, End, Event, Exchange, Have, HaveEntry, HaveQuery, HaveState, Limits, Manifest,
    ManifestForm, ManifestQuery, ManifestRequest, Message, Object, ObjectKind, Proof, ProofLevel, Range, RangeRequest,
    Schemes, Sibling, Status, Unit, XetHandshake,
};
use bytes::{Bytes, BytesMut};
use xet_cas::{CHUNK_BYTES_MAX, ChunkHash, ChunkRange, FileHash, Leaf, Scheme, XorbHash, xorb};

use crate::Recipe;
use crate::xorb::Damage;

/// What a recipe builds at most.
const MESSAGES_BUILT_MAX: usize = 100;
const LIST_BUILT_MAX: u32 = 40;
/// Bytes of the peer that wait, before it is read.
const QUEUED_BYTES_MAX: usize = 128 * 1024 + 320 * 1024;

/// The bytes are one message, or the `xet` dictionary of the extension handshake.
pub fn bep_xet(data: &[u8]) {
    let limits = Limits::default();
    if let Ok(message) = Message::decode(Bytes::copy_from_slice(data), &limits) {
        let encoded = check_message(&message);
        assert!(encoded.len() <= data.len(), "nothing was read twice");
        talk(vec![message]);
    }
    if let Some(handshake) = read_handshake(data) {
        let encoded = bencode::encode(&handshake.to_value()).expect("a dictionary of lists");
        assert_eq!(Some(handshake), read_handshake(&encoded));
    }
}

/// The bytes are a recipe for the messages of a peer that keeps to no rules, and for what happens to the first.
pub fn bep_xet_there_and_back(data: &[u8]) {
    let MessagesRecipe { messages, damage } = MessagesRecipe::read(data);
    let encoded: Vec<Bytes> = messages.iter().map(check_message).collect();
    if let Some(first) = encoded.into_iter().next() {
        self::bep_xet(&damage.apply(first.into()));
    }
    talk(messages);
}

fn check_message(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    let encoded = out.freeze();
    let decoded = Message::decode(encoded.clone(), &Limits::default());
    assert_eq!(encoded.len(), message.encoded_bytes());
    assert_eq!(Ok(message), decoded.as_ref());
    encoded
}

fn read_handshake(data: &[u8]) -> Option<XetHandshake> {
    let (document, _) = bencode::decode_prefix(data).ok()?;
    XetHandshake::from_value(&document.root().into_owned().ok()?, &Limits::default()).ok()
}

/// Hands the messages to an exchange that has asked for everything there is, and answers what is asked.
#[expect(clippy::disallowed_methods, reason = "a time to count from")]
fn talk(messages: Vec<Message>) {
    let (limits, mut now) = (Limits::default(), Instant::now());
    let peer = XetHandshake::new(&limits, None);
    let mut exchange = Exchange::new(Config::default(), limits.clone(), &peer, now);
    ask(&mut exchange, now);
    let mut ended = 0;
    for message in messages {
        now += Duration::from_millis(700);
        if let Err(error) = exchange.handle_message(message, now) {
            assert!(error.is_peer_fault(), "{error}");
            break;
        }
        exchange.handle_timeout(now);
        while let Some(event) = exchange.poll_event() {
            match event {
                Event::Ended { .. } => ended += 1,
                Event::HaveAsked { id, objects, .. } => {
                    let entry = |object| HaveEntry { object, state: HaveState::All };
                    let answer = objects.into_iter().map(entry).collect();
                    // Refused if too much waits already.
                    let _ = exchange.send_have(id, answer, now);
                    exchange.end(id, Status::Done, 0, Duration::ZERO).expect("it is open");
                }
                Event::ManifestAsked { id, .. } => {
                    exchange.end(id, Status::NotFound, 0, Duration::ZERO).expect("it is open");
                }
                _ => {}
            }
        }
        let queued = std::iter::from_fn(|| exchange.poll_message()).map(|message| message.encoded_bytes());
        assert!(queued.sum::<usize>() <= QUEUED_BYTES_MAX);
        assert!(exchange.outstanding_bytes() <= exchange.window_bytes());
        assert!(exchange.requested_bytes() <= limits.requested_bytes_max);
        assert!(exchange.peer_requests() <= limits.requests_max);
        assert_eq!(REQUESTS, exchange.open_requests() + ended);
    }
}

/// Requests that [`ask`] makes.
const REQUESTS: usize = 6;

/// Ids 1 to 6, of every kind.
fn ask(exchange: &mut Exchange, now: Instant) {
    let xorb = Object::xorb(XorbHash::ZERO);
    let file = Object::file(FileHash::ZERO);
    let deadlines = Deadlines { progress: Duration::from_secs(5), total: Duration::from_secs(60) };
    exchange.query_have([xorb, file], true, deadlines, now).expect("the window is empty");
    for query in [ManifestQuery::whole(xorb), ManifestQuery::run(file, 0, 9)] {
        exchange.request_manifest(query, deadlines, now).expect("there is a window");
    }
    let chunks = Range::chunks(xorb, ChunkRange { start: 0, end: 9 });
    let bytes = Range::file_bytes(file, 0, 999_999);
    for range in [chunks, Range { with_manifest: true, ..chunks }, Range { with_manifest: true, ..bytes }] {
        exchange.request_range(range, deadlines, now).expect("there is a window");
    }
}

/// Messages of a peer, and what happens to the first on the way.
#[derive(Debug)]
pub struct MessagesRecipe {
    /// What to send.
    pub messages: Vec<Message>,
    damage: Damage,
}

impl MessagesRecipe {
    /// Damage, then messages until all bytes are read or there are as many as may be.
    pub fn read(bytes: &[u8]) -> Self {
        let mut recipe = Recipe::new(bytes);
        let damage = Damage::read(&mut recipe);
        let mut messages = Vec::new();
        while !recipe.is_done() && messages.len() < MESSAGES_BUILT_MAX {
            messages.push(read_message(&mut recipe));
        }
        Self { messages, damage }
    }
}

/// Which message, its id, and the rest of it.
fn read_message(recipe: &mut Recipe<'_>) -> Message {
    let which = recipe.byte();
    let id = u32::from(recipe.byte());
    match which % 12 {
        0 => {
            let subscribe = recipe.flag();
            Message::HaveQuery(HaveQuery { id, subscribe, objects: read_list(recipe, LIST_BUILT_MAX, read_object) })
        }
        1 => Message::Have(Have { id, entries: read_list(recipe, LIST_BUILT_MAX, read_entry) }),
        2 => Message::ManifestRequest(ManifestRequest { id, query: read_query(recipe) }),
        3 => Message::Manifest(read_manifest(recipe, id)),
        4 => Message::RangeRequest(RangeRequest { id, range: read_range(recipe) }),
        5 => Message::Chunk(Chunk { id, index: recipe.up_to(20), record: read_record(recipe) }),
        6 => Message::End(read_end(recipe, id)),
        7 => Message::Cancel { id },
        8 => Message::Ping { nonce: u64::from_be_bytes(recipe.array()) },
        9 => Message::Pong { nonce: u64::from_be_bytes(recipe.array()) },
        10 => Message::UnknownRequest { kind: 0x80 | recipe.byte(), id, body: read_bytes(recipe) },
        _ => Message::Unknown { kind: 0x40 | recipe.byte() & 0x3f, body: read_bytes(recipe) },
    }
}

fn read_object(recipe: &mut Recipe<'_>) -> Object {
    Object { kind: ObjectKind::from_byte(recipe.byte()), hash: [recipe.byte(); 32] }
}

fn read_entry(recipe: &mut Recipe<'_>) -> HaveEntry {
    let object = read_object(recipe);
    let run = |recipe: &mut Recipe<'_>| ChunkRange { start: recipe.up_to(u32::MAX), end: recipe.up_to(u32::MAX) };
    let state = match recipe.byte() {
        0 => HaveState::None,
        1 => HaveState::All,
        2 => HaveState::Runs(read_list(recipe, LIST_BUILT_MAX, run).into_iter().collect()),
        3 => HaveState::Claimed {
            eta_ms: recipe.up_to(u32::MAX),
            runs: read_list(recipe, LIST_BUILT_MAX, run).into_iter().collect(),
        },
        state => HaveState::Unknown { state, bytes: read_bytes(recipe) },
    };
    HaveEntry { object, state }
}

fn read_query(recipe: &mut Recipe<'_>) -> ManifestQuery {
    let object = read_object(recipe);
    let form = match recipe.byte() {
        0 => ManifestForm::Whole,
        1 => ManifestForm::Run,
        form => ManifestForm::Unknown(form),
    };
    ManifestQuery { object, form, start: recipe.up_to(u32::MAX).into(), end: recipe.up_to(u32::MAX).into() }
}

fn read_manifest(recipe: &mut Recipe<'_>, id: u32) -> Manifest {
    let proof = recipe.flag();
    let leaf = |recipe: &mut Recipe<'_>| Leaf {
        hash: ChunkHash::from_bytes([recipe.byte(); 32]),
        length: 1 + recipe.up_to(CHUNK_BYTES_MAX as u32 - 1),
    };
    let sibling = |recipe: &mut Recipe<'_>| Sibling { hash: [recipe.byte(); 32], size: recipe.up_to(u32::MAX).into() };
    let level = |recipe: &mut Recipe<'_>| ProofLevel {
        left: read_list(recipe, 8, sibling),
        right: read_list(recipe, 8, sibling),
    };
    let (total, first) = (recipe.up_to(u32::MAX), recipe.up_to(u32::MAX));
    let mut leaves = vec![leaf(recipe)];
    leaves.extend(read_list(recipe, LIST_BUILT_MAX, leaf));
    let proof = proof.then(|| Proof { offset: recipe.up_to(u32::MAX).into(), levels: read_list(recipe, 32, level) });
    Manifest { id, total, first, leaves, proof }
}

fn read_range(recipe: &mut Recipe<'_>) -> Range {
    let object = read_object(recipe);
    let unit = match recipe.byte() {
        0 => Unit::Chunks,
        1 => Unit::FileBytes,
        unit => Unit::Unknown(unit),
    };
    let (start, end) = (recipe.up_to(u32::MAX).into(), recipe.up_to(u32::MAX).into());
    let accept = Schemes::from_bits(recipe.up_to(u32::MAX));
    Range { object, unit, start, end, accept, urgent: recipe.flag(), with_manifest: recipe.flag() }
}

/// A chunk record that may be sent, or any bytes.
fn read_record(recipe: &mut Recipe<'_>) -> Bytes {
    let scheme = match recipe.byte() {
        0 => Scheme::None,
        1 => Scheme::Lz4,
        2 => Scheme::Bg4Lz4,
        _ => return [&[255; 9][..], &read_bytes(recipe)].concat().into(),
    };
    let length = 1 + recipe.up_to(999);
    let header = xorb::RecordHeader { scheme, stored_length: length, raw_length: length };
    [&header.encode()[..], &vec![7; length as usize]].concat().into()
}

fn read_end(recipe: &mut Recipe<'_>, id: u32) -> End {
    let status = match recipe.byte() {
        0 => Status::Done,
        1 => Status::NotFound,
        2 => Status::Busy,
        3 => Status::Refused,
        4 => Status::Error,
        5 => Status::Cancelled,
        6 => Status::Unsupported,
        7 => Status::TooLarge,
        status => Status::Unknown(status),
    };
    End {
        id,
        status,
        next: recipe.up_to(u32::MAX).into(),
        retry_ms: recipe.up_to(u32::MAX),
        detail: read_bytes(recipe),
    }
}

fn read_bytes(recipe: &mut Recipe<'_>) -> Bytes {
    let length = recipe.byte().into();
    Bytes::copy_from_slice(recipe.literal(length))
}

/// A count, and as many items as that or as there are bytes for.
fn read_list<T>(recipe: &mut Recipe<'_>, max: u32, read: impl Fn(&mut Recipe<'_>) -> T) -> Vec<T> {
    (0..u32::from(recipe.byte()).min(max)).map_while(|_| (!recipe.is_done()).then(|| read(recipe))).collect()
}
