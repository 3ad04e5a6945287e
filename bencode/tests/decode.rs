//! What decodes, to what, and what is said about the rest.

#[cfg(test)]
mod decode {
    use bencode::{
        Decoder, Deviation, Document, Error, Fault, Integer, Kind, Limits, OwnedValue, decode, decode_prefix, encode,
    };

    /// From BEP 3 and BEP 5, as printed there.
    const PUBLISHED: [&[u8]; 10] = [
        b"4:spam",
        b"0:",
        b"i3e",
        b"i-3e",
        b"i0e",
        b"l4:spam4:eggse",
        b"d3:cow3:moo4:spam4:eggse",
        b"d4:spaml1:a1:bee",
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
        b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
    ];

    fn int(integer: i64) -> OwnedValue {
        integer.into()
    }

    fn check(input: &[u8], expected: OwnedValue) {
        let decoded = decode(input).unwrap().root().into_owned().unwrap();

        assert_eq!(expected, decoded);
        assert_eq!(input, encode(&decoded).unwrap());
    }

    /// Fault, offset and path, which both modes agree on.
    fn check_fault(input: &[u8], fault: Fault, offset: usize, path: &str) {
        for decoder in [Decoder::strict(), Decoder::lenient()] {
            let error = decoder.decode(input).unwrap_err();
            assert_eq!((fault, offset, path), of(&error), "{}: {error}", input.escape_ascii());
            assert!(error.is_peer_fault());
        }
    }

    fn of(error: &Error) -> (Fault, usize, &str) {
        match error {
            Error::Decode { fault, offset, path, .. } => (*fault, *offset, path),
            other => panic!("{other}"),
        }
    }

    /// Strict refuses it there, lenient says so and decodes it as `canonical`.
    fn check_deviation(input: &[u8], deviation: Deviation, offset: usize, canonical: &[u8]) {
        let error = decode(input).unwrap_err();
        let lenient = Decoder::lenient().decode(input).unwrap();

        assert_eq!((Fault::NotCanonical(deviation), offset), (of(&error).0, of(&error).1), "{error}");
        assert_eq!(vec![(deviation, offset)], lenient.deviations().iter().collect::<Vec<_>>());
        assert_eq!(canonical, encode(&lenient.root().into_owned().unwrap()).unwrap());
        assert_eq!(input, lenient.raw());
    }

    #[test]
    fn given_published_examples_when_decoded_and_encoded_then_they_are_the_same() {
        for input in PUBLISHED {
            let document = decode(input).unwrap();
            assert!(document.deviations().is_empty());
            assert_eq!(input, document.raw());
            assert_eq!(input, document.root().raw());
            assert_eq!(input, encode(&document.root().into_owned().unwrap()).unwrap());
        }
    }

    #[test]
    fn given_each_kind_when_decoded_then_it_has_its_value() {
        check(b"i-42e", int(-42));
        check(b"3:\x00\xff:", OwnedValue::from(&b"\x00\xff:"[..]));
        check(b"le", OwnedValue::List(vec![]));
        check(b"de", OwnedValue::dict::<&str>([]));
        check(
            b"li1eli2eed0:i3eee",
            OwnedValue::list([int(1), OwnedValue::list([int(2)]), OwnedValue::dict([("", int(3))])]),
        );
        check(
            b"d1:ad1:bl1:cee1:di4ee",
            OwnedValue::dict([("a", OwnedValue::dict([("b", OwnedValue::list(["c".into()]))])), ("d", int(4))]),
        );
    }

    #[test]
    fn given_values_when_read_as_another_kind_then_there_is_none() {
        let document = decode(b"d1:bi-1e1:s2:\xff\xfee").unwrap();
        let (integer, string) = (document.root().get(b"b").unwrap(), document.root().get(b"s").unwrap());

        assert_eq!(
            [Kind::Dict, Kind::Integer, Kind::Bytes],
            [document.root(), integer, string].map(|value| value.kind())
        );
        assert_eq!((Some(-1), None, None), (integer.as_i64(), integer.as_u64(), integer.as_bytes()));
        assert_eq!((None, None), (string.as_integer(), string.as_str()));
        assert!(string.as_list().is_none() && string.as_dict().is_none() && string.get(b"b").is_none());
        assert!(document.root().get(b"c").is_none());
    }

    #[test]
    fn given_integers_at_the_edges_when_decoded_then_they_are_exact_and_the_next_ones_are_errors() {
        let value = |text: &str| decode(format!("i{text}e").as_bytes()).map(|document| document.root().as_integer());

        assert_eq!(Ok(Some(Integer::MAX)), value("18446744073709551615"));
        assert_eq!(Ok(Some(Integer::from(u64::MAX))), value("18446744073709551615"));
        assert_eq!(Ok(Some(Integer::MIN)), value("-9223372036854775808"));
        assert_eq!(Some(None), decode(b"i9223372036854775808e").ok().map(|document| document.root().as_i64()));
        for text in ["18446744073709551616", "-9223372036854775809", &"9".repeat(1000)] {
            assert_eq!(Some(Fault::IntegerOverflow), value(text).unwrap_err().fault());
        }
        for integer in [Integer::MIN, Integer::MAX] {
            check(format!("i{integer}e").as_bytes(), integer.into());
        }
    }

    #[test]
    fn given_sub_values_when_asked_for_their_bytes_then_they_are_exact() {
        let input = b"d4:infod5:filesld6:lengthi1eee4:name1:ne3:vxyi-7ee";
        let document = decode(input).unwrap();
        let info = document.root().get(b"info").unwrap();
        let files: Vec<_> = info.get(b"files").unwrap().as_list().unwrap().collect();

        assert_eq!(b"d5:filesld6:lengthi1eee4:name1:ne", info.raw());
        assert_eq!(info.raw(), &input[info.span()]);
        assert_eq!(1, files.len());
        assert_eq!(b"d6:lengthi1ee", files[0].raw());
        assert_eq!(b"1:n", info.get(b"name").unwrap().raw());
        assert_eq!(b"i-7e", document.root().get(b"vxy").unwrap().raw());
    }

    #[test]
    fn given_bytes_behind_a_value_when_decoded_then_they_are_an_error_or_returned() {
        check_fault(b"d8:msg_typei1eedata", Fault::TrailingBytes, 15, "");
        check_fault(b"i1ee", Fault::TrailingBytes, 3, "");

        for input in [&b"d8:msg_typei1eedata"[..], b"d8:msg_typei1ee", b"d8:msg_typei1ee\xff"] {
            let (document, rest) = decode_prefix(input).unwrap();
            assert_eq!(&input[15..], rest);
            assert_eq!(b"d8:msg_typei1ee", document.raw());
            assert_eq!(document.raw(), document.root().raw());
        }
    }

    #[test]
    fn given_malformed_input_when_decoded_then_the_fault_is_named_where_it_is() {
        let unexpected = |expected, byte| Fault::Unexpected { expected, byte };
        check_fault(b"", Fault::Truncated, 0, "");
        check_fault(b"x", unexpected("a value", b'x'), 0, "");
        check_fault(b"e", unexpected("a value", b'e'), 0, "");
        check_fault(b"-1:", unexpected("a value", b'-'), 0, "");
        check_fault(b"ie", unexpected("a digit", b'e'), 1, "");
        check_fault(b"i-e", unexpected("a digit", b'e'), 2, "");
        check_fault(b"i--1e", unexpected("a digit", b'-'), 2, "");
        check_fault(b"i 1e", unexpected("a digit", b' '), 1, "");
        check_fault(b"i1.0e", unexpected("a digit or 'e'", b'.'), 2, "");
        check_fault(b"2;ab", unexpected("a digit or ':'", b';'), 1, "");
        check_fault(b"5:abcd", Fault::Truncated, 6, "");
        check_fault(b"di1ei2ee", Fault::KeyNotString, 1, "");
        check_fault(b"dlei2ee", Fault::KeyNotString, 1, "");
        check_fault(b"d1:ae", Fault::MissingValue, 4, "a");
        check_fault(b"d1:ai1e1:be", Fault::MissingValue, 10, "b");
    }

    #[test]
    fn given_a_fault_deep_inside_when_decoded_then_the_path_leads_there() {
        let unexpected = Fault::Unexpected { expected: "a digit", byte: b'x' };
        check_fault(b"d4:infod5:filesld6:lengthi1eed6:lengthixeeeee", unexpected, 39, "info.files[1].length");
        check_fault(b"lli1eli2eix", unexpected, 10, "[0][1][1]");
        check_fault(b"d2:\n\xffix", unexpected, 6, "\\n\\xff");
        check_fault(&[b"d40:", &[b'k'; 40][..], b"ix"].concat(), unexpected, 45, &format!("{}...", "k".repeat(32)));
        check_fault(&[b"d1:a".repeat(20), b"ix".to_vec()].concat(), unexpected, 81, "a.a.a.a.a.a.a.a...");
    }

    #[test]
    fn given_input_that_is_not_canonical_when_decoded_then_strict_refuses_and_lenient_reports() {
        check_deviation(b"i007e", Deviation::LeadingZero, 0, b"i7e");
        check_deviation(b"i-07e", Deviation::LeadingZero, 0, b"i-7e");
        check_deviation(b"i00e", Deviation::LeadingZero, 0, b"i0e");
        check_deviation(b"i-0e", Deviation::NegativeZero, 0, b"i0e");
        check_deviation(b"i+7e", Deviation::PlusSign, 0, b"i7e");
        check_deviation(b"l02:abe", Deviation::LengthLeadingZero, 1, b"l2:abe");
        check_deviation(b"d1:bi1e1:ai2ee", Deviation::UnsortedKeys, 7, b"d1:ai2e1:bi1ee");
        check_deviation(b"d1:bi1e1:ad1:ci1eee", Deviation::UnsortedKeys, 7, b"d1:ad1:ci1ee1:bi1ee");
        check_deviation(b"d1:ai1e1:ai2ee", Deviation::DuplicateKey, 7, b"d1:ai1ee");
        // A longer key sorts behind its beginning, and bytes count as unsigned.
        check_deviation(b"d2:aai1e1:ai2ee", Deviation::UnsortedKeys, 8, b"d1:ai2e2:aai1ee");
        check_deviation(b"d1:\xffi1e1:ai2ee", Deviation::UnsortedKeys, 7, b"d1:ai2e1:\xffi1ee");
    }

    #[test]
    fn given_several_deviations_when_decoded_leniently_then_the_first_of_each_is_reported() {
        let document = Decoder::lenient().decode(b"d1:bi01e1:ai02e1:ci-0ee").unwrap();
        let found: Vec<_> = document.deviations().iter().collect();

        assert_eq!(
            vec![(Deviation::UnsortedKeys, 8), (Deviation::LeadingZero, 4), (Deviation::NegativeZero, 18)],
            found
        );
        assert_eq!(Some(Some(2)), document.root().get(b"a").map(|value| value.as_i64()));
    }

    #[test]
    fn given_input_at_and_beyond_each_limit_when_decoded_then_only_the_latter_is_refused() {
        let mut limits = Limits::default();
        (limits.depth_max, limits.tokens_max, limits.string_bytes_max) = (2, 6, 3);
        let decoder = Decoder::strict().limits(limits);
        let fault = |input: &[u8]| decoder.decode(input).map_err(|error| (of(&error).0, of(&error).1)).map(|_| ());

        assert_eq!(Ok(()), fault(b"lli1eee"));
        assert_eq!(Err((Fault::TooDeep { max: 2 }, 2)), fault(b"llleee"));
        assert_eq!(Ok(()), fault(b"li1ei2ei3ei4ee"));
        assert_eq!(Err((Fault::TooManyTokens { max: 6 }, 16)), fault(b"li1ei2ei3ei4ei5ee"));
        assert_eq!(Ok(()), fault(b"3:abc"));
        assert_eq!(Err((Fault::StringTooLong { length: 4, max: 3 }, 0)), fault(b"4:"));
    }

    #[test]
    fn given_every_beginning_of_valid_input_when_decoded_then_it_is_truncated_and_nothing_else() {
        for input in PUBLISHED {
            for end in 0..input.len() {
                let error = decode(&input[..end]).unwrap_err();
                assert!(error.is_truncated(), "{}: {error}", input[..end].escape_ascii());
            }
        }
    }

    #[test]
    fn given_a_function_that_returns_what_it_read_when_called_then_the_document_need_not_live() {
        fn name(input: &[u8]) -> Option<&[u8]> {
            let document: Document<'_> = decode(input).ok()?;
            document.root().get(b"name")?.as_bytes()
        }

        assert_eq!(Some(&b"zest"[..]), name(b"d4:name4:zeste"));
    }
}
