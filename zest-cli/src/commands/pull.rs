//! `zest pull`.

use std::sync::Arc;

use swarm::{Config, Destination, Index, PullRequest};
use tokio::sync::mpsc;
use xet_cas::client::Hub;

use super::interrupt;
use crate::args::PullArgs;
use crate::display::Output;
use crate::failure::{Exit, Failure};
use crate::settings::{Settings, seconds};

/// Events that wait to be shown. More than a burst of small files brings; the pull waits if it is full.
const EVENTS_WAITING_MAX: usize = 256;

pub(crate) async fn run(args: PullArgs, output: &Output) -> Result<(), Failure> {
    let settings = Settings::read();
    if settings.environment.offline {
        return Err(Failure::new(Exit::Network, "HF_HUB_OFFLINE is set, so nothing can be fetched").hint("unset it"));
    }
    let mut client = settings.client(&args.hub)?;
    client.deadlines.stall = seconds("--stall-timeout", args.stall_timeout)?;
    client.retry.attempts = args.attempts.max(1);
    let hub = Arc::new(Hub::new(&client)?);

    let destination = match args.local_dir {
        Some(folder) => Destination::Folder(folder),
        None => Destination::Cache(settings.environment.hub_cache.clone()),
    };
    let mut request = PullRequest::new(args.repo, destination);
    request.revision = args.revision;
    request.repo_type = args.repo_type;
    request.include = args.include;
    request.exclude = args.exclude;
    request.dry_run = args.dry_run;

    let (events, mut watched) = mpsc::channel(EVENTS_WAITING_MAX);
    let mut display = output.pull_display(settings.environment.progress_bars_disabled);
    let watch = async {
        while let Some(event) = watched.recv().await {
            display.show(&event);
        }
    };
    let index = Index::new(&settings.zest_home);
    let config = Config::default();
    let pull = async { tokio::join!(swarm::pull(hub, &request, &index, &config, events), watch).0 };
    tokio::select! {
        result = pull => result.map(drop).map_err(Failure::from),
        () = interrupt() => {
            Err(Failure::interrupted("run the same command again to go on; finished files are kept"))
        }
    }
}
