//! `zest version`.

use serde_json::json;

use crate::display::Output;
use crate::failure::Failure;

pub(crate) fn run(output: &Output) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    output.json(&json!({ "event": "version", "version": version }));
    output.result(format_args!("zest {version}"), version);
    Ok(())
}
