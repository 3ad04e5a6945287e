//! The rules of an exchange, each as a script, and two exchanges that talk to each other.

#[cfg(test)]
mod exchange {
    mod answers;
    mod asking;
    mod deadlines;
    mod dialects;
    mod legacy;
    mod legacy_asking;
    mod legacy_serving;
    mod line;
    mod queues;
    mod serving;
    mod side;
    mod simulation;

    use std::time::{Duration, Instant};

    use bep_xet::{
        Chunk, Config, Deadlines, Event, Exchange, Limits, Manifest, ManifestQuery, ManifestRequest, Message, Object,
        Proof, Range, RangeRequest, RequestId, XetHandshake,
    };
    use bytes::Bytes;
    use xet_cas::xorb::RecordHeader;
    use xet_cas::{ChunkHash, ChunkRange, FileHash, Leaf, Scheme, XorbHash};

    const SECOND: Duration = Duration::from_secs(1);
    const KIB: u64 = 1024;
    const DEADLINES: Deadlines = Deadlines { progress: Duration::from_secs(5), total: Duration::from_secs(12) };

    #[expect(clippy::disallowed_methods, reason = "a time to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    /// An exchange with a peer of the same kind.
    fn exchange(now: Instant) -> Exchange {
        exchange_with(Config::default(), Limits::default(), now)
    }

    fn exchange_with(config: Config, limits: Limits, now: Instant) -> Exchange {
        let peer = XetHandshake::new(&limits, None);
        Exchange::new(config, limits, &peer, now)
    }

    fn events(exchange: &mut Exchange) -> Vec<Event> {
        std::iter::from_fn(|| exchange.poll_event()).collect()
    }

    fn messages(exchange: &mut Exchange) -> Vec<Message> {
        std::iter::from_fn(|| exchange.poll_message()).collect()
    }

    fn xorb(name: u8) -> Object {
        Object::xorb(XorbHash::from_bytes([name; 32]))
    }

    fn file(name: u8) -> Object {
        Object::file(FileHash::from_bytes([name; 32]))
    }

    fn chunks(start: u32, end: u32) -> Range {
        Range::chunks(xorb(1), ChunkRange { start, end })
    }

    /// A chunk record, stored as it is.
    fn record(length: u32) -> Bytes {
        record_of(Scheme::None, length)
    }

    fn record_of(scheme: Scheme, length: u32) -> Bytes {
        let header = RecordHeader { scheme, stored_length: length, raw_length: length };
        [&header.encode()[..], &vec![7; length as usize]].concat().into()
    }

    fn leaves(count: usize) -> Vec<Leaf> {
        vec![Leaf { hash: ChunkHash::from_bytes([9; 32]), length: 65_536 }; count]
    }

    /// Number on the wire.
    fn number(id: RequestId) -> u32 {
        id.to_string().parse().unwrap()
    }

    fn chunk(id: RequestId, index: u32, length: u32) -> Message {
        Message::Chunk(Chunk { id: number(id), index, record: record(length) })
    }

    fn whole(id: RequestId, count: usize) -> Message {
        Message::Manifest(Manifest { id: number(id), total: 0, first: 0, leaves: leaves(count), proof: None })
    }

    fn run(id: RequestId, first: u32, count: usize) -> Message {
        let proof = Some(Proof { offset: 0, levels: vec![] });
        Message::Manifest(Manifest { id: number(id), total: 0, first, leaves: leaves(count), proof })
    }

    fn range_request(id: u32, range: Range) -> Message {
        Message::RangeRequest(RangeRequest { id, range })
    }

    fn manifest_request(id: u32, query: ManifestQuery) -> Message {
        Message::ManifestRequest(ManifestRequest { id, query })
    }
}
