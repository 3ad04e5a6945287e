//! Which program a peer id names (BEP 20). Hearsay: a peer id can be made up.

use std::fmt;

use crate::PeerId;

/// What the beginning of a peer id says about the program that made it up.
///
/// ```
/// let id = bt_wire::PeerId::new(*b"-TR4060-", [7; 12]);
/// let client = id.client().expect("it is in a known form");
/// assert_eq!((client.name(), client.code()), (Some("Transmission"), "TR"));
/// assert_eq!(client.to_string(), "Transmission 4.0.6.0");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client {
    /// Letters, digits and signs of ASCII only. The rest is zeros.
    code: [u8; 2],
    version: [u8; 4],
    /// How many parts the version has.
    version_parts: u8,
}

impl PeerId {
    /// The program, if the peer id is in a form that tells it: `-XX1234-` (most programs), `X123--…` (Shadow's)
    /// or `X1-2-3--` (Mainline's).
    pub fn client(&self) -> Option<Client> {
        let [a, b, c, d, e, f, g, h, ..] = *self.as_bytes();
        if a == b'-' && h == b'-' {
            return azureus([b, c], [d, e, f, g]);
        }
        mainline(&self.as_bytes()[..8]).or_else(|| shadow(&self.as_bytes()[..9]))
    }
}

/// `-XX1234-`
fn azureus(code: [u8; 2], version: [u8; 4]) -> Option<Client> {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'~' || byte == b'_';
    if !code[0].is_ascii_alphabetic() || !sign(code[1]) {
        return None;
    }
    let mut parts = [0; 4];
    for (part, digit) in parts.iter_mut().zip(version) {
        *part = base_62(digit).or(match digit {
            b'-' => Some(0),
            _ => None,
        })?;
    }
    Some(Client { code, version: parts, version_parts: 4 })
}

/// `M1-2-3--` and `Q1-23-4-`: decimal numbers with dashes.
fn mainline(front: &[u8]) -> Option<Client> {
    let (&letter, rest) = front.split_first()?;
    if !matches!(letter, b'M' | b'Q') || !rest.contains(&b'-') || !rest[0].is_ascii_digit() {
        return None;
    }
    let (mut version, mut parts) = ([0; 4], 0);
    for number in rest.split(|byte| *byte == b'-').take(3).take_while(|number| !number.is_empty()) {
        for &digit in number {
            if !digit.is_ascii_digit() {
                return None;
            }
            version[parts] = u8::checked_add(u8::checked_mul(version[parts], 10)?, digit - b'0')?;
        }
        parts += 1;
    }
    Some(Client { code: [letter, 0], version, version_parts: parts as u8 })
}

/// `X123--…`: a letter, up to five digits, dashes to the ninth byte.
fn shadow(front: &[u8]) -> Option<Client> {
    let (&letter, rest) = front.split_first()?;
    if !matches!(letter, b'A' | b'O' | b'R' | b'S' | b'T' | b'U') || &front[6..9] != b"---" {
        return None;
    }
    let (mut version, mut parts) = ([0; 4], 0);
    for &digit in rest[..5].iter().take_while(|digit| **digit != b'-') {
        // Five are allowed, and nobody uses more than four.
        *version.get_mut(parts)? = base_62(digit)?;
        parts += 1;
    }
    (parts > 0).then_some(Client { code: [letter, 0], version, version_parts: parts as u8 })
}

fn base_62(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'Z' => Some(digit - b'A' + 10),
        b'a'..=b'z' => Some(digit - b'a' + 36),
        _ => None,
    }
}

impl Client {
    /// The one or two characters that stand for the program.
    pub fn code(&self) -> &str {
        let len = if self.code[1] == 0 { 1 } else { 2 };
        std::str::from_utf8(&self.code[..len]).unwrap_or_default()
    }

    /// The program, if it is a well-known one.
    pub fn name(&self) -> Option<&'static str> {
        let code = self.code();
        NAMES.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
    }

    /// The version, most significant part first. What the parts mean is the program's own.
    pub fn version(&self) -> &[u8] {
        &self.version[..self.version_parts.into()]
    }
}

/// Name, or code if that is not known, and version.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().unwrap_or(self.code()))?;
        for (at, part) in self.version().iter().enumerate() {
            write!(f, "{}{part}", if at == 0 { ' ' } else { '.' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} {:?})", self.code(), self.version())
    }
}

/// Codes of BEP 20, and of programs that came later, as they are seen in the field.
const NAMES: &[(&str, &str)] = &[
    ("7T", "aTorrent"),
    ("A", "ABC"),
    ("AG", "Ares"),
    ("AZ", "Vuze"),
    ("A~", "Ares"),
    ("AR", "Arctic"),
    ("AT", "Artemis"),
    ("AV", "Avicora"),
    ("AX", "BitPump"),
    ("BB", "BitBuddy"),
    ("BC", "BitComet"),
    ("BF", "Bitflu"),
    ("BG", "BTG"),
    ("BI", "BiglyBT"),
    ("BL", "BitCometLite"),
    ("BR", "BitRocket"),
    ("BS", "BTSlave"),
    ("BT", "BitTorrent"),
    ("BW", "BitWombat"),
    ("BX", "Bittorrent X"),
    ("CD", "Enhanced CTorrent"),
    ("CT", "CTorrent"),
    ("DE", "Deluge"),
    ("DP", "Propagate"),
    ("EB", "EBit"),
    ("ES", "electric sheep"),
    ("FD", "Free Download Manager"),
    ("FL", "Flud"),
    ("FT", "FoxTorrent"),
    ("FW", "FrostWire"),
    ("FX", "Freebox BitTorrent"),
    ("GS", "GSTorrent"),
    ("GT", "anacrolix/torrent"),
    ("HL", "Halite"),
    ("HN", "Hydranode"),
    ("KG", "KGet"),
    ("KT", "KTorrent"),
    ("LH", "LH-ABC"),
    ("LP", "Lphant"),
    ("LT", "libtorrent (rasterbar)"),
    ("lt", "libtorrent (rakshasa)"),
    ("LW", "LimeWire"),
    ("M", "Mainline"),
    ("ML", "MLDonkey"),
    ("MO", "MonoTorrent"),
    ("MP", "MooPolice"),
    ("MR", "Miro"),
    ("MT", "MoonlightTorrent"),
    ("NX", "Net Transport"),
    ("O", "Osprey Permaseed"),
    ("OT", "OmegaTorrent"),
    ("PD", "Pando"),
    ("Q", "BTQueue"),
    ("QD", "QQDownload"),
    ("QT", "Qt 4 torrent example"),
    ("R", "Tribler"),
    ("RN", "rain"),
    ("RT", "Retriever"),
    ("RZ", "RezTorrent"),
    ("S", "Shadow's client"),
    ("SB", "Swiftbit"),
    ("SD", "Thunder"),
    ("SS", "SwarmScope"),
    ("ST", "SymTorrent"),
    ("SZ", "Shareaza"),
    ("S~", "Shareaza"),
    ("T", "BitTornado"),
    ("TL", "Tribler"),
    ("TN", "TorrentDotNET"),
    ("TR", "Transmission"),
    ("TS", "Torrentstorm"),
    ("TT", "TuoTu"),
    ("U", "UPnP NAT Bit Torrent"),
    ("UL", "uLeecher!"),
    ("UM", "µTorrent for Mac"),
    ("UT", "µTorrent"),
    ("UW", "µTorrent Web"),
    ("VG", "Vagaa"),
    ("WD", "WebTorrent Desktop"),
    ("WT", "BitLet"),
    ("WW", "WebTorrent"),
    ("WY", "FireTorrent"),
    ("XL", "Xunlei"),
    ("XT", "XanTorrent"),
    ("XX", "Xtorrent"),
    ("ZE", "zest"),
    ("ZT", "ZipTorrent"),
    ("qB", "qBittorrent"),
    ("rQ", "rqbit"),
    ("st", "sharktorrent"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_peer_ids_of_programs_when_recognised_then_each_has_its_name_and_version() {
        check(b"-qB4630-k8hj0wgej6ch", "qBittorrent 4.6.3.0");
        check(b"-TR3000-abcdefghijkl", "Transmission 3.0.0.0");
        check(b"-lt0D80-abcdefghijkl", "libtorrent (rakshasa) 0.13.8.0");
        check(b"-UT355S-abcdefghijkl", "µTorrent 3.5.5.28");
        check(b"-ZE0100-abcdefghijkl", "zest 0.1.0.0");
        check(b"-BC0-59-abcdefghijkl", "BitComet 0.0.5.9");
        check(b"-Yy1234-abcdefghijkl", "Yy 1.2.3.4");
        check(b"M4-3-6--abcdefghijkl", "Mainline 4.3.6");
        check(b"M4-20-8-abcdefghijkl", "Mainline 4.20.8");
        check(b"Q1-0-0--abcdefghijkl", "BTQueue 1.0.0");
        check(b"S587-----abcdefghijk", "Shadow's client 5.8.7");
        check(b"T03CA----abcdefghijk", "BitTornado 0.3.12.10");
        check(b"R-1-----------------", "");
    }

    #[test]
    fn given_peer_ids_in_no_known_form_when_recognised_then_there_is_no_program() {
        for id in [
            *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            *b"-TR30\x000-abcdefghijkl",
            *b"-\xffR3000-abcdefghijkl",
            *b"-T 3000-abcdefghijkl",
            *b"-TR30000abcdefghijkl",
            *b"M256-0--abcdefghijkl",
            *b"M4-x-6--abcdefghijkl",
            *b"Mabcdefghijklmnopqrs",
            *b"S-----------abcdefgh",
            *b"S58+-----abcdefghijk",
        ] {
            assert_eq!(None, PeerId::from_bytes(id).client(), "{}", id.escape_ascii());
        }
    }

    #[test]
    fn given_any_eight_bytes_when_recognised_then_the_code_is_text() {
        // A walk through many ids, the forms that are recognised among them.
        let mut state = 1_u64;
        for round in 0..100_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut id = [b'-'; 20];
            id[1..8].copy_from_slice(&state.to_be_bytes()[..7]);
            id[0] = *b"-MQSTU".get(round % 6).unwrap();
            id[7] = b'-';
            if let Some(client) = PeerId::from_bytes(id).client() {
                assert!(!client.code().is_empty() && client.version().len() <= 4);
            }
        }
    }

    fn check(id: &[u8; 20], expected: &str) {
        let client = PeerId::from_bytes(*id).client();
        assert_eq!(expected, client.map(|client| client.to_string()).unwrap_or_default());
    }
}
