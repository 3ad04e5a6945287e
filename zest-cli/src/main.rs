//! `zest`: Hugging Face downloads from peers and the CDN, verified, in the usual cache.

mod args;
mod commands;
mod display;
mod failure;
mod machine;
mod origin_file;
mod rate;
mod settings;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use args::{Args, Command, LogFormat, PrivacyCommand};
use display::Output;
use failure::Failure;

/// How long work that was under way when a command ended may take to stop: it is at most one batch of
/// disk writes.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let args = Args::parse();
    let log_format = match &args.command {
        Command::Origin(args) => args.log_format,
        _ => LogFormat::Human,
    };
    start_log(args.verbose, log_format);
    let output = Output::new(args.format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output.failure(&Failure::internal(format!("cannot start: {error}"))),
    };
    let result = runtime.block_on(run(args.command, &output));
    runtime.shutdown_timeout(STOP_DEADLINE);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.failure(&failure),
    }
}

async fn run(command: Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Pull(args) => commands::pull::run(args, output).await,
        Command::Serve(args) => commands::serve::run(args, output).await,
        Command::Seed(args) => commands::seed::run(args, output).await,
        Command::Privacy(PrivacyCommand::Explain(args)) => commands::explain::run(args, output).await,
        Command::Origin(args) => commands::origin::run(args, output).await,
        Command::Publish(args) => commands::publish::run(args, output).await,
        Command::Demo(args) => commands::demo::run(args, output).await,
        Command::Version => commands::version::run(output),
    }
}

/// Messages go to standard error. `-v` shows every retry and its cause, `-vv` what each part does.
fn start_log(verbose: u8, format: LogFormat) {
    let default = match verbose {
        0 => "error",
        1 => "info",
        _ => "debug,hyper=info,hyper_util=info,reqwest=info,rustls=info",
    };
    let filter = EnvFilter::try_from_env("ZEST_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Human => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
