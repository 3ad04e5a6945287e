//! `POST /v1/xorbs/{prefix}/{xorb}`: a xorb, checked before it is kept.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::app::App;
use super::super::arriving::ArrivingXorb;
use super::super::bodies::Limit;
use super::super::keys::Scope;
use super::super::refusal::Refusal;
use super::super::store::XORB_FOOTER_BYTES_MAX;
use super::{authorize, json, parse_hash};
use crate::XorbHash;
use crate::api::XorbAnswer;
use crate::xorb::SERIALIZED_BYTES_MAX;

/// A serialized xorb, bytes, with the footer that older clients send.
const XORB: Limit = Limit { what: "the xorb", bytes_max: SERIALIZED_BYTES_MAX + XORB_FOOTER_BYTES_MAX };

pub(super) async fn upload(
    State(app): State<Arc<App>>,
    Path((_prefix, xorb)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    authorize(&app, &headers, Scope::Write)?;
    let xorb: XorbHash = parse_hash(&xorb)?;
    let arrived = ArrivingXorb::receive(&app, &headers, body, XORB, None).await?;
    let store = Arc::clone(&app.store);
    let keep = move || match store.has_xorb(xorb)? {
        true => Ok(false),
        false => store.put_xorb(arrived.seal(xorb, XORB_FOOTER_BYTES_MAX)?),
    };
    let was_inserted = app.workers.disk(keep).await?;
    Ok(json(&XorbAnswer { was_inserted }))
}
