//! Perfetto's own trace format, for <https://ui.perfetto.dev>: users' charges as counters, the
//! lives of instances as slices of the programs that made them, failures and leaks as instants. Processes
//! of one program in one place share its tracks: thousands of short-lived ones would hide all others.
//!
//! <https://perfetto.dev/docs/reference/synthetic-track-event> describes how such traces are made.

mod lanes;
mod wire;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::Write as _,
};

use prost::Message as _;

use self::{
    lanes::Lanes,
    wire::{
        ClockReading, ClockSnapshot, CounterDescriptor, DebugAnnotation, Trace, TracePacket,
        TrackDescriptor, TrackEvent,
    },
};
use super::{ExportError, Exporter, Output};
use crate::{
    output::{UserNames, actor, ending, errno_name, failed_limit, words},
    recording::Header,
};
use inotify_trace_model::{
    clock::Clock,
    event::{BootTime, Event, EventKind, InstanceId, Quota, Task},
    feed::Batch,
    findings::Finding,
    resource::Resource,
    story::Audience,
    tracker::{Instance, Origin, Tracker, User},
    verdict::Verdict,
};

/// The number of programs whose tracks are remembered. A forgotten one gets another track of the same
/// name, which looks the same.
const ACTORS: usize = 4096;

/// The sequence of all packets.
const SEQUENCE: u32 = 1;

/// Writes a Perfetto trace.
pub struct Perfetto {
    output: Output,
    /// The last track number. Numbers are never used twice.
    tracks: u64,
    run: Run,
}

/// The state of the run that is being written.
#[derive(Default)]
struct Run {
    clock: Option<Clock>,
    users: UserNames,
    /// The number to add to times since the machine's boot to get times since the first machine's
    /// boot.
    shift: i64,
    /// The machine's own track, the parent of all others.
    machine: u64,
    /// The tracks of programs, by name.
    actors: HashMap<String, Lanes>,
    /// The tracks of counters, by name.
    counters: BTreeMap<String, u64>,
    /// The name of the program and the lane of each open instance.
    open: HashMap<InstanceId, (String, u64)>,
    /// The time of the latest event in the trace.
    latest: u64,
}

impl Perfetto {
    /// A trace on `output`.
    #[must_use]
    pub fn new(output: Output) -> Self {
        Self { output, tracks: 0, run: Run::default() }
    }

    fn write(&mut self, packet: TracePacket) -> Result<(), ExportError> {
        let packet = TracePacket { trusted_packet_sequence_id: SEQUENCE, ..packet };
        // Traces can be joined by appending one to the other.
        let bytes = Trace { packet: vec![packet] }.encode_to_vec();
        self.output.write_all(&bytes).map_err(|error| self.output.failed(error))
    }

    fn track(&mut self, descriptor: TrackDescriptor) -> Result<u64, ExportError> {
        self.tracks += 1;
        let uuid = self.tracks;
        let track_descriptor = Some(TrackDescriptor { uuid, ..descriptor });
        self.write(TracePacket { track_descriptor, ..TracePacket::default() })?;
        Ok(uuid)
    }

    fn tell(&mut self, time: u64, event: TrackEvent) -> Result<(), ExportError> {
        self.run.latest = self.run.latest.max(time);
        let (timestamp, track_event) = (Some(time), Some(event));
        self.write(TracePacket { timestamp, track_event, ..TracePacket::default() })
    }

    fn time(&self, time: BootTime) -> u64 {
        time.0.saturating_add_signed(self.run.shift)
    }

    /// The track of a program.
    fn actor(&mut self, name: &str) -> Result<u64, ExportError> {
        if let Some(lanes) = self.run.actors.get(name) {
            return Ok(lanes.track);
        }
        if self.run.actors.len() >= ACTORS {
            self.run.actors.retain(|_, lanes| !lanes.are_empty());
        }
        let track = self.track(TrackDescriptor {
            name: Some(name.to_owned()),
            parent_uuid: Some(self.run.machine),
            ..TrackDescriptor::default()
        })?;
        self.run.actors.insert(name.to_owned(), Lanes::new(track));
        Ok(track)
    }

    /// Begins an instance's slice.
    fn open(&mut self, instance: &Instance, tracker: &Tracker) -> Result<(), ExportError> {
        if self.run.open.contains_key(&instance.id) {
            return Ok(());
        }
        let time = self.time(instance.since);
        let task = match (instance.origin, instance.descriptors().first()) {
            (Origin::Created(task), _) => Some(task),
            (_, Some(held)) => tracker.process(held.pid).map(|it| it.task),
            (_, None) => None,
        };
        let name = called(task, tracker);
        let parent = self.actor(&name)?;
        let free = self.run.actors.get_mut(&name).and_then(|lanes| lanes.take(time));
        let lane = match free {
            Some(lane) => lane,
            // Lives overlap, and slices of a track must not. Tracks of one name look like one.
            None => self.track(TrackDescriptor {
                name: Some("instances".to_owned()),
                parent_uuid: Some(parent),
                ..Default::default()
            })?,
        };
        self.run.open.insert(instance.id, (name, lane));
        let mut notes = Vec::new();
        if instance.origin == Origin::Found {
            notes.push(DebugAnnotation::text("existed", "before it was recorded"));
        }
        let event = TrackEvent {
            name: Some(match task {
                Some(task) => format!("{} of {}", instance.id, task.pid),
                None => instance.id.to_string(),
            }),
            categories: vec!["instance".to_owned()],
            debug_annotations: notes,
            ..TrackEvent::of(wire::Type::SliceBegin, lane)
        };
        self.tell(time, event)
    }

    /// Ends an instance's slice.
    fn close(
        &mut self,
        id: InstanceId,
        time: u64,
        notes: Vec<DebugAnnotation>,
    ) -> Result<(), ExportError> {
        let Some((name, lane)) = self.run.open.remove(&id) else { return Ok(()) };
        if let Some(actor) = self.run.actors.get_mut(&name) {
            actor.give_back(lane, time);
        }
        let end = TrackEvent::of(wire::Type::SliceEnd, lane);
        self.tell(time, TrackEvent { debug_annotations: notes, ..end })
    }

    /// Writes a user's charge.
    fn count(&mut self, time: u64, quota: Quota, resource: Resource) -> Result<(), ExportError> {
        let what = resource.name();
        let user = self.run.users.payer(User::payer(quota));
        let name = format!("{user}: {what} of {}", quota.limit);
        let track = match self.run.counters.get(&name) {
            Some(&track) => track,
            None => {
                let track = self.track(TrackDescriptor {
                    name: Some(name.clone()),
                    parent_uuid: Some(self.run.machine),
                    counter: Some(CounterDescriptor { unit: Some(wire::Unit::Count.into()) }),
                    ..Default::default()
                })?;
                self.run.counters.insert(name, track);
                track
            }
        };
        let event = TrackEvent {
            counter_value: Some(quota.used.into()),
            ..TrackEvent::of(wire::Type::Counter, track)
        };
        self.tell(time, event)
    }

    /// Writes an instant on the track of a program, or else of the machine.
    fn instant(
        &mut self,
        time: u64,
        task: Option<Task>,
        tracker: &Tracker,
        mut event: TrackEvent,
    ) -> Result<(), ExportError> {
        let track = match task {
            Some(task) => {
                event.debug_annotations.push(DebugAnnotation::number("pid", task.pid.into()));
                self.actor(&called(Some(task), tracker))?
            }
            None => self.run.machine,
        };
        let track_uuid = Some(track);
        self.tell(
            time,
            TrackEvent { track_uuid, r#type: Some(wire::Type::Instant.into()), ..event },
        )
    }

    /// Writes a failure, an overflow or a loss.
    fn trouble(&mut self, event: &Event, tracker: &Tracker) -> Result<(), ExportError> {
        let time = self.time(event.time);
        let mut notes = Vec::new();
        let (name, category) = match &event.kind {
            EventKind::CreateFailed { errno, .. } => {
                (format!("create failed: {}", errno_name(*errno)), "failure")
            }
            EventKind::WatchFailed { errno, path, .. } => {
                notes.extend(path.as_deref().map(|path| DebugAnnotation::text("path", path)));
                (format!("watch failed: {}", errno_name(*errno)), "failure")
            }
            EventKind::QueueOverflowed { queued, limit, .. } => {
                notes.push(DebugAnnotation::number("queued", (*queued).into()));
                notes.push(DebugAnnotation::number("of", (*limit).into()));
                ("queue overflowed".to_owned(), "overflow")
            }
            EventKind::Lost { count, what } => (format!("lost {count} {what}"), "lost"),
            _ => return Ok(()),
        };
        if let Some(limit) = failed_limit(&event.kind) {
            notes.push(DebugAnnotation::text("limit", words::limit(limit)));
        }
        if let Some(quota) = event.kind.quota() {
            notes.push(DebugAnnotation::number("used", quota.used.into()));
            notes.push(DebugAnnotation::number("of", quota.limit.into()));
        }
        let instant = TrackEvent {
            name: Some(name),
            categories: vec![category.to_owned()],
            debug_annotations: notes,
            ..TrackEvent::default()
        };
        self.instant(time, actor(event, tracker), tracker, instant)
    }
}

impl Audience for Perfetto {
    type Error = ExportError;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> Result<(), ExportError> {
        let time = self.time(event.time);
        let subject = tracker.subject(event);
        match event.kind {
            EventKind::InstanceReleased { instance, .. } => {
                let end = subject.map_or(time, |it| self.time(it.ended(event)));
                let notes = vec![
                    DebugAnnotation::text("how", ending(subject)),
                    DebugAnnotation::number(
                        "watches",
                        subject.map_or(0, |it| it.watches().len() as u64),
                    ),
                ];
                self.close(instance, end, notes)?;
            }
            _ => {
                if let Some(instance) = subject {
                    self.open(instance, tracker)?;
                }
            }
        }
        if let Some(quota) = event.kind.quota() {
            self.count(time, quota, event.kind.counts())?;
        }
        if let EventKind::Charged { charges } = &event.kind {
            let user = charges.first().map(|&it| User::from(it));
            for resource in Resource::ALL {
                let quota = user.and_then(|user| tracker.users().binding(user, resource));
                if let Some(quota) = quota {
                    self.count(time, quota, resource)?;
                }
            }
        }
        self.trouble(event, tracker)
    }

    fn restarted(&mut self, tracker: &Tracker, next: &Batch) -> Result<(), ExportError> {
        let gone: HashSet<_> =
            self.run.open.keys().copied().filter(|id| tracker.instance(*id).is_none()).collect();
        let time = self.time(next.time);
        for id in gone {
            self.close(id, time, vec![DebugAnnotation::text("how", "not recorded")])?;
        }
        for instance in tracker.instances() {
            self.open(instance, tracker)?;
        }
        Ok(())
    }

    fn verdict(
        &mut self,
        verdict: &Verdict,
        tracker: &Tracker,
        now: BootTime,
    ) -> Result<(), ExportError> {
        if !verdict.kind.is_leak() {
            return Ok(());
        }
        let mut notes = vec![
            DebugAnnotation::text("kind", verdict.kind.name()),
            DebugAnnotation::number("instances", verdict.evidence.len() as u64),
        ];
        if let Some(pattern) = verdict.pattern {
            notes.push(DebugAnnotation::text("known as", &pattern.name));
        }
        let instant = TrackEvent {
            name: Some(format!("LEAK {}", words::line(&Finding::of(verdict, tracker)))),
            categories: vec!["verdict".to_owned()],
            debug_annotations: notes,
            ..TrackEvent::default()
        };
        let task = tracker.process(verdict.pid).map(|process| process.task);
        self.instant(self.time(now), task, tracker, instant)
    }

    fn end(&mut self, _tracker: &Tracker, now: BootTime) -> Result<(), ExportError> {
        let time = self.time(now).max(self.run.latest);
        let open: Vec<_> = self.run.open.keys().copied().collect();
        for id in open {
            let note = DebugAnnotation::text("how", "still open when the recording ended");
            self.close(id, time, vec![note])?;
        }
        Ok(())
    }
}

impl Exporter for Perfetto {
    fn begin(&mut self, header: &Header) -> Result<(), ExportError> {
        let clock = header.clock();
        let is_first = self.run.clock.is_none();
        // Other machines, or this one after another boot, have other zeros.
        let first = self.run.clock.take().unwrap_or_else(|| clock.clone());
        let shift = clock.booted().saturating_sub(first.booted());
        self.run =
            Run { shift, users: UserNames::from_map(header.users.clone()), ..Run::default() };
        self.run.latest = self.time(header.started);
        if is_first {
            let realtime = clock.timestamp(header.started).as_nanosecond();
            self.write(TracePacket {
                clock_snapshot: Some(ClockSnapshot {
                    clocks: vec![
                        ClockReading::new(wire::BOOTTIME, header.started.0),
                        ClockReading::new(
                            wire::REALTIME,
                            u64::try_from(realtime).unwrap_or_default(),
                        ),
                    ],
                    primary_trace_clock: Some(wire::BOOTTIME),
                }),
                sequence_flags: Some(wire::STATE_CLEARED),
                ..TracePacket::default()
            })?;
        }
        self.run.clock = Some(first);
        let name = Some(machine_called(header));
        self.run.machine = self.track(TrackDescriptor { name, ..TrackDescriptor::default() })?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        self.output.complete()
    }
}

/// The name of a machine's track. Host names are not unique, so it has the start of an id.
fn machine_called(header: &Header) -> String {
    let ids = [("machine", &header.machine), ("boot", &header.boot_id)];
    let known = ids.into_iter().find(|(_, id)| !id.is_empty());
    let id = known.map(|(what, id)| format!("{what} {}, ", id.chars().take(8).collect::<String>()));
    format!("{} ({}Linux {})", header.host, id.unwrap_or_default(), header.kernel)
}

/// The name of a program's track.
fn called(task: Option<Task>, tracker: &Tracker) -> String {
    let Some(task) = task else { return "nobody known".to_owned() };
    let place = tracker.cgroups().get(task.cgroup).filter(|it| it.container.is_some());
    let place = place.and_then(|_| tracker.cgroups().display(task.cgroup));
    let place = place.map(|it| format!(" in {it}")).unwrap_or_default();
    format!("{}{place}", task.comm.to_str())
}
