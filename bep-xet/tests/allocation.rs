//! What is held of a peer. One test in a process of its own: whatever else runs would be counted too.

#[cfg(test)]
mod allocation {
    use std::time::{Duration, Instant};

    use bep_xet::{ChunkResponse, Config, Deadlines, Dialect, Event, Exchange, Limits, Message, Object, Range};
    use bytes::Bytes;
    use peak_alloc::PeakAlloc;
    use xet_cas::xorb::RecordHeader;
    use xet_cas::{ChunkRange, Scheme, XorbHash};

    #[global_allocator]
    static ALLOCATOR: PeakAlloc = PeakAlloc;

    const KIB: usize = 1024;
    const RESPONSE_BYTES: usize = 16 * 1024 * KIB;

    /// Bytes held at most while something runs, beyond what was held before.
    fn held<T>(run: impl FnOnce() -> T) -> usize {
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        drop(run());
        ALLOCATOR.peak_usage().saturating_sub(before)
    }

    fn check_decode(dialect: Dialect, payload: &[u8]) {
        let (payload, limits) = (Bytes::copy_from_slice(payload), Limits::default());
        let held = held(|| Message::decode_in(dialect, payload.clone(), &limits));
        assert!(held <= 4 * KIB + 4 * payload.len(), "{held} bytes for {payload:?}");
    }

    /// Sends a response of 16 MiB in pieces, and returns what is held of it. `repeated` is its data, over and over.
    #[expect(clippy::disallowed_methods, reason = "a time to count from")]
    fn held_of_a_response(collected_bytes_max: u64, repeated: &Bytes) -> usize {
        let now = Instant::now();
        let mut limits = Limits::default();
        limits.collected_bytes_max = collected_bytes_max;
        let mut us = Exchange::for_peer(Config::default(), limits, Some("zest/0.4"), None, now).unwrap();
        let range = Range::chunks(Object::xorb(XorbHash::ZERO), ChunkRange { start: 0, end: 1 });
        let deadlines = Deadlines { progress: Duration::from_secs(5), total: Duration::from_secs(60) };
        us.request_range(range, deadlines, now).unwrap();
        let count = RESPONSE_BYTES / repeated.len();
        let length = (count * repeated.len()) as u32;
        held(|| {
            let head = ChunkResponse { id: 1, chunk_offset: Some(0), length, data: Bytes::new() };
            us.handle_message(Message::ChunkResponse(head), now).unwrap();
            for _ in 0..count {
                us.handle_message(Message::ChunkData(repeated.clone()), now).unwrap();
            }
            assert!(matches!(us.poll_event(), Some(Event::Unproven { .. })));
        })
    }

    fn records(length: u32, count: usize) -> Bytes {
        let header = RecordHeader { scheme: Scheme::None, stored_length: length, raw_length: length };
        [&header.encode()[..], &vec![7; length as usize]].concat().repeat(count).into()
    }

    #[test]
    fn given_what_lies_about_its_length_when_it_comes_then_no_more_is_held_than_its_bytes_and_limits_justify() {
        for (dialect, payload) in [
            (Dialect::V2, "10 00000001 00 0400"),
            (Dialect::V2, "11 00000001 0400"),
            (Dialect::V2, "13 00000001 00 00000001 00000000 00002000 aabb"),
            (Dialect::V2, "13 00000001 00 00000001 00000000 ffffffff aabb"),
            (Dialect::Base, "02 00000001 0001ffff 61"),
            (Dialect::Base, "02 00000001 ffffffff 61"),
            (Dialect::Ranged, "02 00000001 00000000 03ffffff 61"),
        ] {
            let digits: Vec<char> = payload.chars().filter(|c| !c.is_whitespace()).collect();
            let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
            check_decode(dialect, &digits.chunks(2).map(byte).collect::<Vec<_>>());
        }

        let budget = 1 << 30;
        let large = records(65_536, 4);
        let collected = held_of_a_response(budget, &large);
        assert!((RESPONSE_BYTES * 9 / 10..RESPONSE_BYTES * 11 / 10).contains(&collected), "{collected} bytes");

        let passed_over = held_of_a_response(RESPONSE_BYTES as u64 / 2, &large);
        assert!(passed_over < 64 * KIB, "{passed_over} bytes");

        let tiny = held_of_a_response(budget, &records(1, 10_000));
        assert!(tiny < 4 * 1024 * KIB, "{tiny} bytes: chunks are counted too");

        let no_records = held_of_a_response(budget, &Bytes::from(vec![0xff; 99_999]));
        assert!(no_records < 64 * KIB, "{no_records} bytes");
    }
}
