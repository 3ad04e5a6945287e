//! Which messages may come at which point.

#[cfg(test)]
mod peer_state {
    use std::time::{Duration, Instant};

    use bt_wire::{
        Block, Capability, DontHave, HashRange, Limits, Message, PeerState, Pieces, REQUESTS_MAX, Reserved, Violation,
    };
    use bytes::Bytes;

    /// Ten pieces of 32 KiB, the last one of 10,000 bytes.
    fn pieces() -> Pieces {
        Pieces::new(9 * 32_768 + 10_000, 32_768).unwrap()
    }

    fn with(capabilities: &[Capability]) -> PeerState {
        let in_use = capabilities.iter().fold(Reserved::default(), |reserved, bit| reserved.with(*bit));
        let mut limits = Limits::default();
        limits.pieces = Some(pieces());
        PeerState::new(in_use, limits)
    }

    fn plain() -> PeerState {
        with(&[Capability::ExtensionProtocol])
    }

    fn fast() -> PeerState {
        with(&[Capability::ExtensionProtocol, Capability::Fast])
    }

    #[expect(clippy::disallowed_methods, reason = "there is no other way to make an instant")]
    fn start() -> Instant {
        Instant::now()
    }

    /// What becomes of the last of these messages, all others being fine.
    fn check(mut state: PeerState, messages: impl IntoIterator<Item = Message>) -> Result<(), Violation> {
        let mut messages: Vec<Message> = messages.into_iter().collect();
        let (now, last) = (start(), messages.pop().unwrap());
        for message in messages {
            state.handle_message(&message, now).unwrap();
        }
        state.handle_message(&last, now)
    }

    fn bitfield(bits: &'static [u8]) -> Message {
        Message::Bitfield(Bytes::from_static(bits))
    }

    fn block(piece: u32, begin: u32, length: u32) -> Block {
        Block { piece, begin, length }
    }

    fn data(block: Block) -> Message {
        Message::Piece { piece: block.piece, begin: block.begin, data: vec![0; block.length as usize].into() }
    }

    #[test]
    fn given_a_bitfield_when_it_is_first_then_it_says_what_the_peer_has() {
        let mut state = plain();
        let before = [Message::KeepAlive, Message::Extended { id: 0, payload: Bytes::new() }, Message::Port(1)];
        for message in before.into_iter().chain([bitfield(b"\x80\x40"), Message::Have { piece: 2 }]) {
            state.handle_message(&message, start()).unwrap();
        }
        assert_eq!(vec![0, 2, 9], (0..20).filter(|piece| state.has(*piece)).collect::<Vec<_>>());
    }

    #[test]
    fn given_a_bitfield_when_it_is_not_first_or_not_the_only_one_then_it_is_a_violation() {
        let ok = bitfield(b"\xff\xc0");
        let not_first = Err(Violation::NotFirst { name: "bitfield" });
        let twice = |name| Err(Violation::PiecesToldTwice { name });

        for first in [Message::Have { piece: 1 }, Message::Unchoke, Message::Interested] {
            assert_eq!(not_first, check(plain(), [first, ok.clone()]));
        }
        assert_eq!(twice("bitfield"), check(plain(), [ok.clone(), ok.clone()]));
        assert_eq!(twice("have all"), check(fast(), [Message::HaveAll, Message::HaveAll]));
        assert_eq!(twice("have none"), check(fast(), [ok.clone(), Message::HaveNone]));
        assert_eq!(twice("bitfield"), check(fast(), [Message::HaveNone, ok]));
    }

    #[test]
    fn given_a_bitfield_when_its_length_or_spare_bits_are_wrong_then_it_is_a_violation() {
        assert_eq!(Ok(()), check(plain(), [bitfield(b"\xff\xc0")]));
        for (bits, bytes) in [(&b""[..], 0), (b"\xff", 1), (b"\xff\xc0\0", 3)] {
            assert_eq!(Err(Violation::BitfieldLength { bytes, expected: 2 }), check(plain(), [bitfield(bits)]));
        }
        assert_eq!(Err(Violation::SpareBits), check(plain(), [bitfield(b"\xff\xe0")]));
        assert_eq!(Err(Violation::SpareBits), check(plain(), [bitfield(b"\0\x01")]));
    }

    #[test]
    fn given_pieces_beyond_the_last_when_named_then_it_is_a_violation() {
        let no_piece = |name| Err(Violation::NoSuchPiece { name, piece: 10 });
        assert_eq!(Ok(()), check(plain(), [Message::Have { piece: 9 }]));
        assert_eq!(no_piece("have"), check(plain(), [Message::Have { piece: 10 }]));
        assert_eq!(no_piece("suggest piece"), check(fast(), [Message::SuggestPiece { piece: 10 }]));
        assert_eq!(no_piece("allowed fast"), check(fast(), [Message::AllowedFast { piece: 10 }]));
        assert_eq!(no_piece("lt_donthave"), plain().handle_dont_have(DontHave { piece: 10 }));
    }

    #[test]
    fn given_messages_of_extensions_that_are_not_in_use_when_they_come_then_it_is_a_violation() {
        let range = HashRange { pieces_root: [0; 32], base_layer: 0, index: 0, length: 2, proof_layers: 0 };
        for message in [
            Message::SuggestPiece { piece: 1 },
            Message::HaveAll,
            Message::HaveNone,
            Message::RejectRequest(block(0, 0, 1)),
            Message::AllowedFast { piece: 1 },
            Message::HashRequest(range),
            Message::Hashes { range, hashes: Bytes::new() },
            Message::HashReject(range),
        ] {
            let refused = check(plain(), [message.clone()]);
            assert!(matches!(refused, Err(Violation::NotNegotiated { .. })), "{message:?}");
        }
        let extended = Message::Extended { id: 1, payload: Bytes::new() };
        assert!(matches!(check(with(&[]), [extended]), Err(Violation::NotNegotiated { name: "extended" })));
    }

    #[test]
    fn given_requests_when_they_are_of_no_block_then_it_is_a_violation() {
        let request = |piece, begin, length| check(plain(), [Message::Request(block(piece, begin, length))]);
        assert_eq!(Ok(()), request(0, 16_384, 16_384));
        assert_eq!(Ok(()), request(9, 0, 10_000));
        for (piece, begin, length) in
            [(0, 0, 0), (0, 16_384, 16_385), (9, 0, 10_001), (10, 0, 1), (0, u32::MAX, 2), (0, 1, u32::MAX)]
        {
            let violation = Violation::NoSuchBlock { name: "request", piece, begin, length };
            assert_eq!(Err(violation), request(piece, begin, length));
        }
        let mut limits = Limits::default();
        limits.pieces = Pieces::new(1 << 30, 1 << 24);
        let large = Message::Request(block(0, 0, 131_073));
        assert!(check(PeerState::new(Reserved::default(), limits), [large]).is_err());
        let cancel = Message::Cancel(block(10, 0, 1));
        assert!(matches!(check(plain(), [cancel]), Err(Violation::NoSuchBlock { name: "cancel", .. })));
    }

    #[test]
    fn given_more_requests_than_allowed_when_they_come_then_it_is_a_violation_choked_or_not() {
        for choked in [true, false] {
            for mut state in [plain(), fast()] {
                state.set_requests_max(5);
                state.handle_sent(if choked { &Message::Choke } else { &Message::Unchoke });
                let request = |at| Message::Request(block(0, at, 1));
                for at in 0..5 {
                    state.handle_message(&request(at), start()).unwrap();
                }
                let refused = state.handle_message(&request(5), start());
                assert_eq!(Err(Violation::TooManyRequests { max: 5 }), refused);
            }
        }
        assert_eq!(2_000, REQUESTS_MAX);
    }

    #[test]
    fn given_requests_that_are_answered_or_taken_back_when_counted_then_there_is_room_again() {
        for (mut state, after_cancel) in [(plain(), 1), (fast(), 2)] {
            state.handle_sent(&Message::Unchoke);
            for at in 0..3 {
                state.handle_message(&Message::Request(block(0, at, 1)), start()).unwrap();
            }
            state.handle_sent(&data(block(0, 0, 1)));
            assert_eq!(2, state.peer_requests());
            state.handle_message(&Message::Cancel(block(0, 1, 1)), start()).unwrap();
            assert_eq!(after_cancel, state.peer_requests());
            state.handle_sent(&Message::RejectRequest(block(0, 1, 1)));
            assert_eq!(1, state.peer_requests());
            state.handle_sent(&Message::Choke);
            // With the fast extension each has to be rejected.
            assert_eq!(after_cancel - 1, state.peer_requests());
        }
    }

    #[test]
    fn given_blocks_when_they_were_not_asked_for_then_it_is_a_violation() {
        let (asked, not_requested) = (block(1, 0, 16_384), Err(Violation::NotRequested { name: "piece" }));
        let mut state = plain();
        assert_eq!(not_requested, state.handle_message(&data(asked), start()));
        state.handle_sent(&Message::Request(asked));
        for other in [block(1, 0, 16_383), block(1, 1, 16_384), block(2, 0, 16_384)] {
            assert_eq!(not_requested, state.handle_message(&data(other), start()));
        }
        assert_eq!(1, state.requests());
        assert_eq!(Ok(()), state.handle_message(&data(asked), start()));
        assert_eq!(0, state.requests());
        assert_eq!(not_requested, state.handle_message(&data(asked), start()));

        let reject = Message::RejectRequest(asked);
        assert_eq!(Err(Violation::NotRequested { name: "reject request" }), fast().handle_message(&reject, start()));
    }

    #[test]
    fn given_blocks_that_cross_a_cancel_or_a_choke_when_they_come_then_they_are_welcome() {
        let asked = block(1, 0, 16_384);
        for crossing in [None, Some(Message::Cancel(asked))] {
            let mut state = plain();
            state.handle_message(&Message::Unchoke, start()).unwrap();
            state.handle_sent(&Message::Request(asked));
            match crossing {
                Some(cancel) => state.handle_sent(&cancel),
                None => state.handle_message(&Message::Choke, start()).unwrap(),
            }
            assert_eq!(0, state.requests());
            // Asked for again: both may be answered.
            state.handle_sent(&Message::Request(asked));
            for _ in 0..2 {
                assert_eq!(Ok(()), state.handle_message(&data(asked), start()));
            }
            assert!(state.handle_message(&data(asked), start()).is_err());
        }
        // With the fast extension, each is answered or rejected.
        let mut state = fast();
        state.handle_sent(&Message::Request(asked));
        state.handle_sent(&Message::Cancel(asked));
        state.handle_message(&Message::Choke, start()).unwrap();
        assert_eq!(1, state.requests());
        assert_eq!(Ok(()), state.handle_message(&Message::RejectRequest(asked), start()));
        assert_eq!(0, state.requests());
    }

    #[test]
    fn given_a_peer_that_chokes_when_a_piece_is_allowed_fast_then_it_may_be_asked_for() {
        let mut state = fast();
        for message in [Message::HaveAll, Message::AllowedFast { piece: 3 }] {
            state.handle_message(&message, start()).unwrap();
        }
        assert!(state.may_request(3) && !state.may_request(4) && !state.may_request(10));
        state.handle_message(&Message::Unchoke, start()).unwrap();
        assert!(state.may_request(4) && !state.may_request(10));
        state.handle_dont_have(DontHave { piece: 4 }).unwrap();
        assert!(!state.has(4) && state.has(9) && !state.has(10));
        state.handle_message(&Message::Have { piece: 4 }, start()).unwrap();
        assert!(state.has(4));
    }

    #[test]
    fn given_states_of_choke_and_interest_when_told_then_they_are_remembered() {
        let mut state = plain();
        let all = |state: &PeerState| {
            [state.is_peer_choking(), state.is_peer_interested(), state.am_choking(), state.am_interested()]
        };
        assert_eq!([true, false, true, false], all(&state));
        state.handle_message(&Message::Unchoke, start()).unwrap();
        state.handle_message(&Message::Interested, start()).unwrap();
        state.handle_sent(&Message::Unchoke);
        state.handle_sent(&Message::Interested);
        assert_eq!([false, true, false, true], all(&state));
        state.handle_message(&Message::Choke, start()).unwrap();
        state.handle_message(&Message::NotInterested, start()).unwrap();
        state.handle_sent(&Message::Choke);
        state.handle_sent(&Message::NotInterested);
        assert_eq!([true, false, true, false], all(&state));
    }

    #[test]
    fn given_hash_messages_when_checked_then_ranges_are_of_trees_and_answers_were_asked_for() {
        let range = |index, length| HashRange { pieces_root: [1; 32], base_layer: 0, index, length, proof_layers: 5 };
        let state = || with(&[Capability::V2]);
        let request = |range| check(state(), [Message::HashRequest(range)]);
        assert_eq!(Ok(()), request(range(512, 512)));
        let mut deep = range(0, 2);
        (deep.base_layer, deep.proof_layers) = (u32::MAX, u32::MAX);
        for bad in [range(0, 0), range(0, 1), range(0, 3), range(1, 2), range(0, 16_384), deep] {
            assert_eq!(Err(Violation::NoSuchHashes { name: "hash request" }), request(bad));
        }

        let mut state = state();
        let asked = range(0, 2);
        let hashes = Message::Hashes { range: asked, hashes: vec![0; 64].into() };
        assert!(state.handle_message(&hashes, start()).is_err());
        state.handle_sent(&Message::HashRequest(asked));
        assert_eq!(Ok(()), state.handle_message(&hashes, start()));
        let reject = Message::HashReject(asked);
        assert_eq!(Err(Violation::NotRequested { name: "hash reject" }), state.handle_message(&reject, start()));
    }

    #[test]
    fn given_keep_alives_and_extension_handshakes_when_they_come_for_ever_then_it_is_a_flood() {
        let handshake = Message::Extended { id: 0, payload: Bytes::new() };
        for (message, at_once, interval) in [(Message::KeepAlive, 20, 10), (handshake, 10, 30)] {
            let (mut state, begin) = (plain(), start());
            for _ in 0..at_once {
                state.handle_message(&message, begin).unwrap();
            }
            let flood = state.handle_message(&message, begin);
            assert!(matches!(flood, Err(Violation::Flood { .. })));
            for round in 1..100 {
                let now = begin + Duration::from_secs(round * interval);
                state.handle_message(&message, now).unwrap();
            }
        }
    }

    #[test]
    fn given_pieces_that_become_known_later_when_learned_then_what_was_told_is_checked() {
        let learn = |told: Message| {
            let in_use = Reserved::default().with(Capability::Fast);
            let mut state = PeerState::new(in_use, Limits::default());
            state.handle_message(&told, start()).unwrap();
            state.learn_pieces(pieces()).map(|()| state.has(9))
        };
        assert_eq!(Ok(true), learn(bitfield(b"\xff\xc0")));
        assert_eq!(Ok(true), learn(Message::HaveAll));
        assert_eq!(Ok(false), learn(Message::HaveNone));
        assert_eq!(Ok(true), learn(Message::Have { piece: 9 }));
        assert_eq!(Err(Violation::BitfieldLength { bytes: 1, expected: 2 }), learn(bitfield(b"\xff")));
        assert_eq!(Err(Violation::SpareBits), learn(bitfield(b"\xff\xff")));
        for piece in [10, 16, 5_000_000] {
            assert_eq!(Err(Violation::NoSuchPiece { name: "have", piece }), learn(Message::Have { piece }));
        }
        let mut state = PeerState::new(Reserved::default(), Limits::default());
        assert!(state.handle_message(&Message::Have { piece: 8 * 1024 * 1024 }, start()).is_err());
    }
}
