//! One aligned line for each event, for people.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write},
    time::Duration,
};

use inotify_trace_model::{
    clock::{Clock, Timestamps},
    event::{BootTime, Charge, Event, EventKind, EventName, Level},
    findings::{Exhausted, Finding, Remedy},
    story::Audience,
    tracker::{Departure, Instance, Leaver, Origin, Tracker},
    verdict::Verdict,
};

use super::{
    Approximate, Filter, Patient, Screen, Tone, UserNames, actor,
    blame::Blame,
    device, failure,
    fold::{Folded, Folds},
    layout::{EVENT, Layout, PID},
    mask, printable, shorten,
    tally::Tally,
    width::shorten_end,
    words, wrapped,
};

/// Writes events as lines of a table.
pub struct Text<W> {
    out: W,
    /// The output for the summary, which is not part of the table.
    summary: Box<dyn Write>,
    clock: Clock,
    timestamps: Timestamps,
    screen: Screen,
    layout: Layout,
    line: String,
    has_header: bool,
    users: UserNames,
    blame: Blame,
    folds: Folds,
    tally: Tally,
}

impl<W: Write> Text<W> {
    /// A table on `out`. The summary goes to standard error.
    pub fn new(
        out: W,
        clock: Clock,
        users: UserNames,
        timestamps: Timestamps,
        screen: Screen,
    ) -> Self {
        Self {
            out,
            summary: Box::new(Patient::stderr()),
            clock,
            timestamps,
            screen,
            layout: Layout::of(screen.width, timestamps.width()),
            line: String::new(),
            has_header: false,
            users,
            blame: Blame::default(),
            folds: Folds::default(),
            tally: Tally::default(),
        }
    }

    /// The same, with a summary of what passes `filter`.
    #[must_use]
    pub fn summing_up(self, filter: Filter) -> Self {
        Self { tally: Tally::of(filter), ..self }
    }

    fn header(&mut self) -> io::Result<()> {
        self.has_header = true;
        let width = self.timestamps.width();
        let Layout { comm, container, container_heading, fd, used, .. } = self.layout;
        writeln!(
            self.out,
            "{:width$} {:EVENT$} {:>PID$} {:comm$} {container_heading:container$} {:>fd$} {:>used$} \
             DETAIL",
            "TIME", "EVENT", "PID", "COMM", "FD:WD", "USED/LIMIT"
        )
    }

    /// Begins the line of an event: all before its details.
    fn begin(&mut self, event: &Event, tracker: &Tracker) {
        let subject = tracker.subject(event);
        let task = actor(event, tracker);
        let layout = self.layout;
        let line = &mut self.line;
        line.clear();
        self.clock.write(line, event.time, self.timestamps);
        // Writing to a String cannot fail, here and below.
        let _ = write!(line, " {:EVENT$}", label(&event.kind));
        let comm = task.map(|task| printable(&task.comm.to_str()).into_owned());
        let comm = comm.as_deref().unwrap_or("-");
        let container = task.and_then(|task| tracker.cgroups().display(task.cgroup));
        let container = printable(container.as_deref().unwrap_or("-"));
        let (comm, container) = if layout.cuts() {
            (shorten_end(comm, layout.comm), shorten(&container, layout.container))
        } else {
            (Cow::Borrowed(comm), Cow::Borrowed(&*container))
        };
        let pid = task.map_or_else(|| "-".to_owned(), |task| task.pid.to_string());
        let (comm_width, container_width) = (layout.comm, layout.container);
        let _ = write!(line, " {pid:>PID$} {comm:comm_width$} {container:container_width$}");
        place(line, &event.kind, subject, layout.fd);
        let start = line.len();
        let _ = match used_of(&event.kind) {
            Some((used, limit)) => write!(line, " {used}/{limit}"),
            None => write!(line, " -"),
        };
        pad_left(line, start + 1, layout.used);
        line.push(' ');
    }

    fn fill(&mut self, event: &Event, tracker: &Tracker) {
        self.begin(event, tracker);
        let (layout, subject) = (self.layout, tracker.subject(event));
        let room = layout.room(&self.line);
        let mut detail = String::new();
        if let Some(thread) = actor(event, tracker).and_then(|task| task.thread) {
            let _ = write!(detail, "thread {}, ", printable(&thread.to_str()));
        }
        let served = served(event, tracker);
        let served = served.as_deref().map(printable);
        if let (Some(name), true) = (&served, layout.cuts()) {
            // The path is long, and its end the same for every container: the name is more useful.
            detail.push_str("for ");
            push_cut(&mut detail, name, room);
        } else {
            describe(&mut detail, event, subject);
            if let Some(path) = path(&event.kind, tracker) {
                // The end of a path is its most useful part.
                push_cut(&mut detail, &printable(&path), room);
            }
            if let Some(name) = served {
                let _ = write!(detail, " for {name}");
            }
        }
        layout.append(&mut self.line, &detail);
    }
}

/// Appends a name or a path, cut so that all has at most `room` columns, but never to fewer than
/// half of these.
fn push_cut(detail: &mut String, name: &str, room: usize) {
    let left = room.saturating_sub(detail.chars().count()).max(room / 2);
    detail.push_str(&shorten(name, left));
}

impl<W: Write> Text<W> {
    /// Writes the filled line, in the colour of an event.
    fn write_line(&mut self, kind: &EventKind) -> io::Result<()> {
        let tone = match kind.name() {
            EventName::CreateFailed | EventName::Overflow | EventName::Lost => Tone::Bad,
            EventName::WatchFailed if failure::limit(kind).is_some() => Tone::Bad,
            EventName::Release | EventName::Close | EventName::Unwatch => Tone::Aside,
            _ => Tone::Plain,
        };
        writeln!(self.out, "{}", self.screen.colours.paint(tone, &self.line))
    }

    /// Writes a line for each sort of failure that repeated, if it is time.
    fn tell_folded(&mut self, now: BootTime, tracker: &Tracker) -> io::Result<()> {
        if self.folds.due().is_none_or(|due| now < due) {
            return Ok(());
        }
        for folded in self.folds.due_at(now) {
            self.fold_line(&folded, tracker)?;
        }
        Ok(())
    }

    /// Writes a sentence below the line that it explains.
    fn below(&mut self, sentence: &str) -> io::Result<()> {
        writeln!(self.out, "{}", wrapped(sentence, 2).on(self.screen.width))
    }

    fn remedy(&mut self, remedy: &str) -> io::Result<()> {
        self.below(&format!("remedy: {remedy}"))
    }

    fn fold_line(&mut self, folded: &Folded, tracker: &Tracker) -> io::Result<()> {
        self.begin(&folded.last, tracker);
        let span = Approximate(Duration::from_nanos(folded.span));
        let detail = format!("... {} more like this in {span}", folded.count);
        self.layout.append(&mut self.line, &detail);
        self.write_line(&folded.last.kind)
    }
}

impl<W: Write> Audience for Text<W> {
    type Error = io::Error;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> io::Result<()> {
        if !self.has_header {
            self.header()?;
        }
        self.tell_folded(event.time, tracker)?;
        self.tally.add(event.kind.name());
        if self.folds.takes(event) {
            return Ok(());
        }
        self.fill(event, tracker);
        self.write_line(&event.kind)?;
        if matches!(event.kind, EventKind::QueueOverflowed { .. }) {
            self.remedy(&words::remedy(Remedy::ReadFaster))?;
        }
        if self.blame.is_due_for(event) {
            if let Some(explained) = words::explained(event) {
                self.below(&explained)?;
            }
            if let Some(remedy) = failure::remedy_of(event) {
                self.remedy(&words::remedy(remedy))?;
            }
        }
        let Some(culprits) = self.blame.of(event, tracker) else { return Ok(()) };
        let exhausted = Exhausted::by(&culprits, tracker);
        self.below(&words::used_up(&exhausted, &self.users))?;
        self.remedy(&words::remedy_for(&exhausted))
    }

    fn verdict(&mut self, verdict: &Verdict, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        if !self.has_header {
            self.header()?;
        }
        self.line.clear();
        self.clock.write(&mut self.line, now, self.timestamps);
        let (label, tone) =
            if verdict.kind.is_leak() { ("LEAK", Tone::Bad) } else { ("note", Tone::Aside) };
        let line = words::line(&Finding::of(verdict, tracker));
        let line = format!("{} {label:EVENT$} {line}", self.line);
        let line = wrapped(&line, 0).on(self.screen.width);
        writeln!(self.out, "{}", self.screen.colours.paint(tone, line))
    }

    fn due(&self) -> Option<BootTime> {
        self.folds.due()
    }

    fn moment(&mut self, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        self.tell_folded(now, tracker)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn end(&mut self, tracker: &Tracker, _now: BootTime) -> io::Result<()> {
        for folded in self.folds.rest() {
            self.fold_line(&folded, tracker)?;
        }
        self.out.flush()?;
        writeln!(self.summary, "\n{}", self.tally.line(&tracker.summary()))
    }
}

/// The count of an event and its limit: of its quota, or of the events in a full queue.
fn used_of(kind: &EventKind) -> Option<(u32, u32)> {
    match *kind {
        EventKind::QueueOverflowed { queued, limit, .. } => Some((queued, limit)),
        _ => kind.quota().map(|quota| (quota.used, quota.limit)),
    }
}

/// The label of an event in a line. Labels of failures are in capitals.
fn label(kind: &EventKind) -> &'static str {
    match kind.name() {
        EventName::Found => "found",
        EventName::WatchFound => "watch-found",
        EventName::Create => "create",
        EventName::CreateFailed => "CREATE-FAIL",
        EventName::Watch => "watch",
        EventName::WatchFailed => "WATCH-FAIL",
        EventName::Unwatch => "unwatch",
        EventName::Close => "close",
        EventName::Held => "held",
        EventName::Overflow => "OVERFLOW",
        EventName::Release => "release",
        EventName::RangeClose => "range-close",
        EventName::Fork => "fork",
        EventName::Exec => "exec",
        EventName::Exit => "exit",
        EventName::Charged => "charged",
        EventName::CgroupFound => "cgroup",
        EventName::ContainerName => "container",
        EventName::Shim => "shim",
        EventName::Program => "program",
        EventName::CgroupCreate => "cgroup-new",
        EventName::CgroupRename => "cgroup-name",
        EventName::CgroupRemove => "cgroup-gone",
        EventName::Lost => "LOST",
    }
}

/// The descriptor, and the watch if the event has one.
fn place(line: &mut String, kind: &EventKind, subject: Option<&Instance>, width: usize) {
    let start = line.len();
    line.push(' ');
    let _ = match *kind {
        EventKind::WatchAdded { fd, wd, .. } | EventKind::WatchRemoved { fd: Some(fd), wd, .. } => {
            write!(line, "{fd}:{wd}")
        }
        EventKind::WatchFound { wd, .. } | EventKind::WatchRemoved { fd: None, wd, .. } => {
            write!(line, ":{wd}")
        }
        EventKind::InstanceFound { fd, .. }
        | EventKind::InstanceCreated { fd, .. }
        | EventKind::WatchFailed { fd, .. }
        | EventKind::DescriptorClosed { fd, .. }
        | EventKind::InstanceReleased { fd: Some(fd), .. } => write!(line, "{fd}"),
        EventKind::QueueOverflowed { .. } => {
            match subject.and_then(|instance| instance.descriptors().first()) {
                Some(descriptor) => write!(line, "{}", descriptor.fd),
                None => write!(line, "-"),
            }
        }
        EventKind::InstanceReleased { fd: None, .. } => {
            match subject.and_then(|instance| instance.ended_by) {
                Some(Leaver { fd: Some(fd), .. }) => write!(line, "{fd}"),
                _ => write!(line, "-"),
            }
        }
        EventKind::RangeClosed { first, last: i32::MAX } => write!(line, "{first}-"),
        EventKind::RangeClosed { first, last } => write!(line, "{first}-{last}"),
        _ => write!(line, "-"),
    };
    pad_left(line, start + 1, width);
}

/// Aligns the text in `line` from `start` on to the right of a column. The text is ASCII.
fn pad_left(line: &mut String, start: usize, width: usize) {
    for _ in line.len() - start..width {
        line.insert(start, ' ');
    }
}

/// The path of an event, which ends its line.
fn path<'a>(kind: &'a EventKind, tracker: &'a Tracker) -> Option<Cow<'a, str>> {
    let path: &str = match kind {
        EventKind::WatchAdded { target, .. } | EventKind::WatchFound { target, .. } => {
            target.best_path()?
        }
        EventKind::WatchFailed { path, .. } => path.as_deref()?,
        EventKind::CgroupFound { path, .. }
        | EventKind::CgroupCreated { path, .. }
        | EventKind::CgroupRenamed { path, .. } => path,
        EventKind::ContainerNamed { cgroup, .. } => {
            return tracker.cgroups().display(*cgroup).map(Cow::Owned);
        }
        EventKind::CgroupRemoved { cgroup } => &tracker.cgroups().get(*cgroup)?.path,
        _ => return None,
    };
    Some(path.into())
}

/// The container whose cgroup is watched, where it is not the watcher's own.
fn served(event: &Event, tracker: &Tracker) -> Option<String> {
    let (EventKind::WatchAdded { target, .. } | EventKind::WatchFound { target, .. }) = &event.kind
    else {
        return None;
    };
    let cgroups = tracker.cgroups();
    let container = |id| cgroups.get(id).and_then(|cgroup| cgroup.container.as_ref());
    let own = event.task.and_then(|task| container(task.cgroup));
    container(target.cgroup).filter(|&served| Some(served) != own)?;
    cgroups.display(target.cgroup)
}

/// The details of an event other than its path.
fn describe(line: &mut String, event: &Event, subject: Option<&Instance>) {
    let _ = match &event.kind {
        EventKind::InstanceFound { flags, .. } | EventKind::InstanceCreated { flags, .. } => {
            let names = mask::instance_flags(*flags);
            line.push_str(&if names.is_empty() { "-".to_owned() } else { names.join(",") });
            Ok(())
        }
        EventKind::CreateFailed { .. } => {
            line.push_str(&words::failed(&event.kind).unwrap_or_default());
            Ok(())
        }
        EventKind::WatchFailed { .. } => {
            write!(line, "{} ", words::failed(&event.kind).unwrap_or_default())
        }
        EventKind::WatchAdded { target, .. } | EventKind::WatchFound { target, .. } => {
            match target.path {
                Some(_) => Ok(()),
                None => write!(line, "inode {} dev {}", target.inode, device(target.dev)),
            }
        }
        EventKind::WatchRemoved { fd: Some(_), .. } => write!(line, "on request"),
        EventKind::WatchRemoved { fd: None, .. } => write!(line, "target gone or one shot"),
        EventKind::DescriptorClosed { left, .. } | EventKind::InstanceHeld { left, .. } => {
            write!(line, "{left} reference{} left", if *left == 1 { "" } else { "s" })
        }
        EventKind::QueueOverflowed { was_seen, .. } => {
            // The count stands where a quota does.
            let found = if *was_seen { "queue full" } else { "queue found full" };
            write!(line, "{found}: events dropped")
        }
        EventKind::InstanceReleased { .. } => {
            released(line, event, subject);
            Ok(())
        }
        EventKind::ProcessForked { child } => write!(line, "child {child}"),
        EventKind::ProcessExec { kept } => match kept.as_deref() {
            Some([]) => write!(line, "kept no instance"),
            Some(kept) => write!(line, "kept {kept:?}"),
            None => line.write_str("kept: not known"),
        },
        EventKind::Lost { count, what } => write!(line, "{count} {what}"),
        EventKind::Charged { charges } => charged(line, charges),
        EventKind::ShimIdentified { id, namespace, version } => {
            let version = version.as_deref().map(|it| format!(", {}", printable(it)));
            let (id, namespace) = (printable(id), printable(namespace));
            write!(line, "for {id} in {namespace}{}", version.unwrap_or_default())
        }
        EventKind::ProgramIdentified { exe, arguments } => {
            let texts = exe.iter().chain(arguments).map(|text| printable(text));
            write!(line, "{}", texts.collect::<Vec<_>>().join(" "))
        }
        EventKind::RangeClosed { .. }
        | EventKind::ProcessExited
        | EventKind::CgroupFound { .. }
        | EventKind::ContainerNamed { .. }
        | EventKind::CgroupCreated { .. }
        | EventKind::CgroupRenamed { .. }
        | EventKind::CgroupRemoved { .. } => Ok(()),
    };
}

/// The charges of users, from the user who is charged first outwards.
fn charged(line: &mut String, charges: &[Charge]) -> std::fmt::Result {
    let count = |quota: Option<Level>| {
        quota.map_or_else(|| "?".to_owned(), |quota| format!("{}/{}", quota.used, quota.limit))
    };
    for (level, charge) in charges.iter().enumerate() {
        let before = if level > 0 { "; above: " } else { "" };
        let Charge { uid, instances, watches, .. } = *charge;
        let (instances, watches) = (count(instances), count(watches));
        write!(line, "{before}uid {uid} instances {instances} watches {watches}")?;
    }
    Ok(())
}

/// The end of an instance, and its life.
fn released(detail: &mut String, event: &Event, subject: Option<&Instance>) {
    let Some(instance) = subject else { return };
    let was_seen = event.task.is_some();
    detail.push_str(match instance.ended_by.map(|leaver| leaver.how) {
        Some(Departure::Exited) => "exit, ",
        Some(Departure::Executed) => "exec, ",
        Some(Departure::Closed) if was_seen => "",
        Some(Departure::Closed) => "closed, ",
        None => "end not seen, ",
    });
    let end = instance.ended(event);
    let _ = match instance.origin {
        Origin::Found => write!(detail, "from before the start"),
        Origin::Created(_) | Origin::CreatedUnseen => {
            write!(detail, "lived {}", Approximate(end.since(instance.since)))
        }
    };
    let watches = instance.watches().len();
    if watches > 0 {
        let _ = write!(detail, ", {watches} watch{}", if watches == 1 { "" } else { "es" });
    }
}
