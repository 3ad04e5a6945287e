//! Uploads of xorbs in three steps: `POST /v1/xorb-grants/{prefix}/{xorb}` asks for a URL, `PUT` brings the bytes
//! there, where they are checked, `POST /v1/xorb-commits/{prefix}/{xorb}/grant/{id}` has them kept.
//!
//! A grant is not kept until it is used: its URL says all of it, signed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use crc64fast_nvme::Digest;
use serde::Deserialize;

use super::super::app::{App, unix_now};
use super::super::arriving::ArrivingXorb;
use super::super::bodies::{self, Limit};
use super::super::keys::{Grant, GrantId, Keys, Resource, Scope};
use super::super::refusal::Refusal;
use super::super::staging::Busy;
use super::{CAS_PATH, authorize, json, parse_hash};
use crate::XorbHash;
use crate::api::{GRANT_CHECKSUM, GrantAnswer, GrantChecksum, GrantRequest};
use crate::xorb::SERIALIZED_BYTES_MAX;

/// The request, bytes: a length and a checksum.
const REQUEST: Limit = Limit { what: "the request", bytes_max: 4 * 1024 };

/// What the URL of a grant says besides its id.
#[derive(Deserialize)]
struct Signed {
    xorb: String,
    length: u64,
    checksum: u64,
    expires: u64,
    signature: String,
}

/// Gives out a grant, unless the xorb is there already.
pub(super) async fn issue(
    State(app): State<Arc<App>>,
    Path((_prefix, xorb)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    authorize(&app, &headers, Scope::Write)?;
    let xorb: XorbHash = parse_hash(&xorb)?;
    let GrantRequest { length, checksum } = bodies::json(&app, &headers, body, REQUEST).await?;
    if !(1..=SERIALIZED_BYTES_MAX).contains(&length) {
        return Err(Refusal::bad_request(format!("a xorb has 1 to {SERIALIZED_BYTES_MAX} bytes, not {length}")));
    }
    let checksum = parse_checksum(&checksum)?;
    if is_stored(&app, xorb).await? {
        return Ok(StatusCode::OK.into_response());
    }
    let store = Arc::clone(&app.store);
    app.workers.disk(move || store.make_room(length)).await?;
    if !app.staging.has_room(length) {
        // To clients, 404 says that they have to upload directly.
        return Err(Refusal::not_found("too many uploads wait to be kept; upload directly"));
    }
    let grant = Grant { id: GrantId::random(), xorb, length, checksum };
    let expires = unix_now() + app.config.url_lifetime.as_secs();
    let answer = GrantAnswer {
        id: grant.id.to_string(),
        method: "PUT".into(),
        url: url(&app.keys, &app.base_url(&headers)?, grant, expires),
        headers: BTreeMap::from([("if-none-match".into(), "*".into())]),
    };
    Ok((StatusCode::CREATED, json(&answer)).into_response())
}

/// Takes the bytes of a grant, which must be those that were announced. The URL is all that is needed.
pub(super) async fn receive(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<(), Refusal> {
    let (grant, expires) =
        signed_grant(&app.keys, &id, &uri).ok_or_else(|| Refusal::forbidden("the URL is not signed or has expired"))?;
    if is_stored(&app, grant.xorb).await? {
        return Err(Refusal::precondition_failed("the xorb is there already"));
    }
    let place = app.staging.begin(grant, expires).map_err(|busy| match busy {
        Busy::Arriving => Refusal::conflict("an upload by this grant is under way"),
        Busy::Arrived => Refusal::precondition_failed("the upload has arrived already"),
        // To clients, 403 says that they have to ask for another grant; and then they are told.
        Busy::Full => Refusal::forbidden("too many uploads wait to be kept"),
    })?;
    let granted = Limit { what: "the upload", bytes_max: grant.length };
    let arrived = ArrivingXorb::receive(&app, &headers, body, granted, Some(Digest::new())).await;
    let other = |what| Refusal::bad_request(format!("the upload has another {what} than the grant"));
    let arrived = arrived.map_err(|refusal| match refusal.status {
        StatusCode::PAYLOAD_TOO_LARGE => other("length"),
        _ => refusal,
    })?;
    if arrived.bytes() != grant.length {
        return Err(other("length"));
    }
    if arrived.checksum() != Some(grant.checksum) {
        return Err(other("checksum"));
    }
    place.fill(app.workers.disk(move || arrived.seal(grant.xorb, 0)).await);
    Ok(())
}

/// Keeps what has arrived, or tells what is wrong with it.
pub(super) async fn commit(
    State(app): State<Arc<App>>,
    Path((_prefix, xorb, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<(), Refusal> {
    authorize(&app, &headers, Scope::Write)?;
    let xorb: XorbHash = parse_hash(&xorb)?;
    let (store, holder) = (Arc::clone(&app.store), Arc::clone(&app));
    // It is taken out when its turn has come: a client that goes away before leaves it where it was.
    let committed = app.workers.disk(move || match id.parse().ok().and_then(|id| holder.staging.take(id, xorb)) {
        Some(upload) => store.put_xorb(upload?).map(|_| true),
        // The answer to an earlier try may have been lost.
        None => store.has_xorb(xorb),
    });
    if committed.await? {
        return Ok(());
    }
    Err(Refusal::not_found("nothing has arrived by this grant for this xorb"))
}

async fn is_stored(app: &App, xorb: XorbHash) -> Result<bool, Refusal> {
    let store = Arc::clone(&app.store);
    Ok(app.workers.disk(move || store.has_xorb(xorb)).await?)
}

fn parse_checksum(checksum: &GrantChecksum) -> Result<u64, Refusal> {
    if checksum.algo != GRANT_CHECKSUM {
        return Err(Refusal::bad_request(format!("the checksum must be {GRANT_CHECKSUM}")));
    }
    checksum.value.parse().map_err(|_| Refusal::bad_request("the checksum is no decimal number of 64 bits"))
}

fn url(keys: &Keys, base: &str, grant: Grant, expires: u64) -> String {
    let signature = keys.sign(Resource::Grant(grant), expires);
    let Grant { id, xorb, length, checksum } = grant;
    format!(
        "{base}{CAS_PATH}/grants/{id}\
         ?xorb={xorb}&length={length}&checksum={checksum}&expires={expires}&signature={signature}"
    )
}

/// The grant that a URL is, and when it ends; `None` if it is not ours or no longer good.
fn signed_grant(keys: &Keys, id: &str, uri: &Uri) -> Option<(Grant, u64)> {
    let Query(Signed { xorb, length, checksum, expires, signature }) = Query::try_from_uri(uri).ok()?;
    let grant = Grant { id: id.parse().ok()?, xorb: xorb.parse().ok()?, length, checksum };
    keys.is_signed(Resource::Grant(grant), expires, &signature, unix_now()).then_some((grant, expires))
}
