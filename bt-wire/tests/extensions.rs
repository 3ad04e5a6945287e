//! Messages of extensions: metadata, peer exchange, lt_donthave. And the stages of a handshake.

#[cfg(test)]
mod extensions {
    use std::net::SocketAddr;
    use std::time::{Duration, Instant};

    use bt_wire::{
        DontHave, Error, Handshake, HandshakeDecoder, HandshakeStage, HandshakeStart, InfoHash, Limits,
        METADATA_PIECE_BYTES, MetadataCollector, MetadataMessage, PeerExchange, PeerId, PexFlags, PexMeter, PexPeer,
        Violation,
    };
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn decode(payload: &[u8]) -> Result<MetadataMessage, Error> {
        MetadataMessage::decode(Bytes::copy_from_slice(payload), &Limits::default())
    }

    #[test]
    fn given_the_examples_of_bep_9_when_decoded_and_encoded_then_they_are_the_same() {
        let data = [&b"d8:msg_typei1e5:piecei0e10:total_sizei34256ee"[..], &[7; 16_384]].concat();
        let messages = [
            (MetadataMessage::Request { piece: 0 }, &b"d8:msg_typei0e5:piecei0ee"[..]),
            (MetadataMessage::Reject { piece: 0 }, b"d8:msg_typei2e5:piecei0ee"),
            (MetadataMessage::Data { piece: 0, total_size: 34_256, data: vec![7; 16_384].into() }, &data),
        ];
        for (message, payload) in messages {
            assert_eq!(message, decode(payload).unwrap());
            assert_eq!(payload, message.encode());
        }
        let unknown = b"d8:msg_typei7e1:xi1eerest";
        let message = MetadataMessage::Unknown { msg_type: 7, payload: Bytes::from_static(unknown) };
        assert_eq!(message, decode(unknown).unwrap());
        assert_eq!(&unknown[..], message.encode());
    }

    #[test]
    fn given_metadata_messages_that_lie_about_sizes_when_decoded_then_it_is_the_peers_fault() {
        let of = |piece: u64, total_size: u64, bytes: usize| {
            let head = format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei{total_size}ee");
            [head.as_bytes(), &vec![0; bytes]].concat()
        };
        assert!(decode(&of(2, 34_256, 1_488)).is_ok());
        for lie in [
            of(2, 34_256, 1_487),
            of(2, 34_256, 1_489),
            of(3, 34_256, 0),
            of(0, 34_256, 34_256),
            of(0, 0, 0),
            of(0, 32 * 1024 * 1024 + 1, 16_384),
            of(0, 1 << 40, 16_384),
            of(0, u64::MAX, 16_384),
            of(u64::MAX, 34_256, 16_384),
            of(262_144, 34_256, 16_384),
            b"d8:msg_typei1e5:piecei0ee".to_vec(),
            b"d8:msg_typei0ee".to_vec(),
            b"d5:piecei0ee".to_vec(),
            b"d8:msg_typei-1e5:piecei0ee".to_vec(),
            b"le".to_vec(),
            b"".to_vec(),
            b"l".repeat(20_000),
        ] {
            let error = decode(&lie).unwrap_err();
            assert!(error.is_peer_fault(), "{error}");
        }
    }

    #[test]
    fn given_the_pieces_of_metadata_when_collected_in_any_order_then_the_whole_is_checked_by_its_hash() {
        let metadata: Bytes = (0..40_000_u32).map(|at| (at * at / 7) as u8).collect();
        let info_hash: InfoHash = "84472c7d56660c96bc3b0c487a94635f896966d6".parse().unwrap();
        let collect = |claimed: u64, order: &[u32], spoil: Option<u32>| {
            let mut collector = MetadataCollector::new(claimed, &Limits::default())?;
            for &piece in order {
                let MetadataMessage::Data { total_size, data, .. } = MetadataMessage::answer(&metadata, piece) else {
                    panic!("it is there")
                };
                let data = if spoil == Some(piece) { vec![0; data.len()].into() } else { data };
                let is_last = collector.handle_data(piece, total_size, &data)?;
                assert_eq!(collector.missing().next().is_none(), is_last);
            }
            collector.finish(&info_hash)
        };

        // Its hash was made with another program.
        assert!(collect(40_000, &[2, 0, 2, 1], None).unwrap() == metadata);
        assert!(matches!(collect(40_000, &[2, 0], None), Err(Error::MetadataIncomplete)));
        assert!(matches!(collect(40_000, &[0, 1, 2], Some(1)), Err(Error::Metadata { .. })));
        assert!(matches!(collect(40_001, &[0], None), Err(Error::Metadata { .. })));
        assert_eq!(MetadataMessage::Reject { piece: 3 }, MetadataMessage::answer(&metadata, 3));
        assert_eq!(MetadataMessage::Reject { piece: 0 }, MetadataMessage::answer(&Bytes::new(), 0));
    }

    #[test]
    fn given_a_claimed_metadata_size_when_it_is_0_or_huge_then_nothing_is_allocated_for_it() {
        for claimed in [0, 32 * 1024 * 1024 + 1, u64::from(u32::MAX), 1 << 62, u64::MAX] {
            let error = MetadataCollector::new(claimed, &Limits::default()).unwrap_err();
            assert!(matches!(error, Error::MetadataSize { bytes, .. } if bytes == claimed) && error.is_peer_fault());
        }
        let largest = MetadataCollector::new(32 * 1024 * 1024, &Limits::default()).unwrap();
        assert_eq!(2_048, largest.missing().count());
        let mut collector = largest;
        assert!(collector.handle_data(0, 32 * 1024 * 1024, &[0; METADATA_PIECE_BYTES as usize - 1]).is_err());
        assert!(collector.handle_data(2_048, 32 * 1024 * 1024, &[0; METADATA_PIECE_BYTES as usize]).is_err());
    }

    fn peers(addresses: &[&str]) -> Vec<PexPeer> {
        let peer = |address: &&str| PexPeer { address: address.parse().unwrap(), flags: PexFlags::default() };
        addresses.iter().map(peer).collect()
    }

    #[test]
    fn given_peer_exchange_when_decoded_and_encoded_then_it_is_the_same() {
        let payload = b"d5:added12:\x0a\0\0\x01\x1a\xe1\x0a\0\0\x02\x1a\xe27:added.f2:\x12\x006:added618:\
            \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe38:added6.f1:\x047:dropped6:\x0a\0\0\x03\0\x01\
            8:dropped618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\0\x02e";
        let mut added = peers(&["10.0.0.1:6881", "10.0.0.2:6882", "[2001:db8::1]:6883"]);
        added[0].flags = PexFlags::REACHABLE.with(PexFlags::UPLOAD_ONLY);
        added[2].flags = PexFlags::UTP;
        let dropped = ["10.0.0.3:1", "[2001:db8::2]:2"].map(|address| address.parse().unwrap()).to_vec();
        let message = PeerExchange { added, dropped };

        assert_eq!(message, PeerExchange::decode(payload, &Limits::default()).unwrap());
        assert_eq!(&payload[..], message.encode());
        assert!(message.added[0].flags.has(PexFlags::REACHABLE) && !message.added[1].flags.has(PexFlags::REACHABLE));
        assert_eq!(&b"de"[..], PeerExchange::default().encode());
    }

    #[test]
    fn given_peer_exchange_of_a_careless_program_when_decoded_then_it_is_understood() {
        // Too few flags, half an address, keys out of order, one of another kind.
        let payload = b"d5:added9:\x0a\0\0\x01\x1a\xe1abc7:added.f0:7:droppedi1e6:added65:abcdee";
        let message = PeerExchange::decode(payload, &Limits::default()).unwrap();

        assert_eq!(PeerExchange { added: peers(&["10.0.0.1:6881"]), dropped: vec![] }, message);
    }

    fn many(peers: usize) -> PeerExchange {
        let address = |at: usize| SocketAddr::from(([10, 0, (at / 256) as u8, at as u8], 6_881));
        let added = (0..peers).map(|at| PexPeer { address: address(at), flags: PexFlags::default() }).collect();
        PeerExchange { added, dropped: vec![] }
    }

    #[test]
    fn given_a_flood_of_peers_in_one_message_when_decoded_then_it_is_the_peers_fault() {
        assert!(PeerExchange::decode(&many(200).encode(), &Limits::default()).is_ok());
        let dropped =
            PeerExchange { dropped: many(201).added.iter().map(|peer| peer.address).collect(), added: vec![] };
        for flood in [many(201), many(100_000), dropped] {
            let error = PeerExchange::decode(&flood.encode(), &Limits::default()).unwrap_err();
            assert!(matches!(error, Error::PexTooManyPeers { max: 200, .. }) && error.is_peer_fault());
        }
        for garbage in [&b""[..], b"d5:added", b"d5:added9999999999999999999:e"] {
            assert!(PeerExchange::decode(garbage, &Limits::default()).is_err());
        }
    }

    #[expect(clippy::disallowed_methods, reason = "there is no other way to make an instant")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn given_peer_exchange_every_minute_when_metered_then_it_may_go_on_for_ever() {
        let (mut meter, begin) = (PexMeter::new(), start());
        meter.handle_message(&many(200), begin).unwrap();
        for minute in 1..1_000 {
            // Every other one is late.
            let late = if minute % 2 == 0 { 50 } else { 0 };
            meter.handle_message(&many(50), begin + Duration::from_secs(minute * 60 + late)).unwrap();
        }
        let late = begin + Duration::from_secs(1_000_000);
        assert_eq!(Err(Violation::PexTooManyPeers { peers: 51, max: 50 }), meter.handle_message(&many(51), late));
    }

    #[test]
    fn given_a_flood_of_peer_exchange_when_metered_then_the_fourth_at_once_is_too_many() {
        let (mut meter, begin) = (PexMeter::new(), start());
        for _ in 0..3 {
            meter.handle_message(&many(1), begin).unwrap();
        }
        assert_eq!(Err(Violation::PexTooOften), meter.handle_message(&many(1), begin));
        assert_eq!(Err(Violation::PexTooOften), meter.handle_message(&many(1), begin + Duration::from_secs(50)));
        assert_eq!(Ok(()), meter.handle_message(&many(1), begin + Duration::from_secs(60)));
    }

    #[test]
    fn given_lt_donthave_when_decoded_then_it_is_four_bytes() {
        let message = DontHave { piece: 0x0102_0304 };
        assert_eq!([1, 2, 3, 4], message.encode());
        assert_eq!(message, DontHave::decode(&[1, 2, 3, 4]).unwrap());
        for bytes in [0, 3, 5] {
            let error = DontHave::decode(&vec![0; bytes]).unwrap_err();
            assert!(matches!(error, Error::ExtensionLength { .. }) && error.is_peer_fault());
        }
    }

    fn handshake() -> Handshake {
        Handshake::new(InfoHash::from_bytes([1; 20]), PeerId::new(PeerId::ZEST_PREFIX, [2; 12]))
    }

    /// The stages that come out, and after how many bytes.
    fn stages<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<(usize, HandshakeStage)>, Error> {
        let (mut decoder, mut stages) = (HandshakeDecoder::new(), Vec::new());
        for mut input in pieces {
            while let Some(stage) = decoder.decode(&mut input)? {
                stages.push((decoder.bytes(), stage));
            }
            assert!(input.is_empty() || decoder.bytes() == Handshake::BYTES);
        }
        Ok(stages)
    }

    #[test]
    fn given_a_handshake_in_any_pieces_when_decoded_then_the_swarm_is_known_before_the_peer_id() {
        let bytes = [&handshake().encode()[..], b"rest"].concat();
        let start = HandshakeStart { reserved: handshake().reserved, info_hash: handshake().info_hash };
        let expected = vec![(48, HandshakeStage::Start(start)), (68, HandshakeStage::Complete(handshake()))];
        for pieces in [1, 7, 20, 48, 68, 72] {
            assert_eq!(expected, stages(bytes.chunks(pieces)).unwrap());
        }
        assert_eq!(expected[..1], stages([&bytes[..67]]).unwrap());
        assert!(stages([&bytes[..47]]).unwrap().is_empty());
    }

    #[test]
    fn given_another_protocol_when_its_first_other_byte_comes_then_the_handshake_is_refused() {
        for at in 0..20 {
            let mut bytes = handshake().encode();
            bytes[at] ^= 1;
            assert!(stages([&bytes[..at]]).unwrap().is_empty());
            assert!(matches!(stages(bytes[..=at].chunks(1)), Err(Error::NotBitTorrent)));
            assert!(matches!(stages([&bytes[..]]), Err(Error::NotBitTorrent)));
        }
    }

    fn any_metadata_message() -> impl Strategy<Value = MetadataMessage> {
        let data = (0..3_u32, 32_769..49_152_u32).prop_map(|(piece, total_size)| {
            let bytes = if piece < 2 { METADATA_PIECE_BYTES } else { total_size - 32_768 };
            MetadataMessage::Data { piece, total_size, data: vec![piece as u8; bytes as usize].into() }
        });
        prop_oneof![
            any::<u32>().prop_map(|piece| MetadataMessage::Request { piece }),
            any::<u32>().prop_map(|piece| MetadataMessage::Reject { piece }),
            data,
        ]
    }

    /// Those of IPv4 first.
    fn any_peer_exchange() -> impl Strategy<Value = PeerExchange> {
        let address = any::<(std::net::IpAddr, u16)>().prop_map(SocketAddr::from);
        let sorted = |mut addresses: Vec<SocketAddr>| {
            addresses.sort_by_key(SocketAddr::is_ipv6);
            addresses
        };
        (vec((address.clone(), any::<u8>()), 0..50), vec(address, 0..50)).prop_map(move |(mut added, dropped)| {
            added.sort_by_key(|(address, _)| address.is_ipv6());
            let peer = |(address, flags)| PexPeer { address, flags: PexFlags(flags) };
            PeerExchange { added: added.into_iter().map(peer).collect(), dropped: sorted(dropped) }
        })
    }

    proptest! {
        #[test]
        fn given_any_metadata_message_when_encoded_and_decoded_then_it_is_the_same(message in any_metadata_message()) {
            prop_assert_eq!(&message, &decode(&message.encode()).unwrap());
        }

        #[test]
        fn given_any_peer_exchange_when_encoded_and_decoded_then_it_is_the_same(message in any_peer_exchange()) {
            prop_assert_eq!(&message, &PeerExchange::decode(&message.encode(), &Limits::default()).unwrap());
        }
    }
}
