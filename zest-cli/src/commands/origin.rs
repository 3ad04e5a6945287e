//! `zest origin`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use serde_json::json;
use xet_cas::client::Secret;
use xet_cas::server::{self, Access, Config, Mirror, Origin, Permission, Token};

use super::{import, interrupt, upkeep};
use crate::args::{OriginArgs, OriginCommand};
use crate::display::Output;
use crate::failure::{Exit, Failure};
use crate::origin_file::OriginFile;
use crate::settings::Settings;
use crate::{machine, rate};

/// Where it listens unless told otherwise.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Descriptors of a connection: its socket, and a file that it sends or receives.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;
/// What else needs descriptors, with room: connections that wait for a place, listeners, the store.
const DESCRIPTORS_BESIDES: u64 = 500;

pub(crate) async fn run(args: OriginArgs, output: &Output) -> Result<(), Failure> {
    match args.command {
        Some(OriginCommand::Check(args)) => return upkeep::check(args, output).await,
        Some(OriginCommand::Collect(args)) => return upkeep::collect(args, output).await,
        Some(OriginCommand::Import(args)) => return import::run(args, output).await,
        None => {}
    }
    let (config, listen) = config(&args)?;
    let needed = config.connections_max as u64 * DESCRIPTORS_PER_CONNECTION + DESCRIPTORS_BESIDES;
    if let Some(limit) = machine::raise_descriptor_limit().filter(|limit| *limit < needed) {
        output.note(format_args!("warning: {limit} descriptors may not do for all connections; `ulimit -n` sets more"));
    }
    let is_open = config.access.is_open();
    let origin = Origin::bind_all(config, &listen).await?;
    let (url, counters) = (origin.url(), origin.counters());
    // Whoever reads that it listens may stop it at once.
    let stop = interrupt();
    let addresses: Vec<String> = origin.local_addrs().iter().map(SocketAddr::to_string).collect();
    output.json(&json!({ "event": "listening", "url": url, "addresses": addresses }));
    output.result(format_args!("listening on {}", addresses.join(", ")), &url);
    output.note(format_args!("use it with: export HF_ENDPOINT={url}"));
    if is_open && !listen.iter().all(|address| address.ip().is_loopback()) {
        output.note("warning: whoever reaches this address can read and write everything; --token-file changes that");
    }
    origin.serve(stop).await?;
    let data_bytes = counters.data_bytes_sent();
    output.json(&json!({ "event": "stopped", "data_bytes": data_bytes }));
    output.result(format_args!("{data_bytes} bytes of file data sent"), data_bytes);
    Ok(())
}

/// What the file and the command line come to: flags win.
fn config(args: &OriginArgs) -> Result<(Config, Vec<SocketAddr>), Failure> {
    let file = args.config.as_deref().map(OriginFile::read).transpose()?.unwrap_or_default();
    let data = args.data.clone().or_else(|| file.data.clone()).ok_or_else(|| {
        Failure::usage("nothing says where the data is").hint("--data DIR, or `data = \"DIR\"` in the file")
    })?;
    let mut listen = if args.listen.is_empty() { file.listen.clone() } else { args.listen.clone() };
    if listen.is_empty() {
        listen.push(LISTEN);
    }
    let mut config = Config::new(data);
    file.fill(&mut config);
    config.no_data |= args.no_data;
    if let Some(text) = &args.limit_rate {
        config.limit_rate = Some(rate::rate("--limit-rate", text)?.get());
    }
    if let Some(endpoint) = &args.mirror {
        let mut mirror = Mirror::of(endpoint);
        if let Some(file) = &args.mirror_token_file {
            mirror.token = Some(read_token(file)?.expose().to_owned());
        }
        config.mirror = Some(mirror);
    }
    if let Some(mirror) = &mut config.mirror {
        mirror.network = Settings::read().network()?;
    }
    if args.public_url.is_some() {
        config.public_url.clone_from(&args.public_url);
    }
    if let Some(path) = &args.token_file {
        let secret = read_token(path)?;
        let is_alone = config.access.users.is_empty() && config.access.tokens.is_empty();
        match is_alone && config.access.anonymous.is_none() {
            true => config.access = Access::one_token(secret.expose()),
            false => config.access.tokens.push(Token::new(secret.expose(), Permission::Admin)),
        }
    }
    Ok((config, listen))
}

/// The token in a file.
pub(crate) fn read_token(path: &Path) -> Result<Secret, Failure> {
    let unreadable = |error| Failure::new(Exit::Disk, format_args!("cannot read {}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Secret::new(&text).ok_or_else(|| Failure::usage(format_args!("there is no token in {}", path.display())))
}

impl From<server::Error> for Failure {
    fn from(error: server::Error) -> Self {
        let (exit, hint) = match &error {
            server::Error::Listen { .. } => {
                (Exit::Network, Some("another program may use the port: --listen 127.0.0.1:0 takes a free one"))
            }
            server::Error::PublicUrl { .. } => (Exit::Usage, Some("scheme, host and maybe a port, and no more")),
            server::Error::Mirror { .. } => (Exit::Usage, Some("--mirror takes the base URL of a Hub")),
            server::Error::Setting { .. } => (Exit::Usage, None),
            _ => (Exit::Disk, None),
        };
        Self { hint: hint.map(str::to_owned), ..Self::new(exit, error) }
    }
}
