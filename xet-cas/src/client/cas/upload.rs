//! Uploads: xorbs through grants or directly, and shards.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use reqwest::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::Cas;
use super::frames::Frames;
use crate::api::shown;
use crate::api::{GRANT_CHECKSUM, GrantAnswer, GrantChecksum, GrantRequest, ShardAnswer, XorbAnswer, encode_segment};
use crate::client::Error;
use crate::client::blocking::blocking;
use crate::client::http::Request;
use crate::client::retry::Failure;
use crate::{ChunkHash, XorbHash};

/// Grants that are asked for one xorb, as the deployed client does; then it is uploaded without.
const GRANTS_MAX: usize = 3;
/// Headers that a grant names at most; signed uploads need one or two.
const GRANT_HEADERS_MAX: usize = 32;
/// The longest answer to a question about a chunk, bytes: a shard of 170,000 chunks, 10 GB of average ones. Several are
/// under way at once.
const FOUND_SHARD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Headers that say where a request goes and where it ends. A grant does not decide that.
const OWN_HEADERS: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING];

/// How a try to use a grant ended.
enum Put {
    Stored,
    /// This grant is of no use any more, another may be.
    NewGrant,
    /// The place that grants lead to cannot be used.
    Unusable,
}

/// What the CAS says to the wish to store a xorb.
enum Grant {
    /// It is there already.
    Known,
    /// This CAS takes xorbs directly only.
    NotOffered,
    Granted(GrantAnswer),
}

impl Cas {
    /// Stores a xorb: its records, without footer. Returns the bytes that had to be sent.
    pub(in crate::client) async fn upload_xorb(&self, xorb: XorbHash, records: &Bytes) -> Result<u64, Error> {
        let mut sent = 0;
        let request = GrantRequest {
            length: records.len() as u64,
            checksum: GrantChecksum { algo: GRANT_CHECKSUM.to_owned(), value: checksum(records).await.to_string() },
        };
        for _ in 0..GRANTS_MAX {
            if self.shared.no_grants.load(Ordering::Relaxed) {
                break;
            }
            let grant = match self.ask_grant(xorb, &request).await? {
                Grant::Known => return Ok(sent),
                Grant::NotOffered => {
                    self.shared.no_grants.store(true, Ordering::Relaxed);
                    break;
                }
                Grant::Granted(grant) => grant,
            };
            sent += records.len() as u64;
            match self.put(xorb, &grant, records).await? {
                Put::Stored if self.commit_grant(xorb, &grant).await? => return Ok(sent),
                Put::Stored | Put::NewGrant => {}
                Put::Unusable => break,
            }
        }
        let answer: XorbAnswer =
            self.upload(upload_of(xorb), &format!("/v1/xorbs/default/{xorb}"), records.clone()).await?;
        let direct = if answer.was_inserted { records.len() as u64 } else { 0 };
        Ok(sent + direct)
    }

    async fn ask_grant(&self, xorb: XorbHash, request: &GrantRequest) -> Result<Grant, Error> {
        let what = format!("grant for xorb {xorb}");
        let malformed = |reason: String| Error::Malformed { what: what.clone(), reason };
        let body = serde_json::to_vec(request).map_err(|error| malformed(error.to_string()))?;
        let request = Request::new(Method::POST, what.clone(), self.token_url.clone());
        let request = request.body(Some("application/json"), Bytes::from(body));
        let answer = self.authorised_answer(request, &format!("/v1/xorb-grants/default/{xorb}")).await;
        match answer {
            Ok((StatusCode::OK, _)) => Ok(Grant::Known),
            Ok((StatusCode::CREATED, body)) => {
                let grant = serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
                Ok(Grant::Granted(grant))
            }
            Ok((status, _)) => Err(malformed(format!("its status is {status}"))),
            Err(Error::NotFound { .. }) => Ok(Grant::NotOffered),
            Err(error) => Err(error),
        }
    }

    /// Sends the records where the grant says. No token goes there.
    async fn put(&self, xorb: XorbHash, grant: &GrantAnswer, records: &Bytes) -> Result<Put, Error> {
        let mut request = self.granted_request(xorb, grant)?;
        request.body = records.clone().into();
        request.answer_deadline = Some(self.http.deadlines.upload_answer);
        let mut attempts = self.http.attempts(&request.what);
        loop {
            match self.http.send(&request).await {
                Ok(_) | Err(Error::Status { status: 412, .. }) => return Ok(Put::Stored),
                // An earlier attempt is still being stored.
                Err(error @ Error::Status { status: 409, .. }) => {
                    if attempts.wait_after(Failure::damaged(error)).await.is_err() {
                        return Ok(Put::NewGrant);
                    }
                }
                Err(Error::Status { status: 400, .. } | Error::Forbidden { .. }) => return Ok(Put::NewGrant),
                Err(error) => {
                    tracing::info!(%error, "uploading without a grant");
                    return Ok(Put::Unusable);
                }
            }
        }
    }

    fn granted_request(&self, xorb: XorbHash, grant: &GrantAnswer) -> Result<Request, Error> {
        let what = upload_of(xorb);
        let malformed = |reason: &str| Error::Malformed { what: what.clone(), reason: reason.to_owned() };
        let method = match grant.method.as_str() {
            "PUT" => Method::PUT,
            "POST" => Method::POST,
            _ => return Err(malformed("its grant is neither for PUT nor for POST")),
        };
        let url = Url::parse(&grant.url).map_err(|_| malformed("the URL of its grant is none"))?;
        if !matches!(url.scheme(), "http" | "https") || (self.token_url.scheme() == "https" && url.scheme() != "https")
        {
            return Err(malformed("the URL of its grant leaves HTTPS"));
        }
        if grant.headers.len() > GRANT_HEADERS_MAX {
            return Err(malformed("its grant names too many headers"));
        }
        let mut request = Request::new(method, what.clone(), url);
        for (name, value) in &grant.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed("a header of its grant is none"))?;
            let value = HeaderValue::from_str(value).map_err(|_| malformed("a header of its grant is none"))?;
            if !OWN_HEADERS.contains(&name) {
                request = request.header(name, value);
            }
        }
        Ok(request)
    }

    /// Says that the records of a grant have been sent. False: nothing arrived there.
    async fn commit_grant(&self, xorb: XorbHash, grant: &GrantAnswer) -> Result<bool, Error> {
        let what = format!("commit of xorb {xorb}");
        if matches!(grant.id.as_str(), "" | "." | "..") {
            return Err(Error::Malformed { what, reason: "its grant has no usable name".into() });
        }
        let path = format!("/v1/xorb-commits/default/{xorb}/grant/{}", encode_segment(&grant.id));
        let mut request = Request::new(Method::POST, what, self.token_url.clone());
        request.answer_deadline = Some(self.http.deadlines.upload_answer);
        match self.authorised_answer(request, &path).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Registers a shard in its upload form. Every xorb that it names must have been stored.
    ///
    /// The server says how far it is while it checks; on a server that does not know how, nothing.
    pub(in crate::client) async fn upload_shard(&self, shard: &Bytes) -> Result<(), Error> {
        let what = "upload of a shard";
        if !self.shared.only_shards_v1.load(Ordering::Relaxed) {
            match self.upload_shard_v2(what, shard).await {
                Err(Error::NotFound { .. } | Error::Status { status: 501, .. }) => {
                    self.shared.only_shards_v1.store(true, Ordering::Relaxed);
                }
                answer => return answer,
            }
        }
        let _: ShardAnswer = self.upload(what.to_owned(), "/v1/shards", shard.clone()).await?;
        Ok(())
    }

    async fn upload_shard_v2(&self, what: &str, shard: &Bytes) -> Result<(), Error> {
        let request = Request::new(Method::POST, what.to_owned(), self.token_url.clone()).body(None, shard.clone());
        let mut attempts = self.http.attempts(what);
        loop {
            let failure = match self.shard_once(request.clone()).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            attempts.wait_after(failure).await?;
        }
    }

    /// Sends the shard, and reads what the server says until it says how it ended.
    async fn shard_once(&self, mut request: Request) -> Result<(), Failure> {
        request.answer_deadline = Some(self.http.deadlines.upload_answer);
        // What failed before the answer began has been tried as often as it may be.
        let response = self.authorised_response(&mut request, "/v2/shards").await;
        let mut response = response.map_err(Failure::final_)?;
        let mut frames = Frames::default();
        loop {
            let deadline = self.http.deadlines.upload_answer;
            let piece = tokio::time::timeout(deadline, response.chunk()).await;
            let piece =
                piece.map_err(|_| Error::Deadline { what: request.what.clone(), waited_for: "an answer", deadline })?;
            let piece = piece.map_err(|error| crate::client::http::transport(&request.what, &error))?;
            let is_over = piece.is_none();
            let end = frames.feed(piece.as_deref().unwrap_or_default(), is_over);
            match end.map_err(|reason| Error::Malformed { what: request.what.clone(), reason })? {
                Some(Ok(())) => return Ok(()),
                Some(Err(refusal)) => {
                    let (what, message) = (request.what, shown(&refusal.message));
                    let error = Error::Refused { what, message };
                    return Err(if refusal.is_retryable { Failure::damaged(error) } else { Failure::final_(error) });
                }
                None => {}
            }
        }
    }

    /// Asks who has a chunk: a shard with a xorb that holds it, or nothing. Asked once: packing waits for the answer, and
    /// not to know costs some bytes.
    pub(in crate::client) async fn find_chunk(&self, chunk: ChunkHash) -> Result<Option<Bytes>, Error> {
        let what = format!("question about chunk {chunk}");
        let mut request = Request::get(what, self.token_url.clone());
        request.is_repeated = false;
        request.answer_bytes_max = FOUND_SHARD_BYTES_MAX;
        match self.authorised_answer(request, &format!("/v1/chunks/default/{chunk}")).await {
            Ok((_, shard)) => Ok(Some(shard)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn upload<T: DeserializeOwned>(&self, what: String, path: &str, body: Bytes) -> Result<T, Error> {
        let mut request = Request::new(Method::POST, what, self.token_url.clone()).body(None, body);
        request.answer_deadline = Some(self.http.deadlines.upload_answer);
        self.authorised(request, path).await
    }
}

fn upload_of(xorb: XorbHash) -> String {
    format!("upload of xorb {xorb}")
}

/// Off the threads that serve connections: 16 MiB take some milliseconds.
async fn checksum(records: &Bytes) -> u64 {
    let records = records.clone();
    blocking(move || {
        let mut digest = crc64fast_nvme::Digest::new();
        digest.write(&records);
        digest.sum64()
    })
    .await
}
