//! Values found in bytes that arrive in pieces.

#[cfg(test)]
mod frames {
    use bencode::{Decoder, Error, Fault, FrameFinder, Limits, decode_prefix};

    const MESSAGES: [&[u8]; 5] =
        [b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe", b"i-7e", b"le", b"0:", b"l4:spami300eldeee"];

    fn finder(limits: impl FnOnce(&mut Limits)) -> FrameFinder {
        let mut with = Limits::default();
        limits(&mut with);
        FrameFinder::new(Decoder::strict().limits(with))
    }

    /// Feeds a byte more at a time, until there is a value or an error.
    fn byte_by_byte(mut finder: FrameFinder, input: &[u8]) -> Result<Option<usize>, Error> {
        for end in 0..=input.len() {
            if let Some((document, rest)) = finder.find(&input[..end])? {
                assert!(rest.is_empty());
                assert_eq!(document.root().raw(), document.raw());
                return Ok(Some(document.raw().len()));
            }
        }
        Ok(None)
    }

    #[test]
    fn given_a_stream_of_messages_when_it_comes_byte_by_byte_then_each_is_found_at_its_last_byte() {
        let mut finder = FrameFinder::new(Decoder::strict());
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        for byte in MESSAGES.concat() {
            buffer.push(byte);
            if let Some((document, rest)) = finder.find(&buffer).unwrap() {
                assert!(rest.is_empty());
                found.push(document.raw().to_vec());
                buffer.clear();
            }
        }

        assert_eq!(MESSAGES.map(<[u8]>::to_vec).to_vec(), found);
    }

    #[test]
    fn given_several_messages_at_once_when_looked_for_then_each_comes_with_what_follows_it() {
        let stream = MESSAGES.concat();
        let (mut finder, mut rest) = (FrameFinder::default(), &stream[..]);
        for message in MESSAGES {
            let (document, behind) = finder.find(rest).unwrap().unwrap();
            assert_eq!(message, document.raw());
            rest = behind;
        }

        assert!(rest.is_empty());
        assert!(finder.find(rest).unwrap().is_none());
    }

    #[test]
    fn given_malformed_input_when_it_comes_byte_by_byte_then_the_error_is_that_of_the_whole() {
        let inputs: [&[u8]; 12] = [
            b"x",
            b"ixe",
            b"d1:ae",
            b"di1ei2ee",
            b"l3:abcxe",
            b"i18446744073709551616e",
            b"18446744073709551616:",
            b"d1:bi1e1:ai1ee",
            b"d1:ad1:bl1:xi01eeee",
            b"i-0e",
            b"67108865:",
            b"99999999999999999999999",
        ];
        for input in inputs {
            let whole = decode_prefix(input).unwrap_err();
            assert_eq!(Err(whole), byte_by_byte(FrameFinder::default(), input), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn given_an_error_when_looked_again_then_it_is_the_same() {
        let mut finder = FrameFinder::default();
        let error = finder.find(b"d1:bi1e1:a").unwrap_err();

        assert_eq!(error, finder.find(b"d1:bi1e1:ai1ee").unwrap_err());
    }

    #[test]
    fn given_a_length_beyond_what_a_value_may_have_when_it_is_announced_then_it_is_refused_before_it_is_buffered() {
        let announced = |input| finder(|limits| limits.value_bytes_max = 100).find(input).unwrap_err().fault();

        assert_eq!(Some(Fault::TooLarge { max: 100 }), announced(b"l98:"));
        assert_eq!(Some(Fault::StringTooLong { length: 1 << 31, max: 64 << 20 }), announced(b"2147483648:"));
        assert!(finder(|limits| limits.value_bytes_max = 100).find(b"l95:").unwrap().is_none());
    }

    #[test]
    fn given_a_value_that_never_ends_when_it_comes_then_each_limit_stops_it() {
        let lists = |levels: usize| b"l".repeat(levels);
        let items = [b"l".to_vec(), b"le".repeat(100)].concat();
        let stopped = |finder, input: &[u8]| byte_by_byte(finder, input).unwrap_err().fault();

        assert_eq!(Some(Fault::TooDeep { max: 64 }), stopped(FrameFinder::default(), &lists(20_000)));
        assert_eq!(Some(Fault::TooManyTokens { max: 50 }), stopped(finder(|limits| limits.tokens_max = 50), &items));
        assert_eq!(Some(Fault::TooLarge { max: 50 }), stopped(finder(|limits| limits.value_bytes_max = 50), &items));
        // Zeros for ever are no number.
        assert_eq!(
            Some(Fault::IntegerOverflow),
            stopped(FrameFinder::default(), &[b"i", &b"0".repeat(99)[..]].concat())
        );
        assert_eq!(Some(Fault::LengthOverflow), stopped(FrameFinder::default(), &b"0".repeat(99)));
    }

    #[test]
    fn given_a_limit_on_bytes_when_a_value_has_just_so_many_then_it_is_found() {
        for (bytes_max, expected) in [(4, Ok(Some(4))), (3, Err(Some(Fault::TooLarge { max: 3 })))] {
            let found = byte_by_byte(finder(|limits| limits.value_bytes_max = bytes_max), b"i42e");
            assert_eq!(expected, found.map_err(|error| error.fault()));
            let mut limits = Limits::default();
            limits.value_bytes_max = bytes_max;
            let decoded = Decoder::strict().limits(limits).decode(b"i42e");
            assert_eq!(expected.map(|_| ()), decoded.map(|_| ()).map_err(|error| error.fault()));
        }
    }

    #[test]
    fn given_another_buffer_in_between_when_looked_for_then_nothing_breaks() {
        for other in [&b""[..], b"d", b"l1:", b"99:", b"dddddddddddddddddddd", b"i1e"] {
            let mut finder = FrameFinder::default();
            assert!(finder.find(b"d1:ad1:bi1e1:ci2e").unwrap().is_none());
            if let Ok(Some((document, _))) = finder.find(other) {
                assert!(format!("{document:?}{:?}", document.root().into_owned()).len() < 1_000);
            }
        }
    }
}
