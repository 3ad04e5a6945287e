//! `GET /api/whoami-v2`: whose token this is.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use super::history::NOBODY;
use super::{App, Refusal, authorize, json as answer};

pub(super) async fn whoami(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refusal> {
    // An open origin knows nobody, whatever token a client sends along.
    if app.config.token.is_none() {
        return Err(Refusal::wrong_credentials());
    }
    authorize(&app, &headers)?;
    Ok(answer(&json!({
        "type": "user",
        "id": NOBODY,
        "name": NOBODY,
        "fullname": NOBODY,
        "isPro": false,
        "orgs": [],
        "auth": { "type": "access_token", "accessToken": { "displayName": NOBODY, "role": "write" } },
    })))
}
