//! What is decoded and encoded, generated: nothing depends on chance.

use bencode::{OwnedValue, encode};

/// Messages of one kind.
pub struct Input {
    pub name: &'static str,
    pub messages: Vec<Vec<u8>>,
}

/// Files of the metainfo.
const FILES: u64 = 20_000;
/// Packets of the DHT.
const PACKETS: u32 = 10_000;
/// Extension handshakes: one takes less than can be measured.
const HANDSHAKES: u32 = 10_000;

pub fn inputs() -> [Input; 3] {
    [
        Input { name: "metainfo, 20,000 files", messages: vec![metainfo()] },
        Input { name: "10,000 KRPC messages", messages: (0..PACKETS).map(packet).collect() },
        Input { name: "extension handshake", messages: (0..HANDSHAKES).map(handshake).collect() },
    ]
}

/// Bytes that look random and are the same every time.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

fn write(value: &OwnedValue) -> Vec<u8> {
    encode(value).expect("it is not deep")
}

fn metainfo() -> Vec<u8> {
    let files = OwnedValue::list((0..FILES).map(|i| {
        let path = OwnedValue::list(["checkpoint".into(), format!("layer-{i:05}.safetensors").into()]);
        OwnedValue::dict([("length", (i * 1_234_567 % 10_000_000).into()), ("path", path)])
    }));
    let info = OwnedValue::dict([
        ("files", files),
        ("name", "model".into()),
        ("piece length", 4_194_304_u32.into()),
        ("pieces", noise(1, 20 * 20_000).into()),
    ]);
    write(&OwnedValue::dict([
        ("announce", "http://tracker.example/announce".into()),
        ("comment", "a comment".into()),
        ("creation date", 1_700_000_000_u32.into()),
        ("info", info),
    ]))
}

/// Pings, searches and their answers in turn.
fn packet(i: u32) -> Vec<u8> {
    let bytes = |seed: u64, length| OwnedValue::from(noise(u64::from(i) * 8 + seed, length));
    let (id, transaction) = (bytes(1, 20), bytes(2, 2));
    let query = |method: &str, arguments| {
        OwnedValue::dict([("a", arguments), ("q", method.into()), ("t", transaction.clone()), ("y", "q".into())])
    };
    let answer = |values| {
        OwnedValue::dict([("r", values), ("t", transaction.clone()), ("v", "LT\x02\x00".into()), ("y", "r".into())])
    };
    let message = match i % 5 {
        0 => query("ping", OwnedValue::dict([("id", id)])),
        1 => query("find_node", OwnedValue::dict([("id", id), ("target", bytes(3, 20))])),
        2 => query("get_peers", OwnedValue::dict([("id", id), ("info_hash", bytes(3, 20))])),
        3 => answer(OwnedValue::dict([("id", id), ("nodes", bytes(3, 8 * 26))])),
        _ => {
            let peers = OwnedValue::list((0..20).map(|peer| bytes(8 + peer, 6)));
            answer(OwnedValue::dict([("id", id), ("token", bytes(3, 8)), ("values", peers)]))
        }
    };
    write(&message)
}

fn handshake(i: u32) -> Vec<u8> {
    let names = ["lt_donthave", "share_mode", "upload_only", "ut_holepunch", "ut_metadata", "ut_pex", "ut_xet"];
    let ids = OwnedValue::dict(names.iter().zip(1_u8..).map(|(name, id)| (*name, id.into())));
    write(&OwnedValue::dict([
        ("complete_ago", 3_u8.into()),
        ("m", ids),
        ("metadata_size", (31_235 + i).into()),
        ("p", 6881_u16.into()),
        ("reqq", 500_u16.into()),
        ("upload_only", 0_u8.into()),
        ("v", "libtorrent 2.1.1".into()),
        ("yourip", noise(u64::from(i), 4).into()),
    ]))
}
