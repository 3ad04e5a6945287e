//! Connections over pipes of any size, TCP and Unix sockets.

#[cfg(test)]
mod messages;

#[cfg(test)]
mod connection {
    use std::pin::pin;
    use std::time::Duration;

    use bt_wire::{
        BUFFER_BYTES, Block, BufferPool, CloseReason, Connection, ConnectionConfig, Error, Event, Handshake, InfoHash,
        Lane, Limits, Message, PeerId, SendError, WhenDry,
    };
    use bytes::Bytes;
    use futures::{FutureExt, poll};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
    use tokio::net::{TcpListener, TcpStream, UnixStream};

    use crate::messages::{any_message, golden, unhex};

    const SECOND: Duration = Duration::from_secs(1);

    trait Stream: AsyncRead + AsyncWrite + Unpin {}
    impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

    fn handshake(peer: u8) -> Handshake {
        Handshake::new(InfoHash::from_bytes([1; 20]), PeerId::new(PeerId::ZEST_PREFIX, [peer; 12]))
    }

    fn established<S: Stream>(stream: S) -> Connection<S> {
        Connection::established(stream, &[], ConnectionConfig::default())
    }

    fn piece(piece: u32, bytes: usize) -> Message {
        Message::Piece { piece, begin: 0, data: vec![piece as u8; bytes].into() }
    }

    async fn tcp_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (connected.unwrap(), accepted.unwrap().0)
    }

    /// Both handshakes.
    async fn shake_hands<S: Stream>(a: S, b: S) -> (Connection<S>, Connection<S>) {
        let config = ConnectionConfig::default;
        let connect = Connection::connect(a, handshake(1), config());
        let accept = Connection::accept(b, config(), |theirs| {
            assert_eq!(handshake(1).info_hash, theirs.info_hash);
            Some(handshake(2))
        });
        let ((a, b_said), (b, a_said)) = tokio::try_join!(connect, accept).unwrap();
        assert_eq!((handshake(2), handshake(1)), (b_said, a_said));
        (a, b)
    }

    /// Sends all messages, receives so many, closes. Returns what came.
    async fn talk<S: Stream>(mut connection: Connection<S>, messages: Vec<Message>, expected: usize) -> Vec<Message> {
        let (mut received, mut unsent) = (Vec::new(), messages.into_iter().peekable());
        loop {
            while connection.has_room(Lane::Bulk)
                && let Some(message) = unsent.next()
            {
                connection.send(Lane::Bulk, message).unwrap();
            }
            if unsent.peek().is_none() && received.len() == expected {
                break;
            }
            if let Some(message) = unsent.peek() {
                // So that room is told.
                connection.send(Lane::Bulk, message.clone()).unwrap_err();
            }
            match connection.next().await.unwrap() {
                Event::Message(message) => received.push(message),
                Event::Room(Lane::Bulk) => {}
                other => panic!("{other:?}"),
            }
        }
        connection.close().await.unwrap();
        received
    }

    /// What both say, at once, with one message larger than the buffers of any pipe or socket.
    async fn check_talk<S: Stream>(a: S, b: S) {
        let says = |peer: u32| -> Vec<Message> {
            let small = (0..200).map(|at| Message::Request(Block { piece: peer, begin: at, length: 1 }));
            let large = (0..40).map(|at| piece(at, 100_000));
            let huge = Message::Extended { id: 1, payload: vec![peer as u8; 1_000_000].into() };
            small.chain(large).chain([huge.clone(), Message::KeepAlive, huge]).collect()
        };
        let (a, b) = shake_hands(a, b).await;
        let (to_a, to_b) = tokio::join!(talk(a, says(1), says(2).len()), talk(b, says(2), says(1).len()));
        assert!(to_a == says(2) && to_b == says(1));
    }

    #[tokio::test]
    async fn given_tcp_when_both_sides_send_more_than_its_buffers_hold_then_all_arrives() {
        let (a, b) = tcp_pair().await;
        bt_wire::limit_unsent(&a, bt_wire::NOTSENT_LOWAT_BYTES).unwrap();
        check_talk(a, b).await;
    }

    #[tokio::test]
    async fn given_unix_sockets_when_both_sides_send_more_than_their_buffers_hold_then_all_arrives() {
        let (a, b) = UnixStream::pair().unwrap();
        check_talk(a, b).await;
    }

    #[tokio::test]
    async fn given_pipes_smaller_than_any_message_when_both_sides_send_at_once_then_all_arrives() {
        for bytes in [1, 3, 67, 4_096] {
            let (a, b) = duplex(bytes);
            let says = || vec![Message::Unchoke, piece(1, 2_000), Message::Have { piece: 2 }, piece(3, 5)];
            let (a, b) = shake_hands(a, b).await;
            let (to_a, to_b) = tokio::join!(talk(a, says(), 4), talk(b, says(), 4));
            assert!(to_a == says() && to_b == says());
        }
        let (a, b) = duplex(1_000);
        check_talk(a, b).await;
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn given_any_messages_when_they_go_through_any_pipe_then_they_arrive_in_order(
            from_a in vec(any_message(), 0..20), from_b in vec(any_message(), 0..20), bytes in 1..500_usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let (to_a, to_b) = runtime.block_on(async {
                let (a, b) = duplex(bytes);
                let (a, b) = (established(a), established(b));
                tokio::join!(talk(a, from_a.clone(), from_b.len()), talk(b, from_b.clone(), from_a.len()))
            });
            prop_assert_eq!((&from_b, &from_a), (&to_a, &to_b));
        }
    }

    #[tokio::test]
    async fn given_a_caller_when_its_swarm_is_known_then_it_is_answered_before_its_peer_id_comes() {
        let (mut caller, stream) = duplex(1_000);
        let mut accept = pin!(Connection::accept(stream, ConnectionConfig::default(), |_| Some(handshake(2))));
        caller.write_all(&handshake(1).encode()[..48]).await.unwrap();
        assert!(poll!(&mut accept).is_pending());

        let mut answer = [0; 68];
        caller.read_exact(&mut answer).await.unwrap();
        assert_eq!(handshake(2).encode(), answer);
        caller.write_all(&handshake(1).encode()[48..]).await.unwrap();
        caller.write_all(b"\0\0\0\x01\x01").await.unwrap();
        let (mut connection, theirs) = accept.await.unwrap();
        assert_eq!(handshake(1), theirs);
        assert_eq!(Event::Message(Message::Unchoke), connection.next().await.unwrap());
    }

    #[tokio::test]
    async fn given_handshakes_that_do_not_fit_when_shaken_then_the_reason_is_told() {
        let config = ConnectionConfig::default;
        let mut other_swarm = handshake(2);
        other_swarm.info_hash = InfoHash::from_bytes([9; 20]);
        let shake = async |ours: Handshake, answer: Option<Handshake>| {
            let (a, b) = duplex(1_000);
            let (connect, accept) =
                tokio::join!(Connection::connect(a, ours, config()), Connection::accept(b, config(), |_| answer),);
            (connect.map(|_| ()), accept.map(|_| ()))
        };

        let (connect, _) = shake(handshake(1), Some(other_swarm)).await;
        assert!(matches!(connect, Err(CloseReason::OtherSwarm)));
        let (connect, accept) = shake(handshake(1), None).await;
        assert!(matches!(accept, Err(CloseReason::TurnedAway)));
        assert!(matches!(connect, Err(CloseReason::Wire(Error::Ended { what: "the handshake", bytes: 0 }))));
        let (connect, accept) = shake(handshake(1), Some(handshake(1))).await;
        assert!(matches!((connect, accept), (Err(CloseReason::Ourselves), Err(CloseReason::Ourselves))));

        let (mut other, stream) = duplex(1_000);
        other.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let reason = Connection::accept(stream, config(), |_| None).await.err().unwrap();
        assert!(matches!(reason, CloseReason::Wire(Error::NotBitTorrent)) && reason.is_peer_fault());
    }

    #[tokio::test]
    async fn given_bulk_that_waits_when_control_is_sent_then_it_overtakes_what_the_stream_has_not_taken() {
        let (a, b) = duplex(1_000);
        let (mut a, mut b) = (established(a), established(b));
        for at in 0..10 {
            a.send(Lane::Bulk, piece(at, 10_000)).unwrap();
        }
        // As much as the pipe takes.
        assert!(a.next().now_or_never().is_none());
        a.send(Lane::Control, Message::Choke).unwrap();

        let mut order = Vec::new();
        while order.len() < 11 {
            tokio::select! {
                event = a.next() => panic!("{event:?}"),
                event = b.next() => match event.unwrap() {
                    Event::Message(Message::Piece { piece, .. }) => order.push(Some(piece)),
                    other => {
                        assert_eq!(Event::Message(Message::Choke), other);
                        order.push(None);
                    }
                }
            }
        }
        assert_eq!([Some(0), None, Some(1)], order[..3]);
    }

    #[tokio::test]
    async fn given_a_full_lane_when_it_empties_then_room_is_told_and_the_message_came_back() {
        let (a, b) = duplex(1_000);
        let mut config = ConnectionConfig::default();
        config.bulk_bytes_max = 5_000;
        let (mut a, mut b) = (Connection::established(a, &[], config), established(b));
        a.send(Lane::Bulk, piece(1, 5_000)).unwrap();
        let Err(SendError::Full(full)) = a.send(Lane::Bulk, piece(2, 10)) else { panic!("it is full") };
        assert_eq!((Lane::Bulk, piece(2, 10)), (full.lane, full.message));
        a.send(Lane::Control, Message::Choke).unwrap();

        let room = async { a.next().await.unwrap() };
        let read = async { while b.next().await.is_ok() {} };
        tokio::select! {
            event = room => assert_eq!(Event::Room(Lane::Bulk), event),
            () = read => panic!("it is open"),
        }
    }

    #[tokio::test]
    async fn given_a_peer_that_still_sends_when_closed_gracefully_then_all_that_was_sent_arrives() {
        for _ in 0..20 {
            let (a, b) = tcp_pair().await;
            let (mut a, mut b) = (established(a), established(b));
            for at in 0..50 {
                a.send(Lane::Bulk, piece(at, 4_000)).unwrap();
                b.send(Lane::Bulk, piece(at, 4_000)).unwrap();
            }
            a.send(Lane::Control, Message::NotInterested).unwrap();
            let receive = async {
                let mut messages = 0;
                loop {
                    match b.next().await {
                        Ok(_) => messages += 1,
                        Err(CloseReason::ByPeer) => break,
                        Err(other) => panic!("{other:?}"),
                    }
                }
                drop(b);
                messages
            };
            let (counters, messages) = tokio::join!(a.close(), receive);
            assert_eq!((51, 51), (counters.unwrap().messages_sent, messages));
        }
    }

    #[tokio::test]
    async fn given_a_connection_that_is_aborted_when_the_peer_reads_then_it_ends_inside_a_message() {
        let (a, b) = duplex(100);
        let (mut a, mut b) = (established(a), established(b));
        a.send(Lane::Bulk, piece(1, 1_000)).unwrap();
        assert!(a.next().now_or_never().is_none());
        assert_eq!(100, a.abort().bytes_sent);

        let reason = b.next().await.unwrap_err();
        assert!(matches!(reason, CloseReason::Wire(Error::Ended { what: "a message", bytes: 100 })), "{reason:?}");
        assert!(!reason.is_peer_fault());
        assert!(matches!(b.next().await, Err(CloseReason::Closed)));
        assert!(matches!(b.close().await, Err(CloseReason::Closed)));
    }

    #[tokio::test(start_paused = true)]
    async fn given_a_silent_peer_when_time_passes_then_it_is_kept_alive_and_then_idle() {
        let (mut peer, stream) = duplex(1_000);
        let mut connection = established(stream);

        let reason = connection.next().await.unwrap_err();
        assert!(matches!(reason, CloseReason::Idle { after } if after == 150 * SECOND));
        drop(connection);
        let mut sent = Vec::new();
        peer.read_to_end(&mut sent).await.unwrap();
        assert_eq!([0; 4], sent[..]);
    }

    #[tokio::test(start_paused = true)]
    async fn given_a_peer_that_takes_nothing_when_time_passes_then_it_is_stalled_though_it_talks() {
        let (mut peer, stream) = duplex(10);
        let mut connection = established(stream);
        connection.send(Lane::Bulk, piece(1, 1_000)).unwrap();
        let talk = async {
            loop {
                peer.write_all(&[0; 4]).await.unwrap();
                tokio::time::sleep(SECOND).await;
            }
        };
        let receive = async {
            loop {
                if let Err(reason) = connection.next().await {
                    break reason;
                }
            }
        };
        tokio::select! {
            () = talk => {}
            reason = receive => assert!(matches!(reason, CloseReason::Stalled { unsent: 1_003, .. }), "{reason:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn given_a_handshake_that_does_not_come_or_a_close_that_is_not_answered_then_both_have_an_end() {
        let (_peer, stream) = duplex(1_000);
        let reason = Connection::connect(stream, handshake(1), ConnectionConfig::default()).await.err().unwrap();
        assert!(matches!(reason, CloseReason::HandshakeLate { .. }));

        let (_peer, stream) = duplex(10);
        let mut connection = established(stream);
        connection.send(Lane::Bulk, piece(1, 1_000)).unwrap();
        let reason = connection.close().await.unwrap_err();
        assert!(matches!(reason, CloseReason::CloseLate { unsent: 1_003, .. }));
    }

    /// All events until the stream ends.
    async fn events(connection: &mut Connection<DuplexStream>) -> (Vec<Event>, CloseReason) {
        let mut events = Vec::new();
        loop {
            match connection.next().await {
                Ok(event) => events.push(event),
                Err(reason) => return (events, reason),
            }
        }
    }

    #[tokio::test]
    async fn given_the_golden_messages_when_they_come_a_byte_at_a_time_then_they_are_events_as_in_one() {
        let frames: Vec<u8> = golden().iter().flat_map(|(_, frame)| unhex(frame)).collect();
        let expected: Vec<Event> = golden().into_iter().map(|(message, _)| Event::Message(message)).collect();
        for pipe in [1, 10_000] {
            let (mut peer, stream) = duplex(pipe);
            let mut connection = established(stream);
            let send = async {
                peer.write_all(&frames).await.unwrap();
                drop(peer);
            };
            let ((), (received, reason)) = tokio::join!(send, events(&mut connection));
            assert_eq!(expected, received);
            assert!(matches!(reason, CloseReason::ByPeer));
        }
    }

    #[tokio::test]
    async fn given_bytes_that_are_no_messages_when_read_then_it_ends_with_the_peers_fault() {
        for (bytes, before) in [
            (&b"\xff\xff\xff\xff"[..], 0),
            (b"\0\0\0\x01\x01\0\0\0\x02\x04", 1),
            (b"\0\0\0\x03\x14\x01x\0\0\0\x01\x07", 1),
            (b"\x7f\xff\xff\xff\x14", 0),
        ] {
            let (mut peer, stream) = duplex(1_000);
            let mut connection = established(stream);
            peer.write_all(bytes).await.unwrap();
            let (events, reason) = events(&mut connection).await;
            assert_eq!(before, events.len());
            assert!(reason.is_peer_fault(), "{reason:?}");
        }
    }

    #[tokio::test]
    async fn given_zero_length_frames_for_ever_when_read_then_writing_goes_on() {
        let (mut peer, stream) = duplex(64 * 1024);
        let mut connection = established(stream);
        connection.send(Lane::Bulk, piece(1, 500_000)).unwrap();
        let flood = async {
            let (mut reader, mut writer) = tokio::io::split(&mut peer);
            let write = async { while writer.write_all(&[0; 4_096]).await.is_ok() {} };
            let mut taken = vec![0; 500_013];
            tokio::select! {
                () = write => panic!("it is open"),
                read = reader.read_exact(&mut taken) => assert_eq!(500_013, read.unwrap()),
            }
        };
        let receive = async {
            loop {
                assert_eq!(Event::Message(Message::KeepAlive), connection.next().await.unwrap());
            }
        };
        tokio::select! {
            () = flood => {}
            () = receive => {}
        }
    }

    #[tokio::test]
    async fn given_a_payload_that_is_too_large_to_be_whole_when_it_comes_then_it_comes_in_parts() {
        const PAYLOAD_BYTES: usize = 5_000_000;
        let payload: Bytes = (0..PAYLOAD_BYTES).map(|at| (at / 7) as u8).collect();
        for pipe in [1_000, 300_000] {
            let (a, b) = duplex(pipe);
            let mut config = ConnectionConfig::default();
            config.limits.extended_bytes_max = PAYLOAD_BYTES as u32;
            let (mut a, mut b) = (established(a), Connection::established(b, &[], config));
            a.send(Lane::Control, Message::Unchoke).unwrap();
            a.send(Lane::Bulk, Message::Extended { id: 3, payload: payload.clone() }).unwrap();
            let send = async {
                assert!(matches!(a.next().await, Err(CloseReason::ByPeer)));
            };
            let receive = async {
                assert_eq!(Event::Message(Message::Unchoke), b.next().await.unwrap());
                let message = Message::Extended { id: 3, payload: Bytes::new() };
                let large = Event::Large { message, payload_bytes: PAYLOAD_BYTES as u32 };
                assert_eq!(large, b.next().await.unwrap());
                let mut at = 0;
                while at < PAYLOAD_BYTES {
                    let Event::Part { data, left } = b.next().await.unwrap() else { panic!("it is not over") };
                    assert!(!data.is_empty() && data.len() <= BUFFER_BYTES);
                    assert!(payload[at..].starts_with(&data));
                    at += data.len();
                    assert_eq!(PAYLOAD_BYTES - at, left as usize);
                }
                drop(b);
            };
            tokio::join!(send, receive);
        }
    }

    #[tokio::test]
    async fn given_what_was_read_ahead_when_established_then_it_comes_first() {
        let (mut peer, stream) = duplex(100);
        let read_ahead = [Message::Unchoke, piece(1, 30)].map(|message| message.encode().unwrap()).concat();
        let (ahead, behind) = read_ahead.split_at(20);
        let mut connection = Connection::established(stream, ahead, ConnectionConfig::default());
        peer.write_all(behind).await.unwrap();

        assert_eq!(Event::Message(Message::Unchoke), connection.next().await.unwrap());
        assert_eq!(Event::Message(piece(1, 30)), connection.next().await.unwrap());
    }

    #[tokio::test]
    async fn given_a_pool_that_is_dry_when_payloads_are_kept_then_it_waits_for_them_and_writes_meanwhile() {
        let (mut peer, stream) = duplex(1_000_000);
        let mut config = ConnectionConfig::default();
        config.pool = BufferPool::new(2 * BUFFER_BYTES, WhenDry::Wait);
        let pool = config.pool.clone();
        let mut connection = Connection::established(stream, &[], config);
        let frames: Vec<u8> = (0..60).flat_map(|at| piece(at, 16_384).encode().unwrap()).collect();
        peer.write_all(&frames).await.unwrap();

        let mut kept = Vec::new();
        while let Some(event) = connection.next().now_or_never() {
            kept.push(event.unwrap());
        }
        assert!((15..=32).contains(&kept.len()), "{}", kept.len());
        assert_eq!((0, 1), (pool.available(), pool.times_dry()));
        assert!(pool.dry().now_or_never().is_some() && pool.dry().now_or_never().is_none());
        connection.send(Lane::Control, Message::Choke).unwrap();
        assert!(connection.next().now_or_never().is_none());
        let mut written = [0; 5];
        assert!(peer.read_exact(&mut written).now_or_never().is_some());

        let mut received = kept.len();
        drop(kept);
        assert!(pool.available() > 0);
        while received < 60 {
            connection.next().await.unwrap();
            received += 1;
        }
        assert_eq!(2 * BUFFER_BYTES, pool.available());
    }

    #[tokio::test]
    async fn given_a_pool_that_may_be_overdrawn_when_payloads_are_kept_then_it_reads_on_and_tells() {
        let (mut peer, stream) = duplex(1_000_000);
        let mut config = ConnectionConfig::default();
        config.pool = BufferPool::new(BUFFER_BYTES, WhenDry::Allocate);
        let pool = config.pool.clone();
        let mut connection = Connection::established(stream, &[], config);
        let frames: Vec<u8> = (0..60).flat_map(|at| piece(at, 16_384).encode().unwrap()).collect();
        peer.write_all(&frames).await.unwrap();

        let mut kept = Vec::new();
        while kept.len() < 60 {
            kept.push(connection.next().await.unwrap());
        }
        assert!(pool.dry().now_or_never().is_some());
        drop(kept);
        assert_eq!(BUFFER_BYTES, pool.available());
    }

    #[tokio::test]
    async fn given_connections_that_share_a_pool_when_all_are_inside_of_messages_then_none_keeps_another_waiting() {
        let mut config = ConnectionConfig::default();
        config.pool = BufferPool::new(BUFFER_BYTES, WhenDry::Wait);
        let mut open = Vec::new();
        for at in 0..8 {
            let (mut peer, stream) = duplex(100_000);
            let mut connection = Connection::established(stream, &[], config.clone());
            peer.write_all(&piece(at, 16_384).encode().unwrap()[..10_000]).await.unwrap();
            assert!(connection.next().now_or_never().is_none());
            open.push((peer, connection));
        }
        for (at, (peer, connection)) in (0..).zip(&mut open) {
            peer.write_all(&piece(at, 16_384).encode().unwrap()[10_000..]).await.unwrap();
            assert_eq!(Event::Message(piece(at, 16_384)), connection.next().now_or_never().unwrap().unwrap());
        }
    }

    #[tokio::test]
    async fn given_blocks_that_come_as_fast_as_they_can_when_received_then_none_is_moved_in_memory() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (established(a), established(b));
        let send = async {
            for at in 0..2_000 {
                while !a.has_room(Lane::Bulk) {
                    let _ = a.send(Lane::Bulk, Message::KeepAlive);
                    assert_eq!(Event::Room(Lane::Bulk), a.next().await.unwrap());
                }
                a.send(Lane::Bulk, piece(at, 16_384)).unwrap();
            }
            a.close().await.unwrap()
        };
        let receive = async {
            for _ in 0..2_000 {
                b.next().await.unwrap();
            }
            let counters = b.counters();
            b.close().await.unwrap();
            counters
        };
        let (sent, received) = tokio::join!(send, receive);
        assert_eq!(sent.bytes_sent, received.bytes_received);
        assert_eq!((2_000, 2_000), (sent.messages_sent, received.messages_received));
        // What comes before the length of the first frame is known.
        assert!(received.bytes_moved < 40_000, "{}", received.bytes_moved);
    }

    #[tokio::test]
    async fn given_next_that_is_dropped_over_and_over_when_called_again_then_nothing_is_lost() {
        let (a, b) = duplex(100);
        let (mut a, mut b) = (established(a), established(b));
        for at in 0..20 {
            a.send(Lane::Bulk, piece(at, 300)).unwrap();
        }
        let mut received = Vec::new();
        while received.len() < 20 {
            assert!(a.next().now_or_never().is_none());
            if let Some(event) = b.next().now_or_never() {
                received.push(event.unwrap());
            }
        }
        assert_eq!((0..20).map(|at| Event::Message(piece(at, 300))).collect::<Vec<_>>(), received);
    }

    #[tokio::test]
    async fn given_limits_that_are_changed_while_running_when_a_frame_comes_then_they_count() {
        let (mut peer, stream) = duplex(100);
        let mut connection = established(stream);
        assert_eq!(&Limits::default(), connection.limits());
        connection.limits_mut().unknown_bytes_max = 3;
        peer.write_all(b"\0\0\0\x04\xc8abc\0\0\0\x05\xc8abcd").await.unwrap();

        let (events, reason) = events(&mut connection).await;
        assert_eq!(1, events.len());
        assert!(matches!(reason, CloseReason::Wire(Error::MessageTooLarge { id: 0xc8, bytes: 5, max: 4, .. })));
    }
}
