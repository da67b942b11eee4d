//! The running kernel as a source of events.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use inotify_trace_common::{ABSENT, Kind, Record, record};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Duration, sleep, sleep_until};

use super::sweep::Schedule;
use crate::{
    cgroup,
    event::{BootTime, CgroupId, Comm, Event, EventKind, InstanceId, Loss, Quota, Target, Task},
    kernel::{self, Backend, InstanceAddress, KernelError, Programs, RawEvent, Settings},
    procfs::{self, Process},
};

/// How many records are taken before the sinks get their turn.
const BATCH: usize = 4096;

/// How many batches are taken at the end: more than the largest ring buffer holds.
const LAST_BATCHES: usize = 1024;

/// After each wake-up the next one is at least this far off: many events then cost one.
const PAUSE: Duration = Duration::from_millis(1);

/// Instances known by their addresses, which the kernel reuses at once.
type Known = HashMap<u64, (InstanceId, InstanceAddress)>;

/// Events from the running kernel.
#[derive(Debug)]
pub struct Live {
    programs: Programs,
    known: Known,
    last_id: u64,
    sweep: Schedule,
    snapshot: Vec<Event>,
    /// The ring buffer was not emptied the last time.
    more: bool,
}

impl Live {
    /// Attaches the kernel programs, and then looks at what exists already. Nothing that happens
    /// from the first of these on is missed, and nothing is counted twice: what is found and
    /// what happens come through the same ring buffer, and instances are told apart by identity.
    ///
    /// # Errors
    /// Whatever keeps the kernel programs from being attached.
    pub fn start(settings: Settings) -> Result<Self, KernelError> {
        let programs = Programs::attach(settings)?;
        let mut live = Self {
            programs,
            known: Known::new(),
            last_id: 0,
            sweep: Schedule::new(Instant::now()),
            snapshot: Vec::new(),
            more: false,
        };
        live.take_snapshot()?;
        Ok(live)
    }

    /// How inotify is hooked.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.programs.backend()
    }

    /// Waits for events and adds them to `events`, oldest first. The first call gives what was
    /// found at the start. It may add none.
    ///
    /// Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// If the kernel cannot be listened to any more.
    pub async fn next(&mut self, events: &mut Vec<Event>) -> Result<(), KernelError> {
        if !self.snapshot.is_empty() {
            events.append(&mut self.snapshot);
            return Ok(());
        }
        if self.more {
            // Events come faster than they are taken: signals must get their turn all the same.
            tokio::task::yield_now().await;
        } else {
            tokio::select! {
                ready = self.programs.readable() => ready?,
                () = sleep_until(self.sweep.due().into()) => {}
            }
            sleep(PAUSE).await;
        }
        if self.sweep.due() <= Instant::now() {
            self.ask_what_is_gone()?;
        }
        self.drain(events);
        Ok(())
    }

    /// What has arrived until now, without waiting: for the end.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        events.append(&mut self.snapshot);
        // An answer that cannot be had any more is no reason to hold back the rest.
        let _ = self.ask_what_is_gone();
        // Not for ever, where events keep coming.
        for _ in 0..LAST_BATCHES {
            self.drain(events);
            if !self.more {
                break;
            }
        }
    }

    /// Takes a batch of what is in the ring buffer.
    fn drain(&mut self, events: &mut Vec<Event>) {
        let mut executed = Vec::new();
        let Self { programs, known, last_id, sweep, .. } = self;
        let mut reader = Reader { known, last_id, executed: &mut executed, hinted: false };
        let taken = programs.drain(BATCH, |raw| reader.read(raw, events));
        if reader.hinted {
            sweep.hint(Instant::now());
        }
        for pid in executed {
            self.look_after_exec(pid, events);
        }
        self.more = taken == BATCH;
        self.tell_losses(events);
    }

    /// Which descriptors a process that executed a program has kept: none, nearly always.
    fn look_after_exec(&mut self, pid: u32, events: &mut [Event]) {
        let Some(kept) = procfs::inotify_descriptors_of_living(pid) else { return };
        if kept.is_empty() {
            self.programs.forget_holder(pid);
        }
        let latest = events.iter_mut().rev().find(|event| {
            event.task.is_some_and(|task| task.pid == pid)
                && matches!(event.kind, EventKind::ProcessExec { .. })
        });
        if let Some(event) = latest {
            event.kind = EventKind::ProcessExec { kept: Some(kept) };
        }
    }

    fn tell_losses(&mut self, events: &mut Vec<Event>) {
        for (loss, count) in self.programs.losses() {
            let what = match loss {
                record::Loss::RingFull => Loss::Events,
                record::Loss::HoldersFull => Loss::Holders,
                record::Loss::CallsFull => Loss::Calls,
            };
            events.push(now(EventKind::Lost { count, what }));
        }
    }

    fn ask_what_is_gone(&mut self) -> Result<(), KernelError> {
        let started = Instant::now();
        for (_, address) in self.known.values() {
            self.programs.ask().gone(address)?;
        }
        self.sweep.asked(started, Instant::now());
        Ok(())
    }

    /// Finds the cgroups, instances and watches that exist already.
    fn take_snapshot(&mut self) -> Result<(), KernelError> {
        let mut events = Vec::new();
        let mut cgroups = HashMap::new();
        if let Some(mount_point) = cgroup::mount_point() {
            cgroup::walk(&mount_point, &mut |id, path| {
                cgroups.insert(path.to_owned(), CgroupId(id));
                let cgroup = CgroupId(id);
                events.push(now(EventKind::CgroupFound { cgroup, path: path.into() }));
            });
        }
        let own_pid = std::process::id();
        let mut vanished = HashSet::new();
        let (mut found, mut identified) = (Vec::new(), 0_usize);
        for (pid, fd) in procfs::inotify_descriptors().filter(|&(pid, _)| pid != own_pid) {
            let Some(copy) = kernel::copy(pid, fd) else { continue };
            self.programs.ask().identify(&copy, pid, fd)?;
            // Closed while it was looked at: then its holder does not hold it.
            if !procfs::is_inotify(pid, fd) {
                vanished.insert((pid, fd));
            }
            identified += 1;
            if identified % BATCH == 0 {
                self.drain(&mut found);
            }
        }
        self.drain(&mut found);
        while self.more {
            self.drain(&mut found);
        }
        let mut processes = HashMap::new();
        let mut described = HashSet::new();
        for mut event in found {
            let (EventKind::InstanceFound { instance, fd, flags, .. }, Some(task)) =
                (&mut event.kind, &mut event.task)
            else {
                events.push(event);
                continue;
            };
            let (instance, fd, pid) = (*instance, *fd, task.pid);
            if vanished.contains(&(pid, fd)) {
                continue;
            }
            *task = *processes.entry(pid).or_insert_with(|| describe(pid, &cgroups));
            // A descriptor that goes now is told by its own event later.
            let info = procfs::inotify_info(pid, fd).unwrap_or_default();
            *flags = info.flags;
            let time = event.time;
            events.push(event);
            if described.insert(instance) {
                // The kernel lists the newest watch first.
                events.extend(info.watches.into_iter().rev().map(|watch| Event {
                    time,
                    task: None,
                    kind: EventKind::WatchFound {
                        instance,
                        wd: watch.wd,
                        mask: watch.mask,
                        target: Target {
                            path: None,
                            inode: watch.inode,
                            dev: watch.dev,
                            cgroup: CgroupId::default(),
                        },
                    },
                }));
            }
        }
        self.snapshot = events;
        Ok(())
    }
}

/// A process that exists already, as the doer of what is found.
fn describe(pid: u32, cgroups: &HashMap<String, CgroupId>) -> Task {
    let process = Process::read(pid);
    let cgroup = process.cgroup.and_then(|path| cgroups.get(&path).copied()).unwrap_or_default();
    Task { pid, tid: pid, uid: process.euid, comm: process.comm, cgroup }
}

fn now(kind: EventKind) -> Event {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    Event { time: BootTime(seconds * 1_000_000_000 + nanoseconds), task: None, kind }
}

/// Turns records into events.
struct Reader<'a> {
    known: &'a mut Known,
    last_id: &'a mut u64,
    /// Processes that executed a program.
    executed: &'a mut Vec<u32>,
    /// Whether an instance may have ended without a record of its own.
    hinted: bool,
}

impl Reader<'_> {
    fn read(&mut self, raw: RawEvent<'_>, events: &mut Vec<Event>) {
        let RawEvent::Known(kind, record, path) = raw else {
            events.push(now(EventKind::Lost { count: 1, what: Loss::Records }));
            return;
        };
        let path = || String::from_utf8_lossy(path).into_owned().into_boxed_str();
        let cgroup = CgroupId(record.target_cgroup);
        let quota = quota(&record);
        let kind = match kind {
            Kind::InstanceCreated => EventKind::InstanceCreated {
                instance: self.begin(&record, events),
                fd: record.fd,
                flags: record.mask,
                quota,
            },
            Kind::InstanceFound => EventKind::InstanceFound {
                instance: self.find(&record),
                fd: record.fd,
                flags: 0,
                creator_cgroup: CgroupId(record.cgroup),
                quota,
            },
            Kind::CreateFailed => {
                EventKind::CreateFailed { flags: record.mask, errno: -record.result, quota }
            }
            Kind::WatchAdded => EventKind::WatchAdded {
                instance: self.used(&record, events),
                fd: record.fd,
                wd: record.wd,
                target: Target {
                    path: Some(path()),
                    inode: record.inode,
                    dev: record.dev,
                    cgroup,
                },
                mask: record.mask,
                quota,
            },
            Kind::WatchFailed => EventKind::WatchFailed {
                instance: (record.group != 0).then(|| self.used(&record, events)),
                fd: record.fd,
                path: path(),
                mask: record.mask,
                errno: -record.result,
                quota,
            },
            Kind::WatchRemoved => EventKind::WatchRemoved {
                instance: self.used(&record, events),
                fd: record.fd,
                wd: record.wd,
                quota,
            },
            Kind::DescriptorClosed if record.refs > 1 => {
                // The last one may be no descriptor but a call under way, whose end is not seen.
                self.hinted = true;
                EventKind::DescriptorClosed {
                    instance: self.used(&record, events),
                    fd: record.fd,
                    left: record.refs - 1,
                    quota,
                }
            }
            Kind::DescriptorClosed => {
                let instance = self.used(&record, events);
                self.known.remove(&record.group);
                EventKind::InstanceReleased { instance, fd: Some(record.fd), quota }
            }
            Kind::InstanceGone => {
                // Not if its address belongs to a newer instance by now.
                match self.known.get(&record.group) {
                    Some(&(instance, address)) if address.file == record.file => {
                        self.known.remove(&record.group);
                        let kind = EventKind::InstanceReleased { instance, fd: None, quota };
                        let time = BootTime(record.time);
                        events.push(Event { time, task: None, kind });
                    }
                    _ => {}
                }
                return;
            }
            Kind::RangeClosed => {
                self.hinted = true;
                EventKind::RangeClosed { first: record.fd, last: record.wd }
            }
            Kind::ProcessForked => EventKind::ProcessForked { child: record.result.cast_unsigned() },
            Kind::ProcessExec => {
                self.hinted = true;
                self.executed.push(record.pid);
                EventKind::ProcessExec { kept: None }
            }
            Kind::ProcessExited => {
                self.hinted = true;
                EventKind::ProcessExited
            }
            Kind::CgroupCreated => EventKind::CgroupCreated { cgroup, path: path() },
            Kind::CgroupRenamed => EventKind::CgroupRenamed { cgroup, path: path() },
            Kind::CgroupRemoved => EventKind::CgroupRemoved { cgroup },
        };
        events.push(Event { time: BootTime(record.time), task: Some(task(&record)), kind });
    }

    /// A new instance. One known at this address has ended unseen.
    fn begin(&mut self, record: &Record, events: &mut Vec<Event>) -> InstanceId {
        if let Some((instance, _)) = self.known.remove(&record.group) {
            let kind = EventKind::InstanceReleased { instance, fd: None, quota: None };
            events.push(Event { time: BootTime(record.time), task: None, kind });
        }
        self.find(record)
    }

    /// The instance at an address, known or not.
    fn find(&mut self, record: &Record) -> InstanceId {
        let (instance, _) = self.known.entry(record.group).or_insert_with(|| {
            *self.last_id += 1;
            let address = InstanceAddress {
                file: record.file,
                group: record.group,
                payer: record.payer,
                uid: record.quota.uid,
            };
            (InstanceId(*self.last_id), address)
        });
        *instance
    }

    /// An instance that someone uses. One not known yet existed before, in a process that could
    /// not be looked at: its user has just shown it.
    fn used(&mut self, record: &Record, events: &mut Vec<Event>) -> InstanceId {
        let last = *self.last_id;
        let instance = self.find(record);
        if instance.0 > last {
            events.push(Event {
                time: BootTime(record.time),
                task: Some(task(record)),
                kind: EventKind::InstanceFound {
                    instance,
                    fd: record.fd,
                    flags: 0,
                    creator_cgroup: CgroupId::default(),
                    quota: None,
                },
            });
        }
        instance
    }
}

fn task(record: &Record) -> Task {
    Task {
        pid: record.pid,
        tid: record.tid,
        uid: record.uid,
        comm: Comm::new(record.comm),
        cgroup: CgroupId(record.cgroup),
    }
}

fn quota(record: &Record) -> Option<Quota> {
    let inotify_trace_common::Quota { used, limit, uid, userns, level } = record.quota;
    (used != ABSENT && limit != ABSENT).then_some(Quota { used, limit, uid, userns, level })
}
