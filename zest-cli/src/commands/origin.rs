//! `zest origin`.

use serde_json::json;
use xet_cas::client::Secret;
use xet_cas::server::{self, Config, Origin};

use super::interrupt;
use crate::args::OriginArgs;
use crate::display::Output;
use crate::failure::{Exit, Failure};

pub(crate) async fn run(args: OriginArgs, output: &Output) -> Result<(), Failure> {
    let mut config = Config::new(&args.data);
    config.no_data = args.no_data;
    config.limit_rate = args.limit_rate;
    if let Some(path) = &args.token_file {
        let unreadable = |error| Failure::new(Exit::Disk, format_args!("cannot read {}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let empty = || Failure::usage(format_args!("there is no token in {}", path.display()));
        config.token = Some(Secret::new(&text).ok_or_else(empty)?.expose().to_owned());
    }
    let origin = Origin::bind(config, args.listen).await?;
    let (url, counters) = (origin.url(), origin.counters());
    // Whoever reads that it listens may stop it at once.
    let stop = interrupt();
    output.json(&json!({ "event": "listening", "url": url }));
    output.result(format_args!("listening on {url}"), &url);
    output.note(format_args!("use it with: export HF_ENDPOINT={url}"));
    if !args.listen.ip().is_loopback() && args.token_file.is_none() {
        output.note("warning: whoever reaches this address can read and write everything; --token-file changes that");
    }
    origin.serve(stop).await?;
    let data_bytes = counters.data_bytes_sent();
    output.json(&json!({ "event": "stopped", "data_bytes": data_bytes }));
    output.result(format_args!("{data_bytes} bytes of file data sent"), data_bytes);
    Ok(())
}

impl From<server::Error> for Failure {
    fn from(error: server::Error) -> Self {
        let hint = match &error {
            server::Error::Listen { .. } => {
                Some("another program may use the port: --listen 127.0.0.1:0 takes a free one")
            }
            _ => None,
        };
        let exit = if hint.is_some() { Exit::Network } else { Exit::Disk };
        Self { hint: hint.map(str::to_owned), ..Self::new(exit, error) }
    }
}
