//! How many requests somebody may make: fixed windows, counted per user, token or address, and told in the headers that
//! clients read (draft-ietf-httpapi-ratelimit-headers).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::time::Instant;

use super::address::Address;

/// Whose requests are counted at once. Beyond that, those who come are counted together.
const PARTIES_MAX: usize = 20_000;
/// Places of those whose windows are over are looked for no more often than this.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How many requests are granted to each user, token without a user, or address (an IPv6 network of 64 bits).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RateLimits {
    /// Calls of the Hub's API. Default: no limit.
    pub api: Option<RateLimit>,
    /// Calls that resolve a file. Default: no limit.
    pub resolve: Option<RateLimit>,
}

/// So many requests in a window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// At least 1.
    pub requests: u32,
    /// At least a second. It begins with somebody's first request and is followed by another.
    pub window: Duration,
}

impl RateLimit {
    /// So many requests in each window.
    pub fn new(requests: u32, window: Duration) -> Self {
        Self { requests, window }
    }
}

/// Who is counted as one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Party {
    User(String),
    Token(String),
    Address(Address),
    /// All for whom there was no room.
    Others,
}

/// One limit, and where everyone stands.
pub(super) struct Limiter {
    /// The Hub's word for what is limited.
    resource: &'static str,
    limit: RateLimit,
    table: Mutex<Table>,
    parties_max: usize,
}

#[derive(Default)]
struct Table {
    parties: HashMap<Party, Window>,
    /// When windows that are over were last removed: a look at all of them is not for every request.
    swept: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    ends: Instant,
    used: u32,
}

/// Where somebody stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) is_allowed: bool,
    remaining: u32,
    reset: Duration,
}

impl Limiter {
    pub(super) fn new(resource: &'static str, limit: RateLimit) -> Self {
        Self { resource, limit, table: Mutex::default(), parties_max: PARTIES_MAX }
    }

    /// Counts a request.
    pub(super) fn take(&self, party: Party, now: Instant) -> Standing {
        let RateLimit { requests, window } = self.limit;
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let Table { parties, swept } = &mut *table;
        let is_full = |parties: &HashMap<Party, Window>| {
            parties.len() - usize::from(parties.contains_key(&Party::Others)) >= self.parties_max
        };
        let is_known = parties.contains_key(&party);
        if !is_known && is_full(parties) && swept.is_none_or(|swept| swept + SWEEP_INTERVAL <= now) {
            parties.retain(|_, window| now < window.ends);
            *swept = Some(now);
        }
        // Users and tokens are those of the configuration: their number has a bound.
        let has_room = is_known || !matches!(party, Party::Address(_)) || !is_full(parties);
        let party = if has_room { party } else { Party::Others };
        let fresh = Window { ends: now + window, used: 0 };
        let window = parties.entry(party).or_insert(fresh);
        if window.ends <= now {
            *window = fresh;
        }
        let is_allowed = window.used < requests;
        window.used += u32::from(is_allowed);
        Standing { is_allowed, remaining: requests - window.used, reset: window.ends - now }
    }

    /// Tells a client where it stands.
    pub(super) fn tell(&self, standing: Standing, headers: &mut HeaderMap) {
        let Self { resource, limit, .. } = self;
        let Standing { is_allowed, remaining, reset } = standing;
        let seconds = reset.as_secs();
        let told = [
            (RATE_LIMIT, format!("\"{resource}\";r={remaining};t={seconds}")),
            (
                RATE_LIMIT_POLICY,
                format!("\"fixed window\";\"{resource}\";q={};w={}", limit.requests, limit.window.as_secs()),
            ),
        ];
        // Whole seconds that are over when they are: rounded up, where clients do not add one themselves.
        let retry_after = (!is_allowed).then(|| (header::RETRY_AFTER, (seconds + 1).to_string()));
        for (name, value) in told.into_iter().chain(retry_after) {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);

    fn limiter(requests: u32) -> Limiter {
        Limiter::new("api", RateLimit::new(requests, WINDOW))
    }

    fn user(name: &str) -> Party {
        Party::User(name.into())
    }

    #[test]
    fn given_requests_when_counted_then_so_many_a_window_and_each_for_themselves() {
        let (limiter, now) = (limiter(2), Instant::now());
        let take = |name, seconds| limiter.take(user(name), now + Duration::from_secs(seconds));
        let standing =
            |is_allowed, remaining, reset| Standing { is_allowed, remaining, reset: Duration::from_secs(reset) };

        assert_eq!(standing(true, 1, 300), take("alice", 0));
        assert_eq!(standing(true, 0, 200), take("alice", 100));
        assert_eq!(standing(false, 0, 1), take("alice", 299));
        assert_eq!(standing(true, 1, 300), take("bob", 299));
        assert_eq!(standing(true, 1, 300), take("alice", 300));
    }

    #[test]
    fn given_more_parties_than_there_is_room_for_when_counted_then_those_that_are_over_go_and_the_rest_are_one() {
        let (mut limiter, now) = (limiter(2), Instant::now());
        limiter.parties_max = 2;
        let at = |party, seconds| limiter.take(party, now + Duration::from_secs(seconds)).is_allowed;
        let take = |name: &str, seconds| {
            let last = name.as_bytes()[0];
            at(Party::Address(Address::of([192, 0, 2, last].into())), seconds)
        };

        assert!(take("a", 0) && take("b", 100));
        // No room: they share what one has.
        assert!(take("c", 200) && take("d", 200) && !take("e", 200));
        assert!(take("b", 200));
        assert!(limiter.table.lock().unwrap().parties.len() <= 3);

        // The window of a is over.
        assert!(take("e", 301) && take("e", 301) && !take("e", 301));
        // Users are known beforehand, and are crowded out by nobody.
        assert!(at(user("alice"), 301) && at(user("alice"), 301) && !at(user("alice"), 301));
    }

    #[test]
    fn given_where_somebody_stands_when_told_then_in_the_words_clients_read() {
        let (limiter, now) = (limiter(1), Instant::now());
        let told = |seconds| {
            let mut headers = HeaderMap::new();
            limiter.tell(limiter.take(user("alice"), now + Duration::from_secs(seconds)), &mut headers);
            let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            [text("ratelimit"), text("ratelimit-policy"), text("retry-after")]
        };
        let policy = Some(r#""fixed window";"api";q=1;w=300"#.to_owned());

        assert_eq!([Some(r#""api";r=0;t=300"#.into()), policy.clone(), None], told(0));
        assert_eq!([Some(r#""api";r=0;t=55"#.into()), policy, Some("56".into())], told(245));
    }
}
