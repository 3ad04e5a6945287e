//! `zest publish`.

use std::cell::Cell;

use indicatif::DecimalBytes;
use serde_json::json;
use xet_cas::client::{Patterns, PublishOptions, PublishProgress, Way};

use super::interrupt;
use crate::args::PublishArgs;
use crate::display::Output;
use crate::failure::{Exit, Failure};
use crate::settings::Settings;

pub(crate) async fn run(args: PublishArgs, output: &Output) -> Result<(), Failure> {
    let settings = Settings::read();
    if settings.environment.offline {
        return Err(Failure::new(Exit::Network, "HF_HUB_OFFLINE is set, so nothing can be published").hint("unset it"));
    }
    let hub = settings.hub(&args.hub)?;
    let mut options = PublishOptions::default();
    options.patterns = Patterns::new(&args.include, &args.exclude)?;
    options.repo_type = args.repo_type;
    options.revision = args.revision;
    options.message = args.message;
    options.description = args.description;
    options.private = args.private;
    options.create_pr = args.create_pr;
    options.dry_run = args.dry_run;
    options.cache = Some(settings.environment.xet_cache);

    let stored_bytes = Cell::new(0);
    let progress = |progress| match progress {
        PublishProgress::Begun { files, bytes } => {
            output.json(&json!({ "event": "planned", "files": files, "bytes": bytes }));
            let verb = if args.dry_run { "would publish" } else { "publishing" };
            output.note(format_args!("{verb} {files} files, {}", DecimalBytes(bytes)));
        }
        PublishProgress::File { path, bytes, way } => {
            let (name, words) = described(way);
            output.json(&json!({ "event": "file", "path": path, "bytes": bytes, "way": name }));
            if args.dry_run {
                output.note(format_args!("{path}: {}, {words}", DecimalBytes(bytes)));
            }
        }
        PublishProgress::XorbStored { raw_bytes, sent_bytes } => {
            stored_bytes.set(stored_bytes.get() + raw_bytes);
            output.json(&json!({ "event": "xorb_stored", "raw_bytes": raw_bytes, "sent_bytes": sent_bytes }));
            let verb = if args.dry_run { "packed" } else { "stored" };
            output.note(format_args!("{} {verb}", DecimalBytes(stored_bytes.get())));
        }
        _ => {}
    };
    let published = tokio::select! {
        published = hub.publish(&args.dir, &args.repo, &options, progress) => published?,
        () = interrupt() => {
            return Err(Failure::interrupted("run the same command again: what was uploaded is not sent again"));
        }
    };
    output.json(&json!({
        "event": if args.dry_run { "would_publish" } else { "published" },
        "repo": args.repo.as_str(),
        "commit": published.commit,
        "pull_request": published.pull_request,
        "files": published.files,
        "file_bytes": published.file_bytes,
        "unchanged_files": published.unchanged_files,
        "unique_bytes": published.unique_bytes,
        "sent_bytes": published.sent_bytes,
        "commit_bytes": published.commit_bytes,
    }));
    let (all, sent) = (DecimalBytes(published.file_bytes), DecimalBytes(published.sent_bytes));
    let in_commit = DecimalBytes(published.commit_bytes);
    let verb = if args.dry_run { "would be sent" } else { "sent" };
    output.note(format_args!(
        "{} files, {all}; {} unchanged; {sent} {verb}, {in_commit} in the commit itself",
        published.files, published.unchanged_files
    ));
    if args.dry_run {
        output.result(format_args!("{} was left as it is", args.repo), &published.commit);
        return Ok(());
    }
    match published.pull_request {
        Some(revision) => output.result(format_args!("{} has a pull request: {revision}", args.repo), &revision),
        None => output.result(format_args!("{} is at {}", args.repo, published.commit), &published.commit),
    }
    Ok(())
}

/// Which way a file goes: for programs, and for people.
fn described(way: Way) -> (&'static str, &'static str) {
    match way {
        Way::Unchanged => ("unchanged", "unchanged"),
        Way::Ignored => ("ignored", "ignored by the repository's rules"),
        Way::InCommit => ("commit", "in the commit itself"),
        Way::Xet => ("xet", "what is new of it through Xet"),
        _ => ("other", "some other way"),
    }
}
