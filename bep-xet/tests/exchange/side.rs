//! One end of a simulated connection, which keeps its own books beside the exchange.

use std::collections::{BTreeMap, VecDeque};

use bep_xet::{Error, HaveEntry, HaveState, ManifestForm, ObjectKind, PeerRequestId, Status, StopReason, Unit};

use super::*;

/// What happens on one side. `which` picks a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    AskHave {
        subscribe: bool,
        objects: u8,
    },
    AskManifest {
        of_file: bool,
    },
    AskRange {
        of_file: bool,
        in_bytes: bool,
        with_manifest: bool,
        start: u16,
        count: u16,
    },
    Cancel {
        which: u8,
    },
    Serve {
        which: u8,
        index: u8,
        length: u32,
    },
    End {
        which: u8,
        status: u8,
        retry_ms: u32,
    },
    News {
        name: u8,
    },
    Ping,
    Unchoke,
    /// Messages go to the connection, all or only control.
    Send {
        count: u8,
        only_control: bool,
    },
    /// Messages arrive.
    Deliver {
        count: u8,
    },
    /// Time passes for both.
    Wait {
        ms: u16,
    },
}

/// One end of the connection, and what we know of it beside the exchange.
pub(super) struct Side {
    pub(super) exchange: Exchange,
    pub(super) config: Config,
    pub(super) limits: Limits,
    /// On the way to this side.
    pub(super) incoming: VecDeque<Message>,
    /// Our requests, and whether each has ended.
    pub(super) asked: BTreeMap<RequestId, bool>,
    /// Open requests of the peer.
    pub(super) serving: BTreeMap<PeerRequestId, Work>,
    /// Numbers that this side has sent requests with, and ENDs that came for them.
    pub(super) ids: BTreeMap<u32, u32>,
    pub(super) failed: Option<Error>,
    /// Our requests that the other exchange ended with busy, and those of the peer that ran out of time here.
    pub(super) busy: u32,
    pub(super) expired: u32,
}

/// What the peer asked for, and how far we are.
pub(super) enum Work {
    Have(Vec<Object>),
    Manifest(ManifestForm),
    Range { range: Range, manifest: Option<ManifestForm>, next: u32, raw_bytes_left: u64 },
}

impl Side {
    pub(super) fn new(config: Config, limits: Limits, now: Instant) -> Self {
        Self {
            exchange: exchange_with(config.clone(), limits.clone(), now),
            config,
            limits,
            incoming: VecDeque::new(),
            asked: BTreeMap::new(),
            serving: BTreeMap::new(),
            ids: BTreeMap::new(),
            failed: None,
            busy: 0,
            expired: 0,
        }
    }

    pub(super) fn step(&mut self, step: Step, now: Instant) {
        let exchange = &mut self.exchange;
        let asked = match step {
            Step::AskHave { subscribe, objects } => {
                exchange.query_have((0..=objects % 40).map(xorb), subscribe, DEADLINES, now)
            }
            Step::AskManifest { of_file } => {
                let query = if of_file { ManifestQuery::run(file(1), 5, 5_000) } else { ManifestQuery::whole(xorb(1)) };
                exchange.request_manifest(query, DEADLINES, now)
            }
            Step::AskRange { of_file, in_bytes, with_manifest, start, count } => {
                let (start, end) = (u64::from(start), u64::from(start) + 1 + u64::from(count % 9));
                let object = if of_file || in_bytes { file(1) } else { xorb(1) };
                let range = match in_bytes {
                    true => Range::file_bytes(object, start * 64 * KIB + 99, end * 64 * KIB),
                    false => Range::chunks(object, ChunkRange { start: start as u32, end: end as u32 }),
                };
                let can_request = exchange.can_request(range.window_bytes());
                let asked = exchange.request_range(Range { with_manifest, ..range }, DEADLINES, now);
                assert!(!can_request || asked.is_ok(), "{asked:?}");
                asked
            }
            Step::Cancel { which } => {
                if let Some(id) = self.asked.keys().nth(usize::from(which) % self.asked.len().max(1)) {
                    exchange.cancel(*id, now);
                }
                return;
            }
            Step::Serve { which, index, length } => return self.serve(which, index, length, now),
            Step::End { which, status, retry_ms } => return self.end(which, status, retry_ms),
            Step::News { name } => {
                let news = HaveEntry { object: xorb(name % 40), state: HaveState::None };
                return exchange.send_news([news]).unwrap();
            }
            Step::Ping => return exchange.ping(now),
            Step::Unchoke => return exchange.handle_unchoke(),
            Step::Send { .. } | Step::Deliver { .. } | Step::Wait { .. } => unreachable!("a step of the world"),
        };
        match asked {
            Ok(id) => assert_eq!(None, self.asked.insert(id, false), "the id is new"),
            Err(Error::Busy | Error::WindowFull) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn pick(&mut self, which: u8) -> Option<PeerRequestId> {
        self.serving.keys().nth(usize::from(which) % self.serving.len().max(1)).copied()
    }

    /// Sends the next thing that a request asks for.
    fn serve(&mut self, which: u8, skip: u8, length: u32, now: Instant) {
        let Some(id) = self.pick(which) else { return };
        let (exchange, work) = (&mut self.exchange, self.serving.get_mut(&id).unwrap());
        let sent = match work {
            Work::Have(objects) => {
                let part = objects.split_off(objects.len().saturating_sub(7));
                let entry = |object| HaveEntry { object, state: HaveState::All };
                return exchange.send_have(id, part.into_iter().map(entry).collect(), now).unwrap();
            }
            Work::Manifest(form) | Work::Range { manifest: Some(form), .. } => {
                let proof = (*form == ManifestForm::Run).then(|| Proof { offset: 0, levels: vec![] });
                exchange.send_manifest(id, 9, 0, leaves(9), proof, now)
            }
            Work::Range { range, next, raw_bytes_left, .. } => {
                let index = *next + u32::from(skip);
                let is_outside = match range.unit {
                    Unit::FileBytes if range.with_manifest => index >= 9,
                    Unit::FileBytes => false,
                    _ => u64::from(index) >= range.end,
                };
                if is_outside || *raw_bytes_left < length.into() {
                    return;
                }
                exchange.send_chunk(id, index, record(length), now)
            }
        };
        match (sent, work) {
            (Err(Error::QueueFull), _) => assert!(!exchange.wants_data()),
            (Ok(()), Work::Range { manifest: manifest @ Some(_), .. }) => *manifest = None,
            (Ok(()), Work::Range { next, raw_bytes_left, .. }) => {
                *next += u32::from(skip) + 1;
                *raw_bytes_left -= u64::from(length);
            }
            (Ok(()), Work::Manifest(_)) => self.end(which, 0, 0),
            (other, _) => panic!("{other:?}"),
        }
    }

    fn end(&mut self, which: u8, status: u8, retry_ms: u32) {
        let Some(id) = self.pick(which) else { return };
        let status =
            [Status::Done, Status::NotFound, Status::Busy, Status::Error, Status::Unknown(99)][usize::from(status) % 5];
        // What an exchange says by itself is told apart by its time to wait.
        let retry_ms = if retry_ms == 1_000 { 0 } else { retry_ms };
        self.exchange.end(id, status, 0, Duration::from_millis(retry_ms.into())).unwrap();
        self.serving.remove(&id);
    }

    pub(super) fn note_sent(&mut self, message: &Message) {
        let id = match message {
            Message::HaveQuery(query) => query.id,
            Message::ManifestRequest(request) => request.id,
            Message::RangeRequest(request) => request.id,
            _ => return,
        };
        assert_eq!(None, self.ids.insert(id, 0), "an id is used once");
    }

    pub(super) fn note_delivered(&mut self, message: &Message) {
        if let Message::End(end) = message {
            let ends = self.ids.get_mut(&end.id).expect("only what was asked ends");
            *ends += 1;
            assert_eq!(1, *ends, "it ends once");
        }
    }

    pub(super) fn take_events(&mut self) {
        while let Some(event) = self.exchange.poll_event() {
            assert!(self.failed.is_none(), "nothing comes after a failure: {event:?}");
            match event {
                Event::Have { id: Some(id), .. } | Event::Manifest { id, .. } | Event::Chunk { id, .. } => {
                    assert_eq!(Some(&false), self.asked.get(&id), "it is open");
                }
                Event::Ended { id, status, retry, .. } => {
                    assert_eq!(Some(false), self.asked.insert(id, true), "it ends once");
                    self.busy += u32::from(status == Status::Busy && retry == self.config.busy_retry);
                }
                Event::RequestTimedOut { id, .. } => assert_eq!(Some(&false), self.asked.get(&id)),
                Event::HaveAsked { id, objects, .. } => self.take(id, Work::Have(objects)),
                Event::ManifestAsked { id, query } => self.take(id, Work::Manifest(query.form)),
                Event::RangeAsked { id, range } => {
                    let form = match range.object.kind {
                        ObjectKind::File => ManifestForm::Run,
                        _ => ManifestForm::Whole,
                    };
                    let in_bytes = range.unit == Unit::FileBytes;
                    self.take(
                        id,
                        Work::Range {
                            range,
                            manifest: range.with_manifest.then_some(form),
                            next: if in_bytes { 0 } else { range.start as u32 },
                            raw_bytes_left: if in_bytes { range.end - range.start } else { u64::MAX },
                        },
                    );
                }
                Event::Stopped { id, reason } => {
                    assert!(self.serving.remove(&id).is_some(), "it stops once");
                    self.expired += u32::from(reason == StopReason::Expired);
                }
                Event::Failed { error } => {
                    assert!(!error.is_peer_fault());
                    self.failed = Some(error);
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, id: PeerRequestId, work: Work) {
        assert!(self.serving.insert(id, work).is_none(), "it is asked once");
    }

    pub(super) fn has_nothing_open(&self) -> bool {
        self.failed.is_some() || (self.exchange.open_requests() == 0 && self.serving.is_empty())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.has_nothing_open() && self.incoming.is_empty()
    }
}
