//! What goes wrong at the origin and at peers, as the dice have it.

use std::time::Duration;

use testkit::{Dice, Fault, PeerFault, Rule};

pub(crate) const NOT_AUTHORISED: i32 = 3;
pub(crate) const NOT_FOUND: i32 = 4;
pub(crate) const NETWORK: i32 = 5;
pub(crate) const INTEGRITY: i32 = 6;

/// The data of files in the CAS.
const DATA: &str = "/cas/xorbs/";
/// The data of regular files.
const REGULAR: &str = "/resolve/";
const METADATA: [&str; 4] = ["/revision/", "/tree/", "/xet-read-token/", "/reconstructions/"];

/// A fault of the origin, and what a pull may make of it.
pub(crate) struct OriginFault {
    pub(crate) rule: Rule,
    /// For the story.
    pub(crate) text: String,
    /// Exit codes that it may lead to, besides success.
    pub(crate) codes: Vec<i32>,
    /// It comes once, and a pull has to stand it.
    pub(crate) is_harmless: bool,
}

impl OriginFault {
    pub(crate) fn draw(dice: &mut Dice, elsewhere: &str) -> Self {
        let path = match dice.below(10) {
            0..=4 => DATA,
            5 | 6 => REGULAR,
            _ => dice.pick(&METADATA),
        };
        let (fault, codes, is_transient) = draw_fault(dice, path, elsewhere);
        let text = format!("{fault:?}");
        let rule = Rule::path_contains(path, fault).skip(dice.below(6));
        let (rule, when, is_once) = match dice.below(6) {
            0 | 1 => (rule.times(1), "once", true),
            2 => (rule.times(dice.between(2, 4)), "a few times", false),
            3 => (rule.times(dice.between(1, 4)).every(dice.between(4, 9)), "in bursts", false),
            4 => (rule.chance(40, dice.below(u64::MAX)), "now and then", false),
            _ => (rule, "always", false),
        };
        Self { rule, text: format!("{path}: {text}, {when}"), codes, is_harmless: is_once && is_transient }
    }
}

/// The fault, the exit codes that it may lead to, and whether a pull has to stand it once.
fn draw_fault(dice: &mut Dice, path: &str, elsewhere: &str) -> (Fault, Vec<i32>, bool) {
    let is_data = path == DATA;
    // Bits are flipped only where a hash is over them: what the Hub says is believed, and URLs would lead astray.
    let flips = if METADATA.contains(&path) { 0 } else { 3 };
    let ends = if dice.percent(50) { 2_000 } else { 600_000 };
    let cut = dice.below(ends);
    let status = |code: u16, exit: i32, is_transient: bool| (Fault::status(code), vec![exit], is_transient);
    match dice.below(19 + flips) {
        0 => (Fault::NeverAnswer, vec![NETWORK], true),
        1 => (Fault::StallAfter(cut), vec![NETWORK], true),
        2 => (Fault::TruncateAfter(cut), vec![NETWORK], true),
        3 => (Fault::Trickle { bytes_per_second: 1 }, vec![NETWORK], true),
        4 => (Fault::Reset, vec![NETWORK], true),
        5 => (Fault::AnswerAfter(Duration::from_millis(dice.below(600))), vec![NETWORK], true),
        6 if is_data => status(403, NETWORK, true),
        6 => status(403, NOT_AUTHORISED, false),
        7 => status(401, NOT_AUTHORISED, false),
        8 => status(404, NOT_FOUND, false),
        9 => (Fault::status_with(429, &[("Retry-After", "0")]), vec![NETWORK], true),
        10 => (Fault::status_with(429, &[("Retry-After", "86400")]), vec![NETWORK], false),
        11 => status(429, NETWORK, true),
        12 => status(dice.pick(&[500, 502, 503, 504]), NETWORK, true),
        13 => {
            let by = dice.between(1, 100_000) as i64;
            let by = if dice.percent(50) { by } else { -by };
            (Fault::WrongLength { by }, vec![NETWORK, INTEGRITY], false)
        }
        14 => (Fault::WrongContentRange, vec![NETWORK, INTEGRITY], false),
        15 => (Fault::IgnoreRange, vec![NETWORK, INTEGRITY], false),
        16 => (Fault::RangeAs200, vec![NETWORK, INTEGRITY], false),
        17 => (Fault::Html, vec![NETWORK, INTEGRITY], false),
        18 => (Fault::redirect_to(elsewhere), vec![NETWORK, INTEGRITY], false),
        _ => (Fault::FlipBit { offset: cut }, vec![NETWORK, INTEGRITY], is_data),
    }
}

pub(crate) fn draw_peer(dice: &mut Dice) -> PeerFault {
    let soon = Duration::from_millis(dice.below(900));
    dice.pick(&[
        PeerFault::Honest,
        PeerFault::Honest,
        PeerFault::Honest,
        PeerFault::Garbage,
        PeerFault::WrongHandshake,
        PeerFault::OtherSwarm,
        PeerFault::NoExtensionHandshake,
        PeerFault::LateExtensionHandshake { after: soon },
        PeerFault::TwoExtensionHandshakes,
        PeerFault::EndlessExtensionHandshakes,
        PeerFault::HugeExtensionHandshake,
        PeerFault::SilentAfterHandshake,
        PeerFault::SilentMidChunk,
        PeerFault::Slow { bytes_per_second: 1_000 },
        PeerFault::FlipsABit,
        PeerFault::SwapsChunks,
        PeerFault::ProvesAnotherFile,
        PeerFault::ListsInnerLevel(1),
        PeerFault::UnaskedChunks,
        PeerFault::ChunksBeyondTheRange,
        PeerFault::RepeatsChunks,
        PeerFault::ReordersChunks,
        PeerFault::LeavesOutTheLastChunk,
        PeerFault::Lz4Bomb,
        PeerFault::NeverEnds,
        PeerFault::EndsTwice,
        PeerFault::AbsurdRetry,
        PeerFault::HasNothing,
        PeerFault::HasNoChunks,
        PeerFault::HugeFrame,
        PeerFault::DisconnectsAfter { messages: soon.as_millis() as u64 % 12 },
    ])
}
