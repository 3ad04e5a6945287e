//! `GET /v2/file-chunk-hashes/{file}`: what a client has to know of a file to change parts of it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::app::App;
use super::super::keys::Scope;
use super::super::refusal::Refusal;
use super::super::store::Store;
use super::reconstruction::known;
use super::{authorize, json, parse_hash};
use crate::api::{DIRTY_RANGES_HEADER, FileChunkHashes};
use crate::reconstruction::describe::file_bytes;
use crate::reconstruction::edit::Windows;
use crate::{ByteRange, FileHash, Leaf, Term};

/// Chunks of a file whose parts can be changed like this: 256 GiB of average chunks, and 150 MB of memory.
const CHUNKS_MAX: usize = 1 << 22;

pub(super) async fn windows(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let pass = authorize(&app, &headers, Scope::Read)?;
    let file: FileHash = parse_hash(&file)?;
    let dirty = dirty_ranges(&headers)?;
    let (store, holder) = (Arc::clone(&app.store), Arc::clone(&app));
    let answer = app.workers.heavy(move || {
        let terms = known(&holder, &pass, file)?;
        let leaves = leaves(&store, &terms)?;
        let windows = Windows::around(&dirty, &leaves, &terms).ok_or_else(Refusal::range)?;
        Ok::<_, Refusal>(FileChunkHashes::new(windows, leaves.len() as u64, file_bytes(&terms)))
    });
    Ok(json(&answer.await?))
}

/// Every chunk of a file.
fn leaves(store: &Store, terms: &[Term]) -> Result<Vec<Leaf>, Refusal> {
    let chunks: usize = terms.iter().map(|term| term.chunks.count() as usize).sum();
    if chunks > CHUNKS_MAX {
        return Err(Refusal::bad_request(format!("parts of files of more than {CHUNKS_MAX} chunks cannot be changed")));
    }
    let mut leaves = Vec::with_capacity(chunks);
    let mut last = None;
    for term in terms {
        let footer = match last.take().filter(|footer: &Arc<crate::xorb::Footer>| footer.hash() == term.xorb) {
            Some(footer) => footer,
            None => store.footer(term.xorb)?,
        };
        let run = footer.leaves().get(term.chunks.start as usize..term.chunks.end as usize);
        leaves.extend(run.ok_or_else(|| Refusal::bad_request("the file is made of chunks that are not there"))?);
        last = Some(footer);
    }
    Ok(leaves)
}

/// `bytes=a-b,c-d`: in order and apart, ends included.
fn dirty_ranges(headers: &HeaderMap) -> Result<Vec<ByteRange>, Refusal> {
    let malformed = || Refusal::bad_request(format!("{DIRTY_RANGES_HEADER} is missing or not like bytes=0-9,20-29"));
    let text = headers.get(DIRTY_RANGES_HEADER).and_then(|value| value.to_str().ok()).ok_or_else(malformed)?;
    let mut ranges: Vec<ByteRange> = Vec::new();
    for range in text.trim().strip_prefix("bytes=").ok_or_else(malformed)?.split(',') {
        let (first, last) = range.trim().split_once('-').ok_or_else(malformed)?;
        let (start, last): (u64, u64) =
            (first.parse().map_err(|_| malformed())?, last.parse().map_err(|_| malformed())?);
        let end = last.checked_add(1).filter(|end| *end > start).ok_or_else(malformed)?;
        if ranges.last().is_some_and(|before| before.end > start) {
            return Err(malformed());
        }
        ranges.push(ByteRange { start, end });
    }
    Ok(ranges)
}
