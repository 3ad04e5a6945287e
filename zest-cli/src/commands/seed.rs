//! `zest seed`.

use std::sync::Arc;

use indicatif::DecimalBytes;
use serde_json::json;
use swarm::{AdoptEvent, AdoptRequest, Index};
use tokio::sync::mpsc;
use xet_cas::client::Hub;

use super::{interrupt, serve};
use crate::args::SeedArgs;
use crate::display::Output;
use crate::failure::Failure;
use crate::settings::Settings;

/// Events that wait to be shown; indexing waits if there are more.
const EVENTS_WAITING_MAX: usize = 64;

pub(crate) async fn run(args: SeedArgs, output: &Output) -> Result<(), Failure> {
    let settings = Settings::read();
    let hub = Arc::new(settings.hub(&args.hub)?);
    let mut request = AdoptRequest::new(&settings.environment.hub_cache, hub.endpoint());
    request.repos = args.repo.into_iter().map(|repo| (args.repo_type, repo)).collect();
    let index = Index::new(&settings.zest_home);
    let hub = Some(hub).filter(|_| !settings.environment.offline);
    if args.index_only {
        return tokio::select! {
            indexed = adopt(request, hub, index, output) => indexed,
            () = interrupt() => Err(Failure::interrupted("run the same command again to go on; what is indexed stays")),
        };
    }
    // What was indexed before is served from the first moment.
    serve::run_beside(args.serve, output, Box::pin(adopt(request, hub, index, output))).await
}

async fn adopt(request: AdoptRequest, hub: Option<Arc<Hub>>, index: Index, output: &Output) -> Result<(), Failure> {
    let (events, mut watched) = mpsc::channel(EVENTS_WAITING_MAX);
    let show = async {
        while let Some(event) = watched.recv().await {
            output.json(&event);
            match event {
                AdoptEvent::Scanned { files, unknown_files, unknown_bytes } => {
                    let unknown = DecimalBytes(unknown_bytes);
                    output.note(format_args!("{files} large files in the cache; indexing {unknown_files}, {unknown}"));
                }
                AdoptEvent::Indexed { path, bytes } => {
                    output.note(format_args!("indexed {}, {}", path.display(), DecimalBytes(bytes)));
                }
                AdoptEvent::Passed { path, reason } => {
                    output.note(format_args!("passed over {}: {reason}", path.display()))
                }
                _ => {}
            }
        }
    };
    let (adopted, ()) = tokio::join!(swarm::adopt(request, hub, index, events), show);
    let adopted = adopted?;
    output.json(&json!({ "event": "adopted", "files": adopted.files, "bytes": adopted.bytes }));
    output.note(format_args!("{} files indexed, {}", adopted.files, DecimalBytes(adopted.bytes)));
    Ok(())
}
