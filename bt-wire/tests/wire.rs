//! Handshake, messages and extension handshake as bytes.

#[cfg(test)]
mod messages;

#[cfg(test)]
mod wire {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use bencode::OwnedValue;
    use bt_wire::{
        Capability, Error, ExtensionHandshake, ExtensionIds, Extensions, Handshake, InfoHash, Limits, Message, PeerId,
        Reserved,
    };
    use bytes::Bytes;
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use crate::messages::{any_message, golden, unhex};

    /// Of a peer with the bits for BEP 5, 6 and 10.
    fn handshake_bytes() -> [u8; 68] {
        let text = "13 426974546f7272656e742070726f746f636f6c 0000000000100005 \
                    000102030405060708090a0b0c0d0e0f10111213 2d5a45303130302d6162636465666768696a6b6c";
        unhex(text).try_into().unwrap()
    }

    fn handshake() -> Handshake {
        let info_hash = InfoHash::from_bytes(std::array::from_fn(|i| i as u8));
        let mut handshake = Handshake::new(info_hash, PeerId::new(PeerId::ZEST_PREFIX, *b"abcdefghijkl"));
        handshake.reserved = handshake.reserved.with(Capability::Fast).with(Capability::Dht);
        handshake
    }

    #[test]
    fn given_the_golden_handshake_when_encoded_and_decoded_then_it_is_the_same() {
        assert_eq!(handshake_bytes(), handshake().encode());
        assert_eq!(handshake(), Handshake::decode(&handshake_bytes()).unwrap());
    }

    #[test]
    fn given_reserved_bits_when_read_then_each_capability_is_its_own_and_unknown_ones_stay() {
        let bit = |bytes: [u8; 8]| Reserved::from_bytes(bytes);
        let of = |reserved: Reserved| reserved.capabilities().collect::<Vec<_>>();

        assert_eq!(vec![Capability::ExtensionProtocol], of(bit([0, 0, 0, 0, 0, 0x10, 0, 0])));
        assert_eq!(vec![Capability::Dht], of(bit([0, 0, 0, 0, 0, 0, 0, 0x01])));
        assert_eq!(vec![Capability::Fast], of(bit([0, 0, 0, 0, 0, 0, 0, 0x04])));
        assert_eq!(vec![Capability::V2], of(bit([0, 0, 0, 0, 0, 0, 0, 0x10])));
        assert_eq!(vec![Capability::XbtPeerExchange], of(bit([0, 0, 0, 0, 0, 0, 0, 0x02])));
        assert_eq!(vec![Capability::NatTraversal], of(bit([0, 0, 0, 0, 0, 0, 0, 0x08])));
        assert_eq!(vec![Capability::LocationAware], of(bit([0, 0, 0x08, 0, 0, 0, 0, 0])));
        assert_eq!(vec![Capability::AzureusMessaging], of(bit([0x80, 0, 0, 0, 0, 0, 0, 0])));
        assert_eq!(Vec::<Capability>::new(), of(bit([0x7f, 0xff, 0xf7, 0xff, 0xff, 0xef, 0xff, 0xe0])));
        assert_eq!(8, of(bit([0xff; 8])).len());
        let ours = Reserved::default().with(Capability::Fast).with(Capability::Dht);
        assert_eq!(vec![Capability::Fast], of(ours.without(Capability::Dht)));
        assert_eq!(vec![Capability::Dht], of(ours.common(bit([0, 0, 0, 0, 0, 0x10, 0, 0x01]))));
        assert_eq!(&[0x80, 0, 0, 0, 0, 0, 0, 0x04], bit([0x80, 0, 0, 0, 0, 0, 0, 0]).with(Capability::Fast).as_bytes());
        assert_eq!("Reserved(0000000000100001 Dht ExtensionProtocol)", format!("{:?}", bit([0, 0, 0, 0, 0, 16, 0, 1])));
    }

    #[test]
    fn given_the_beginning_of_a_stream_when_it_may_be_a_handshake_then_it_is_waited_for() {
        let stream = [&handshake_bytes()[..], b"rest"].concat();
        for end in 0..68 {
            assert!(Handshake::decode_prefix(&stream[..end]).unwrap().is_none());
        }
        for end in 68..stream.len() {
            assert_eq!(Some((handshake(), &stream[68..end])), Handshake::decode_prefix(&stream[..end]).unwrap());
        }
    }

    #[test]
    fn given_the_beginning_of_a_stream_when_it_is_something_else_then_it_is_refused_at_the_first_other_byte() {
        for other in [&b"\x14"[..], b"GET / HTTP/1.1", b"\x13BitTorrent Protocol", b"\x13BitTorrent protocox"] {
            let error = Handshake::decode_prefix(other).unwrap_err();
            assert!(matches!(error, Error::NotBitTorrent) && error.is_peer_fault());
        }
        for at in 0..20 {
            let mut bytes = handshake_bytes();
            bytes[at] ^= 0x20;
            assert!(Handshake::decode(&bytes).is_err());
            assert!(Handshake::decode_prefix(&bytes[..at]).unwrap().is_none());
            assert!(Handshake::decode_prefix(&bytes[..=at]).is_err());
        }
    }

    #[test]
    fn given_the_golden_messages_when_encoded_and_decoded_then_they_are_the_same() {
        for (message, frame) in golden() {
            let frame = unhex(frame);
            assert_eq!(frame, message.encode().unwrap(), "{message:?}");
            assert_eq!(message, Message::decode(Bytes::from(frame).slice(4..)).unwrap());
        }
    }

    #[test]
    fn given_a_fixed_message_when_its_body_is_of_another_length_then_it_is_the_peers_fault() {
        let fixed = golden().into_iter().filter(|(message, _)| message.payload().is_none());
        for (_, frame) in fixed.filter(|(message, _)| *message != Message::KeepAlive) {
            let frame = unhex(frame).split_off(4);
            let longer = [&frame[..], b"\0"].concat();
            for bad in [&longer[..], &frame[..frame.len() - 1]].into_iter().filter(|bad| !bad.is_empty()) {
                let error = Message::decode(Bytes::copy_from_slice(bad)).unwrap_err();
                assert!(matches!(error, Error::MessageLength { id, .. } if id == frame[0]), "{error}");
                assert!(error.is_peer_fault());
            }
        }
    }

    #[test]
    fn given_a_message_with_a_payload_when_cut_before_the_payload_then_it_is_the_peers_fault() {
        for frame in ["07 00000001 000040", "07", "14"] {
            assert!(matches!(Message::decode(unhex(frame).into()), Err(Error::MessageLength { .. })));
        }
    }

    /// From the description of the extension protocol that libtorrent has.
    const PUBLISHED: &[u8] = b"d1:md11:LT_metadatai1e6:ut_pexi2ee1:pi6881e1:v12:uTorrent 1.2e";

    #[test]
    fn given_the_published_extension_handshake_when_decoded_and_encoded_then_it_is_the_same() {
        let decoded = ExtensionHandshake::decode(PUBLISHED, &Limits::default()).unwrap();

        assert_eq!(ExtensionIds::new([("LT_metadata", 1), ("ut_pex", 2)]), decoded.m);
        assert_eq!((Some(6881), Some("uTorrent 1.2")), (decoded.p, decoded.v.as_deref()));
        assert_eq!(PUBLISHED, decoded.encode().unwrap());
        assert!(decoded.other.is_empty());
    }

    #[test]
    fn given_an_extension_handshake_with_every_key_when_decoded_then_each_has_its_field_and_the_rest_is_kept() {
        let payload = b"d12:complete_agoi-1e1:ei0e4:ipv44:\x7f\0\0\x014:ipv616:\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\
            1:md6:ut_xeti1ee13:metadata_sizei31235e1:pi6881e4:reqqi500e11:upload_onlyi1e1:v4:zest\
            3:xetd1:vi2ee6:yourip4:\x0a\0\0\x02e";
        let handshake = ExtensionHandshake::decode(payload, &Limits::default()).unwrap();

        assert_eq!(Some(-1), handshake.complete_ago);
        assert_eq!(Some(Ipv4Addr::LOCALHOST), handshake.ipv4);
        assert_eq!(Some(Ipv6Addr::LOCALHOST), handshake.ipv6);
        assert_eq!(Some(IpAddr::from([10, 0, 0, 2])), handshake.yourip);
        assert_eq!((Some(31235), Some(6881), Some(500)), (handshake.metadata_size, handshake.p, handshake.reqq));
        assert_eq!((Some(true), Some("zest")), (handshake.upload_only, handshake.v.as_deref()));
        let keys: Vec<_> = handshake.other.keys().map(Vec::as_slice).collect();
        assert_eq!(vec![&b"e"[..], b"xet"], keys);
        assert_eq!(Some(2), handshake.other[&b"xet"[..]].get(b"v").and_then(OwnedValue::as_u64));
        assert_eq!(&payload[..], handshake.encode().unwrap());
    }

    #[test]
    fn given_known_keys_with_values_of_another_kind_when_decoded_then_they_are_kept_and_not_read() {
        let payload = b"d12:complete_ago1:x4:ipv43:abc4:ipv60:1:mde13:metadata_sizei-1e1:pi65536e4:reqqle\
            11:upload_onlyde1:vi1e6:yourip5:abcdee";
        let handshake = ExtensionHandshake::decode(payload, &Limits::default()).unwrap();

        assert_eq!(9, handshake.other.len());
        assert_eq!(&payload[..], handshake.encode().unwrap());
        let mut read = handshake;
        read.other.clear();
        assert_eq!(ExtensionHandshake::default(), read);
    }

    #[test]
    fn given_an_extension_handshake_of_a_careless_program_when_decoded_then_it_is_understood() {
        // Keys out of order and twice, a number that is none, a name that is not UTF-8, bytes behind.
        let payload = b"d1:v3:a\xffb1:pi1e1:pi2e1:md1:xi300e1:y1:z6:ut_pexi1e6:ut_pexi3eee\r\n";
        let handshake = ExtensionHandshake::decode(payload, &Limits::default()).unwrap();

        assert_eq!((Some(1), Some("a\u{fffd}b")), (handshake.p, handshake.v.as_deref()));
        assert_eq!(ExtensionIds::new([("ut_pex", 1)]), handshake.m);
        assert!(handshake.other.is_empty());
    }

    #[test]
    fn given_a_payload_that_is_no_extension_handshake_when_decoded_then_it_is_the_peers_fault() {
        let mut limits = Limits::default();
        limits.extension_handshake_bytes_max = 1000;
        limits.extension_handshake_tokens_max = 100;
        let huge = [b"d1:v996:".to_vec(), vec![b'x'; 996], b"e".to_vec()].concat();
        let many = [&b"d1:xl"[..], &b"le".repeat(50), b"ee"].concat();
        for payload in [&b""[..], b"i1e", b"le", b"d1:mi1ee", b"d1:mle", b"d1:v", b"garbage", &huge, &many] {
            let error = ExtensionHandshake::decode(payload, &limits).unwrap_err();
            assert!(error.is_peer_fault(), "{error}");
        }
        let fits = [b"d1:v990:".to_vec(), vec![b'x'; 990], b"e".to_vec()].concat();
        assert!(ExtensionHandshake::decode(&fits, &limits).is_ok());
    }

    #[test]
    fn given_lists_nested_20_kb_deep_in_an_extension_handshake_when_decoded_then_the_stack_suffices() {
        let test = || {
            let payload = [&b"d1:x"[..], &b"l".repeat(20_000), &b"e".repeat(20_001)].concat();
            let error = ExtensionHandshake::decode(&payload, &Limits::default()).unwrap_err();
            assert!(matches!(error, Error::ExtensionHandshake(_)));
        };
        std::thread::Builder::new().stack_size(512 * 1024).spawn(test).unwrap().join().unwrap();
    }

    #[test]
    fn given_two_tables_of_numbers_when_negotiated_then_each_side_sends_under_the_others() {
        let mut extensions = Extensions::new(ExtensionIds::new([("ut_xet", 1), ("ut_metadata", 2), ("ut_off", 0)]));
        assert_eq!(None, extensions.outgoing("ut_xet"));
        let mut theirs = ExtensionHandshake::default();
        theirs.m = ExtensionIds::new([("ut_xet", 7), ("ut_pex", 1), ("ut_holepunch", 0)]);
        extensions.handle_handshake(&theirs);

        let outgoing = |extensions: &Extensions, name: &str| extensions.outgoing(name).map(|id| id.get());
        assert_eq!(Some(7), outgoing(&extensions, "ut_xet"));
        assert_eq!(Some(1), outgoing(&extensions, "ut_pex"));
        assert_eq!([None, None], ["ut_holepunch", "ut_metadata"].map(|name| outgoing(&extensions, name)));
        assert_eq!(Some(&b"ut_xet"[..]), extensions.incoming(1));
        assert_eq!([None, None], [0, 7].map(|id| extensions.incoming(id)));

        // A later handshake adds and turns off, and leaves alone what it does not name.
        theirs.m = ExtensionIds::new([("ut_pex", 0), ("ut_metadata", 9)]);
        extensions.handle_handshake(&theirs);
        assert_eq!(Some(7), outgoing(&extensions, "ut_xet"));
        assert_eq!(None, outgoing(&extensions, "ut_pex"));
        assert_eq!(Some(9), outgoing(&extensions, "ut_metadata"));
    }

    #[test]
    fn given_a_peer_that_names_other_extensions_for_ever_when_negotiated_then_memory_is_bounded() {
        let mut extensions = Extensions::default();
        for round in 0..20 {
            let mut handshake = ExtensionHandshake::default();
            let names: Vec<String> = (0..400).map(|i| format!("x{round}_{i}")).collect();
            handshake.m = ExtensionIds::new(names.iter().map(|name| (name.as_str(), 1)));
            extensions.handle_handshake(&handshake);
        }

        assert_eq!(1_000, extensions.theirs().iter().count());
    }

    fn any_extension_handshake() -> impl Strategy<Value = ExtensionHandshake> {
        let m = btree_map("[a-z_µ]{0,12}", any::<u8>(), 0..5);
        let addresses = (any::<Option<IpAddr>>(), any::<Option<Ipv4Addr>>(), any::<Option<Ipv6Addr>>());
        let numbers = any::<(Option<u16>, Option<u32>, Option<u64>, Option<bool>, Option<i64>)>();
        let value = prop_oneof![
            any::<i64>().prop_map(OwnedValue::from),
            vec(any::<u8>(), 0..9).prop_map(OwnedValue::from),
            vec(any::<u8>(), 0..9).prop_map(|items| OwnedValue::list(items.into_iter().map(OwnedValue::from))),
        ];
        // No known key has a digit.
        let other = btree_map(vec(b'0'..=b'9', 0..4), value, 0..5);
        (m, any::<Option<String>>(), addresses, numbers, other).prop_map(|(m, v, addresses, numbers, other)| {
            let mut handshake = ExtensionHandshake::default();
            handshake.m = ExtensionIds::new(m.iter().map(|(name, id)| (name.as_str(), *id)));
            handshake.v = v;
            (handshake.yourip, handshake.ipv4, handshake.ipv6) = addresses;
            (handshake.p, handshake.reqq, ..) = numbers;
            (.., handshake.metadata_size, handshake.upload_only, handshake.complete_ago) = numbers;
            handshake.other = other;
            handshake
        })
    }

    proptest! {
        #[test]
        fn given_any_handshake_when_encoded_and_decoded_then_it_is_the_same(
            reserved: [u8; 8], info_hash: [u8; 20], peer_id: [u8; 20],
        ) {
            let handshake = Handshake {
                reserved: Reserved::from_bytes(reserved),
                info_hash: InfoHash::from_bytes(info_hash),
                peer_id: PeerId::from_bytes(peer_id),
            };
            prop_assert_eq!(handshake, Handshake::decode(&handshake.encode()).unwrap());
        }

        #[test]
        fn given_any_message_when_encoded_and_decoded_then_it_is_the_same(message in any_message()) {
            let frame = message.encode().unwrap();
            prop_assert_eq!(frame.len() - 4, u32::from_be_bytes(*frame.first_chunk().unwrap()) as usize);
            prop_assert_eq!(message, Message::decode(Bytes::from(frame).slice(4..)).unwrap());
        }

        #[test]
        fn given_any_bytes_when_they_decode_then_they_encode_to_the_same(frame in vec(any::<u8>(), 0..40)) {
            if let Ok(message) = Message::decode(Bytes::from(frame.clone())) {
                prop_assert_eq!(&frame, &message.encode().unwrap()[4..]);
            }
        }

        #[test]
        fn given_any_extension_handshake_when_encoded_and_decoded_then_it_is_the_same(
            handshake in any_extension_handshake(),
        ) {
            let payload = handshake.encode().unwrap();
            prop_assert!(bencode::decode(&payload).is_ok());
            prop_assert_eq!(handshake, ExtensionHandshake::decode(&payload, &Limits::default()).unwrap());
        }
    }
}
