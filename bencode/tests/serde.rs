//! Types of one's own, read and written.

#[cfg(test)]
mod serde_both_ways {
    use std::collections::{BTreeMap, HashMap};
    use std::fmt::Debug;

    use bencode::{
        Decoder, Error, Fault, Integer, OWNED_DEPTH_MAX, OwnedRawValue, OwnedValue, RawValue, WithRaw, decode,
        from_bytes, to_bytes, to_bytes_into,
    };
    use serde::de::{DeserializeOwned, IgnoredAny};
    use serde::{Deserialize, Serialize};

    /// Fields in no order.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Metainfo<'a> {
        #[serde(borrow)]
        info: Info<'a>,
        announce: &'a str,
        #[serde(rename = "creation date")]
        created: Option<i64>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Info<'a> {
        #[serde(with = "serde_bytes")]
        pieces: &'a [u8],
        name: String,
        private: Option<bool>,
        #[serde(rename = "piece length")]
        piece_length: u32,
    }

    const METAINFO: &[u8] = b"d8:announce3:url4:infod4:name4:zest12:piece lengthi16384e6:pieces3:\xff\x00\xfeee";

    fn metainfo() -> Metainfo<'static> {
        let info = Info { pieces: b"\xff\x00\xfe", name: "zest".into(), private: None, piece_length: 16384 };
        Metainfo { info, announce: "url", created: None }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Step {
        Stop,
        Wait(u8),
        Go { to: String, at: u64 },
        Turn(i8, i8),
    }

    /// Written and read back; read directly and out of a document.
    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, encoded: &[u8]) {
        assert_eq!(encoded, to_bytes(&value).unwrap(), "{}", encoded.escape_ascii());
        assert_eq!(value, from_bytes(encoded).unwrap());
        assert_eq!(value, T::deserialize(decode(encoded).unwrap().root()).unwrap());
    }

    fn check_error<'a, T: Deserialize<'a> + Debug>(input: &'a [u8], message: &str, offset: usize, path: &str) {
        let error = from_bytes::<T>(input).unwrap_err();

        assert!(matches!(error, Error::Mismatch { .. }) && error.is_peer_fault());
        assert!(error.to_string().starts_with(message), "{error}");
        assert_eq!((Some(offset), path), (error.offset(), error.path()), "{error}");
    }

    fn check_refusal<T: Serialize>(value: T, message: &str) {
        let mut out = b"kept".to_vec();
        let error = to_bytes_into(&value, &mut out).unwrap_err();

        assert_eq!(b"kept", &out[..]);
        assert!(!error.is_peer_fault());
        assert_eq!(message, error.to_string());
    }

    #[test]
    fn given_structs_with_fields_in_no_order_when_written_then_keys_are_sorted_and_none_is_left_out() {
        assert_eq!(METAINFO, to_bytes(&metainfo()).unwrap());
        assert_eq!(metainfo(), from_bytes(METAINFO).unwrap());
    }

    #[test]
    fn given_fields_that_borrow_when_read_then_they_are_slices_of_the_input() {
        let read: Metainfo<'_> = from_bytes(METAINFO).unwrap();
        let (input, pieces) = (METAINFO.as_ptr_range(), read.info.pieces.as_ptr_range());

        assert!(input.start < pieces.start && pieces.end <= input.end);
        assert!(input.contains(&read.announce.as_ptr()));
    }

    #[test]
    fn given_each_shape_when_written_and_read_then_it_is_the_same() {
        check(true, b"i1e");
        check(-7_i8, b"i-7e");
        check((i64::MIN, u64::MAX), b"li-9223372036854775808ei18446744073709551615ee");
        check((i128::from(i64::MIN), u128::from(u64::MAX)), b"li-9223372036854775808ei18446744073709551615ee");
        check('\u{e9}', b"2:\xc3\xa9");
        check(String::from("text"), b"4:text");
        check(serde_bytes::ByteBuf::from(b"\xff\x00".to_vec()), b"2:\xff\x00");
        check(serde_bytes::ByteArray::new([0xff_u8; 3]), b"3:\xff\xff\xff");
        check(vec![1, 2], b"li1ei2ee");
        check([1, 2, 3], b"li1ei2ei3ee");
        check(Some(Some(3)), b"i3e");
        check(
            HashMap::from([("b", 1), ("a", 2), ("c", 3)].map(|(key, value)| (key.to_owned(), value))),
            b"d1:ai2e1:bi1e1:ci3ee",
        );
        check(BTreeMap::from([('b', Some(1)), ('z', Some(2))]), b"d1:bi1e1:zi2ee");
        check(vec![Integer::MIN, Integer::MAX], b"li-9223372036854775808ei18446744073709551615ee");
        check(OwnedValue::dict([("a", OwnedValue::list([1.into(), "x".into()]))]), b"d1:ali1e1:xee");
    }

    #[test]
    fn given_enums_when_written_and_read_then_they_are_names_or_dictionaries_of_one_pair() {
        check(Step::Stop, b"4:Stop");
        check(Step::Wait(3), b"d4:Waiti3ee");
        check(Step::Go { to: "x".into(), at: 1 }, b"d2:God2:ati1e2:to1:xee");
        check(Step::Turn(-1, 1), b"d4:Turnli-1ei1eee");
        check(vec![Step::Stop, Step::Wait(0)], b"l4:Stopd4:Waiti0eee");
        check(BTreeMap::from([("s".to_owned(), Step::Stop)]), b"d1:s4:Stope");
    }

    #[test]
    fn given_tagged_untagged_and_flattened_types_when_written_and_read_then_they_are_the_same() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "y", rename_all = "lowercase")]
        enum Message {
            Q { q: String },
            R { r: BTreeMap<String, OwnedValue> },
        }
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(untagged)]
        enum Peers {
            // A buffer of bytes would take a list of numbers as well.
            List(Vec<u16>),
            Compact(serde_bytes::ByteBuf),
        }
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Handshake {
            v: String,
            #[serde(flatten)]
            other: BTreeMap<String, OwnedValue>,
        }

        check(Message::Q { q: "ping".into() }, b"d1:q4:ping1:y1:qe");
        check(Message::R { r: BTreeMap::from([("id".into(), "\x7f".into())]) }, b"d1:rd2:id1:\x7fe1:y1:re");
        check(vec![Peers::Compact(b"\xff".to_vec().into()), Peers::List(vec![7])], b"l1:\xffli7eee");
        let other = BTreeMap::from([("a".into(), 1.into()), ("z".into(), OwnedValue::list([]))]);
        check(Handshake { v: "zest".into(), other }, b"d1:ai1e1:v4:zest1:zlee");
    }

    #[test]
    fn given_keys_that_the_type_does_not_have_when_read_then_they_are_stepped_over_and_still_checked() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct One {
            m: u8,
        }
        let deep = [&b"d1:a"[..], &b"l".repeat(63), &b"e".repeat(63), b"1:mi1e1:zd1:ali1eeee"].concat();
        let too_deep = [&b"d1:a"[..], &b"l".repeat(64), &b"e".repeat(64), b"1:mi1ee"].concat();

        assert_eq!(One { m: 1 }, from_bytes(&deep).unwrap());
        assert_eq!(Some(Fault::TooDeep { max: 64 }), from_bytes::<One>(&too_deep).unwrap_err().fault());
        for wrong in [&b"d1:ai01e1:mi1ee"[..], b"d1:a01:x1:mi1ee", b"d1:ad1:bi1e1:ai1ee1:mi1ee", b"d1:ali1e1:mi1ee"] {
            assert!(from_bytes::<One>(wrong).unwrap_err().fault().is_some());
        }
    }

    #[test]
    fn given_what_is_not_canonical_when_read_then_strict_refuses_and_lenient_takes_the_first_of_equal_keys() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Two {
            a: u8,
            b: u8,
        }
        let input = b"d1:bi1e1:ai02e1:bi3ee";
        let lenient = Decoder::lenient().decode(input).unwrap();

        assert!(matches!(from_bytes::<Two>(input).unwrap_err().fault(), Some(Fault::NotCanonical(_))));
        assert_eq!(Two { a: 2, b: 1 }, Two::deserialize(lenient.root()).unwrap());
        let map = BTreeMap::<String, u8>::deserialize(lenient.root()).unwrap();
        assert_eq!(BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]), map);
    }

    #[test]
    fn given_a_value_of_another_type_when_read_then_the_error_says_what_and_where() {
        type Files = BTreeMap<String, Vec<BTreeMap<String, u8>>>;
        check_error::<Files>(b"d5:filesld6:lengthi1eed6:length1:xeee", "invalid type: ", 31, "files[1].length");
        check_error::<Files>(b"d5:filesld6:lengthi256eeee", "invalid value: integer `256`", 18, "files[0].length");
        check_error::<Vec<u8>>(b"2:ab", "invalid type: byte array, expected a sequence", 0, "");
        check_error::<[u8; 1]>(b"li1ei2ee", "1 items more in a list than expected", 0, "");
        check_error::<[u8; 3]>(b"li1ei2ee", "invalid length 2", 0, "");
    }

    #[test]
    fn given_a_field_that_is_missing_when_read_then_the_error_says_in_which_dictionary() {
        check_error::<Metainfo<'_>>(b"d8:announce1:x4:infod4:name1:nee", "missing field `pieces`", 20, "info");
        check_error::<Step>(b"d2:God2:ati1eee", "missing field `to`", 5, "Go");
        check_error::<Step>(b"4:Jump", "unknown variant `Jump`", 0, "");
        check_error::<Step>(b"4:Wait", "invalid type: unit variant", 0, "");
        check_error::<Step>(b"d4:Stopi1ee", "invalid type: ", 0, "");
        check_error::<Info<'_>>(b"li1ee", "invalid type: sequence, expected struct Info", 0, "");
        check_error::<bool>(b"i2e", "invalid value: integer `2`, expected 0 or 1", 0, "");
        check_error::<&str>(b"1:\xff", "invalid value: byte array", 0, "");
    }

    #[test]
    fn given_malformed_input_when_read_then_the_error_is_that_of_decoding() {
        for input in [&b"d8:announcei1e"[..], b"i1ee", b"", b"d1:bi1e1:ai2ee", b"li1e", b"i99999999999999999999e"] {
            assert_eq!(decode(input).unwrap_err(), from_bytes::<IgnoredAny>(input).unwrap_err());
            assert_eq!(decode(input).unwrap_err(), from_bytes::<OwnedValue>(input).unwrap_err());
        }
    }

    #[test]
    fn given_parts_read_raw_when_written_then_they_are_the_same_bytes() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Item<'a> {
            #[serde(borrow)]
            v: RawValue<'a>,
            k: OwnedRawValue,
        }
        let input = b"d1:kli1ee1:vd1:ai1eee";
        let item: Item<'_> = from_bytes(input).unwrap();

        assert_eq!((&b"d1:ai1ee"[..], &b"li1ee"[..]), (item.v.as_bytes(), item.k.as_bytes()));
        assert_eq!(input, &to_bytes(&item).unwrap()[..]);
        assert_eq!(item, Item::deserialize(decode(input).unwrap().root()).unwrap());
        assert_eq!(b"li1ee", &item.k.into_bytes()[..]);
        assert!(RawValue::new(b"i1ei2e").is_err() && RawValue::new(b"").is_err());
        // Of someone else, kept as it is within what is ours.
        let theirs = Decoder::lenient().decode(b"d1:bi01e1:ai1ee").unwrap();
        assert_eq!(b"l3:abcd1:bi01e1:ai1eee", &to_bytes(&("abc", RawValue::from(theirs.root()))).unwrap()[..]);
    }

    #[test]
    fn given_info_read_with_its_bytes_when_read_then_both_are_there() {
        #[derive(Debug, Deserialize)]
        struct Torrent<'a> {
            #[serde(borrow)]
            info: WithRaw<'a, Info<'a>>,
        }
        let torrents = [from_bytes(METAINFO).unwrap(), Torrent::deserialize(decode(METAINFO).unwrap().root()).unwrap()];

        for Torrent { info } in torrents {
            assert_eq!(metainfo().info, info.value);
            assert_eq!(decode(METAINFO).unwrap().root().get(b"info").unwrap().raw(), info.raw.as_bytes());
        }
    }

    #[test]
    fn given_what_bencode_has_no_form_for_when_written_then_it_is_refused() {
        check_refusal(1.5_f32, "a float is not encoded");
        check_refusal(((), 1), "a value of the type () is not encoded");
        check_refusal(None::<u8>, "a value that is nothing is not encoded");
        check_refusal([Some(1), None], "an item of a list that is nothing is not encoded");
        check_refusal(BTreeMap::from([(1, 2)]), "a key that is not a string is not encoded");
        check_refusal(u128::MAX, "an integer that is out of range is not encoded");
        check_refusal(BTreeMap::from([(Some('a'), 1), (None, 2)]), "a key that is nothing is not encoded");
        #[derive(Serialize)]
        struct Twice {
            a: u8,
            #[serde(rename = "a")]
            b: u8,
        }
        check_refusal(Twice { a: 1, b: 2 }, "a key that is there twice is not encoded");
        let deep = (0..OWNED_DEPTH_MAX).fold(OwnedValue::list([]), |inner, _| OwnedValue::list([inner]));
        check_refusal(deep, "a value nested deeper than 128 levels is not encoded");
    }

    #[test]
    fn given_a_recursive_type_and_the_deepest_input_when_read_and_written_then_a_small_stack_suffices() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Node {
            n: Option<Box<Self>>,
        }
        let test = || {
            let nested = |levels: usize| [b"d1:n".repeat(levels), b"de".to_vec(), b"e".repeat(levels)].concat();
            let mut limits = bencode::Limits::default();
            limits.depth_max = usize::MAX;
            let decoder = Decoder::strict().limits(limits);

            let deepest = nested(OWNED_DEPTH_MAX - 1);
            let node = Node::deserialize(decoder.decode(&deepest).unwrap().root()).unwrap();
            assert_eq!(deepest, to_bytes(&node).unwrap());
            let owned = OwnedValue::deserialize(decoder.decode(&deepest).unwrap().root()).unwrap();
            assert_eq!(deepest, to_bytes(&owned).unwrap());
            for levels in [OWNED_DEPTH_MAX, 20_000] {
                let too_deep = nested(levels);
                let error = Node::deserialize(decoder.decode(&too_deep).unwrap().root()).unwrap_err();
                assert_eq!(Some(Fault::TooDeep { max: OWNED_DEPTH_MAX }), error.fault());
                assert_eq!(Some(Fault::TooDeep { max: 64 }), from_bytes::<Node>(&too_deep).unwrap_err().fault());
                assert!(IgnoredAny::deserialize(decoder.decode(&too_deep).unwrap().root()).is_ok());
            }
        };
        std::thread::Builder::new().stack_size(512 * 1024).spawn(test).unwrap().join().unwrap();
    }
}
