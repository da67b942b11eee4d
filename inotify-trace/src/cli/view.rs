//! Options that filter events and format them, live or from a recording.

use std::io::{self, BufWriter, Write as _};

use inotify_trace_model::{
    clock::{Clock, Timestamps},
    event::EventName,
    story::Audience,
    tracker::Tracker,
};

use super::{
    choice::{listed, one_of},
    format::TextOrJson,
    select::{SelectArgs, Users, warn_of_unknown},
};
use crate::{
    export,
    output::{Filter, Filtered, Json, Patient, Screen, Text, UserNames, printable},
    recording::Header,
};

/// Bytes buffered before they are written, unless the source pauses.
const OUTPUT_BUFFER: usize = 64 << 10;

#[derive(Debug, clap::Args)]
pub(super) struct ViewArgs {
    #[command(flatten)]
    select: SelectArgs,
    #[arg(short, long = "event", value_parser = one_of::<EventName>(), value_name = "EVENT", value_delimiter = ',', hide_possible_values = true, help = short_event_help(), long_help = event_help())]
    events: Vec<EventName>,
    /// Show only failures
    #[arg(short = 'x', long)]
    failed: bool,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: TextOrJson,
    /// Format of times; `--timestamps` alone is iso
    #[arg(long, value_parser = one_of::<Timestamps>(), value_name = "FORM", default_value = "time", num_args = 0..=1, default_missing_value = "iso")]
    timestamps: Timestamps,
    /// Never shorten or wrap lines, as if the output did not go to a terminal
    #[arg(short, long)]
    wide: bool,
    /// Do not report leaks
    #[arg(long)]
    no_verdicts: bool,
}

/// Shows the events that pass the filter.
pub(super) type View = Filtered<Box<dyn Audience<Error = io::Error>>>;

impl ViewArgs {
    /// The audience that filters and shows events; `clock` converts their times, and `users` are
    /// those of the machine.
    pub(super) fn audience(&self, clock: Clock, users: Users) -> View {
        let (filter, shows_leaks) = (self.filter(&users), !self.no_verdicts);
        let inner = self.format(clock, users, filter.clone());
        Filtered { filter, shows_leaks, inner }
    }

    /// The same for one recording of several, which is named: in a line before the others, or in
    /// each object.
    pub(super) fn audience_of(
        &self,
        clock: Clock,
        users: Users,
        named: Option<(&Header, &str)>,
    ) -> io::Result<View> {
        let mut view = self.audience(clock, users);
        match (named, self.output) {
            (None, _) => {}
            (Some((header, _)), TextOrJson::Json) => {
                let out = BufWriter::with_capacity(OUTPUT_BUFFER, Patient::stdout());
                view.inner = Box::new(Json::of_run(out, export::context(header)));
            }
            (Some((header, machine)), TextOrJson::Text) => {
                let begun = header.clock().local(header.started);
                let machine = printable(machine);
                Patient::stdout().write_all(format!("{machine}, since {begun}:\n").as_bytes())?;
            }
        }
        Ok(view)
    }

    /// Fails if the choice of users is none on any of these machines.
    pub(super) fn check_users<'a>(
        &self,
        machines: impl Iterator<Item = &'a Users> + Clone,
    ) -> anyhow::Result<()> {
        self.select.check_users(machines)
    }

    /// Tells what is chosen and is not on this machine.
    pub(super) fn warn_of_missing(&self, users: &Users, tracker: &Tracker) -> io::Result<()> {
        self.select.warn_of_missing_processes()?;
        warn_of_unknown(&self.select.selection(users), tracker)
    }

    /// Whether watches that were there before are shown, whose paths take time to find.
    pub(super) fn shows_found_watches(&self) -> bool {
        self.events.contains(&EventName::WatchFound)
    }

    fn filter(&self, users: &Users) -> Filter {
        Filter {
            selection: self.select.selection(users),
            events: self.events.clone(),
            failed: self.failed,
        }
    }

    fn format(
        &self,
        clock: Clock,
        users: Users,
        filter: Filter,
    ) -> Box<dyn Audience<Error = io::Error>> {
        let out = BufWriter::with_capacity(OUTPUT_BUFFER, Patient::stdout());
        match self.output {
            TextOrJson::Json => Box::new(Json::new(out, clock)),
            TextOrJson::Text => {
                let screen = Screen::of_stdout().wide_if(self.wide);
                let users = UserNames::from_map(users);
                let text = Text::new(out, clock, users, self.timestamps, screen);
                Box::new(text.summing_up(filter))
            }
        }
    }
}

fn short_event_help() -> String {
    let shown = EventName::ALL.iter().filter(|it| it.is_shown_by_default());
    let shown: Vec<_> = shown.map(|it| it.as_str()).collect();
    format!("Show only these events [default: {}]", shown.join(", "))
}

fn event_help() -> String {
    let events = listed::<EventName>(14, |it| if it.is_shown_by_default() { "*" } else { " " });
    format!(
        "Show only these events, with commas between them:{events}\nEvents with * are the default; \
         losses are always shown."
    )
}
