//! What an origin tells of itself: `GET /metrics` in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper ends of the classes of time, seconds: a look into memory, a disk, a check of a xorb, a shard of many files.
const SECONDS: [f64; 7] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

/// What a path is for, as far as it is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// The Hub's API.
    Api,
    /// Files by their name.
    Resolve,
    /// How files are put together, and uploads.
    Cas,
    /// Ranges of xorbs.
    Data,
    /// Health and metrics.
    Operation,
}

impl Class {
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/health" | "/metrics" | "/origin/stats" => Self::Operation,
            path if path.starts_with("/cas/xorbs/") => Self::Data,
            path if path.starts_with("/cas/") || path == "/v1/telemetry" => Self::Cas,
            // However it is written: a first part with escapes is nothing that clients send.
            path if path.starts_with("/api/") || path.split('/').nth(1).is_some_and(|part| part.contains('%')) => {
                Self::Api
            }
            _ => Self::Resolve,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Resolve => "resolve",
            Self::Cas => "cas",
            Self::Data => "data",
            Self::Operation => "operation",
        }
    }
}

/// Counts since the start.
#[derive(Default)]
pub(super) struct Metrics {
    /// By class and status, of which there are a few dozen each.
    requests: Mutex<BTreeMap<(Class, u16), u64>>,
    times: Mutex<BTreeMap<Class, Times>>,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) rate_limited: AtomicU64,
}

#[derive(Default)]
struct Times {
    classes: [u64; SECONDS.len()],
    count: u64,
    sum: Duration,
}

/// What is so at the moment.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) data_bytes_sent: u64,
    pub(super) connections: usize,
    pub(super) uploads_staged: usize,
    pub(super) upload_bytes_staged: u64,
    /// Name, what it is, and its value.
    pub(super) store: Vec<(&'static str, &'static str, u64)>,
}

impl Metrics {
    /// Counts an answer, and how long its beginning took.
    pub(super) fn answered(&self, class: Class, status: u16, elapsed: Duration) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry((class, status)).or_default() += 1;
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let times = times.entry(class).or_default();
        times.count += 1;
        times.sum += elapsed;
        if let Some(class) = SECONDS.iter().position(|end| elapsed.as_secs_f64() <= *end) {
            times.classes[class] += 1;
        }
    }

    pub(super) fn text(&self, now: &Gauges) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text, now);
        text
    }

    fn write(&self, text: &mut String, now: &Gauges) -> fmt::Result {
        head(text, "zest_origin_requests_total", "counter", "Requests answered, by what they were for and status")?;
        let mut errors = 0;
        for ((class, status), count) in self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            writeln!(text, "zest_origin_requests_total{{route=\"{}\",status=\"{status}\"}} {count}", class.name())?;
            errors += if *status >= 500 { *count } else { 0 };
        }
        head(text, "zest_origin_request_seconds", "histogram", "Time until an answer began")?;
        for (class, times) in self.times.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let name = class.name();
            let mut so_far = 0;
            for (end, count) in SECONDS.iter().zip(times.classes) {
                so_far += count;
                writeln!(text, "zest_origin_request_seconds_bucket{{route=\"{name}\",le=\"{end}\"}} {so_far}")?;
            }
            let Times { count, sum, .. } = times;
            writeln!(text, "zest_origin_request_seconds_bucket{{route=\"{name}\",le=\"+Inf\"}} {count}")?;
            writeln!(text, "zest_origin_request_seconds_sum{{route=\"{name}\"}} {}", sum.as_secs_f64())?;
            writeln!(text, "zest_origin_request_seconds_count{{route=\"{name}\"}} {count}")?;
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, what, value) in [
            ("errors_total", "Answers with a status of 500 and above", errors),
            ("rate_limited_total", "Requests refused because of a rate limit", load(&self.rate_limited)),
            ("received_bytes_total", "Bytes received on connections", load(&self.bytes_in)),
            ("sent_bytes_total", "Bytes sent on connections", load(&self.bytes_out)),
            ("data_sent_bytes_total", "Bytes of file data sent", now.data_bytes_sent),
        ] {
            single(text, name, "counter", what, value)?;
        }
        let gauges = [
            ("connections", "Connections open", now.connections as u64),
            ("uploads_staged", "Uploads by grants that arrive or wait to be kept", now.uploads_staged as u64),
            ("uploads_staged_bytes", "What these announced, bytes", now.upload_bytes_staged),
        ];
        for (name, what, value) in gauges.into_iter().chain(now.store.iter().copied()) {
            single(text, name, "gauge", what, value)?;
        }
        Ok(())
    }
}

fn head(text: &mut String, name: &str, kind: &str, what: &str) -> fmt::Result {
    writeln!(text, "# HELP {name} {what}\n# TYPE {name} {kind}")
}

fn single(text: &mut String, name: &str, kind: &str, what: &str, value: u64) -> fmt::Result {
    let name = format!("zest_origin_{name}");
    head(text, &name, kind, what)?;
    writeln!(text, "{name} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_answers_when_told_then_counts_and_classes_of_time_add_up() {
        let metrics = Metrics::default();
        metrics.answered(Class::Api, 200, Duration::from_millis(3));
        metrics.answered(Class::Api, 200, Duration::from_secs(60));
        metrics.answered(Class::Data, 503, Duration::from_micros(10));

        let text = metrics.text(&Gauges { connections: 7, store: vec![("x", "y", 1)], ..Gauges::default() });

        for line in [
            "zest_origin_requests_total{route=\"api\",status=\"200\"} 2",
            "zest_origin_requests_total{route=\"data\",status=\"503\"} 1",
            "zest_origin_request_seconds_bucket{route=\"api\",le=\"0.001\"} 0",
            "zest_origin_request_seconds_bucket{route=\"api\",le=\"0.005\"} 1",
            "zest_origin_request_seconds_bucket{route=\"api\",le=\"10\"} 1",
            "zest_origin_request_seconds_bucket{route=\"api\",le=\"+Inf\"} 2",
            "zest_origin_request_seconds_sum{route=\"api\"} 60.003",
            "zest_origin_errors_total 1",
            "zest_origin_connections 7",
            "# TYPE zest_origin_x gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn given_paths_when_counted_then_by_what_they_are_for() {
        for (path, class) in [
            ("/api/models/lab/tiny", Class::Api),
            ("/lab/tiny/resolve/main/a", Class::Resolve),
            ("/cas/v2/reconstructions/x", Class::Cas),
            ("/cas/xorbs/x", Class::Data),
            ("/v1/telemetry", Class::Cas),
            ("/health", Class::Operation),
        ] {
            assert_eq!(class, Class::of(path), "{path}");
        }
    }
}
