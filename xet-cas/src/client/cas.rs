//! The CAS of one repository: reconstructions, xorb data, and uploads.

mod frames;
mod upload;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use url::Url;

use super::http::{Answer, Http, Request, header_text, parse_json, system_now};
use super::hub::RepoAddress;
use super::{Body, Error, RangesBody, Secret};
use crate::api::{
    ACCESS_TOKEN_HEADER, CAS_URL_HEADER, ReconstructionV1, ReconstructionV2, TOKEN_EXPIRATION_HEADER, TokenAnswer,
};
use crate::{ByteRange, FetchEntry, FileHash, Reconstruction, XorbHash};

/// A token is replaced this long before it expires, seconds: longer than any request waits for its
/// connection, so that it does not expire on the way.
const TOKEN_MARGIN_SECONDS: u64 = 60;

/// CAS that a Hub remembers the tokens of: each is of one commit, and few are read at a time.
const KNOWN_CAS_MAX: usize = 16;

/// Client for the CAS of one repository. Cheap to clone; clones share the token.
#[derive(Debug, Clone)]
pub struct Cas {
    pub(super) http: Http,
    token_url: Url,
    hub_token: Option<Secret>,
    repo: RepoAddress,
    shared: Arc<Shared>,
}

/// What all clients for one CAS of a repository know of it.
#[derive(Debug, Default)]
struct Shared {
    token: Mutex<TokenSlot>,
    /// How often a token was asked for and an answer came, good or bad. Changes only while the slot is
    /// locked.
    token_answers: AtomicU64,
    /// The server knows only the first version of reconstructions.
    only_v1: AtomicBool,
    /// The server takes xorbs directly only.
    no_grants: AtomicBool,
    /// The server knows only the first version of uploading shards.
    only_shards_v1: AtomicBool,
    /// What serves the data gives one range at a time.
    only_single_ranges: AtomicBool,
}

#[derive(Debug, Default)]
struct TokenSlot {
    token: Option<Token>,
    /// Why the last asking failed. It speaks for all who were waiting for its answer.
    failure: Option<Error>,
}

#[derive(Debug, Clone)]
struct Token {
    /// Tells it from those before it.
    number: u64,
    cas_url: Url,
    access_token: Secret,
    /// Unix seconds.
    expires: u64,
}

/// What is known of the CAS that were used last. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownCas(Arc<std::sync::Mutex<VecDeque<Known>>>);

/// By the URL of its tokens.
type Known = (Url, Arc<Shared>);

impl KnownCas {
    fn shared(&self, token_url: &Url) -> Arc<Shared> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = known.iter().position(|(url, _)| url == token_url);
        let newest = at.and_then(|at| known.remove(at)).unwrap_or_else(|| (token_url.clone(), Arc::default()));
        let shared = newest.1.clone();
        known.push_back(newest);
        if known.len() > KNOWN_CAS_MAX {
            known.pop_front();
        }
        shared
    }
}

impl Cas {
    pub(super) fn new(http: Http, token_url: Url, hub_token: Option<Secret>, repo: RepoAddress) -> Self {
        Self { http, token_url, hub_token, repo, shared: Arc::default() }
    }

    /// The same, with what `known` remembers of it.
    pub(super) fn remembered(mut self, known: &KnownCas) -> Self {
        self.shared = known.shared(&self.token_url);
        self
    }

    /// Asks how a whole file is put together: version 2, or version 1 where the server has only that.
    /// The answer has been checked with [`Reconstruction::check_whole_file`] by nobody yet.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the CAS does not know the file; or what any request can meet.
    ///
    /// # Cancel safety
    /// The request is given up if the future is dropped; nothing else remains of it.
    pub async fn reconstruct(&self, file: FileHash, file_bytes: u64) -> Result<Reconstruction, Error> {
        self.ask(file, ByteRange { start: 0, end: file_bytes.max(1) }).await
    }

    /// Asks how a range of a file's bytes is put together, for files so large that a description of the
    /// whole would be. The first term may begin before the range (see
    /// [`Reconstruction::offset_into_first_term`]), the last one end behind it. Nothing in the answer has been
    /// checked. It is empty if the range is, or if the file ends before it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the CAS does not know the file; or what any request can meet.
    ///
    /// # Cancel safety
    /// The request is given up if the future is dropped; nothing else remains of it.
    pub async fn reconstruct_range(&self, file: FileHash, range: ByteRange) -> Result<Reconstruction, Error> {
        if range.length() == 0 {
            return Ok(Reconstruction::default());
        }
        match self.ask(file, range).await {
            Err(Error::Status { status: 416, .. }) => Ok(Reconstruction::default()),
            answer => answer,
        }
    }

    async fn ask(&self, file: FileHash, range: ByteRange) -> Result<Reconstruction, Error> {
        // The CAS itself answered nonsense: no data was read that a hash could prove wrong.
        let malformed = |error: crate::Error| Error::Malformed {
            what: format!("reconstruction of {file}"),
            reason: error.to_string(),
        };
        if !self.shared.only_v1.load(Ordering::Relaxed) {
            match self.ask_reconstruction::<ReconstructionV2>("v2", file, range).await {
                Ok(answer) => return answer.try_into().map_err(malformed),
                Err(Error::NotFound { .. } | Error::Status { status: 501, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let answer = self.ask_reconstruction::<ReconstructionV1>("v1", file, range).await?;
        self.shared.only_v1.store(true, Ordering::Relaxed);
        answer.try_into().map_err(malformed)
    }

    /// Asks for the reconstruction of a file's first byte, which shows that this client may have the file.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::Unauthorized`] if it may not; or what any request can meet.
    ///
    /// # Cancel safety
    /// The request is given up if the future is dropped; nothing else remains of it.
    pub async fn probe(&self, file: FileHash) -> Result<(), Error> {
        self.reconstruct(file, 1).await.map(drop)
    }

    async fn ask_reconstruction<T: DeserializeOwned>(
        &self,
        version: &str,
        file: FileHash,
        range: ByteRange,
    ) -> Result<T, Error> {
        let request = Request::get(format!("reconstruction of {file}"), self.token_url.clone()).range(range);
        self.authorised(request, &format!("/{version}/reconstructions/{file}")).await
    }

    /// Begins to fetch an entry: exactly the byte range that its URL was signed for.
    ///
    /// # Errors
    /// [`Error::UrlExpired`] if the URL is refused: ask for the reconstruction again. Or what any request
    /// can meet.
    ///
    /// # Cancel safety
    /// The request is given up if the future is dropped; nothing else remains of it.
    pub async fn open(&self, entry: &FetchEntry) -> Result<Body, Error> {
        let what = what(entry.xorb, entry.bytes);
        let response = self.send_signed(&what, &entry.url, &[entry.bytes]).await?;
        Body::new(what, response, Some(entry.bytes), entry.bytes.length(), self.http.deadlines.stall)
    }

    /// Begins to fetch several entries of one URL in one request, in this order, which must be that of the answer that
    /// named them: the list is signed in some places. Not every server gives several ranges at once.
    ///
    /// # Errors
    /// As [`open`](Self::open). [`Error::Malformed`] if the entries have not one URL.
    ///
    /// # Cancel safety
    /// The request is given up if the future is dropped; nothing else remains of it.
    pub async fn open_ranges(&self, entries: &[FetchEntry]) -> Result<RangesBody, Error> {
        let [first, .., last] = entries else {
            let Some(only) = entries.first() else {
                return Err(Error::Malformed { what: "no ranges".to_owned(), reason: "there is no URL".to_owned() });
            };
            let body = self.open(only).await?;
            return Ok(RangesBody::single(what(only.xorb, only.bytes), body));
        };
        let what = what(first.xorb, ByteRange { start: first.bytes.start, end: last.bytes.end });
        if entries.iter().any(|entry| entry.url != first.url) {
            return Err(Error::Malformed { what, reason: "its ranges have different URLs".to_owned() });
        }
        let ranges: Vec<ByteRange> = entries.iter().map(|entry| entry.bytes).collect();
        let response = self.send_signed(&what, &first.url, &ranges).await?;
        RangesBody::new(what, response, ranges, &self.http)
    }

    /// Whether several ranges are to be asked for at once: see [`Config::multi_range`](super::Config::multi_range).
    pub(super) fn multi_range(&self) -> bool {
        self.http.multi_range && !self.shared.only_single_ranges.load(Ordering::Relaxed)
    }

    /// Asks for one range at a time from here on.
    pub(super) fn forgo_multi_range(&self) {
        self.shared.only_single_ranges.store(true, Ordering::Relaxed);
    }

    /// Sends a request for ranges of what has a signed URL.
    async fn send_signed(&self, what: &str, url: &str, ranges: &[ByteRange]) -> Result<Response, Error> {
        let malformed = |reason: &str| Error::Malformed { what: what.to_owned(), reason: reason.to_owned() };
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| malformed("its URL is none"))?;
        if self.token_url.scheme() == "https" && url.scheme() != "https" {
            return Err(malformed("its URL leaves HTTPS"));
        }
        let mut request = Request::get(what.to_owned(), url).ranges(ranges);
        // Data that does not begin is as bad as data that does not go on.
        request.answer_deadline = Some(self.http.deadlines.stall);
        match self.http.send(&request).await {
            Err(Error::Forbidden { what, .. }) => Err(Error::UrlExpired { what }),
            other => other,
        }
    }

    /// Sends a request to `path` of the CAS with a token that is good by the clock, and once more with a
    /// new one if the server sees its clock differently.
    async fn authorised<T: DeserializeOwned>(&self, request: Request, path: &str) -> Result<T, Error> {
        let what = request.what.clone();
        let (_, body) = self.authorised_answer(request, path).await?;
        parse_json(&what, &body)
    }

    async fn authorised_answer(&self, mut request: Request, path: &str) -> Result<(StatusCode, Bytes), Error> {
        let mut rejected = None;
        loop {
            let number = self.address(&mut request, path, rejected).await?;
            match self.http.bytes(&request).await {
                Err(Error::Unauthorized { .. }) if rejected.is_none() => rejected = Some(number),
                result => {
                    let answer = result.map_err(|error| self.repo.name(error, ""))?;
                    return Ok((answer.status, answer.body));
                }
            }
        }
    }

    /// As [`authorised_answer`](Self::authorised_answer), but the body has not been read.
    async fn authorised_response(&self, request: &mut Request, path: &str) -> Result<Response, Error> {
        let mut rejected = None;
        loop {
            let number = self.address(request, path, rejected).await?;
            match self.http.send(request).await {
                Err(Error::Unauthorized { .. }) if rejected.is_none() => rejected = Some(number),
                result => return result.map_err(|error| self.repo.name(error, "")),
            }
        }
    }

    /// Puts address and token on a request. Returns the number of the token.
    async fn address(&self, request: &mut Request, path: &str, rejected: Option<u64>) -> Result<u64, Error> {
        let token = self.token(rejected).await?;
        request.url = token.url(path);
        request.token = Some(token.access_token);
        Ok(token.number)
    }

    /// Where the CAS is, as it is told with the token.
    pub(super) async fn base_url(&self) -> Result<String, Error> {
        Ok(self.token(None).await?.cas_url.as_str().trim_end_matches('/').to_owned())
    }

    /// A token that is good by the clock and is not the rejected one. Of many tasks that need another one,
    /// the first asks; what it gets, be it a token or an error, is for all who were waiting meanwhile.
    async fn token(&self, rejected: Option<u64>) -> Result<Token, Error> {
        let answers_before = self.shared.token_answers.load(Ordering::Acquire);
        let mut slot = self.shared.token.lock().await;
        let now = system_now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // One that came while this task was waiting is taken however soon it expires.
        let is_good = |token: &&Token| {
            let is_fresh = token.number >= answers_before || token.expires > now.saturating_add(TOKEN_MARGIN_SECONDS);
            is_fresh && Some(token.number) != rejected
        };
        if let Some(token) = slot.token.as_ref().filter(is_good) {
            return Ok(token.clone());
        }
        let answers = self.shared.token_answers.load(Ordering::Acquire);
        if let Some(failure) = slot.failure.as_ref().filter(|_| answers != answers_before) {
            return Err(failure.clone());
        }
        let asked = self.ask_token(answers).await.map_err(|error| self.repo.name(error, ""));
        self.shared.token_answers.store(answers + 1, Ordering::Release);
        slot.failure = asked.as_ref().err().cloned();
        Ok(slot.token.insert(asked?).clone())
    }

    /// Both forms are accepted: the body, which newer clients read, and the headers, which older ones do.
    async fn ask_token(&self, number: u64) -> Result<Token, Error> {
        let what = format!("CAS token for {}", self.repo.repo());
        let malformed = |reason: &str| Error::Malformed { what: what.clone(), reason: reason.to_owned() };
        let request = Request::get(what.clone(), self.token_url.clone()).token(self.hub_token.as_ref());
        let Answer { body, headers, .. } = self.http.bytes(&request).await?;
        let answer = serde_json::from_slice::<TokenAnswer>(&body)
            .ok()
            .or_else(|| token_from_headers(&headers))
            .ok_or_else(|| malformed("it holds no CAS token, neither in body nor headers"))?;
        let cas_url =
            Url::parse(answer.cas_url.trim_end_matches('/')).map_err(|_| malformed("the CAS address is no URL"))?;
        let is_downgrade = self.token_url.scheme() == "https" && cas_url.scheme() != "https";
        if !matches!(cas_url.scheme(), "http" | "https") || is_downgrade {
            return Err(malformed("the CAS address leaves HTTPS"));
        }
        let has_more = cas_url.query().is_some() || cas_url.fragment().is_some();
        if has_more || !cas_url.username().is_empty() || cas_url.password().is_some() {
            return Err(malformed("the CAS address has a user, query or fragment"));
        }
        let access_token = Secret::new(&answer.access_token).ok_or_else(|| malformed("the CAS token is empty"))?;
        Ok(Token { number, cas_url, access_token, expires: answer.exp })
    }
}

impl Token {
    /// Where `path`, which begins with a slash, is on the CAS.
    fn url(&self, path: &str) -> Url {
        let mut url = self.cas_url.clone();
        url.set_path(&format!("{}{path}", self.cas_url.path().trim_end_matches('/')));
        url
    }
}

/// For messages.
fn what(xorb: XorbHash, bytes: ByteRange) -> String {
    format!("bytes {}..{} of xorb {xorb}", bytes.start, bytes.end)
}

fn token_from_headers(headers: &HeaderMap) -> Option<TokenAnswer> {
    Some(TokenAnswer {
        cas_url: Some(header_text(headers, CAS_URL_HEADER)).filter(|text| !text.is_empty())?,
        exp: header_text(headers, TOKEN_EXPIRATION_HEADER).parse().ok()?,
        access_token: header_text(headers, ACCESS_TOKEN_HEADER),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use url::Url;

    use super::{KNOWN_CAS_MAX, KnownCas};

    #[test]
    fn given_more_cas_than_are_remembered_when_used_then_the_one_used_longest_ago_is_forgotten() {
        let known = KnownCas::default();
        let shared = |number: usize| known.shared(&Url::parse(&format!("http://hub/{number}")).unwrap());
        let (first, second) = (shared(0), shared(1));
        (2..KNOWN_CAS_MAX).for_each(|number| drop(shared(number)));
        assert!(Arc::ptr_eq(&first, &shared(0)));

        shared(KNOWN_CAS_MAX);

        assert!(Arc::ptr_eq(&first, &shared(0)));
        assert!(!Arc::ptr_eq(&second, &shared(1)));
    }
}
