//! What a connection remembers to tell which messages may come next.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::meter::Meter;
use crate::piece_set::PieceSet;
use crate::requests::Requests;
use crate::{
    Block, Capability, DontHave, EXTENSION_HANDSHAKE_ID, HashRange, Limits, Message, Pieces, Reserved, Violation,
};

/// Requests that a peer may have outstanding if nothing else was told it in `reqq`.
pub const REQUESTS_MAX: usize = 2_000;
/// Requests for hashes that we may have outstanding; beyond it answers to the oldest count as not asked for.
const HASH_REQUESTS_MAX: usize = 1_000;
/// Pieces that a peer may allow while choked; more are not remembered.
const ALLOWED_FAST_MAX: usize = 1_000;
/// Keep-alives are sent every two minutes; every ten seconds, and some at once, is no flood.
const KEEP_ALIVE_METER: Meter = Meter::new(Duration::from_secs(10), 20);
/// An extension handshake is sent again when something has changed.
const EXTENSION_HANDSHAKE_METER: Meter = Meter::new(Duration::from_secs(30), 10);

/// One peer as its messages describe it, and a check that they make sense: an index lies within the torrent, a
/// bitfield comes first and once, blocks are those that were asked for.
///
/// It needs no connection: tell it every message that comes in ([`handle_message`](Self::handle_message)) and
/// every one that is sent ([`handle_sent`](Self::handle_sent)).
#[derive(Debug, Clone)]
pub struct PeerState {
    in_use: Reserved,
    limits: Limits,
    requests_max: usize,
    /// Nothing has come that a bitfield may not follow.
    opening: bool,
    told: Told,
    pieces: PieceSet,
    peer_choking: bool,
    peer_interested: bool,
    am_choking: bool,
    am_interested: bool,
    /// Ours.
    requests: Requests<Block>,
    /// The peer's.
    peer_requests: Requests<Block>,
    /// The peer's that came while it was choked and are void.
    requests_while_choked: usize,
    hash_requests: Requests<HashRange>,
    allowed_fast: BTreeSet<u32>,
    keep_alives: Meter,
    extension_handshakes: Meter,
}

/// How the peer has told its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Not,
    ByBitfield,
    AllOrNone,
}

impl PeerState {
    /// After the handshakes. `in_use` is what both sides have (see [`Reserved::common`]); in a swarm of version
    /// 2 only, add [`Capability::V2`].
    pub fn new(in_use: Reserved, limits: Limits) -> Self {
        Self {
            in_use,
            limits,
            requests_max: REQUESTS_MAX,
            opening: true,
            told: Told::Not,
            pieces: PieceSet::None,
            peer_choking: true,
            peer_interested: false,
            am_choking: true,
            am_interested: false,
            requests: Requests::default(),
            peer_requests: Requests::default(),
            requests_while_choked: 0,
            hash_requests: Requests::default(),
            allowed_fast: BTreeSet::new(),
            keep_alives: KEEP_ALIVE_METER,
            extension_handshakes: EXTENSION_HANDSHAKE_METER,
        }
    }

    /// How many requests the peer may have outstanding: what it was told in `reqq`. Default
    /// [`REQUESTS_MAX`].
    pub fn set_requests_max(&mut self, requests_max: usize) {
        self.requests_max = requests_max;
    }

    /// The pieces have become known, as when metadata has come: checks what the peer said before.
    ///
    /// # Errors
    /// What it said is not of these pieces. They count from here on all the same.
    pub fn learn_pieces(&mut self, pieces: Pieces) -> Result<(), Violation> {
        self.limits.pieces = Some(pieces);
        self.pieces.check(self.told == Told::ByBitfield, &pieces)
    }

    /// Whether the peer does not answer requests. It does not, at first.
    pub fn is_peer_choking(&self) -> bool {
        self.peer_choking
    }

    /// Whether the peer would ask if it were not choked.
    pub fn is_peer_interested(&self) -> bool {
        self.peer_interested
    }

    /// Whether we have told the peer that we do not answer requests.
    pub fn am_choking(&self) -> bool {
        self.am_choking
    }

    /// Whether we have told the peer that we would ask.
    pub fn am_interested(&self) -> bool {
        self.am_interested
    }

    /// Whether the peer has said that it has a piece.
    pub fn has(&self, piece: u32) -> bool {
        self.pieces.has(piece) && self.limits.pieces.is_none_or(|pieces| piece < pieces.count())
    }

    /// Whether a piece may be asked for now.
    pub fn may_request(&self, piece: u32) -> bool {
        self.has(piece) && (!self.peer_choking || self.allowed_fast.contains(&piece))
    }

    /// Requests of ours that are not answered.
    pub fn requests(&self) -> usize {
        self.requests.len()
    }

    /// Requests of the peer that are not answered.
    pub fn peer_requests(&self) -> usize {
        self.peer_requests.len()
    }

    /// Takes a message that came in.
    ///
    /// # Errors
    /// The message makes no sense here, and the connection is best closed.
    pub fn handle_message(&mut self, message: &Message, now: Instant) -> Result<(), Violation> {
        let name = message.name();
        self.check_in_use(message)?;
        match message {
            Message::KeepAlive if !self.keep_alives.count(now) => return Err(Violation::Flood { name }),
            Message::Extended { id: EXTENSION_HANDSHAKE_ID, .. } if !self.extension_handshakes.count(now) => {
                return Err(Violation::Flood { name: "extension handshake" });
            }
            Message::KeepAlive | Message::Extended { .. } | Message::Port(_) | Message::Unknown { .. } => {
                return Ok(());
            }
            Message::Bitfield(bits) => {
                self.check_opening(name)?;
                self.told = Told::ByBitfield;
                self.pieces = PieceSet::of_bitfield(bits, self.limits.pieces.as_ref())?;
            }
            Message::HaveAll | Message::HaveNone => {
                self.check_opening(name)?;
                self.told = Told::AllOrNone;
                self.pieces = if *message == Message::HaveAll { PieceSet::All } else { PieceSet::None };
            }
            Message::Have { piece } => {
                self.check_piece(name, *piece)?;
                self.pieces.insert(*piece);
            }
            Message::SuggestPiece { piece } => self.check_piece(name, *piece)?,
            Message::AllowedFast { piece } => {
                self.check_piece(name, *piece)?;
                if self.allowed_fast.len() < ALLOWED_FAST_MAX {
                    self.allowed_fast.insert(*piece);
                }
            }
            Message::Choke => {
                self.peer_choking = true;
                // With the fast extension each request is rejected by itself.
                if !self.has_fast() {
                    self.requests.take_back_all();
                }
            }
            Message::Unchoke => self.peer_choking = false,
            Message::Interested => self.peer_interested = true,
            Message::NotInterested => self.peer_interested = false,
            Message::Request(block) => self.handle_request(block)?,
            Message::Cancel(block) => {
                self.check_block(name, block)?;
                if !self.has_fast() {
                    self.peer_requests.remove(block);
                }
            }
            Message::Piece { piece, begin, data } => {
                let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
                self.check_answer(name, &Block { piece: *piece, begin: *begin, length })?;
            }
            Message::RejectRequest(block) => self.check_answer(name, block)?,
            Message::HashRequest(range) => self.check_hashes(name, range)?,
            Message::Hashes { range, .. } | Message::HashReject(range) => {
                if !self.hash_requests.answer(range) {
                    return Err(Violation::NotRequested { name });
                }
            }
        }
        self.opening = false;
        Ok(())
    }

    /// Takes a message of the extension [`LT_DONTHAVE`](crate::LT_DONTHAVE) that came in.
    ///
    /// # Errors
    /// There is no such piece.
    pub fn handle_dont_have(&mut self, DontHave { piece }: DontHave) -> Result<(), Violation> {
        self.check_piece("lt_donthave", piece)?;
        // While it is not known how many pieces there are, nothing can be taken from all of them.
        if self.pieces != PieceSet::All || self.limits.pieces.is_some() {
            self.pieces.remove(piece, self.limits.pieces.map_or(0, |pieces| pieces.count()));
        }
        Ok(())
    }

    /// Takes a message that is sent: answers are checked against requests, and requests against answers.
    pub fn handle_sent(&mut self, message: &Message) {
        match message {
            Message::Choke => {
                self.am_choking = true;
                self.requests_while_choked = 0;
                if !self.has_fast() {
                    self.peer_requests.clear();
                }
            }
            Message::Unchoke => self.am_choking = false,
            Message::Interested => self.am_interested = true,
            Message::NotInterested => self.am_interested = false,
            Message::Request(block) => self.requests.insert(*block),
            // With the fast extension it is answered all the same.
            Message::Cancel(block) if !self.has_fast() => self.requests.take_back(*block),
            Message::Piece { piece, begin, data } => {
                let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
                self.peer_requests.remove(&Block { piece: *piece, begin: *begin, length });
            }
            Message::RejectRequest(block) => {
                self.peer_requests.remove(block);
            }
            Message::HashRequest(range) if self.hash_requests.len() < HASH_REQUESTS_MAX => {
                self.hash_requests.insert(*range);
            }
            _ => {}
        }
    }

    fn has_fast(&self) -> bool {
        self.in_use.has(Capability::Fast)
    }

    fn check_in_use(&self, message: &Message) -> Result<(), Violation> {
        let needed = match message {
            Message::SuggestPiece { .. }
            | Message::HaveAll
            | Message::HaveNone
            | Message::RejectRequest(_)
            | Message::AllowedFast { .. } => Capability::Fast,
            Message::Extended { .. } => Capability::ExtensionProtocol,
            Message::HashRequest(_) | Message::Hashes { .. } | Message::HashReject(_) => Capability::V2,
            _ => return Ok(()),
        };
        if self.in_use.has(needed) { Ok(()) } else { Err(Violation::NotNegotiated { name: message.name() }) }
    }

    fn check_opening(&self, name: &'static str) -> Result<(), Violation> {
        if self.told != Told::Not {
            return Err(Violation::PiecesToldTwice { name });
        }
        if self.opening { Ok(()) } else { Err(Violation::NotFirst { name }) }
    }

    fn check_piece(&self, name: &'static str, piece: u32) -> Result<(), Violation> {
        let count =
            self.limits.pieces.map_or(self.limits.bitfield_bytes_max.saturating_mul(8), |pieces| pieces.count());
        if piece < count { Ok(()) } else { Err(Violation::NoSuchPiece { name, piece }) }
    }

    fn check_block(&self, name: &'static str, block: &Block) -> Result<(), Violation> {
        let Block { piece, begin, length } = *block;
        let within = match self.limits.pieces {
            Some(pieces) => pieces.contain(block),
            None => length > 0 && begin.checked_add(length).is_some(),
        };
        let is_block = within && length <= self.limits.block_bytes_max;
        if is_block { Ok(()) } else { Err(Violation::NoSuchBlock { name, piece, begin, length }) }
    }

    fn handle_request(&mut self, block: &Block) -> Result<(), Violation> {
        self.check_block("request", block)?;
        let max = self.requests_max;
        // Sent before the choke was seen. It is void; with the fast extension it has to be rejected.
        if self.am_choking && !self.has_fast() {
            self.requests_while_choked += 1;
            return if self.requests_while_choked > max { Err(Violation::TooManyRequests { max }) } else { Ok(()) };
        }
        if self.peer_requests.len() >= max {
            return Err(Violation::TooManyRequests { max });
        }
        self.peer_requests.insert(*block);
        Ok(())
    }

    fn check_answer(&mut self, name: &'static str, block: &Block) -> Result<(), Violation> {
        if self.requests.answer(block) { Ok(()) } else { Err(Violation::NotRequested { name }) }
    }

    fn check_hashes(&self, name: &'static str, range: &HashRange) -> Result<(), Violation> {
        let HashRange { index, length, proof_layers, base_layer, .. } = *range;
        let side_by_side = length >= 2 && length.is_power_of_two() && index.is_multiple_of(length);
        // A tree over the blocks of a file of 2⁶⁴ bytes has 50 layers.
        let within = base_layer.saturating_add(proof_layers) < 64 && length <= self.limits.hashes_max;
        if side_by_side && within { Ok(()) } else { Err(Violation::NoSuchHashes { name }) }
    }
}
