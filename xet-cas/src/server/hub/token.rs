//! `GET .../xet-{read|write}-token/{revision}`: admission to the CAS.

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

use super::{App, Head, Located, Refusal, RepoKey, json, locate};
use crate::api::{ACCESS_TOKEN_HEADER, CAS_URL_HEADER, TOKEN_EXPIRATION_HEADER, TokenAnswer};
use crate::server::app::unix_now;
use crate::server::cas::CAS_PATH;
use crate::server::keys::{Pass, Scope};
use crate::server::store::MAIN;

/// The values stand in the body, which `hf-xet` reads, and in headers, which `huggingface_hub` reads.
pub(super) async fn token(
    app: Arc<App>,
    head: Head,
    repo: RepoKey,
    revision: Option<String>,
    scope: Scope,
) -> Result<Response, Refusal> {
    let Located { repo, .. } = locate(&app, repo, revision.unwrap_or(MAIN.into())).await?;
    let exp = unix_now() + app.config.token_lifetime.as_secs();
    let answer = TokenAnswer {
        cas_url: format!("{}{CAS_PATH}", app.base_url(&head.headers)?),
        exp,
        access_token: app.keys.token(&Pass { scope, repo, expires: exp }),
    };
    let mut response = json(&answer);
    for (name, value) in [
        (CAS_URL_HEADER, answer.cas_url),
        (TOKEN_EXPIRATION_HEADER, exp.to_string()),
        (ACCESS_TOKEN_HEADER, answer.access_token),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    Ok(response)
}
