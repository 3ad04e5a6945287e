//! `GET /api/whoami-v2`: whose token this is.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use super::{App, Refusal, json as answer};
use crate::server::access::Permission;
use crate::server::admission;

pub(super) async fn whoami(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let who = admission::who(&app, &headers)?;
    // An open origin knows nobody, whatever token a client sends along.
    let (Some(permission), Some(token)) = (who.permission(), who.token_name()) else {
        return Err(Refusal::wrong_credentials());
    };
    let role = match permission {
        Permission::Read => "read",
        Permission::Write | Permission::Admin => "write",
    };
    // A token that is nobody's has a name of its own.
    let name = who.user().map_or(token.as_str(), |user| user.name.as_str());
    let organizations = who.user().map_or(&[][..], |user| &user.organizations);
    let organization = |name: &String| json!({ "type": "org", "id": name, "name": name, "fullname": name });
    Ok(answer(&json!({
        "type": "user",
        "id": name,
        "name": name,
        "fullname": name,
        "isPro": false,
        "orgs": organizations.iter().map(organization).collect::<Vec<_>>(),
        "auth": { "type": "access_token", "accessToken": { "displayName": token, "role": role } },
    })))
}
