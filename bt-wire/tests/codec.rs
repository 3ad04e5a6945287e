//! Framing: whatever pieces the bytes come in, and whatever they announce.

#[cfg(test)]
mod messages;

#[cfg(test)]
mod codec {
    use bt_wire::{
        Error, ExtensionHandshake, Handshake, HandshakeCodec, InfoHash, Limits, Message, PeerCodec, PeerId, Pieces,
    };
    use bytes::{BufMut, Bytes, BytesMut};
    use futures::{SinkExt, StreamExt};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;
    use tokio_util::codec::{Decoder, Encoder, Framed};

    use crate::messages::{any_message, golden, unhex};

    /// Refuses bitfields beyond so many bytes.
    fn limited(bitfield_bytes_max: u32) -> PeerCodec {
        let mut limits = Limits::default();
        limits.bitfield_bytes_max = bitfield_bytes_max;
        PeerCodec::new(limits)
    }

    /// For a torrent of so many pieces.
    fn of_pieces(count: u32) -> PeerCodec {
        let mut limits = Limits::default();
        limits.pieces = Pieces::new(u64::from(count) * 16_384, 16_384);
        PeerCodec::new(limits)
    }

    fn handshake() -> Handshake {
        Handshake::new(InfoHash::from_bytes([1; 20]), PeerId::new(PeerId::ZEST_PREFIX, [2; 12]))
    }

    /// All that decodes when the stream comes in these pieces.
    fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Message> {
        let (mut codec, mut buffer, mut messages) = (PeerCodec::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some(message) = codec.decode(&mut buffer).unwrap() {
                messages.push(message);
            }
        }
        assert_eq!(None, codec.decode_eof(&mut buffer).unwrap());
        messages
    }

    fn encode(messages: &[Message]) -> BytesMut {
        let mut stream = BytesMut::new();
        for message in messages {
            PeerCodec::default().encode(message.clone(), &mut stream).unwrap();
        }
        stream
    }

    #[test]
    fn given_the_golden_messages_when_they_come_a_byte_at_a_time_then_they_decode_as_in_one() {
        let stream: Vec<u8> = golden().iter().flat_map(|(_, frame)| unhex(frame)).collect();
        let messages: Vec<Message> = golden().into_iter().map(|(message, _)| message).collect();

        assert_eq!(stream, encode(&messages));
        assert_eq!(messages, feed([&stream[..]]));
        assert_eq!(messages, feed(stream.chunks(1)));
    }

    proptest! {
        #[test]
        fn given_any_messages_when_they_come_in_any_pieces_then_they_are_the_same(
            messages in vec(any_message(), 0..12),
            cuts in vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let stream = encode(&messages);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();

            prop_assert_eq!(&messages, &feed(cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]])));
            prop_assert_eq!(&messages, &feed(stream.chunks(1)));
        }
    }

    #[test]
    fn given_a_frame_of_4_gib_when_only_its_length_is_there_then_it_is_refused_and_nothing_reserved() {
        let mut buffer = BytesMut::with_capacity(4);
        buffer.put_u32(u32::MAX);
        let capacity = buffer.capacity();
        let error = PeerCodec::default().decode(&mut buffer).unwrap_err();

        assert!(matches!(error, Error::FrameTooLarge { bytes: u32::MAX, max } if max == 1024 * 1024 + 66));
        assert!(error.is_peer_fault());
        assert_eq!(capacity, buffer.capacity());
    }

    #[test]
    fn given_frames_at_and_beyond_the_limit_when_decoded_then_only_the_latter_is_refused() {
        let mut buffer = BytesMut::from(&b"\0\0\0\x05\x05abcd\0\0\0\x06\x05"[..]);
        let mut codec = limited(4);

        assert_eq!(Some(Message::Bitfield(Bytes::from_static(b"abcd"))), codec.decode(&mut buffer).unwrap());
        let error = codec.decode(&mut buffer).unwrap_err();
        assert!(matches!(error, Error::MessageTooLarge { name: "bitfield", id: 5, bytes: 6, max: 5 }));
        assert!(error.is_peer_fault());
    }

    #[test]
    fn given_the_piece_count_when_a_bitfield_comes_then_its_length_follows_from_it() {
        // 100 MB for ten pieces.
        let mut buffer = BytesMut::from(&[&100_000_001_u32.to_be_bytes()[..], b"\x05"].concat()[..]);
        let error = of_pieces(10).decode(&mut buffer).unwrap_err();
        assert!(matches!(error, Error::FrameTooLarge { bytes: 100_000_001, .. }), "{error}");
        buffer.truncate(4);
        let error = of_pieces(10).decode(&mut buffer).unwrap_err();
        assert!(matches!(error, Error::FrameTooLarge { bytes: 100_000_001, .. }), "{error}");
        // Less than other messages may have.
        let mut buffer = BytesMut::from(&b"\0\0\0\x04\x05"[..]);
        assert!(matches!(of_pieces(10).decode(&mut buffer), Err(Error::MessageTooLarge { bytes: 4, max: 3, .. })));

        for count in [1_000_000, 40_000_000] {
            let bits = vec![0xff; count as usize / 8];
            let mut buffer = encode(&[Message::Bitfield(bits.clone().into())]);
            let mut codec = of_pieces(count);
            let decoded = codec.decode(&mut buffer).unwrap();
            assert_eq!(Some(Message::Bitfield(bits.into())), decoded);
        }
    }

    #[test]
    fn given_a_length_that_a_kind_cannot_have_when_only_the_id_has_come_then_it_is_refused() {
        for (length, id) in [(0x10_0000, 4), (2, 0), (12, 6), (14, 8), (8, 7), (1, 20), (48, 22), (4, 17), (50, 21)] {
            let mut buffer = BytesMut::new();
            buffer.put_u32(length);
            assert_eq!(None, PeerCodec::default().decode(&mut buffer).unwrap());
            buffer.put_u8(id);
            let error = PeerCodec::default().decode(&mut buffer).unwrap_err();
            assert!(matches!(error, Error::MessageLength { id: of, .. } if of == id), "{error}");
        }
        for (length, id) in [(131_082, 7), (1_048_643, 20), (262_194, 22), (131_074, 12), (131_074, 255)] {
            let frame = |length: u32| BytesMut::from(&[&length.to_be_bytes()[..], &[id]].concat()[..]);
            assert_eq!(None, PeerCodec::default().decode(&mut frame(length - 1)).unwrap());
            let error = PeerCodec::default().decode(&mut frame(length)).unwrap_err();
            assert!(
                matches!(error, Error::MessageTooLarge { bytes, .. } | Error::FrameTooLarge { bytes, .. } if bytes == length)
            );
        }
    }

    #[test]
    fn given_a_limit_that_is_changed_while_running_when_decoded_then_it_counts_at_once() {
        let mut buffer = BytesMut::from(&b"\0\0\0\x06\x05"[..]);
        let mut codec = limited(5);
        assert_eq!(None, codec.decode(&mut buffer).unwrap());

        codec.limits_mut().bitfield_bytes_max = 4;
        assert!(codec.decode(&mut buffer).is_err());
        codec.limits_mut().bitfield_bytes_max = 5;
        buffer.extend_from_slice(b"abcde");
        assert_eq!(Some(Message::Bitfield(Bytes::from_static(b"abcde"))), codec.decode(&mut buffer).unwrap());
    }

    #[test]
    fn given_an_announced_megabyte_when_it_does_not_come_then_little_room_is_made() {
        let mut buffer = BytesMut::new();
        buffer.put_u32(1024 * 1024);
        let mut codec = PeerCodec::default();
        assert_eq!(None, codec.decode(&mut buffer).unwrap());
        assert!(buffer.capacity() <= 512 * 1024, "{}", buffer.capacity());

        // And it is enough to go on.
        let mut received = buffer.len();
        while received < 4 + 1024 * 1024 {
            let room = (buffer.capacity() - buffer.len()).min(4 + 1024 * 1024 - received);
            assert!(room > 0);
            buffer.put_bytes(b'\x05', room);
            received += room;
            let decoded = codec.decode(&mut buffer).unwrap();
            assert_eq!(received == 4 + 1024 * 1024, decoded.is_some());
        }
    }

    #[test]
    fn given_a_payload_when_decoded_then_it_is_not_copied() {
        let payload = Bytes::from(vec![7; 16 * 1024]);
        let messages = [
            Message::Piece { piece: 0, begin: 0, data: payload.clone() },
            Message::Extended { id: 1, payload: payload.clone() },
            Message::Bitfield(payload.clone()),
            Message::Unknown { id: 99, payload },
        ];
        let mut stream = encode(&messages);
        let whole = stream.as_ptr_range();
        for message in messages {
            let decoded = PeerCodec::default().decode(&mut stream).unwrap().unwrap();
            assert_eq!(message, decoded);
            assert!(whole.contains(&decoded.payload().unwrap().as_ptr()));
        }
    }

    #[test]
    fn given_a_flood_of_keep_alives_when_decoded_then_memory_stays_and_the_next_message_is_found() {
        let (mut codec, mut buffer) = (PeerCodec::default(), BytesMut::with_capacity(64 * 1024));
        let capacity = buffer.capacity();
        let mut count = 0;
        for _ in 0..64 {
            buffer.reserve(64 * 1024);
            buffer.put_bytes(0, 64 * 1024);
            while let Some(message) = codec.decode(&mut buffer).unwrap() {
                assert_eq!(Message::KeepAlive, message);
                count += 1;
            }
            assert!(buffer.capacity() <= capacity);
        }
        buffer.extend_from_slice(&unhex("00000001 01"));

        assert_eq!(64 * 16 * 1024, count);
        assert_eq!(Some(Message::Unchoke), codec.decode(&mut buffer).unwrap());
    }

    #[test]
    fn given_a_stream_that_ends_inside_something_when_decoded_then_it_is_said_and_nobodys_fault() {
        for cut in ["000000", "00000005", "00000005 04 0000"] {
            let error = PeerCodec::default().decode_eof(&mut BytesMut::from(&unhex(cut)[..])).unwrap_err();
            assert!(matches!(error, Error::Ended { what: "a message", .. }) && !error.is_peer_fault());
        }
        let error = HandshakeCodec::new().decode_eof(&mut BytesMut::from(&handshake().encode()[..67])).unwrap_err();
        assert!(matches!(error, Error::Ended { what: "the handshake", bytes: 67 }) && !error.is_peer_fault());
        assert_eq!(None, HandshakeCodec::new().decode_eof(&mut BytesMut::new()).unwrap());
    }

    #[tokio::test]
    async fn given_a_handshake_and_messages_in_one_write_when_the_codec_is_switched_then_nothing_is_lost() {
        let (client, mut server) = tokio::io::duplex(7);
        let extension_handshake = ExtensionHandshake::default().to_message().unwrap();
        let sent = [extension_handshake, Message::Unchoke, Message::KeepAlive];
        let bytes = [&handshake().encode()[..], &encode(&sent)].concat();

        let send = async {
            server.write_all(&bytes).await.unwrap();
            drop(server);
        };
        let receive = async {
            let mut framed = Framed::new(client, HandshakeCodec::new());
            assert_eq!(handshake(), framed.next().await.unwrap().unwrap());
            let framed = framed.map_codec(|_| PeerCodec::default());
            framed.map(Result::unwrap).collect::<Vec<_>>().await
        };
        let ((), received) = tokio::join!(send, receive);

        assert_eq!(&sent[..], received);
    }

    #[tokio::test]
    async fn given_two_peers_with_codecs_when_they_talk_then_each_hears_the_other() {
        // Each holds a handshake: both peers write before they read.
        let (a, b) = tokio::io::duplex(Handshake::BYTES);
        let peer = |stream| async {
            let mut framed = Framed::new(stream, HandshakeCodec::new());
            framed.send(handshake()).await.unwrap();
            let theirs = framed.next().await.unwrap().unwrap();
            let mut framed = framed.map_codec(|_| PeerCodec::default());
            framed.send(Message::Interested).await.unwrap();
            (theirs, framed.next().await.unwrap().unwrap())
        };
        let (a, b) = tokio::join!(peer(a), peer(b));

        assert_eq!((handshake(), Message::Interested), a);
        assert_eq!(a, b);
    }
}
