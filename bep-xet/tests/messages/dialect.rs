//! Which dialect a peer is spoken to in.

use std::time::Instant;

use bencode::OwnedValue;
use bep_xet::{Config, Dialect, Error, Exchange, Limits, XetHandshake};

fn xet(pairs: Vec<(&str, OwnedValue)>) -> OwnedValue {
    OwnedValue::dict(pairs)
}

#[test]
fn given_the_handshakes_of_peers_in_the_field_when_read_then_each_is_spoken_to_in_its_dialect() {
    let ours = XetHandshake::new(&Limits::default(), None).to_value();
    let older = xet(vec![("v", 1.into())]);
    let newer = xet(vec![("v", 3.into())]);
    // As ccBitTorrent says it.
    let other = xet(vec![("version", "1.0".into()), ("supports_chunk_requests", 1.into())]);

    for (client, xet, expected) in [
        (Some("zest/0.3"), None, Dialect::Ranged),
        (Some("zest/0.4.1"), Some(&older), Dialect::Ranged),
        (Some("zest 0.1.0"), Some(&ours), Dialect::V2),
        // A later program of that name that says that it speaks version 2.
        (Some("zest/1.0"), Some(&ours), Dialect::V2),
        (None, Some(&newer), Dialect::V2),
        (None, Some(&older), Dialect::Base),
        (Some("ccBitTorrent"), Some(&other), Dialect::Base),
        (Some("zest 0.1.0"), None, Dialect::Base),
        (Some("Zest/0.4"), None, Dialect::Base),
        (None, None, Dialect::Base),
        (None, Some(&OwnedValue::from("no dictionary")), Dialect::Base),
        (None, Some(&self::xet(vec![("v", "2".into())])), Dialect::Base),
    ] {
        assert_eq!(expected, Dialect::of_peer(client, xet), "{client:?} {xet:?}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a time to count from")]
fn given_a_handshake_of_version_2_that_is_malformed_or_too_new_when_begun_then_that_is_an_error() {
    let begin = |xet: Vec<(&str, OwnedValue)>| {
        let xet = self::xet(xet);
        Exchange::for_peer(Config::default(), Limits::default(), None, Some(&xet), Instant::now()).map(drop)
    };

    let malformed = begin(vec![("v", 2.into()), ("rq", "many".into())]);
    let too_new = begin(vec![("v", 9.into()), ("min", 3.into())]);

    assert!(malformed.is_err_and(|error| error.is_peer_fault()));
    assert_eq!(Err(Error::NoCommonVersion), too_new);
    assert_eq!(Ok(()), begin(vec![("v", 9.into()), ("min", 2.into())]));
}
