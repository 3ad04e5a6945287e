//! `zest pull`.

use std::sync::Arc;

use swarm::{Config, Destination, Event, Index, PullRequest, SourceMode};
use tokio::sync::mpsc;
use xet_cas::client::{Hub, RetryObserver};

use super::interrupt;
use crate::args::PullArgs;
use crate::display::Output;
use crate::failure::{Exit, Failure};
use crate::rate::rate;
use crate::settings::{Settings, seconds};

/// Events that wait to be shown. More than a burst of small files brings; the pull waits if it is full.
const EVENTS_WAITING_MAX: usize = 256;
/// How much longer than for bytes that stop coming a pull waits for an answer to begin.
const ANSWER_PER_STALL: u32 = 2;

pub(crate) async fn run(args: PullArgs, output: &Output) -> Result<(), Failure> {
    let settings = Settings::read();
    if settings.environment.offline {
        return Err(Failure::new(Exit::Network, "HF_HUB_OFFLINE is set, so nothing can be fetched").hint("unset it"));
    }
    let mut client = settings.client(&args.hub)?;
    client.deadlines.stall = seconds("--stall-timeout", args.stall_timeout)?;
    // An answer has as much longer to begin as by default: it is slow where much has to be looked up for it.
    client.deadlines.answer = ANSWER_PER_STALL * client.deadlines.stall;
    client.retry.attempts = args.attempts.max(1);
    let (events, mut watched) = mpsc::channel(EVENTS_WAITING_MAX);
    // Weak: the channel ends with the pull, whoever still holds a client. A full one has louder things to tell.
    let weak_events = events.downgrade();
    client.on_retry = Some(RetryObserver::new(move |notice| {
        let what = format!("{}, in {:.1} s", notice.what, notice.wait.as_secs_f64());
        let retry = Event::Retry { what, reason: notice.error.clone() };
        let is_told = weak_events.upgrade().is_some_and(|events| events.try_send(retry).is_ok());
        tracing::trace!(is_told, "a request is made again");
    }));
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
    let source_mode = if args.no_p2p { SourceMode::CdnOnly } else { args.source };
    if source_mode == SourceMode::PeersOnly && args.peer.is_empty() {
        let failure = Failure::usage("--source peers-only needs a peer to ask");
        return Err(failure.hint("name one with --peer HOST:PORT, or leave --source away"));
    }
    request.peers = args.peer;
    request.dry_run = args.dry_run;

    let mut display = output.pull_display(settings.environment.progress_bars_disabled);
    // On a thread of its own: it stands still when nobody reads the output, and signals must work then too.
    let watch = tokio::task::spawn_blocking(move || {
        while let Some(event) = watched.blocking_recv() {
            display.show(&event);
        }
    });
    let index = Index::new(&settings.zest_home);
    let mut config = Config::default();
    config.peer_deadline = seconds("--peer-timeout", args.peer_timeout)?;
    config.lock_deadline = seconds("--lock-timeout", args.lock_timeout)?;
    config.source_mode = source_mode;
    config.limit_down = args.limit_down.map(|limit| rate("--limit-down", &limit)).transpose()?;
    config.shared_blobs = settings.shared_blobs;
    config.symlinks = settings.symlinks;
    let pull = async {
        let result = swarm::pull(hub, &request, &index, &config, events).await;
        watch.await.map_err(Failure::internal)?;
        result.map_err(Failure::from)
    };
    tokio::select! {
        result = pull => result.map(drop),
        () = interrupt() => {
            Err(Failure::interrupted("run the same command again to go on; finished files are kept"))
        }
    }
}
