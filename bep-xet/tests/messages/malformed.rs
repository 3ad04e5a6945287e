//! What is refused, and that nothing is allocated for it.

use bep_xet::{Error, Limits, Message};
use bytes::{BufMut, Bytes, BytesMut};

use super::hex;

fn decode(bytes: &str) -> Result<Message, Error> {
    Message::decode(hex(bytes), &Limits::default())
}

fn check_out_of_bounds(field: &str, bytes: &str) {
    let error = decode(bytes).unwrap_err();

    assert!(matches!(error, Error::OutOfBounds { what, .. } if what == field), "{error}");
    assert!(error.is_peer_fault());
}

const OBJECT: &str = "00 1111111111111111111111111111111111111111111111111111111111111111";

#[test]
fn given_nothing_when_decoded_then_it_is_cut_short() {
    assert_eq!(Err(Error::Truncated { message: "a message", bytes: 0 }), decode(""));
}

#[test]
fn given_a_message_over_the_limit_when_decoded_then_it_is_not_looked_at() {
    let limits = Limits::default();
    let bytes = limits.message_bytes_max + 1;

    let decoded = Message::decode(Bytes::from(vec![0x40; bytes]), &limits);

    assert_eq!(Err(Error::MessageTooLarge { bytes, max: limits.message_bytes_max }), decoded);
    assert!(Message::decode(Bytes::from(vec![0x40; bytes - 1]), &limits).is_ok());
}

#[test]
fn given_counts_beyond_their_limits_when_decoded_then_each_is_refused() {
    let leaf = format!("{} 00000001", "aa".repeat(32));

    check_out_of_bounds("number of objects", "10 00000001 00 0401");
    check_out_of_bounds("number of objects", "11 00000001 0401");
    check_out_of_bounds("entries of a list", "13 00000001 00 00000000 00000000 00002001");
    check_out_of_bounds("entries of a list", "13 00000001 00 00000000 00000000 ffffffff");
    check_out_of_bounds("entries of a list", "13 00000001 00 00000000 00000000 00000000");
    let run = format!("13 00000001 01 00000001 00000000 00000001 {leaf} 0000000000000000");
    check_out_of_bounds("levels of a proof", &format!("{run} 21"));
    check_out_of_bounds("siblings in a level of a proof", &format!("{run} 01 09 00"));
    check_out_of_bounds("siblings in a level of a proof", &format!("{run} 01 00 ff"));
}

#[test]
fn given_counts_that_the_message_cannot_hold_when_decoded_then_it_is_cut_short() {
    for bytes in ["10 00000001 00 0400", "11 00000001 0400", "13 00000001 00 00000000 00000000 00002000 aabb"] {
        assert!(matches!(decode(bytes), Err(Error::Truncated { .. })), "{bytes}");
    }
}

#[test]
fn given_lengths_of_chunks_that_cannot_be_when_decoded_then_the_list_is_refused() {
    for length in ["00000000", "00020001", "ffffffff"] {
        let bytes = format!("13 00000001 00 00000001 00000000 00000001 {} {length}", "aa".repeat(32));
        check_out_of_bounds("length of a chunk in a list", &bytes);
    }
}

#[test]
fn given_a_form_of_list_that_nobody_can_ask_for_when_decoded_then_it_is_refused() {
    let bytes = format!("13 00000001 02 00000001 00000000 00000001 {} 00000001", "aa".repeat(32));

    assert_eq!(Err(Error::UnknownForm { form: 2 }), decode(&bytes));
}

#[test]
fn given_runs_that_are_no_runs_when_decoded_then_they_are_refused() {
    let have = |runs: &str| {
        let length = hex(runs).len();
        decode(&format!("11 00000001 0001 {OBJECT} 02 {length:04x} {runs}"))
    };

    assert!(have("00000001 00000002 00000002 00000003").is_ok());
    assert_eq!(Err(Error::RunsOutOfOrder), have("00000001 00000003 00000002 00000004"));
    assert_eq!(Err(Error::RunsOutOfOrder), have("00000004 00000005 00000002 00000003"));
    for (field, runs) in [
        ("end of a run of chunks", "00000002 00000002"),
        ("end of a run of chunks", "ffffffff ffffffff"),
        ("bytes behind the last run", "00000001 00000002 00"),
    ] {
        let error = have(runs).unwrap_err();
        assert!(matches!(error, Error::OutOfBounds { what, .. } if what == field), "{error}");
    }
    let claim_without_time = decode(&format!("11 00000001 0001 {OBJECT} 03 0003 000000"));
    assert!(matches!(claim_without_time, Err(Error::Truncated { .. })));
}

#[test]
fn given_runs_beyond_the_limit_when_decoded_then_they_are_refused() {
    let mut limits = Limits::default();
    limits.runs_max = 1;
    let have = |runs: &str| {
        let bytes = format!("11 00000001 0001 {OBJECT} 02 {:04x} {runs}", hex(runs).len());
        Message::decode(hex(&bytes), &limits)
    };

    assert!(have("00000001 00000002").is_ok());
    assert!(have("00000001 00000002 00000003 00000004").is_err());
}

#[test]
fn given_chunk_records_of_any_length_when_decoded_then_only_those_of_the_format_pass() {
    let decode = |length: usize| {
        let mut bytes = BytesMut::from(&hex("15 00000001 00000000")[..]);
        bytes.put_bytes(0, length);
        Message::decode(bytes.freeze(), &Limits::default())
    };

    for length in [0, 8, 8 + 262_145] {
        assert!(decode(length).is_err(), "{length}");
    }
    for length in [9, 8 + 262_144] {
        assert!(decode(length).is_ok(), "{length}");
    }
}

#[test]
fn given_a_long_text_behind_an_end_when_decoded_then_only_its_front_is_kept() {
    let bytes = format!("16 00000006 04 0000000000000000 00000000 {}", "61".repeat(1_000));

    let Ok(Message::End(end)) = decode(&bytes) else { panic!("not an END") };

    assert_eq!(vec![b'a'; 256], end.detail);
}

#[test]
fn given_a_record_that_is_not_what_its_header_says_when_its_header_is_read_then_that_is_an_error() {
    let header = |record: &str| {
        let chunk = bep_xet::Chunk { id: 1, index: 0, record: hex(record) };
        chunk.header().map(|header| header.stored_length)
    };

    assert_eq!(Ok(2), header("00 020000 00 020000 6869"));
    for record in [
        "00 020000 00 0200",
        "00 020000 00 020000 68",
        "00 020000 00 020000 686900",
        "01 020000 00 020000 6869",
        "00 020000 03 020000 6869",
        "00 020000 00 000000 6869",
    ] {
        assert!(header(record).is_err(), "{record}");
    }
}
