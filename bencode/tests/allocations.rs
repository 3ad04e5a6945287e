//! How often memory is asked for, and how much, counted.

#[cfg(test)]
mod allocations {
    use allocation_counter::{AllocationInfo, measure};
    use bencode::{Decoder, Limits, OwnedValue, decode, encode, encode_into};

    const PING: &[u8] = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    /// What `Limits` promises.
    const TOKEN_BYTES: u64 = 12;

    /// Decodes it whether it is good or not.
    fn decoding(input: &[u8]) -> AllocationInfo {
        let mut limits = Limits::default();
        (limits.depth_max, limits.tokens_max) = (usize::MAX, usize::MAX);
        let decoder = Decoder::lenient().limits(limits);
        measure(|| drop(decoder.decode(input)))
    }

    #[test]
    fn given_a_small_message_when_decoded_then_memory_is_asked_for_once() {
        assert_eq!(1, decoding(PING).count_total);
    }

    #[test]
    fn given_a_buffer_that_is_used_again_when_a_message_is_encoded_then_no_memory_is_asked_for() {
        let value = decode(PING).unwrap().root().into_owned().unwrap();
        let mut out = encode(&value).unwrap();
        out.clear();

        assert_eq!(0, measure(|| encode_into(&value, &mut out).unwrap()).count_total);
        assert_eq!(PING, out);
    }

    #[test]
    fn given_lengths_that_are_announced_when_decoded_then_no_memory_is_taken_for_them() {
        for input in [&b"d2222222222:l"[..], b"67000000:", b"l67000000:abc", b"i999999999999999999999e"] {
            let most = decoding(input).bytes_max;
            assert!(most <= 1_000, "{most} bytes for {}", input.escape_ascii());
        }
    }

    #[test]
    fn given_a_token_a_byte_when_decoded_then_memory_stays_within_what_the_limits_say() {
        let tokens = 300_000;
        let lists = [b"l".to_vec(), b"le".repeat(tokens / 2), b"e".to_vec()].concat();
        for input in [lists, b"l".repeat(tokens), [b"l".repeat(tokens / 2), b"e".repeat(tokens / 2)].concat()] {
            let most = decoding(&input).bytes_max;
            // The old list beside the new one while it grows.
            let allowed = 2 * TOKEN_BYTES * (tokens as u64 + tokens as u64 / 4);
            assert!(most <= allowed, "{most} bytes, {allowed} allowed");
        }
    }

    #[test]
    fn given_a_long_string_when_decoded_then_it_is_not_copied() {
        let input = encode(&OwnedValue::from(vec![7; 1_000_000])).unwrap();

        assert!(decoding(&input).bytes_total < 1_000);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn given_types_that_borrow_when_read_and_written_then_no_memory_is_asked_for() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Ping<'a> {
            #[serde(borrow)]
            a: Arguments<'a>,
            q: &'a str,
            #[serde(with = "serde_bytes")]
            t: &'a [u8],
        }
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Arguments<'a> {
            #[serde(with = "serde_bytes")]
            id: &'a [u8],
        }
        let mut out = Vec::with_capacity(PING.len());
        let read = measure(|| {
            let ping: Ping<'_> = bencode::from_bytes(PING).unwrap();
            assert_eq!("ping", ping.q);
            bencode::to_bytes_into(&ping, &mut out).unwrap();
        });

        assert_eq!(0, read.count_total);
        assert_eq!(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aae", &out[..]);
    }
}
