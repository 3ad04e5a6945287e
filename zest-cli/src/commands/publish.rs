//! `zest publish`.

use std::cell::Cell;

use indicatif::DecimalBytes;
use serde_json::json;
use xet_cas::client::{PublishOptions, PublishProgress};

use super::interrupt;
use crate::args::PublishArgs;
use crate::display::Output;
use crate::failure::Failure;
use crate::settings::Settings;

pub(crate) async fn run(args: PublishArgs, output: &Output) -> Result<(), Failure> {
    let hub = Settings::read().hub(&args.hub)?;
    let mut options = PublishOptions::default();
    options.repo_type = args.repo_type;
    options.revision = args.revision;
    options.message = args.message;

    let stored_bytes = Cell::new(0);
    let progress = |progress| match progress {
        PublishProgress::Begun { files, bytes } => {
            output.json(&json!({ "event": "planned", "files": files, "bytes": bytes }));
            output.note(format_args!("publishing {files} files, {}", DecimalBytes(bytes)));
        }
        PublishProgress::XorbStored { raw_bytes, sent_bytes } => {
            stored_bytes.set(stored_bytes.get() + raw_bytes);
            output.json(&json!({ "event": "xorb_stored", "raw_bytes": raw_bytes, "sent_bytes": sent_bytes }));
            output.note(format_args!("{} stored", DecimalBytes(stored_bytes.get())));
        }
        _ => {}
    };
    let published = tokio::select! {
        published = hub.publish(&args.dir, &args.repo, &options, progress) => published?,
        () = interrupt() => {
            return Err(Failure::interrupted("nothing was committed; run the same command again"));
        }
    };
    output.json(&json!({
        "event": "published",
        "repo": args.repo.as_str(),
        "commit": published.commit,
        "files": published.files,
        "file_bytes": published.file_bytes,
        "unique_bytes": published.unique_bytes,
        "sent_bytes": published.sent_bytes,
    }));
    let (all, sent) = (DecimalBytes(published.file_bytes), DecimalBytes(published.sent_bytes));
    output.note(format_args!("{} files, {all}; {sent} sent", published.files));
    output.result(format_args!("{} is at {}", args.repo, published.commit), &published.commit);
    Ok(())
}
