//! Another `zest` process: its events, and what it took.

use std::fmt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::machine;

/// For a process to say the next thing. Progress comes every fraction of a second; publishing the
/// largest xorb takes seconds.
const EVENT_DEADLINE: Duration = Duration::from_secs(300);
/// For a process to end once it was asked to.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// What a process took.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) peak_rss_bytes: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {:.2} s", self.seconds)
    }
}

/// A running process. It is killed when dropped.
pub(super) struct Child {
    name: &'static str,
    process: tokio::process::Child,
    events: Lines<BufReader<ChildStdout>>,
    started: Instant,
    figures: Figures,
}

impl Child {
    /// Starts this program with other arguments.
    pub(super) fn start(name: &'static str, args: &[&str], env: &[(&str, String)]) -> Result<Self, Failure> {
        let failed = |error| Failure::internal(format_args!("cannot start `zest {name}`: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["--format", "json"]).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        // The demo is complete in itself: no token, endpoint or cache of the user takes part.
        for (variable, _) in std::env::vars_os() {
            let variable = variable.to_string_lossy();
            if ["HF_", "HUGGING", "ZEST_"].iter().any(|prefix| variable.starts_with(prefix)) {
                command.env_remove(variable.as_ref());
            }
        }
        command.env("HF_TOKEN_PATH", "/dev/null").env("NO_PROXY", "127.0.0.1");
        command.envs(env.iter().map(|(key, value)| (key, value)));
        let mut process = command.spawn().map_err(failed)?;
        let stdout = process.stdout.take().ok_or_else(|| Failure::internal("a process has no standard output"))?;
        let events = BufReader::new(stdout).lines();
        let figures = Figures { seconds: 0.0, cpu_seconds: 0.0, peak_rss_bytes: 0 };
        Ok(Self { name, process, events, started: now(), figures })
    }

    /// Reads on to an event of this name.
    pub(super) async fn event(&mut self, wanted: &str) -> Result<Value, Failure> {
        loop {
            let line = timeout(EVENT_DEADLINE, self.events.next_line()).await;
            self.measure();
            let line = match line {
                Ok(Ok(Some(line))) => line,
                Ok(_) => return Err(Failure::internal(format_args!("`zest {}` failed", self.name))),
                Err(_) => return Err(Failure::internal(format_args!("`zest {}` says nothing any more", self.name))),
            };
            match serde_json::from_str::<Value>(&line) {
                Ok(event) if event["event"] == wanted => return Ok(event),
                _ => {}
            }
        }
    }

    /// Reads the last event and waits for the end.
    pub(super) async fn finish(mut self, last: &str) -> Result<(Value, Figures), Failure> {
        let event = self.event(last).await?;
        let ended = timeout(STOP_DEADLINE, self.process.wait()).await;
        match ended {
            Ok(Ok(status)) if status.success() => Ok((event, self.figures)),
            _ => Err(Failure::internal(format_args!("`zest {}` did not end well", self.name))),
        }
    }

    /// Asks the process to stop, and waits for its last event and its end.
    pub(super) async fn stop(mut self, last: &str) -> Result<(Value, Figures), Failure> {
        self.measure();
        let pid = self.process.id().map(|pid| pid.to_string()).unwrap_or_default();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().await;
        asked.map_err(|error| Failure::internal(format_args!("cannot stop `zest {}`: {error}", self.name)))?;
        self.finish(last).await
    }

    /// The system forgets these figures with the process, so they are read while it lives.
    fn measure(&mut self) {
        self.figures.seconds = self.started.elapsed().as_secs_f64();
        let Some(pid) = self.process.id() else { return };
        if let (Some(cpu_seconds), Some(peak_rss_bytes)) = (machine::cpu_seconds(pid), machine::peak_rss_bytes(pid)) {
            self.figures.cpu_seconds = cpu_seconds;
            self.figures.peak_rss_bytes = peak_rss_bytes;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the demo measures processes by the wall clock")]
fn now() -> Instant {
    Instant::now()
}
