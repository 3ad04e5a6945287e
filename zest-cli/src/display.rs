//! What the user sees: results on standard output, messages and progress on standard error.

use std::fmt::Display;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use swarm::{Event, Summary};

use crate::args::Format;
use crate::failure::Failure;
use crate::machine;

/// Plain lines tell progress in steps of this many per cent.
const PLAIN_STEP_PERCENT: u64 = 10;

/// For the reader of standard output to take the last line of a command that failed.
const LAST_LINE_DEADLINE: Duration = Duration::from_secs(1);

/// Where and how a command prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// A line for people; nothing in the other formats.
    pub(crate) fn note(&self, text: impl Display) {
        if self.format == Format::Human {
            line(&mut std::io::stderr(), text);
        }
    }

    /// The result: one text for people, another for scripts.
    pub(crate) fn result(&self, human: impl Display, quiet: impl Display) {
        match self.format {
            Format::Human => line(&mut std::io::stdout(), human),
            Format::Quiet => line(&mut std::io::stdout(), quiet),
            Format::Json => {}
        }
    }

    /// An event for programs; nothing in the other formats.
    pub(crate) fn json(&self, event: &impl Serialize) {
        if self.format == Format::Json
            && let Ok(text) = serde_json::to_string(event)
        {
            line(&mut std::io::stdout(), text);
        }
    }

    /// Prints why a command failed, and returns its exit code.
    pub(crate) fn failure(&self, failure: &Failure) -> ExitCode {
        let Failure { exit, cause, hint } = failure;
        line(&mut std::io::stderr(), format_args!("error: {cause}"));
        if let Some(hint) = hint {
            line(&mut std::io::stderr(), format_args!("hint: {hint}"));
        }
        // Whoever stopped reading standard output must not keep the program from ending.
        let (output, event) =
            (*self, json!({ "event": "error", "message": cause, "hint": hint, "exit_code": *exit as u8 }));
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            output.json(&event);
            done.send(())
        });
        if is_done.recv_timeout(LAST_LINE_DEADLINE).is_err() {
            tracing::debug!("nobody reads the output");
        }
        ExitCode::from(*exit as u8)
    }

    /// Shows the events of a pull.
    pub(crate) fn pull_display(self, bars_disabled: bool) -> PullDisplay {
        let has_bar = self.format == Format::Human && !bars_disabled && std::io::stderr().is_terminal();
        PullDisplay { output: self, has_bar, bar: None, plain_percent: 0 }
    }
}

/// Writing to a closed pipe is no error worth a message: the reader has seen enough. Control characters,
/// which names and messages from elsewhere may hold, do not reach the terminal.
fn line(to: &mut dyn std::io::Write, text: impl Display) {
    let text: String = text.to_string().chars().filter(|c| !c.is_control() || *c == '\n').collect();
    if writeln!(to, "{text}").and_then(|()| to.flush()).is_err() {
        tracing::trace!("nobody reads the output");
    }
}

/// The events of one pull, as they come.
pub(crate) struct PullDisplay {
    output: Output,
    has_bar: bool,
    bar: Option<ProgressBar>,
    /// What the last plain line said.
    plain_percent: u64,
}

impl PullDisplay {
    pub(crate) fn show(&mut self, event: &Event) {
        match event {
            Event::Summary(summary) => self.summary(summary),
            event => {
                self.output.json(event);
                self.show_human(event);
            }
        }
    }

    fn show_human(&mut self, event: &Event) {
        match event {
            Event::Resolved { repo, revision, commit } => self.say(format_args!("{repo} at {revision} is {commit}")),
            Event::Checking { files, bytes } => {
                self.say(format_args!("checking {files} files that are there already ({})", DecimalBytes(*bytes)));
            }
            Event::Planned { files, bytes, missing_files, missing_bytes } => {
                let (bytes, missing) = (DecimalBytes(*bytes), DecimalBytes(*missing_bytes));
                self.say(format_args!("{files} files, {bytes}; to fetch: {missing_files} files, {missing}"));
                if self.has_bar && *missing_bytes > 0 {
                    self.bar = Some(bar(*missing_bytes));
                }
            }
            Event::Progress { bytes, total_bytes, .. } => self.progress(*bytes, *total_bytes),
            Event::Resumed { path, bytes } => {
                tracing::info!(path, bytes, "going on with what an earlier pull has left")
            }
            Event::Copied { path, bytes } => tracing::info!(path, bytes, "copied from files that are here"),
            Event::FileFailed { path, reason } => self.say(format_args!("failed: {path}: {reason}")),
            Event::Retry { what, reason } => tracing::info!(what, reason, "fetching again"),
            Event::Waiting { what, reason } => tracing::info!(what, reason, "waiting"),
            Event::PeerLost(lost) if lost.is_banned => {
                self.say(format_args!("peer {} is banned: {}", lost.peer, lost.reason));
            }
            Event::PeerLost(lost) => tracing::info!(peer = lost.peer, reason = lost.reason, "a peer was lost"),
            Event::Warning { message } => self.say(format_args!("warning: {message}")),
            _ => {}
        }
    }

    fn progress(&mut self, bytes: u64, total_bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
            return;
        }
        let percent = (bytes * 100).checked_div(total_bytes).unwrap_or(100);
        if percent >= self.plain_percent + PLAIN_STEP_PERCENT && percent < 100 {
            self.plain_percent = percent - percent % PLAIN_STEP_PERCENT;
            self.say(format_args!("{percent} % ({} of {})", DecimalBytes(bytes), DecimalBytes(total_bytes)));
        }
    }

    fn summary(&mut self, summary: &Summary) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if let Ok(mut value) = serde_json::to_value(Event::Summary(summary.clone())) {
            value["peak_rss_bytes"] = machine::peak_rss_bytes(std::process::id()).into();
            self.output.json(&value);
        }
        let Summary { files, file_bytes, seconds, path, .. } = summary;
        if summary.dry_run {
            self.say(format_args!("nothing was fetched: this was a dry run"));
        } else {
            let peers = file_bytes.lan + file_bytes.wan;
            let rate = DecimalBytes(((file_bytes.cdn + peers) as f64 / seconds.max(0.001)) as u64);
            let [local, hub, peers] = [file_bytes.local, file_bytes.cdn, peers].map(DecimalBytes);
            self.say(format_args!("{files} files verified in {seconds:.1} s, {rate}/s"));
            self.say(format_args!("{hub} came from the Hub, {peers} from peers, {local} were here"));
        }
        self.output.result(path, path);
    }

    fn say(&self, text: impl Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.output.note(text)),
            None => self.output.note(text),
        }
    }
}

impl Drop for PullDisplay {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.abandon();
        }
    }
}

fn bar(total_bytes: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total_bytes), ProgressDrawTarget::stderr());
    let template = "{bar:30} {decimal_bytes:>10} of {decimal_total_bytes} {decimal_bytes_per_sec:>12} {eta:>5}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
