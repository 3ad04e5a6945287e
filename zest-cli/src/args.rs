//! The command line, exactly as it was typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use swarm::SourceMode;
use xet_cas::{RepoId, RepoType};

/// Hugging Face downloads from peers and the CDN, verified, in the usual cache.
#[derive(Debug, Parser)]
#[command(name = "zest", version, max_term_width = 100)]
pub(crate) struct Args {
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t, env = "ZEST_FORMAT")]
    pub(crate) format: Format,

    /// Show retries and their causes (-v), or everything (-vv)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people: bars on a terminal, plain lines elsewhere
    #[default]
    Human,
    /// One JSON object per line
    Json,
    /// Only the result: for a pull, the path
    Quiet,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Download a repository into the Hugging Face cache, or into a folder
    Pull(PullArgs),
    /// Serve the files that were pulled to other machines, out of the cache
    Serve(ServeArgs),
    /// Index what the Hugging Face cache holds, whatever tool put it there, and serve it
    Seed(SeedArgs),
    /// What is shared with whom, and why
    #[command(subcommand)]
    Privacy(PrivacyCommand),
    /// Serve a Hugging Face-compatible Hub and CAS from a folder
    Origin(OriginArgs),
    /// Upload a folder to an origin
    Publish(PublishArgs),
    /// Show the whole story on this machine, with figures
    Demo(DemoArgs),
    /// Print the version
    Version,
}

/// Where the Hub is. The token comes from `HF_TOKEN` or `HF_TOKEN_PATH`, never from the command line,
/// which others on the machine can read.
#[derive(Debug, clap::Args)]
pub(crate) struct HubArgs {
    /// Base URL of the Hub [env: HF_ENDPOINT] [default: the public Hub]
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PullArgs {
    /// The repository, like `org/model`
    pub(crate) repo: RepoId,

    /// Branch, tag, commit or refs/pr/N
    #[arg(long, value_name = "REV", default_value = "main")]
    pub(crate) revision: String,

    /// Kind of repository: model, dataset or space
    #[arg(long, value_name = "KIND", default_value_t)]
    pub(crate) repo_type: RepoType,

    /// Only files that match this glob; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,

    /// No files that match this glob; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,

    /// Put the files into this folder, not into the cache
    #[arg(long, value_name = "DIR")]
    pub(crate) local_dir: Option<PathBuf>,

    /// A peer to fetch from as well; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) peer: Vec<String>,

    /// Which sources file data comes from: auto, peers-first, peers-only or cdn-only
    ///
    /// auto asks whoever is fastest, and the Hub less where peers make up for it. peers-first asks the Hub for what no
    /// peer has, and when peers bring nothing for some seconds. peers-only never asks it for file data that peers could
    /// have; small files that are not in the CAS, which no peer can be asked for, come from the Hub all the same.
    #[arg(long, value_name = "MODE", env = "ZEST_SOURCE", default_value_t)]
    pub(crate) source: SourceMode,

    /// The same as --source cdn-only
    #[arg(long, conflicts_with = "source")]
    pub(crate) no_p2p: bool,

    /// Received from all sources together at most, bytes a second, like 5MB or 1GiB/s [default: no limit]
    #[arg(long, value_name = "RATE", env = "ZEST_LIMIT_DOWN")]
    pub(crate) limit_down: Option<String>,

    /// Only say what would be downloaded
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Give up a source that sends nothing for this long, seconds
    #[arg(long, value_name = "SECONDS", env = "ZEST_STALL_TIMEOUT", default_value_t = 15.0)]
    pub(crate) stall_timeout: f64,

    /// Leave a peer that brings nothing for this long, seconds
    #[arg(long, value_name = "SECONDS", env = "ZEST_PEER_TIMEOUT", default_value_t = 10.0)]
    pub(crate) peer_timeout: f64,

    /// Fetch what another process is fetching too, if that brings nothing for this long, seconds
    #[arg(long, value_name = "SECONDS", env = "ZEST_LOCK_TIMEOUT", default_value_t = 30.0)]
    pub(crate) lock_timeout: f64,

    /// How often a failing request is made
    #[arg(long, value_name = "N", env = "ZEST_ATTEMPTS", default_value_t = 5)]
    pub(crate) attempts: u32,

    #[command(flatten)]
    pub(crate) hub: HubArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", env = "ZEST_LISTEN", default_value = "0.0.0.0:6881")]
    pub(crate) listen: SocketAddr,

    /// Leave a peer that does not shake hands, or does not take what it asked for, after so many seconds
    #[arg(long, value_name = "SECONDS", env = "ZEST_PEER_TIMEOUT", default_value_t = 10.0)]
    pub(crate) peer_timeout: f64,

    /// File data sent to all peers together at most, bytes a second, like 5MB or 1GiB/s [default: no limit]
    #[arg(long, value_name = "RATE", env = "ZEST_LIMIT_UP")]
    pub(crate) limit_up: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SeedArgs {
    /// Only these repositories, like `org/model`; none: all that the cache holds
    pub(crate) repo: Vec<RepoId>,

    /// Kind of the repositories named: model, dataset or space
    #[arg(long, value_name = "KIND", default_value_t)]
    pub(crate) repo_type: RepoType,

    /// End when all is indexed; serve nothing
    #[arg(long)]
    pub(crate) index_only: bool,

    #[command(flatten)]
    pub(crate) serve: ServeArgs,

    #[command(flatten)]
    pub(crate) hub: HubArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PrivacyCommand {
    /// Go through the proof that a repository is public, as it is done before anything is served
    Explain(ExplainArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// The repository, like `org/model`
    pub(crate) repo: RepoId,

    /// Branch, tag or commit
    #[arg(long, value_name = "REV", default_value = "main")]
    pub(crate) revision: String,

    /// Kind of repository: model, dataset or space
    #[arg(long, value_name = "KIND", default_value_t)]
    pub(crate) repo_type: RepoType,

    #[command(flatten)]
    pub(crate) hub: HubArgs,
}

/// What the file says too is taken from here.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct OriginArgs {
    #[command(subcommand)]
    pub(crate) command: Option<OriginCommand>,

    /// File with everything below and more: users, tokens, limits; see docs/origin.md
    #[arg(long, value_name = "FILE", env = "ZEST_ORIGIN_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Folder that holds everything
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub(crate) data: Option<PathBuf>,

    /// Address to listen on; port 0 takes a free one; may be repeated [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<SocketAddr>,

    /// What clients take as `HF_ENDPOINT` if a proxy stands before this origin
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,

    /// Answer metadata and regular files, but no file data
    #[arg(long)]
    pub(crate) no_data: bool,

    /// File data sent at most, bytes a second, like 5MB or 1GiB/s
    #[arg(long, value_name = "RATE")]
    pub(crate) limit_rate: Option<String>,

    /// File with a token that allows everything; without tokens in --config, every call then needs it
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Hub whose repositories are fetched when they are first asked for, and kept; see docs/mirror.md
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,

    /// File with the token that this origin shows to that Hub
    #[arg(long, value_name = "FILE", requires = "mirror")]
    pub(crate) mirror_token_file: Option<PathBuf>,

    /// How the log is written to standard error; with -v, it has a line for each request
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
}

/// Work on an origin's data while no origin runs on it.
#[derive(Debug, Subcommand)]
pub(crate) enum OriginCommand {
    /// Copy a repository of another Hub, with its history
    Import(ImportArgs),
    /// Look whether everything that is named is there, and everything that is there is named
    Check(OriginCheckArgs),
    /// Remove what no branch, tag or pull request leads to any more
    Collect(OriginCollectArgs),
}

/// Where the data is.
#[derive(Debug, clap::Args)]
pub(crate) struct OriginDataArgs {
    /// File with the origin's settings
    #[arg(long, value_name = "FILE", env = "ZEST_ORIGIN_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Folder that holds everything
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct OriginCheckArgs {
    #[command(flatten)]
    pub(crate) data: OriginDataArgs,

    /// Read and hash every byte, not only what says where they are
    #[arg(long)]
    pub(crate) deep: bool,

    /// Remove bytes that nothing names, which a crash leaves, and forget what is damaged, so that it can come again
    #[arg(long)]
    pub(crate) repair: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct OriginCollectArgs {
    #[command(flatten)]
    pub(crate) data: OriginDataArgs,

    /// Keep what somebody had a use for within so many hours: an upload is referred to at its end only [default: 48, or
    /// as the file says]
    #[arg(long, value_name = "HOURS")]
    pub(crate) grace: Option<f64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// The repository, like `org/model`
    pub(crate) repo: RepoId,

    #[command(flatten)]
    pub(crate) data: OriginDataArgs,

    /// Base URL of the Hub to copy from [env: HF_ENDPOINT] [default: the public Hub]
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<String>,

    /// Branch, tag or commit, with all commits that lead to it; may be repeated [default: main]
    #[arg(long, value_name = "REV")]
    pub(crate) revision: Vec<String>,

    /// All branches and tags
    #[arg(long)]
    pub(crate) all_refs: bool,

    /// Kind of repository: model, dataset or space
    #[arg(long, value_name = "KIND", default_value_t)]
    pub(crate) repo_type: RepoType,
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Human,
    /// One JSON object per line
    Json,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The folder
    pub(crate) dir: PathBuf,

    /// The repository, like `org/model`; created if there is none
    pub(crate) repo: RepoId,

    /// Branch; made if there is none
    #[arg(long, value_name = "BRANCH", default_value = "main")]
    pub(crate) revision: String,

    /// Kind of repository: model, dataset or space
    #[arg(long, value_name = "KIND", default_value_t)]
    pub(crate) repo_type: RepoType,

    /// Publish only files that match a pattern
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,

    /// Leave out files that match a pattern
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,

    /// Title of the commit
    #[arg(short, long, value_name = "TEXT", default_value = "Publish with zest")]
    pub(crate) message: String,

    /// Text of the commit below its title
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) description: String,

    /// If the repository has to be created, make it private
    #[arg(long)]
    pub(crate) private: bool,

    /// Open a pull request instead of changing the branch
    #[arg(long, conflicts_with = "revision")]
    pub(crate) create_pr: bool,

    /// Send nothing; say what would be sent
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) hub: HubArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Use the files of this folder instead of a generated model
    #[arg(long, value_name = "DIR")]
    pub(crate) from: Option<PathBuf>,

    /// Work in this folder, which must be empty or new, and leave everything there
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,

    /// Size of the generated model, bytes
    #[arg(long, value_name = "N", default_value_t = 200_000_000)]
    pub(crate) bytes: u64,
}
