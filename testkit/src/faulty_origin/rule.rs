use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{HeaderMap, Method};

use crate::Dice;

/// What goes wrong with an answer. Offsets count the bytes of its body, as sent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// The request is read, and nothing is ever said. The upstream does not see it.
    NeverAnswer,
    /// The right answer, this much later.
    AnswerAfter(Duration),
    /// The connection is reset before the first byte of an answer. The upstream does not see the
    /// request.
    Reset,
    /// Headers and this many bytes of the body, then silence on an open connection.
    StallAfter(u64),
    /// Headers with the true `Content-Length` and this many bytes of the body, then the connection
    /// closes.
    TruncateAfter(u64),
    /// The whole answer, slowly and evenly.
    Trickle {
        /// Pace of the body.
        bytes_per_second: u64,
    },
    /// The lowest bit of one byte of the body is flipped.
    FlipBit {
        /// Which byte. Past the end: nothing happens.
        offset: u64,
    },
    /// Well-formed HTTP with a body that is longer (zeros) or shorter than it should be. An answer
    /// without `Content-Length` is left alone.
    WrongLength {
        /// How much longer, or shorter if negative, bytes.
        by: i64,
    },
    /// A 206 that claims to begin and end one byte later than it does. Other answers are left
    /// alone.
    WrongContentRange,
    /// The upstream is not told of `Range`: a 200 with everything.
    IgnoreRange,
    /// A 206 says 200 and has no `Content-Range`, with the body of the range: so does the reference
    /// CAS server.
    RangeAs200,
    /// The whole body passes through a function. Not for bodies over 64 MiB: those become a 502.
    Rewrite(Rewrite),
    /// An answer of our own. The upstream does not see the request.
    Status {
        /// 100..=999.
        code: u16,
        /// More headers: `Retry-After`, `X-Error-Code`, ...
        headers: Vec<(String, String)>,
        /// Sent as `text/plain` unless a header says otherwise.
        body: Bytes,
    },
    /// 200 and a page for people, as captive portals send. The upstream does not see the request.
    Html,
    /// 200 and this instead of the answer. The upstream does not see the request.
    Body {
        /// Sent as they are.
        bytes: Bytes,
        /// `application/json`, ...
        content_type: String,
    },
    /// Go elsewhere. The upstream does not see the request.
    RedirectTo {
        /// 301, 302, 303, 307 or 308.
        code: u16,
        /// Absolute or relative.
        url: String,
    },
}

impl Fault {
    /// A bare status.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::status_with(code, &[])
    }

    /// A status with headers and no body.
    #[must_use]
    pub fn status_with(code: u16, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::Status { code, headers, body: Bytes::new() }
    }

    /// 200 with this JSON instead of the answer.
    #[must_use]
    pub fn json(text: impl Into<String>) -> Self {
        Self::Body { bytes: text.into().into(), content_type: "application/json".into() }
    }

    /// 307 to `url`.
    #[must_use]
    pub fn redirect_to(url: impl Into<String>) -> Self {
        Self::RedirectTo { code: 307, url: url.into() }
    }

    /// [`Fault::Rewrite`] with this function.
    #[must_use]
    pub fn rewrite(rewrite: impl Fn(Bytes) -> Bytes + Send + Sync + 'static) -> Self {
        Self::Rewrite(Rewrite(Arc::new(rewrite)))
    }
}

/// A function from body to body.
#[derive(Clone)]
pub struct Rewrite(pub(super) Arc<dyn Fn(Bytes) -> Bytes + Send + Sync>);

impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rewrite")
    }
}

/// Which requests suffer a [`Fault`]: of those that match, the first few may pass and the next few
/// are affected. A matching request that a rule lets pass is offered to the rules behind it.
#[derive(Debug, Clone)]
pub struct Rule {
    target: Target,
    method: Option<Method>,
    header: Option<(String, String)>,
    skip: u64,
    times: u64,
    /// The rule begins anew after so many matching requests, with these numbers.
    burst: Option<Burst>,
    /// Of the requests that would be affected, so many in a hundred are.
    chance: Option<(Dice, u64)>,
    fault: Fault,
}

#[derive(Debug, Clone, Copy)]
struct Burst {
    every: u64,
    matched: u64,
    skip: u64,
    times: u64,
}

#[derive(Debug, Clone)]
enum Target {
    Any,
    Contains(String),
    StartsWith(String),
}

impl Rule {
    /// Every request, for ever.
    #[must_use]
    pub const fn any(fault: Fault) -> Self {
        Self {
            target: Target::Any,
            method: None,
            header: None,
            skip: 0,
            times: u64::MAX,
            burst: None,
            chance: None,
            fault,
        }
    }

    /// Requests whose path and query contain `part`.
    #[must_use]
    pub fn path_contains(part: impl Into<String>, fault: Fault) -> Self {
        Self { target: Target::Contains(part.into()), ..Self::any(fault) }
    }

    /// Requests whose path and query start with `prefix`.
    #[must_use]
    pub fn path_starts_with(prefix: impl Into<String>, fault: Fault) -> Self {
        Self { target: Target::StartsWith(prefix.into()), ..Self::any(fault) }
    }

    /// Only requests of this method.
    #[must_use]
    pub fn method(self, method: Method) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Only requests with this header.
    #[must_use]
    pub fn header(self, name: &str, value: impl Into<String>) -> Self {
        Self { header: Some((name.to_owned(), value.into())), ..self }
    }

    /// Lets this many matching requests pass first.
    #[must_use]
    pub fn skip(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// Affects this many matching requests, then none.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// Begins anew after so many matching requests: `times(3).every(10)` is a burst of three in every ten. To be
    /// called after [`Self::skip`] and [`Self::times`].
    #[must_use]
    pub fn every(self, every: u64) -> Self {
        let burst = Burst { every: every.max(1), matched: 0, skip: self.skip, times: self.times };
        Self { burst: Some(burst), ..self }
    }

    /// Affects only so many in a hundred of the requests that it would affect, as a seed decides.
    #[must_use]
    pub fn chance(self, percent: u64, seed: u64) -> Self {
        Self { chance: Some((Dice::new(seed), percent)), ..self }
    }

    /// Counts the request if it matches, and says what happens to it.
    pub(super) fn apply(&mut self, method: &Method, target: &str, headers: &HeaderMap) -> Option<Fault> {
        let matches = self.method.as_ref().is_none_or(|only| only == method)
            && self.header.as_ref().is_none_or(|(name, value)| headers.get(name).is_some_and(|given| given == value))
            && match &self.target {
                Target::Any => true,
                Target::Contains(part) => target.contains(part.as_str()),
                Target::StartsWith(prefix) => target.starts_with(prefix.as_str()),
            };
        if !matches {
            return None;
        }
        if let Some(burst) = &mut self.burst {
            if burst.matched == burst.every {
                (burst.matched, self.skip, self.times) = (0, burst.skip, burst.times);
            }
            burst.matched += 1;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if let Some((dice, percent)) = &mut self.chance
            && !dice.percent(*percent)
        {
            return None;
        }
        self.times = self.times.checked_sub(1)?;
        Some(self.fault.clone())
    }
}
