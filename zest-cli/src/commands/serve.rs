//! `zest serve`.

use serde_json::json;
use swarm::{Index, SeedConfig, Seeder};

use super::interrupt;
use crate::args::ServeArgs;
use crate::display::Output;
use crate::failure::{Exit, Failure};
use crate::rate::rate;
use crate::settings::{Settings, seconds};

pub(crate) async fn run(args: ServeArgs, output: &Output) -> Result<(), Failure> {
    run_beside(args, output, async { Ok(()) }).await
}

/// Serves, and once that has begun does something else besides, whose failure ends it all.
pub(crate) async fn run_beside(
    args: ServeArgs,
    output: &Output,
    beside: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let settings = Settings::read();
    let index = Index::new(&settings.zest_home);
    let mut config = SeedConfig::default();
    config.network = settings.network()?;
    config.deadline = seconds("--peer-timeout", args.peer_timeout)?;
    config.limit_up = args.limit_up.map(|limit| rate("--limit-up", &limit)).transpose()?;
    let seeder = Seeder::bind(index, config, args.listen).await.map_err(|error| {
        Failure::new(Exit::Network, error).hint("another program may use the port: --listen 0.0.0.0:0 takes a free one")
    })?;
    let (address, counters) = (seeder.local_addr(), seeder.counters());
    let files = seeder.files().await?;
    // Before it is told that it serves: whoever reads that may ask it to stop.
    let stop = interrupt();
    output.json(&json!({ "event": "listening", "peer": address.to_string(), "files": files }));
    output.result(format_args!("serving {files} files on {address}"), address);
    if files == 0 {
        output.note("nothing was pulled yet; files are served as soon as `zest pull` has verified them");
    }
    let failed = async {
        match beside.await {
            Ok(()) => std::future::pending().await,
            Err(failure) => failure,
        }
    };
    tokio::select! {
        served = seeder.serve(stop) => served?,
        failure = failed => return Err(failure),
    }
    let data_bytes = counters.data_bytes();
    output.json(&json!({ "event": "stopped", "data_bytes": data_bytes, "peers": counters.peers() }));
    output.result(format_args!("{data_bytes} bytes of file data sent to {} peers", counters.peers()), data_bytes);
    Ok(())
}
