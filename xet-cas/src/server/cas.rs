//! The CAS: how files are put together, the data, and uploads.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post, put};

use super::app::{App, unix_now};
use super::bodies::{self, Limit};
use super::keys::{BadToken, Pass, Scope};
use super::refusal::Refusal;
use super::request::bearer;

mod chunks;
mod edits;
mod grants;
mod reconstruction;
mod shards;
mod xorb_data;
mod xorbs;

/// Where the CAS begins.
pub(super) const CAS_PATH: &str = "/cas";
/// A telemetry report, bytes.
const TELEMETRY: Limit = Limit { what: "the report", bytes_max: 1024 * 1024 };

pub(super) fn routes() -> Router<Arc<App>> {
    let cas = Router::new()
        .route("/v1/reconstructions", get(reconstruction::batch))
        .route("/v1/reconstructions/{file}", get(reconstruction::v1))
        .route("/v2/reconstructions/{file}", get(reconstruction::v2))
        .route("/v2/file-chunk-hashes/{file}", get(edits::windows))
        .route("/xorbs/{xorb}", get(xorb_data::xorb_data))
        .route("/v1/xorbs/{prefix}/{xorb}", post(xorbs::upload))
        .route("/v1/shards", post(shards::v1))
        .route("/v2/shards", post(shards::v2))
        .route("/v1/xorb-grants/{prefix}/{xorb}", post(grants::issue))
        .route("/grants/{id}", put(grants::receive))
        .route("/v1/xorb-commits/{prefix}/{xorb}/grant/{id}", post(grants::commit))
        .route("/v1/chunks/{prefix}/{chunk}", get(chunks::chunk))
        .route("/v1/telemetry", post(telemetry));
    // Clients send telemetry to the root of the CAS's host, whatever its path.
    Router::new().nest(CAS_PATH, cas).route("/v1/telemetry", post(telemetry)).route("/origin/stats", get(stats))
}

async fn telemetry(State(app): State<Arc<App>>, headers: HeaderMap, body: Body) -> Result<(), Refusal> {
    bodies::discard(&app, &headers, body, TELEMETRY).await
}

async fn stats(State(app): State<Arc<App>>) -> Response {
    json(&serde_json::json!({ "data_bytes": app.traffic.counters().data_bytes_sent() }))
}

/// Lets a request pass whose CAS token allows it, and tells for which repository that is.
fn authorize(app: &App, headers: &HeaderMap, needed: Scope) -> Result<Pass, Refusal> {
    let token = bearer(headers).ok_or_else(Refusal::cas_token)?;
    app.keys.check_token(token, needed, unix_now()).map_err(|bad| match bad {
        BadToken::Invalid => Refusal::cas_token(),
        BadToken::Scope => Refusal::forbidden("the CAS token is for reading only"),
    })
}

fn json(value: &impl serde::Serialize) -> Response {
    axum::response::IntoResponse::into_response(axum::Json(value))
}

fn parse_hash<T: std::str::FromStr<Err = crate::Error>>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error: crate::Error| Refusal::bad_request(error.to_string()))
}
