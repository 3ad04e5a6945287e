//! Writes a generated model repository: `zest-testkit-generate DIR --bytes N --seed N`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use testkit::model::{ModelSpec, generate};

const USAGE: &str = "usage: zest-testkit-generate DIR [--bytes N] [--seed N]";

fn main() -> ExitCode {
    let Some((dir, spec)) = arguments(std::env::args().skip(1)) else {
        let _ = writeln!(io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    match generate(&dir, &spec) {
        Ok(files) => {
            let bytes: u64 = files.iter().map(|file| file.bytes).sum();
            let _ = writeln!(io::stdout(), "{} files, {bytes} bytes", files.len());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "cannot write {}: {error}", dir.display());
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Option<(PathBuf, ModelSpec)> {
    let mut dir = None;
    let mut spec = ModelSpec { bytes: 1_000_000_000, seed: 1 };
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--bytes" => spec.bytes = given.next()?.parse().ok()?,
            "--seed" => spec.seed = given.next()?.parse().ok()?,
            flag if flag.starts_with('-') => return None,
            path => {
                if dir.replace(PathBuf::from(path)).is_some() {
                    return None;
                }
            }
        }
    }
    Some((dir?, spec))
}
