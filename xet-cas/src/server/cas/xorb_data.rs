//! `GET /cas/xorbs/{xorb}?bytes=..&expires=..&signature=..`: exactly the range that was signed.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use serde::Deserialize;

use super::super::app::{App, unix_now};
use super::super::delivery::{self, Extent, Kind, Stretch};
use super::super::keys::{Keys, Resource};
use super::super::range::RequestedRange;
use super::super::refusal::Refusal;
use super::{CAS_PATH, parse_hash};
use crate::{ByteRange, XorbHash};

#[derive(Deserialize)]
struct Signed {
    /// First and last byte.
    bytes: String,
    expires: u64,
    signature: String,
}

/// The URL of a range of a xorb, good until `expires`.
pub(super) fn url(keys: &Keys, base: &str, xorb: XorbHash, bytes: ByteRange, expires: u64) -> String {
    let signature = keys.sign(Resource::XorbRange(xorb, bytes), expires);
    let (first, last) = (bytes.start, bytes.end.saturating_sub(1));
    format!("{base}{CAS_PATH}/xorbs/{xorb}?bytes={first}-{last}&expires={expires}&signature={signature}")
}

pub(super) async fn xorb_data(
    State(app): State<Arc<App>>,
    Path(xorb): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let xorb: XorbHash = parse_hash(&xorb)?;
    let bytes = signed_range(&app.keys, xorb, &uri)
        .ok_or_else(|| Refusal::forbidden("the URL is not signed or has expired"))?;
    if !matches!(RequestedRange::of(&headers), Ok(Some(RequestedRange::Closed(first, last))) if first == bytes.start && last == bytes.end - 1)
    {
        let (first, last) = (bytes.start, bytes.end - 1);
        return Err(Refusal::forbidden(format!("the URL is for `Range: bytes={first}-{last}` alone")));
    }
    if app.config.no_data {
        return Err(Refusal::no_data());
    }
    let store = Arc::clone(&app.store);
    let blob = app.workers.disk(move || store.open_xorb(xorb)).await?;
    let size = blob.bytes();
    let stretch = Stretch::new(&app, blob, bytes);
    let body = || delivery::body(app, Kind::Data, stretch);
    Ok(delivery::response(&method, Extent { bytes, size, is_partial: true }, HeaderMap::new(), body))
}

/// The range that a URL is signed for; `None` if it is not ours or no longer good.
fn signed_range(keys: &Keys, xorb: XorbHash, uri: &Uri) -> Option<ByteRange> {
    let Query(Signed { bytes, expires, signature }) = Query::try_from_uri(uri).ok()?;
    let (first, last) = bytes.split_once('-')?;
    let bytes = ByteRange { start: first.parse().ok()?, end: last.parse::<u64>().ok()?.checked_add(1)? };
    keys.is_signed(Resource::XorbRange(xorb, bytes), expires, &signature, unix_now()).then_some(bytes)
}
