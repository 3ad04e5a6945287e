//! Whether chunks are compressed for a peer: by how fast its link takes them. Pure: told what time it is.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bep_xet::Schemes;
use bytes::Bytes;
use xet_cas::xorb::RecordHeader;
use xet_cas::{CompressionPolicy, Compressor, Scheme};

/// Below this compressing is faster than sending what it saves, bytes a second.
const RAW_BYTES_PER_SECOND_MIN: u64 = 200_000_000;
/// Once chunks are compressed, a link has to be so much faster before they no longer are: what it takes varies.
const FASTER_BY: (u64, u64) = (3, 2);
/// Where the processor was too slow, every batch that is not compressed makes it count as faster by this part, so that
/// it is tried again: it may have been busy with something else.
const FORGOTTEN_PART: u64 = 64;
/// Time with something to send after which a link's speed is told: long beside the moment in which the system's
/// buffers take all there is.
const MEASURED_FOR: Duration = Duration::from_millis(250);

/// How fast a connection takes what it is given, measured while there was something to give.
#[derive(Debug)]
pub(super) struct LinkSpeed {
    /// Since when there has been something, as far as it is not counted.
    busy_since: Option<Instant>,
    busy: Duration,
    bytes: u64,
    bytes_per_second: Option<u64>,
}

impl LinkSpeed {
    pub(super) fn new() -> Self {
        Self { busy_since: None, busy: Duration::ZERO, bytes: 0, bytes_per_second: None }
    }

    /// There is something to write, which may have been so before.
    pub(super) fn has_more(&mut self, now: Instant) {
        self.busy_since.get_or_insert(now);
    }

    /// So much was written, and there is more or not.
    pub(super) fn wrote(&mut self, bytes: usize, has_more: bool, now: Instant) {
        let Some(since) = self.busy_since else { return };
        self.busy += now.saturating_duration_since(since);
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.busy_since = has_more.then_some(now);
        if self.busy >= MEASURED_FOR {
            let per_second = u128::from(self.bytes) * 1_000_000_000 / self.busy.as_nanos().max(1);
            self.bytes_per_second = Some(u64::try_from(per_second).unwrap_or(u64::MAX));
            (self.busy, self.bytes) = (Duration::ZERO, 0);
        }
    }

    /// `None` before there was enough to send.
    pub(super) fn bytes_per_second(&self) -> Option<u64> {
        self.bytes_per_second
    }
}

/// What one peer's chunks are sent as: compressed if that is faster than to send what it saves. So it is not where the
/// link takes more than the processor gets through.
#[derive(Debug)]
pub(super) struct Packing {
    /// All peers together get no more than this, bytes a second.
    limit: Option<NonZeroU64>,
    /// By the link alone.
    is_slow_link: bool,
    pace: Pace,
}

/// How fast chunks were last compressed, raw bytes a second; told by the worker that does it.
#[derive(Debug, Clone)]
pub(super) struct Pace(Arc<AtomicU64>);

impl Pace {
    /// So many raw bytes were compressed in this time.
    pub(super) fn packed(&self, bytes: u64, took: Duration) {
        let per_second = u128::from(bytes) * 1_000_000_000 / took.as_nanos().max(1);
        self.0.store(u64::try_from(per_second).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether it keeps up with such a link; counts as an attempt that was not made if not.
    fn keeps_up(&self, link: u64) -> bool {
        let pace = self.0.load(Ordering::Relaxed);
        if pace < link {
            // What a worker has said meanwhile is newer.
            let faster = pace.saturating_add(1 + pace / FORGOTTEN_PART);
            let _ = self.0.compare_exchange(pace, faster, Ordering::Relaxed, Ordering::Relaxed);
        }
        pace >= link
    }
}

impl Packing {
    /// Until its speed is known, a link of the local network is taken for fast, any other for slow.
    pub(super) fn new(is_local: bool, limit: Option<NonZeroU64>) -> Self {
        Self { limit, is_slow_link: !is_local, pace: Pace(Arc::new(AtomicU64::new(u64::MAX))) }
    }

    /// For who compresses.
    pub(super) fn pace(&self) -> Pace {
        self.pace.clone()
    }

    /// The schemes to choose from for a peer that accepts these, at the speed of its link.
    pub(super) fn schemes(&mut self, accept: Schemes, bytes_per_second: Option<u64>) -> Schemes {
        let speed = bytes_per_second.into_iter().chain(self.limit.map(NonZeroU64::get)).min();
        if let Some(speed) = speed {
            let (times, by) = if self.is_slow_link { FASTER_BY } else { (1, 1) };
            self.is_slow_link = speed < RAW_BYTES_PER_SECOND_MIN * times / by;
        }
        if self.is_slow_link && self.pace.keeps_up(speed.unwrap_or(0)) { accept } else { Schemes::RAW }
    }
}

/// The scheme for records that follow each other, of those that may be used. `first` is the first of them, raw.
pub(super) fn choose(first: &[u8], schemes: Schemes) -> Scheme {
    if schemes.bits() & !Schemes::RAW.bits() == 0 {
        return Scheme::None;
    }
    let predicted = CompressionPolicy::Auto.choose(first.get(RecordHeader::BYTES..).unwrap_or_default());
    [predicted, Scheme::Lz4].into_iter().find(|scheme| schemes.contains(*scheme)).unwrap_or(Scheme::None)
}

/// Compresses a raw record; returns it as it is where that is not longer.
pub(super) fn pack(record: Bytes, scheme: Scheme, compressor: &mut Compressor) -> Bytes {
    let Some(raw) = record.get(RecordHeader::BYTES..).filter(|_| scheme != Scheme::None) else { return record };
    let (Scheme::Lz4 | Scheme::Bg4Lz4, stored) = compressor.compress(scheme, raw) else { return record };
    let header = RecordHeader { scheme, stored_length: stored.len() as u32, raw_length: raw.len() as u32 };
    [&header.encode()[..], stored].concat().into()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a point in time to count from")]
mod tests {
    use xet_cas::xorb::Records;

    use super::*;

    const MEGABYTE: u64 = 1_000_000;

    /// The speed that is told of a link that takes so much in a millisecond, and after that there is more or not.
    fn measured(bytes_per_millisecond: usize, milliseconds: u32, idle: Duration) -> Option<u64> {
        let (mut speed, mut now) = (LinkSpeed::new(), Instant::now());
        for _ in 0..milliseconds {
            speed.has_more(now);
            now += Duration::from_millis(1);
            speed.wrote(bytes_per_millisecond, idle.is_zero(), now);
            now += idle;
        }
        speed.bytes_per_second()
    }

    #[test]
    fn given_a_link_when_it_was_busy_long_enough_then_its_speed_is_known_whatever_the_pauses() {
        assert_eq!(None, measured(1_000, 249, Duration::ZERO));
        for idle in [Duration::ZERO, Duration::from_millis(7), Duration::from_secs(3_600)] {
            assert_eq!(Some(MEGABYTE), measured(1_000, 250, idle));
            assert_eq!(Some(300 * MEGABYTE), measured(300_000, 2_000, idle));
        }
    }

    #[test]
    fn given_a_link_that_takes_nothing_for_long_when_it_takes_something_then_the_pause_counts() {
        let (mut speed, now) = (LinkSpeed::new(), Instant::now());
        speed.has_more(now);
        speed.has_more(now + Duration::from_secs(9));
        speed.wrote(1_000, true, now + Duration::from_secs(10));

        assert_eq!(Some(100), speed.bytes_per_second());
    }

    #[test]
    fn given_speeds_when_asked_then_raw_above_the_threshold_and_no_changing_between() {
        let mut packing = Packing::new(true, None);
        let mut is_raw = |speed: Option<u64>| packing.schemes(Schemes::ALL, speed) == Schemes::RAW;

        assert!(is_raw(None));
        assert!(is_raw(Some(RAW_BYTES_PER_SECOND_MIN)));
        assert!(!is_raw(Some(RAW_BYTES_PER_SECOND_MIN - 1)));
        assert!(!is_raw(Some(299 * MEGABYTE)));
        assert!(is_raw(Some(300 * MEGABYTE)));
        assert!(is_raw(Some(201 * MEGABYTE)));
    }

    #[test]
    fn given_a_link_of_unknown_speed_when_asked_then_local_ones_are_fast_and_what_is_limited_is_not() {
        let schemes = |is_local, limit| Packing::new(is_local, NonZeroU64::new(limit)).schemes(Schemes::ALL, None);

        assert_eq!(Schemes::RAW, schemes(true, 0));
        assert_eq!(Schemes::RAW, schemes(true, 300 * MEGABYTE));
        assert_eq!(Schemes::ALL, schemes(true, 5 * MEGABYTE));
        assert_eq!(Schemes::ALL, schemes(false, 0));
    }

    #[test]
    fn given_a_processor_slower_than_the_link_when_asked_then_raw_and_tried_again_now_and_then() {
        let mut packing = Packing::new(false, None);
        let link = 110 * MEGABYTE;
        let mut tried = 0;
        for _ in 0..1_000 {
            if packing.schemes(Schemes::ALL, Some(link)) == Schemes::ALL {
                tried += 1;
                packing.pace().packed(60 * MEGABYTE, Duration::from_secs(1));
            }
        }
        assert!((10..50).contains(&tried), "{tried}");

        packing.pace().packed(111 * MEGABYTE, Duration::from_secs(1));
        assert!((0..1_000).all(|_| packing.schemes(Schemes::ALL, Some(link)) == Schemes::ALL));
    }

    fn raw(data: &[u8]) -> Bytes {
        let length = data.len() as u32;
        let header = RecordHeader { scheme: Scheme::None, stored_length: length, raw_length: length };
        [&header.encode()[..], data].concat().into()
    }

    #[test]
    fn given_a_chunk_when_packed_then_it_decodes_to_the_same_bytes_in_a_scheme_that_is_accepted() {
        let floats: Vec<u8> = (0..20_000).flat_map(|n| (1.0 + n as f32 / 1e6).to_le_bytes()).collect();
        let text = b"what compresses without grouping ".repeat(2_000);
        let noise: Vec<u8> =
            (0..60_000_u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8 ^ n as u8).collect();
        for bits in 0..8 {
            let schemes = Schemes::from_bits(bits);
            for data in [&floats[..], &text, &noise, b"x"] {
                let record = raw(data);

                let packed = pack(record.clone(), choose(&record, schemes), &mut Compressor::new());

                let read = Records::new(&packed).next().unwrap().unwrap();
                let scheme = read.header.scheme;
                assert!(scheme == Scheme::None || schemes.contains(scheme), "{scheme:?} of {bits:#b}");
                assert!(packed.len() <= record.len());
                assert_eq!(data, read.decode(&mut Vec::new()).unwrap());
            }
        }
        let packed = |data: &[u8]| pack(raw(data), choose(&raw(data), Schemes::ALL), &mut Compressor::new());
        let scheme = |data: &[u8]| Records::new(&packed(data)).next().unwrap().unwrap().header.scheme;
        assert_eq!([Scheme::Bg4Lz4, Scheme::Lz4], [scheme(&floats), scheme(&text)]);
        assert!(packed(&text).len() < text.len() / 10);
    }

    #[test]
    fn given_what_does_not_compress_when_packed_then_the_very_record() {
        let record = raw(b"too short to compress");

        let packed = pack(record.clone(), Scheme::Lz4, &mut Compressor::new());

        assert_eq!(record.as_ptr(), packed.as_ptr());
        assert_eq!(record, packed);
    }
}
