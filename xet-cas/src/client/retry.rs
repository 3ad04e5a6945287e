//! When a failed request is made again: what the server asks for, else after a random wait that grows.

use std::time::Duration;

use rand::RngExt as _;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::error::is_transient_status;
use super::http::system_now;
use super::{Error, RetryNotice, RetryObserver, RetryPolicy};

/// A wait that the server asked for is lengthened by up to a part of it, this being the divisor.
const ASKED_WAIT_SPREAD: u32 = 10;
/// How much is left of a rate limit, and when it begins anew.
const RATE_LIMIT_HEADER: &str = "ratelimit";

/// At how many attempts an answer came.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttemptsMade(pub(super) u32);

/// Counts the attempts at one request.
pub(super) struct Attempts<'a> {
    what: &'a str,
    policy: RetryPolicy,
    observer: Option<&'a RetryObserver>,
    pub(super) made: u32,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(what: &'a str, policy: RetryPolicy, observer: Option<&'a RetryObserver>) -> Self {
        Self { what, policy, observer, made: 0 }
    }

    /// Waits until the next attempt is due, or returns the error if there is none.
    pub(super) async fn wait_after(&mut self, failure: Failure) -> Result<(), Error> {
        let Failure { error, asked, is_worth_another } = failure;
        self.made += 1;
        if !is_worth_another {
            return Err(error);
        }
        if let (Some(asked), Error::Status { what, .. }) = (asked, &error)
            && asked > self.policy.retry_after_max
        {
            return Err(Error::RateLimited { what: what.clone(), retry_after: asked });
        }
        if self.made >= self.policy.attempts {
            return Err(error);
        }
        let wait = match asked {
            Some(asked) => asked.saturating_add(random_part(asked / ASKED_WAIT_SPREAD)),
            None => self.backoff(),
        };
        tracing::info!(attempt = self.made, wait_ms = wait.as_millis() as u64, %error, "trying again");
        if let Some(observer) = self.observer {
            let (what, error) = (self.what.to_owned(), error.to_string());
            observer.tell(&RetryNotice { what, error, attempts: self.made, wait, asked });
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// A random part of the delay that has grown with the attempts made.
    fn backoff(&self) -> Duration {
        let doubled = self.policy.delay.saturating_mul(1 << (self.made.max(1) - 1).min(16));
        random_part(doubled.min(self.policy.delay_max))
    }
}

fn random_part(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.0..1.0))
}

/// Why an attempt failed, whether another may do better, and when the server wants it.
pub(super) struct Failure {
    error: Error,
    asked: Option<Duration>,
    is_worth_another: bool,
}

impl Failure {
    /// Another attempt would fare no better.
    pub(super) fn final_(error: Error) -> Self {
        Self { error, asked: None, is_worth_another: false }
    }

    /// What came may have been damaged on its way.
    pub(super) fn damaged(error: Error) -> Self {
        Self { error, asked: None, is_worth_another: true }
    }

    /// What went wrong.
    pub(super) fn into_error(self) -> Error {
        self.error
    }

    /// An answer that is no success.
    pub(super) fn status(error: Error, status: StatusCode, headers: &HeaderMap) -> Self {
        let asked = asked_wait(status, headers).filter(|_| is_transient_status(status.as_u16()));
        Self { asked, ..error.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { is_worth_another: error.is_transient(), error, asked: None }
    }
}

/// How long the server asks to wait. What it says of a limit that is used up is nearer the mark than `Retry-After`.
fn asked_wait(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let limit = (status == StatusCode::TOO_MANY_REQUESTS).then(|| rate_limit_reset(headers)).flatten();
    limit.or_else(|| retry_after(headers))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(system_now()).unwrap_or_default())
}

/// When the last of the limits that are used up begins anew: `"api";r=0;t=55`, several with commas between
/// (draft-ietf-httpapi-ratelimit-headers).
fn rate_limit_reset(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(RATE_LIMIT_HEADER).iter().filter_map(|value| value.to_str().ok());
    // The time left is told in whole seconds, rounded down.
    let reset = values.flat_map(|text| text.split(',')).filter_map(used_up_for).max()?;
    Some(Duration::from_secs(reset.saturating_add(1)))
}

/// Seconds until a limit begins anew of which nothing remains.
fn used_up_for(limit: &str) -> Option<u64> {
    let (mut remaining, mut reset) = (None, None);
    for parameter in limit.split(';').skip(1) {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        match name.trim() {
            "r" => remaining = value.trim().parse::<u64>().ok(),
            "t" => reset = value.trim().parse().ok(),
            _ => {}
        }
    }
    reset.filter(|_| remaining == Some(0))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    use super::{Attempts, Failure, asked_wait};
    use crate::client::{Error, RetryNotice, RetryObserver, RetryPolicy};

    fn busy() -> Error {
        Error::Status { what: "listing".into(), status: 429, message: String::new() }
    }

    fn after(asked: Duration) -> Failure {
        Failure { asked: Some(asked), ..busy().into() }
    }

    #[tokio::test(start_paused = true)]
    async fn given_retry_after_when_waited_then_that_long_and_a_random_part_more() {
        let told = Arc::new(Mutex::new(Vec::<RetryNotice>::new()));
        let teller = told.clone();
        let observer = RetryObserver::new(move |notice| teller.lock().unwrap().push(notice.clone()));
        let policy = RetryPolicy { attempts: 9, ..RetryPolicy::default() };
        let mut attempts = Attempts::new("listing", policy, Some(&observer));
        let (begun, asked) = (tokio::time::Instant::now(), Duration::from_secs(100));

        for _ in 0..8 {
            attempts.wait_after(after(asked)).await.unwrap();
        }
        attempts.wait_after(after(asked)).await.unwrap_err();

        let told = told.lock().unwrap();
        let waits: Vec<Duration> = told.iter().map(|notice| notice.wait).collect();
        assert_eq!(8, waits.len());
        assert!(waits.iter().all(|wait| (asked..=asked * 11 / 10).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
        assert!(begun.elapsed() >= waits.iter().sum());
        assert_eq!((1, "listing"), (told[0].attempts, told[0].what.as_str()));
        assert_eq!((busy().to_string(), Some(asked)), (told[0].error.clone(), told[0].asked));
    }

    #[tokio::test(start_paused = true)]
    async fn given_a_wait_beyond_all_clocks_when_lengthened_then_no_overflow() {
        let policy = RetryPolicy { retry_after_max: Duration::MAX, ..RetryPolicy::default() };
        let mut attempts = Attempts::new("listing", policy, None);
        let wait = attempts.wait_after(after(Duration::MAX));

        assert!(tokio::time::timeout(Duration::from_secs(1), wait).await.is_err());
    }

    #[test]
    fn given_many_attempts_when_the_next_one_waits_then_never_longer_than_the_longest_wait() {
        let policy = RetryPolicy::default();
        for made in 1..100 {
            let attempts = Attempts { what: "listing", policy, observer: None, made };
            assert!((0..20).all(|_| attempts.backoff() <= policy.delay_max), "after {made} attempts");
        }
        let first = Attempts { what: "listing", policy, observer: None, made: 1 };
        assert!((0..20).all(|_| first.backoff() <= policy.delay));
    }

    fn asked(status: u16, headers: &[(&'static str, &str)]) -> Option<u64> {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        asked_wait(StatusCode::from_u16(status).unwrap(), &headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn given_a_rate_limit_that_is_used_up_when_read_then_waited_out_and_before_retry_after() {
        for (limit, expected) in [
            (r#""api";r=0;t=55"#, Some(56)),
            (r#" "resolvers" ; r = 0 ; t = 3 ; pk=:x:"#, Some(4)),
            (r#""api";t=7;r=0, "resolvers";r=0;t=9, "pages";r=5;t=100"#, Some(10)),
            (r#""api";r=0;t=18446744073709551615"#, Some(u64::MAX)),
            (r#""api";r=1;t=55"#, None),
            (r#""api";r=0"#, None),
            (r#""api";r=0;t=-1"#, None),
            ("", None),
        ] {
            assert_eq!(expected, asked(429, &[("RateLimit", limit)]), "{limit}");
        }
        let both = [("ratelimit", r#""api";r=0;t=55"#), ("retry-after", "7")];
        assert_eq!((Some(56), Some(7)), (asked(429, &both), asked(503, &both)));
    }

    #[test]
    fn given_a_date_to_retry_after_when_read_then_the_time_until_then() {
        assert_eq!(Some(0), asked(503, &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]));
        assert!(asked(503, &[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")]) > Some(1_000_000));
        assert_eq!(None, asked(503, &[("retry-after", "soon")]));
    }
}
