//! `GET /v1|v2/reconstructions/{file}`: the terms of a file or of a range of it, and where their data is.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::app::{App, unix_now};
use super::super::ingest::Terms;
use super::super::mirror::{Source, patiently};
use super::super::range::RequestedRange;
use super::super::refusal::Refusal;
use super::{authorize, json, parse_hash, xorb_data};
use crate::api::{BatchV1, ReconstructionV1, ReconstructionV2};
use crate::reconstruction::describe::{Trimmed, Window, entries, file_bytes};
use crate::server::keys::{Pass, Scope};
use crate::{FileHash, Reconstruction, Term};

/// Files in one batch.
const BATCH_FILES_MAX: usize = 256;
/// Terms in one answer: 16 MB of JSON, and a hundred times what deduplication makes of 8 GB.
const TERMS_MAX: usize = 1 << 16;

pub(super) async fn v1(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let answer = describe(&app, &file, &headers).await?;
    Ok(json(&ReconstructionV1::from(&answer)))
}

pub(super) async fn v2(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let answer = describe(&app, &file, &headers).await?;
    Ok(json(&ReconstructionV2::from(&answer)))
}

async fn describe(app: &Arc<App>, file: &str, headers: &HeaderMap) -> Result<Reconstruction, Refusal> {
    let pass = authorize(app, headers, Scope::Read)?;
    let file: FileHash = parse_hash(file)?;
    let range = RequestedRange::of(headers).map_err(|_| Refusal::range())?;
    let urls = Urls { app: Arc::clone(app), base: app.base_url(headers)?, expires: expiry(app) };
    let found = terms(app, &pass, file, range).await?;
    let described = app.workers.disk(move || {
        let store = &urls.app.store;
        let Found { terms, size } = found;
        let range = match range {
            None => None,
            Some(range) => Some(range.bytes(size).ok_or_else(Refusal::range)?),
        };
        let window = Window::of(&terms, range).ok_or_else(Refusal::range)?;
        if window.terms().len() > TERMS_MAX {
            return Err(Refusal::bad_request(
                "the file is made of too many terms for one answer; ask for ranges of it",
            ));
        }
        let Trimmed { offset_into_first_term, terms } = window.trim(|xorb| store.footer(xorb))?;
        let entries = entries(&terms, |xorb| store.footer(xorb), |xorb, bytes| urls.of(xorb, bytes))?;
        Ok(Reconstruction { offset_into_first_term, terms, entries })
    });
    described.await
}

/// `GET /v1/reconstructions?file_id=..&file_id=..`: several whole files.
pub(super) async fn batch(
    State(app): State<Arc<App>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let pass = authorize(&app, &headers, Scope::Read)?;
    let ids = query.iter().filter(|(name, _)| name == "file_id").map(|(_, id)| parse_hash(id));
    let ids: BTreeSet<FileHash> = ids.collect::<Result<_, _>>()?;
    if ids.is_empty() || ids.len() > BATCH_FILES_MAX {
        return Err(Refusal::bad_request(format!("a batch names 1 to {BATCH_FILES_MAX} files as file_id")));
    }
    let urls = Urls { base: app.base_url(&headers)?, expires: expiry(&app), app: Arc::clone(&app) };
    let mut files = Vec::with_capacity(ids.len());
    let mut named = 0;
    for id in ids {
        let terms = terms(&app, &pass, id, None).await?.terms;
        named += terms.len();
        if named > TERMS_MAX {
            return Err(Refusal::bad_request("these files are made of too many terms for one answer; ask for fewer"));
        }
        files.push((id, terms));
    }
    let described = app.workers.disk(move || {
        let store = &urls.app.store;
        let mut all = Vec::new();
        for (_, terms) in &files {
            all.extend(entries(terms, |xorb| store.footer(xorb), |xorb, bytes| urls.of(xorb, bytes))?);
        }
        Ok::<_, Refusal>(BatchV1::new(files.iter().map(|(id, terms)| (*id, terms.as_slice())), all))
    });
    Ok(json(&described.await?))
}

/// A file that is here and that the token is for. What the token does not show is not there.
pub(super) fn known(app: &App, pass: &Pass, file: FileHash) -> Result<Vec<Term>, Refusal> {
    let unknown = || Refusal::not_found(format!("there is no file {file}"));
    if app.keeps_secrets() && !app.store.file_is_in(&pass.repo, file)? {
        return Err(unknown());
    }
    app.store.file(file)?.ok_or_else(unknown)
}

/// A file, as far as somebody wants to know it.
struct Found {
    /// Its first terms at least, the wanted ones among them.
    terms: Vec<Term>,
    /// Bytes of all of it.
    size: u64,
}

/// How a file that the token is for is put together, up to the end of this range. What the token does not show is not
/// there. Waits for what is still arriving.
async fn terms(app: &Arc<App>, pass: &Pass, file: FileHash, range: Option<RequestedRange>) -> Result<Found, Refusal> {
    let unknown = || Refusal::not_found(format!("there is no file {file}"));
    let (asked, repo) = (Arc::clone(app), pass.repo.clone());
    let known = app.workers.disk(move || {
        if asked.keeps_secrets() && !asked.store.file_is_in(&repo, file)? {
            return Ok(Err(()));
        }
        asked.store.file(file).map(Ok)
    });
    let Ok(known) = known.await? else { return Err(unknown()) };
    if let Some(terms) = known {
        return Ok(Found { size: file_bytes(&terms), terms });
    }
    let kept = match app.mirror.source_of(&pass.repo, file).await? {
        None => return Err(unknown()),
        Some(Source::Kept(kept)) => kept,
        Some(Source::Arriving(arrival)) => {
            let size = arrival.size();
            let end = match range {
                None => size,
                Some(range) => range.bytes(size).filter(|bytes| bytes.start < size).ok_or_else(Refusal::range)?.end,
            };
            match patiently(arrival.terms_until(end.min(size))).await? {
                Terms::First(terms) => return Ok(Found { terms, size }),
                Terms::Kept(kept) => kept,
            }
        }
    };
    let store = Arc::clone(&app.store);
    let terms = app.workers.disk(move || store.file(kept)).await?.ok_or_else(unknown)?;
    Ok(Found { size: file_bytes(&terms), terms })
}

fn expiry(app: &App) -> u64 {
    unix_now() + app.config.url_lifetime.as_secs()
}

/// Makes the data URLs of one answer.
struct Urls {
    app: Arc<App>,
    base: String,
    expires: u64,
}

impl Urls {
    fn of(&self, xorb: crate::XorbHash, bytes: crate::ByteRange) -> String {
        xorb_data::url(&self.app.keys, &self.base, xorb, bytes, self.expires)
    }
}
