//! Input made to exhaust stack, memory or time. Everything here has a stack of 512 KiB.

#[cfg(test)]
mod hostile {
    use bencode::{Decoder, Fault, FrameFinder, Limits, OWNED_DEPTH_MAX, OwnedValue, decode, decode_prefix, encode};

    const STACK_BYTES: usize = 512 * 1024;

    fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(test).unwrap().join().unwrap();
    }

    fn without_limits() -> Decoder {
        let mut limits = Limits::default();
        (limits.depth_max, limits.tokens_max) = (usize::MAX, usize::MAX);
        (limits.string_bytes_max, limits.value_bytes_max) = (usize::MAX, usize::MAX);
        Decoder::lenient().limits(limits)
    }

    /// An integer within so many levels.
    fn nested(open: &[u8], levels: usize) -> Vec<u8> {
        [&open.repeat(levels)[..], b"i0e", &b"e".repeat(levels)].concat()
    }

    #[test]
    fn given_lists_nested_20_kb_deep_when_decoded_then_they_are_refused_at_the_limit() {
        on_a_small_stack(|| {
            for input in [vec![b'l'; 20_000], nested(b"l", 20_000), b"d1:a".repeat(5_000)] {
                let error = decode(&input).unwrap_err();
                assert_eq!(Some(Fault::TooDeep { max: 64 }), error.fault());
                assert!(error.to_string().len() < 300);
            }
        });
    }

    #[test]
    fn given_lists_nested_20_kb_deep_without_limits_when_handled_in_any_way_then_the_stack_suffices() {
        on_a_small_stack(|| {
            for open in [&b"l"[..], b"d1:a"] {
                // Beside it, so that it is skipped.
                let input = [b"d1:a".as_slice(), &nested(open, 20_000)[..], b"1:bi1ee"].concat();
                let document = without_limits().decode(&input).unwrap();
                assert_eq!(Some(1), document.root().get(b"b").and_then(|value| value.as_i64()));

                let mut levels = 0;
                let mut value = document.root();
                while let Some(inner) = value.get(b"a").or_else(|| value.as_list()?.next()) {
                    (value, levels) = (inner, levels + 1);
                }
                assert!(levels >= 20_000);
                assert_eq!(input, document.root().raw());

                let error = document.root().into_owned().unwrap_err();
                assert_eq!(Some(Fault::TooDeep { max: OWNED_DEPTH_MAX }), error.fault());
                let copy = document.clone();
                assert!(format!("{copy:?}").len() < 600);
                drop((document, copy));
            }
        });
    }

    #[test]
    fn given_lists_nested_20_kb_deep_without_limits_when_they_come_in_pieces_or_are_malformed_then_the_stack_suffices()
    {
        on_a_small_stack(|| {
            let input = nested(b"l", 20_000);
            let mut finder = FrameFinder::new(without_limits());
            assert!((0..40_000).step_by(1_000).all(|end| finder.find(&input[..end]).unwrap().is_none()));
            let copy = finder.clone();
            assert_eq!(input, finder.find(&input).unwrap().unwrap().0.raw());
            drop(copy);

            let error = without_limits().decode(&[b"d1:a".repeat(20_000), b"x".to_vec()].concat()).unwrap_err();
            assert_eq!((Some(80_000), "a.a.a.a.a.a.a.a..."), (error.offset(), error.path()));
        });
    }

    #[test]
    fn given_a_list_deep_inside_and_far_along_when_it_is_malformed_then_the_path_costs_no_more_than_the_walk() {
        // A path that were looked for again at every level would take minutes.
        let input = [b"li1e".repeat(200_000), b"x".to_vec()].concat();

        assert!(without_limits().decode(&input).unwrap_err().path().starts_with("[1][1][1]"));
    }

    #[test]
    fn given_an_owned_value_as_deep_as_may_be_when_handled_in_any_way_then_the_stack_suffices() {
        on_a_small_stack(|| {
            for open in [&b"l"[..], b"d1:a"] {
                let input = nested(open, OWNED_DEPTH_MAX);
                let value = without_limits().decode(&input).unwrap().root().into_owned().unwrap();

                assert_eq!(value, value.clone());
                assert!(!format!("{value:#?}").is_empty());
                assert_eq!(input, encode(&value).unwrap());
                assert!(encode(&OwnedValue::List(vec![value])).is_err_and(|error| !error.is_peer_fault()));
            }
        });
    }

    #[test]
    fn given_a_value_built_far_too_deep_when_encoded_then_it_is_an_error() {
        // Dropping it is the builder's business, and takes more.
        let value = (0..1_000).fold(OwnedValue::List(vec![]), |inner, _| OwnedValue::List(vec![inner]));

        assert!(encode(&value).is_err());
    }

    #[test]
    fn given_lengths_near_the_greatest_when_decoded_then_nothing_is_reserved_or_overflows() {
        let length = |length: u128| format!("{length}:abc").into_bytes();
        for input in [length(1 << 62), length((1 << 63) - 1), length(1 << 63), length(u64::MAX.into())] {
            let error = decode(&input).unwrap_err();
            assert!(matches!(error.fault(), Some(Fault::StringTooLong { .. })), "{error}");
            // Offsets have four bytes, whatever the limits.
            let error = without_limits().decode(&input).unwrap_err();
            assert!(matches!(error.fault(), Some(Fault::TooLarge { max: 4_294_967_293 })), "{error}");
        }
        for input in [length(1 << 64), length(u128::MAX), [b"0".repeat(300), b"3:abc".to_vec()].concat()] {
            assert_eq!(Some(Fault::LengthOverflow), without_limits().decode(&input).unwrap_err().fault());
        }
    }

    #[test]
    fn given_a_dictionary_that_announces_a_huge_key_when_decoded_then_it_is_refused_at_once() {
        // As in a decoder that allocated before it looked.
        let error = decode(b"d2222222222:l").unwrap_err();

        assert_eq!(Some(Fault::StringTooLong { length: 2_222_222_222, max: 64 * 1024 * 1024 }), error.fault());
    }

    #[test]
    fn given_a_token_a_byte_when_decoded_then_the_limit_stops_it() {
        let input = [&b"l"[..], &b"le".repeat(600_000), b"e"].concat();

        assert_eq!(Some(Fault::TooManyTokens { max: 1_000_000 }), decode(&input).unwrap_err().fault());
    }

    #[test]
    fn given_a_small_value_before_much_data_when_its_prefix_is_decoded_then_the_data_is_not_looked_at() {
        let input = [b"de".to_vec(), b"l".repeat(1_000_000)].concat();

        assert_eq!(1_000_000, decode_prefix(&input).unwrap().1.len());
    }
}
