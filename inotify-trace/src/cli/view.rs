//! Options that filter events and format them, live or from a recording.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};

use clap::ValueEnum;
use inotify_trace_model::{
    clock::{Clock, Timestamps},
    event::EventName,
    story::Audience,
};

use super::choice::{listed, one_of};
use crate::{
    export,
    host::{self, cgroup},
    output::{Filter, Filtered, Json, Patient, Text, UserNames, Width, printable},
    recording::Header,
};

/// Bytes buffered before they are written, unless the source pauses.
const OUTPUT_BUFFER: usize = 64 << 10;

#[derive(Debug, clap::Args)]
pub(super) struct ViewArgs {
    /// Show only events of these processes
    #[arg(short, long = "pid", value_name = "PID", value_delimiter = ',')]
    pids: Vec<u32>,
    /// Show only events of these effective user ids
    #[arg(short, long = "uid", value_name = "UID", value_delimiter = ',')]
    uids: Vec<u32>,
    /// Show only events of these command names (at most 15 bytes, as the kernel keeps them)
    #[arg(short, long = "comm", value_name = "COMM", value_delimiter = ',')]
    comms: Vec<String>,
    /// Show only events of this cgroup and its descendants: a path from the root of the v2
    /// hierarchy, or below its mount point
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,
    /// Show only these events [default: create, create-failed, watch, watch-failed, unwatch, close,
    /// release]
    #[arg(short, long = "event", value_parser = one_of::<EventName>(), value_name = "EVENT", value_delimiter = ',', hide_possible_values = true, long_help = event_help())]
    events: Vec<EventName>,
    /// Show only failures
    #[arg(short = 'x', long)]
    failed: bool,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Format of times
    #[arg(long, value_parser = one_of::<Timestamps>(), value_name = "FORM", default_value = "time", num_args = 0..=1, default_missing_value = "iso")]
    timestamps: Timestamps,
    /// Never shorten paths or names to keep lines below 120 columns
    #[arg(short, long)]
    wide: bool,
    /// Do not report leaks
    #[arg(long)]
    no_verdicts: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One aligned line per event, below 120 columns
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// Shows the events that pass the filter.
pub(super) type View = Filtered<Box<dyn Audience<Error = io::Error>>>;

impl ViewArgs {
    /// The audience that filters and shows events; `clock` converts their times.
    pub(super) fn audience(&self, clock: Clock) -> View {
        let (filter, shows_leaks) = (self.filter(), !self.no_verdicts);
        Filtered { filter, shows_leaks, inner: self.format(clock) }
    }

    /// The same for one recording of several, which is named: in a line before the others, or in
    /// each object.
    pub(super) fn audience_of(&self, clock: Clock, named: Option<&Header>) -> io::Result<View> {
        let mut view = self.audience(clock);
        match (named, self.output) {
            (None, _) => {}
            (Some(header), Format::Json) => {
                let out = BufWriter::with_capacity(OUTPUT_BUFFER, Patient::stdout());
                view.inner = Box::new(Json::of_run(out, export::context(header)));
            }
            (Some(header), Format::Text) => {
                let begun = header.clock().local(header.started);
                let host = printable(&header.host);
                Patient::stdout().write_all(format!("{host}, since {begun}:\n").as_bytes())?;
            }
        }
        Ok(view)
    }

    fn filter(&self) -> Filter {
        Filter {
            pids: self.pids.clone(),
            uids: self.uids.clone(),
            comms: self.comms.clone(),
            cgroup: self.cgroup.as_deref().map(from_root),
            events: self.events.clone(),
            failed: self.failed,
        }
    }

    fn format(&self, clock: Clock) -> Box<dyn Audience<Error = io::Error>> {
        let out = BufWriter::with_capacity(OUTPUT_BUFFER, Patient::stdout());
        match self.output {
            Format::Json => Box::new(Json::new(out, clock)),
            Format::Text => {
                let terminal = io::stdout().is_terminal();
                let width = match rustix::termios::tcgetwinsize(io::stdout()) {
                    _ if self.wide => Width::Unlimited,
                    Ok(size) => Width::Columns(usize::from(size.ws_col)),
                    Err(_) => Width::default(),
                };
                // https://no-color.org: any value but the empty one.
                let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                Box::new(Text::new(
                    out,
                    clock,
                    UserNames::from_map(host::users()),
                    self.timestamps,
                    width,
                    terminal && !plain,
                ))
            }
        }
    }
}

/// The cgroup's path from the root of the hierarchy; `path` may begin with the mount point.
fn from_root(path: &str) -> String {
    cgroup::mount_point()
        .and_then(|mount| path.strip_prefix(mount.to_str()?))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .unwrap_or(path)
        .to_owned()
}

fn event_help() -> String {
    let events = listed::<EventName>(14, |it| if it.is_shown_by_default() { "*" } else { " " });
    format!(
        "Show only these events, with commas between them:{events}\nEvents with * are the default; \
         losses are always shown."
    )
}
