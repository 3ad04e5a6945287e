//! The CAS of one repository: reconstructions, xorb data, and uploads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue, RANGE};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use url::Url;

use super::http::{Http, Request, header_text, system_now};
use super::hub::name_repo;
use super::{Body, Error, Secret};
use crate::api::{
    ACCESS_TOKEN_HEADER, CAS_URL_HEADER, ReconstructionV1, ReconstructionV2, RepoId, ShardAnswer,
    TOKEN_EXPIRATION_HEADER, TokenAnswer, XorbAnswer,
};
use crate::{FetchEntry, FileHash, Reconstruction, XorbHash};

/// A token is replaced this long before it expires, seconds: longer than any request waits for its
/// connection, so that it does not expire on the way.
const TOKEN_MARGIN_SECONDS: u64 = 60;

/// Client for the CAS of one repository. Cheap to clone; clones share the token.
#[derive(Debug, Clone)]
pub struct Cas {
    http: Http,
    token_url: Url,
    hub_token: Option<Secret>,
    repo: RepoId,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    token: Mutex<Option<Token>>,
    /// The server knows only the first version of reconstructions.
    only_v1: AtomicBool,
}

#[derive(Debug, Clone)]
struct Token {
    cas_url: Url,
    access_token: Secret,
    /// Unix seconds.
    expires: u64,
}

impl Cas {
    pub(super) fn new(http: Http, token_url: Url, hub_token: Option<Secret>, repo: RepoId) -> Self {
        Self { http, token_url, hub_token, repo, shared: Arc::default() }
    }

    /// Asks how a whole file is put together: version 2, or version 1 where the server has only that.
    /// The answer has been checked with [`Reconstruction::check_whole_file`] by nobody yet.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the CAS does not know the file; or what any request can meet.
    pub async fn reconstruct(&self, file: FileHash, file_bytes: u64) -> Result<Reconstruction, Error> {
        let malformed = |source| Error::Format { what: format!("reconstruction of {file}"), source };
        if !self.shared.only_v1.load(Ordering::Relaxed) {
            match self.ask_reconstruction::<ReconstructionV2>("v2", file, file_bytes).await {
                Ok(answer) => return answer.try_into().map_err(malformed),
                Err(Error::NotFound { .. } | Error::Status { status: 501, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let answer = self.ask_reconstruction::<ReconstructionV1>("v1", file, file_bytes).await?;
        self.shared.only_v1.store(true, Ordering::Relaxed);
        answer.try_into().map_err(malformed)
    }

    async fn ask_reconstruction<T: DeserializeOwned>(
        &self,
        version: &str,
        file: FileHash,
        bytes: u64,
    ) -> Result<T, Error> {
        let mut request = Request::get(format!("reconstruction of {file}"), self.token_url.clone());
        if let Ok(range) = HeaderValue::from_str(&format!("bytes=0-{}", bytes.saturating_sub(1))) {
            request = request.header(RANGE, range);
        }
        self.authorised(request, &format!("/{version}/reconstructions/{file}")).await
    }

    /// Begins to fetch an entry: exactly the byte range that its URL was signed for.
    ///
    /// # Errors
    /// [`Error::UrlExpired`] if the URL is refused: ask for the reconstruction again. Or what any request
    /// can meet.
    pub async fn open(&self, entry: &FetchEntry) -> Result<Body, Error> {
        let what = format!("bytes {}..{} of xorb {}", entry.bytes.start, entry.bytes.end, entry.xorb);
        let url = Url::parse(&entry.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url else {
            return Err(Error::Malformed { what, reason: "its URL is none".into() });
        };
        if self.token_url.scheme() == "https" && url.scheme() != "https" {
            return Err(Error::Malformed { what, reason: "its URL leaves HTTPS".into() });
        }
        let range = format!("bytes={}-{}", entry.bytes.start, entry.bytes.end.saturating_sub(1));
        let mut request = Request::get(what.clone(), url);
        // Data that does not begin is as bad as data that does not go on.
        request.answer_deadline = Some(self.http.deadlines.stall);
        if let Ok(value) = HeaderValue::from_str(&range) {
            request = request.header(RANGE, value);
        }
        let response = match self.http.send(&request).await {
            Err(Error::Forbidden { what, .. }) => return Err(Error::UrlExpired { what }),
            other => other?,
        };
        Body::new(what, response, Some(entry.bytes), entry.bytes.length(), self.http.deadlines.stall)
    }

    /// Stores a xorb: its records, without footer. Returns whether it was new.
    pub(super) async fn upload_xorb(&self, xorb: XorbHash, records: Bytes) -> Result<bool, Error> {
        let path = format!("/v1/xorbs/default/{xorb}");
        let answer: XorbAnswer = self.upload(format!("upload of xorb {xorb}"), &path, records).await?;
        Ok(answer.was_inserted)
    }

    /// Registers a shard in its upload form.
    pub(super) async fn upload_shard(&self, shard: Bytes) -> Result<(), Error> {
        let _: ShardAnswer = self.upload("upload of a shard".to_owned(), "/v1/shards", shard).await?;
        Ok(())
    }

    async fn upload<T: DeserializeOwned>(&self, what: String, path: &str, body: Bytes) -> Result<T, Error> {
        let mut request = Request::new(Method::POST, what, self.token_url.clone()).body(None, body);
        request.answer_deadline = Some(self.http.deadlines.upload_answer);
        self.authorised(request, path).await
    }

    /// Sends a request to `path` of the CAS with a token that is good by the clock, and once more with a
    /// new one if the server sees its clock differently.
    async fn authorised<T: DeserializeOwned>(&self, mut request: Request, path: &str) -> Result<T, Error> {
        let mut renew = false;
        loop {
            let token = self.token(renew).await?;
            request.url = token.url(path)?;
            request.token = Some(token.access_token);
            match self.http.json::<T>(&request).await {
                Err(Error::Unauthorized { .. }) if !renew => renew = true,
                result => return Ok(result?.0),
            }
        }
    }

    async fn token(&self, renew: bool) -> Result<Token, Error> {
        let mut slot = self.shared.token.lock().await;
        let now = system_now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Some(token) = slot.as_ref().filter(|token| !renew && token.expires > now + TOKEN_MARGIN_SECONDS) {
            return Ok(token.clone());
        }
        let what = format!("CAS token for {}", self.repo);
        let request = Request::get(what.clone(), self.token_url.clone()).token(self.hub_token.as_ref());
        let token = self.ask_token(&what, &request).await.map_err(|error| name_repo(error, &self.repo, ""))?;
        Ok(slot.insert(token).clone())
    }

    /// Both forms are accepted: the body, which newer clients read, and the headers, which older ones do.
    async fn ask_token(&self, what: &str, request: &Request) -> Result<Token, Error> {
        let malformed = |reason: &str| Error::Malformed { what: what.to_owned(), reason: reason.to_owned() };
        let (body, headers) = self.http.bytes(request).await?;
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
        let access_token = Secret::new(&answer.access_token).ok_or_else(|| malformed("the CAS token is empty"))?;
        Ok(Token { cas_url, access_token, expires: answer.exp })
    }
}

impl Token {
    fn url(&self, path: &str) -> Result<Url, Error> {
        let base = self.cas_url.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{path}"))
            .map_err(|error| Error::Endpoint { endpoint: base.to_owned(), reason: error.to_string() })
    }
}

fn token_from_headers(headers: &HeaderMap) -> Option<TokenAnswer> {
    Some(TokenAnswer {
        cas_url: Some(header_text(headers, CAS_URL_HEADER)).filter(|text| !text.is_empty())?,
        exp: header_text(headers, TOKEN_EXPIRATION_HEADER).parse().ok()?,
        access_token: header_text(headers, ACCESS_TOKEN_HEADER),
    })
}
