//! `zest origin check` and `zest origin collect`.

use std::time::Duration;

use indicatif::DecimalBytes;
use serde_json::json;
use xet_cas::server::{self, CheckOptions, CheckReport, Collected, Config, Upkeep};

use crate::args::{OriginCheckArgs, OriginCollectArgs, OriginDataArgs};
use crate::display::Output;
use crate::failure::{Exit, Failure};
use crate::origin_file::OriginFile;

/// Findings that are told one by one to a person.
const SHOWN: usize = 20;

pub(crate) async fn check(args: OriginCheckArgs, output: &Output) -> Result<(), Failure> {
    let mut options = CheckOptions::default();
    (options.deep, options.repair) = (args.deep, args.repair);
    let report = upkeep(&args.data, move |upkeep, _| upkeep.check(options)).await?;
    let CheckReport { commits, files, xorbs, objects, bytes, .. } = report;
    output.json(&json!({
        "event": "checked",
        "commits": commits,
        "files": files,
        "xorbs": xorbs,
        "objects": objects,
        "bytes": bytes,
        "orphans": report.orphans_count,
        "orphan_bytes": report.orphans_bytes,
        "orphans_removed": args.repair,
        "damaged": report.damage_count,
        "damage": report.damage,
    }));
    for what in report.damage.iter().take(SHOWN) {
        output.note(format_args!("damaged: {what}"));
    }
    if report.orphans_count > 0 {
        let (count, bytes) = (report.orphans_count, DecimalBytes(report.orphans_bytes));
        output.note(match args.repair {
            true => format!("removed {count} leftovers of {bytes}"),
            false => format!("{count} leftovers of {bytes}, which --repair removes"),
        });
    }
    if report.damage_count > 0 {
        let failure =
            Failure::new(Exit::Integrity, format_args!("{} things are damaged or missing", report.damage_count));
        return Err(failure.hint(match args.repair {
            true => "it is forgotten: publish these files again, and it is sent",
            false => "--repair forgets it; then publish these files again",
        }));
    }
    let told =
        format!("{commits} commits, {files} files, {xorbs} xorbs, {objects} regular files: {}", DecimalBytes(bytes));
    output.result(told, "sound");
    Ok(())
}

pub(crate) async fn collect(args: OriginCollectArgs, output: &Output) -> Result<(), Failure> {
    let grace = match args.grace {
        None => None,
        Some(hours) => match Duration::try_from_secs_f64(hours * 3_600.0) {
            Ok(grace) => Some(grace),
            Err(_) => return Err(Failure::usage(format_args!("--grace {hours} is no number of hours"))),
        },
    };
    let collected =
        upkeep(&args.data, move |upkeep, config| upkeep.collect_garbage(grace.unwrap_or(config.garbage.grace)));
    let Collected { commits, files, xorbs, objects, bytes, .. } = collected.await?;
    output.json(&json!({
        "event": "collected",
        "commits": commits,
        "files": files,
        "xorbs": xorbs,
        "objects": objects,
        "bytes": bytes,
    }));
    let told = format!(
        "removed {commits} commits, {files} files, {xorbs} xorbs, {objects} regular files: {}",
        DecimalBytes(bytes)
    );
    output.result(told, bytes);
    Ok(())
}

/// What the file and the command line say of an origin's data.
pub(super) fn config(args: &OriginDataArgs) -> Result<Config, Failure> {
    let file = args.config.as_deref().map(OriginFile::read).transpose()?.unwrap_or_default();
    let data = args.data.clone().or_else(|| file.data.clone()).ok_or_else(|| {
        Failure::usage("nothing says where the data is").hint("--data DIR, or `data = \"DIR\"` in the file")
    })?;
    let mut config = Config::new(data);
    file.fill(&mut config);
    Ok(config)
}

/// Runs a job on the data that the arguments name, on a thread that may block.
async fn upkeep<T: Send + 'static>(
    args: &OriginDataArgs,
    job: impl FnOnce(&Upkeep, &Config) -> Result<T, server::Error> + Send + 'static,
) -> Result<T, Failure> {
    let config = config(args)?;
    if !config.data.join("origin.json").exists() {
        let failure = Failure::new(Exit::Disk, format_args!("{} is not the data of an origin", config.data.display()));
        return Err(failure.hint("name the folder that `zest origin --data` was given"));
    }
    let done = tokio::task::spawn_blocking(move || job(&Upkeep::open(config.clone())?, &config)).await;
    Ok(done.map_err(Failure::internal)??)
}
