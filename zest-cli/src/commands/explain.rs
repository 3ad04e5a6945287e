//! `zest privacy explain`.

use serde_json::json;
use swarm::{Explanation, Sharing};

use crate::args::ExplainArgs;
use crate::display::Output;
use crate::failure::Failure;
use crate::settings::Settings;

pub(crate) async fn run(args: ExplainArgs, output: &Output) -> Result<(), Failure> {
    let hub = Settings::read().hub(&args.hub)?;
    let explanation = swarm::explain(hub.endpoint(), args.repo_type, &args.repo, &args.revision, hub.network()).await?;
    let mut event = json!({ "event": "explanation" });
    if let (Some(event), Ok(serde_json::Value::Object(fields))) =
        (event.as_object_mut(), serde_json::to_value(&explanation))
    {
        event.extend(fields);
    }
    output.json(&event);
    let Explanation { repo, endpoint, sharing, steps, .. } = &explanation;
    for step in steps {
        match &step.failure {
            None => output.note(format_args!("yes  {}", step.what)),
            Some(failure) => output.note(format_args!("NO   {}: {failure}", step.what)),
        }
    }
    let (verdict, word) = match sharing {
        Sharing::Wan => ("everybody: it is public on a well-known Hub", "wan"),
        Sharing::Site => ("machines of the local network and peers that you name: it is public on this Hub", "site"),
        _ => ("nobody: it is not proved to be public, so no peer is asked for it, told of it or served", "nobody"),
    };
    output.result(format_args!("{repo} on {endpoint} is shared with {verdict}"), word);
    Ok(())
}
