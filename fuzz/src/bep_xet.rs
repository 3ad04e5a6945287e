use std::time::{Duration, Instant};

use bep_xet::{
    Chunk, ChunkError, ChunkNotFound, ChunkRequest, ChunkResponse, Config, Deadlines, Decoder, Dialect, End, Event,
    Exchange, Have, HaveEntry, HaveQuery, HaveState, Limits, Manifest, ManifestForm, ManifestQuery, ManifestRequest,
    Message, Object, ObjectKind, Proof, ProofLevel, Range, RangeRequest, Schemes, Sibling, Status, Unit, XetHandshake,
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

/// The bytes are one message of any dialect, or the `xet` dictionary of the extension handshake.
pub fn bep_xet(data: &[u8]) {
    let limits = Limits::default();
    for dialect in [Dialect::V2, Dialect::Ranged, Dialect::Base] {
        if let Some(message) = decode_whole_and_in_pieces(dialect, data) {
            let encoded = encode(&message);
            let again = Message::decode_in(dialect, encoded.clone(), &limits);
            assert_eq!(Ok(&message), again.as_ref());
            assert!(encoded.len() <= data.len(), "nothing was read twice");
            talk(dialect, vec![message]);
        }
    }
    if let Some(handshake) = read_handshake(data) {
        let encoded = bencode::encode(&handshake.to_value()).expect("a dictionary of lists");
        assert_eq!(Some(handshake), read_handshake(&encoded));
    }
}

/// The bytes are a recipe for the messages of a peer that keeps to no rules, and for what happens to the first.
pub fn bep_xet_there_and_back(data: &[u8]) {
    let MessagesRecipe { dialect, messages, damage } = MessagesRecipe::read(data);
    let limits = Limits::default();
    let mut encoded = Vec::new();
    for message in &messages {
        encoded.push(encode(message));
        if let Some(payload_bytes) = message.payload_bytes() {
            let payload = [encode(message), vec![7; payload_bytes as usize - message.encoded_bytes()].into()].concat();
            let decoded = Message::decode_in(dialect, payload.into(), &limits);
            match (message, decoded.expect("it was encoded")) {
                (Message::ChunkResponse(front), Message::ChunkResponse(whole)) => {
                    assert!(whole.data.starts_with(&front.data) && whole.data.len() == whole.length as usize);
                }
                (message, decoded) => assert_eq!(*message, decoded),
            }
        }
    }
    if let Some(first) = encoded.into_iter().find(|encoded| !encoded.is_empty()) {
        self::bep_xet(&damage.apply(first.into()));
    }
    talk(dialect, messages);
}

fn encode(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    assert_eq!(out.len(), message.encoded_bytes());
    out.freeze()
}

/// What the payload says, which is the same in one piece and in many.
fn decode_whole_and_in_pieces(dialect: Dialect, data: &[u8]) -> Option<Message> {
    let limits = Limits::default();
    let payload = Bytes::copy_from_slice(data);
    let whole = Message::decode_in(dialect, payload.clone(), &limits).ok();
    // A few bytes at a time at the front, where heads are cut; the rest in few pieces.
    let mut ends: Vec<usize> = (1..payload.len().min(24)).chain([payload.len() / 2, payload.len()]).collect();
    ends.sort_unstable();
    let mut decoder = Decoder::new(dialect, limits);
    let (mut start, mut in_pieces, mut is_sound) = (0, None, decoder.begin(payload.len() as u64).is_ok());
    for end in ends {
        if !is_sound || end <= start {
            continue;
        }
        match (decoder.decode(payload.slice(start..end)), &mut in_pieces) {
            (Ok(Some(Message::ChunkData(more))), Some(Message::ChunkResponse(response))) => {
                response.data = [&response.data[..], &more].concat().into();
            }
            (Ok(Some(message)), in_pieces @ None) => *in_pieces = Some(message),
            (Ok(None), _) => {}
            (Ok(message), _) => panic!("{message:?} behind a message"),
            (Err(error), _) => {
                assert!(error.is_peer_fault(), "{error}");
                is_sound = false;
            }
        }
        start = end;
    }
    assert_eq!(whole, in_pieces.filter(|_| is_sound));
    whole
}

fn read_handshake(data: &[u8]) -> Option<XetHandshake> {
    let (document, _) = bencode::decode_prefix(data).ok()?;
    XetHandshake::from_value(&document.root().into_owned().ok()?, &Limits::default()).ok()
}

/// Hands the messages to an exchange that has asked for everything there is, and answers what is asked.
#[expect(clippy::disallowed_methods, reason = "a time to count from")]
fn talk(dialect: Dialect, messages: Vec<Message>) {
    let (limits, mut now) = (Limits::default(), Instant::now());
    let mut exchange = exchange(dialect, limits.clone(), now);
    let requests = ask(&mut exchange, now);
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
                Event::XorbAsked { id, .. } | Event::ChunkAsked { id, .. } => {
                    match exchange.begin_response(id, 9, now) {
                        Ok(()) => exchange.send_data(id, Bytes::from_static(&[7; 9]), now).expect("there is room"),
                        Err(_) => exchange.end(id, Status::NotFound, 0, Duration::ZERO).expect("it is open"),
                    }
                }
                Event::Proven { chunks, .. } => {
                    for chunk in &chunks {
                        assert_eq!(
                            Leaf::of(&known_chunk()),
                            chunk.leaf(),
                            "nothing else has a name that was asked for"
                        );
                    }
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
        assert_eq!(requests, exchange.open_requests() + ended);
    }
}

/// An exchange with a peer of this dialect; of several whole xorbs at once, if it is one that may send them.
fn exchange(dialect: Dialect, limits: Limits, now: Instant) -> Exchange {
    let mut config = Config::default();
    if dialect == Dialect::V2 {
        let peer = XetHandshake::new(&limits, None);
        return Exchange::new(config, limits, &peer, now);
    }
    config.window_bytes = u64::MAX;
    let client = (dialect == Dialect::Ranged).then_some("zest/0.4");
    Exchange::for_peer(config, limits, client, None, now).expect("nothing that it says is malformed")
}

/// Makes requests of every kind that the dialect has, with ids from 1 up. Returns how many.
fn ask(exchange: &mut Exchange, now: Instant) -> usize {
    let xorb = Object::xorb(XorbHash::ZERO);
    let file = Object::file(FileHash::ZERO);
    let deadlines = Deadlines { progress: Duration::from_secs(5), total: Duration::from_secs(60) };
    let chunks = Range::chunks(xorb, ChunkRange { start: 0, end: 9 });
    match exchange.dialect() {
        Dialect::V2 => {
            exchange.query_have([xorb, file], true, deadlines, now).expect("the window is empty");
            for query in [ManifestQuery::whole(xorb), ManifestQuery::run(file, 0, 9)] {
                exchange.request_manifest(query, deadlines, now).expect("there is a window");
            }
            let bytes = Range::file_bytes(file, 0, 999_999);
            for range in [chunks, Range { with_manifest: true, ..chunks }, Range { with_manifest: true, ..bytes }] {
                exchange.request_range(range, deadlines, now).expect("there is a window");
            }
        }
        Dialect::Ranged => {
            let leaf = Leaf::of(&known_chunk());
            let known = Range { object: Object::xorb(Leaf::xorb_hash(&[leaf; 2])), end: 2, ..chunks };
            for range in [chunks, known] {
                exchange.request_range(range, deadlines, now).expect("there is a window");
            }
            let list = [leaf; 9].into();
            exchange.request_listed_range(chunks, list, deadlines, now).expect("there is a window");
        }
        Dialect::Base => {
            for chunk in [ChunkHash::ZERO, ChunkHash::of(&known_chunk())] {
                let range = Range::chunks(Object::chunk(chunk), ChunkRange { start: 0, end: 1 });
                exchange.request_range(range, deadlines, now).expect("there is a window");
            }
        }
    }
    exchange.open_requests()
}

/// A chunk that is asked for and that recipes can send.
fn known_chunk() -> Vec<u8> {
    vec![7; 100]
}

/// Messages of a peer, and what happens to the first on the way.
#[derive(Debug)]
pub struct MessagesRecipe {
    /// In what the peer speaks.
    pub dialect: Dialect,
    /// What to send.
    pub messages: Vec<Message>,
    damage: Damage,
}

impl MessagesRecipe {
    /// Damage, dialect, then messages until all bytes are read or there are as many as may be.
    pub fn read(bytes: &[u8]) -> Self {
        let mut recipe = Recipe::new(bytes);
        let damage = Damage::read(&mut recipe);
        let dialect = match recipe.byte() % 3 {
            0 => Dialect::V2,
            1 => Dialect::Ranged,
            _ => Dialect::Base,
        };
        let mut messages = Vec::new();
        while !recipe.is_done() && messages.len() < MESSAGES_BUILT_MAX {
            messages.push(match dialect {
                Dialect::V2 => read_message(&mut recipe),
                legacy => read_legacy_message(&mut recipe, legacy),
            });
        }
        Self { dialect, messages, damage }
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

/// Which message, its id, and the rest of it.
fn read_legacy_message(recipe: &mut Recipe<'_>, dialect: Dialect) -> Message {
    let which = recipe.byte();
    let id = u32::from(recipe.byte());
    let is_ranged = dialect == Dialect::Ranged;
    match which % 6 {
        0 => {
            let hash = [recipe.byte(); 32];
            let chunks = ChunkRange { start: recipe.byte().into(), end: recipe.byte().into() };
            Message::ChunkRequest(ChunkRequest { id, hash, chunks: is_ranged.then_some(chunks) })
        }
        1 => {
            let chunk_offset = recipe.byte();
            let data = read_data(recipe, dialect);
            let missing = recipe.byte();
            Message::ChunkResponse(ChunkResponse {
                id,
                chunk_offset: is_ranged.then_some(chunk_offset.into()),
                length: data.len() as u32 + u32::from(missing),
                data,
            })
        }
        2 => Message::ChunkData(read_data(recipe, dialect)),
        3 => {
            let hash = recipe.flag().then_some([9; 32]);
            Message::ChunkNotFound(ChunkNotFound { id, hash })
        }
        4 => Message::ChunkError(ChunkError { id, code: recipe.byte().into(), text: read_bytes(recipe) }),
        _ => Message::Unknown { kind: 5 + recipe.byte() % 251, body: read_bytes(recipe) },
    }
}

/// Chunks that are asked for, or any bytes.
fn read_data(recipe: &mut Recipe<'_>, dialect: Dialect) -> Bytes {
    let count = recipe.byte();
    let chunk = known_chunk();
    let header = xorb::RecordHeader { scheme: Scheme::None, stored_length: 100, raw_length: 100 };
    match (count, dialect) {
        (0..10, Dialect::Base) => chunk.into(),
        (0..10, _) => [&header.encode()[..], &chunk].concat().repeat(count.into()).into(),
        _ => read_bytes(recipe),
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
