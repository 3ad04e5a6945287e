//! `zest origin import`.

use std::cell::Cell;
use std::collections::BTreeMap;

use indicatif::DecimalBytes;
use serde_json::json;
use xet_cas::client::{self, Hub};
use xet_cas::server::{self, ImportError, ImportEvent, ImportOptions};

use super::{interrupt, upkeep};
use crate::args::{HubArgs, ImportArgs};
use crate::display::Output;
use crate::failure::{Exit, Failure};
use crate::settings::Settings;

/// Progress is told in steps of this many bytes.
const STEP_BYTES: u64 = 100_000_000;

pub(crate) async fn run(args: ImportArgs, output: &Output) -> Result<(), Failure> {
    let settings = Settings::read();
    if settings.environment.offline {
        return Err(Failure::new(Exit::Network, "HF_HUB_OFFLINE is set, so nothing can be imported").hint("unset it"));
    }
    let hub = Hub::new(&settings.client(&HubArgs { endpoint: args.from.clone() })?)?;
    let mut options = ImportOptions::default();
    options.repo_type = args.repo_type;
    options.revisions = args.revision;
    options.all_refs = args.all_refs;
    let config = upkeep::config(&args.data)?;
    let fetched = Cell::new(0);
    let tell = |event| match event {
        ImportEvent::Begun { commits, known_commits } => {
            output.json(&json!({ "event": "planned", "commits": commits, "known_commits": known_commits }));
            output.note(format_args!("{commits} commits, {known_commits} of which are here"));
        }
        ImportEvent::Commit { sha, files, bytes } => {
            output.json(&json!({ "event": "commit", "commit": sha, "files": files, "bytes": bytes }));
            output.note(format_args!("{sha}: {files} files, {} not seen before", DecimalBytes(bytes)));
        }
        ImportEvent::Fetched { bytes } => {
            let before = fetched.replace(fetched.get() + bytes);
            if before / STEP_BYTES != fetched.get() / STEP_BYTES {
                output.json(&json!({ "event": "progress", "bytes": fetched.get() }));
                output.note(format_args!("{} fetched", DecimalBytes(fetched.get())));
            }
        }
        ImportEvent::File { path, bytes, is_known } => {
            output.json(&json!({ "event": "file", "path": path, "bytes": bytes, "is_known": is_known }));
        }
        _ => {}
    };
    let config = super::upkeep::config(&args.data)?;
    let imported = tokio::select! {
        imported = server::import(&config, &hub, &args.repo, &options, tell) => imported?,
        () = interrupt() => {
            return Err(Failure::interrupted("run the same command again: files that came are not fetched again"));
        }
    };
    let refs: BTreeMap<&str, &str> = imported.refs.iter().map(|(name, sha)| (name.as_str(), sha.as_str())).collect();
    output.json(&json!({
        "event": "imported",
        "repo": args.repo.as_str(),
        "commits": imported.commits,
        "known_commits": imported.known_commits,
        "files": imported.files,
        "bytes": imported.bytes,
        "refs": refs,
    }));
    output.note(format_args!(
        "{} commits and {} files came, {}",
        imported.commits,
        imported.files,
        DecimalBytes(imported.bytes)
    ));
    for (name, sha) in refs {
        output.result(format_args!("{} {name} is at {sha}", args.repo), format_args!("{name} {sha}"));
    }
    Ok(())
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Data(error) => error.into(),
            ImportError::Upstream(error) => client::Error::into(error),
            ImportError::Wrong { .. } => Self::new(Exit::Integrity, error),
            ImportError::Diverged { .. } => {
                Self::new(Exit::Usage, error).hint("what was imported once and changed here since is not overwritten")
            }
            other => Self::new(Exit::Disk, other),
        }
    }
}
