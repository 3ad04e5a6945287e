//! `GET /health` and `GET /metrics`: for those who run the origin.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::address::Address;
use super::admission;
use super::app::App;
use super::connection::Peer;
use super::metrics::Gauges;
use super::refusal::Refusal;

/// Where load balancers ask whether to send anybody here.
pub(super) const HEALTH: &str = "/health";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route(HEALTH, get(health)).route("/metrics", get(metrics))
}

async fn health(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    match app.is_stopping() {
        true => Err(Refusal::stopping()),
        false => Ok(Json(serde_json::json!({ "status": "ok" })).into_response()),
    }
}

async fn metrics(
    State(app): State<Arc<App>>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let who = admission::who(&app, &headers)?;
    // Behind a proxy on the same machine everybody comes from there.
    let is_here = Address::of(peer.ip()).is_loopback() && app.public_url().is_none();
    if !who.is_admin() && !is_here {
        return Err(match who.is_anonymous() {
            true => Refusal::no_credentials(),
            false => Refusal::forbidden("metrics are for admins, and for this machine"),
        });
    }
    let asked = Arc::clone(&app);
    let usage = app.workers.disk(move || asked.store.usage()).await?;
    let mut store = vec![
        ("stored_bytes", "Bytes of xorbs and regular files", usage.bytes),
        ("stored_xorbs", "Xorbs", usage.xorbs),
        ("stored_files", "Files in xorbs", usage.files),
        ("stored_objects", "Regular files", usage.objects),
        ("repositories", "Repositories", usage.repos),
    ];
    store.extend(usage.quota.map(|quota| ("quota_bytes", "Bytes that may be kept", quota)));
    store.extend(usage.free.map(|free| ("free_bytes", "Bytes that are free on the disk", free)));
    let (uploads_staged, upload_bytes_staged) = app.staging.usage();
    let gauges = Gauges {
        data_bytes_sent: app.traffic.counters().data_bytes_sent(),
        connections: app.connections.open(),
        uploads_staged,
        upload_bytes_staged,
        store,
    };
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.text(&gauges)).into_response())
}
