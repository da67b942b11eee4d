//! Turns the kernel programs' records into events, and addresses into instances.

use std::{collections::BTreeMap, mem::offset_of};

use inotify_trace_common::{
    ABSENT, Kind, Record,
    record::{self, Full},
};
use inotify_trace_model::{
    event::{
        BootTime, CgroupId, Charge, Comm, Event, EventKind, Files, InstanceId, Level, Loss, Quota,
        Target, Task,
    },
    numbered::{ByNumber, Numbers},
    text::text_of,
};

use super::tables::OwnTables;

use crate::{
    host::OpenFiles,
    kernel::{InstanceAddress, RawEvent},
    own::is_own_task,
};

/// Open instances by address. The kernel reuses addresses as soon as instances are gone.
#[derive(Debug, Default)]
pub(super) struct Known {
    by_group: ByNumber<u64, InstanceId>,
    pub(super) addresses: BTreeMap<InstanceId, InstanceAddress>,
    /// Those whose queue has overflowed, and is not known to have been read since.
    pub(super) overflowed: Numbers<InstanceId>,
    tables: OwnTables,
    last_id: u64,
}

impl Known {
    /// The latest instance.
    pub(super) fn newest(&self) -> InstanceId {
        InstanceId(self.last_id)
    }

    /// The instance of a record, and whether it is new.
    fn get_or_insert(&mut self, record: &Record) -> (InstanceId, bool) {
        if let Some(&instance) = self.by_group.get(&record.group) {
            return (instance, false);
        }
        self.last_id += 1;
        let instance = InstanceId(self.last_id);
        let address = InstanceAddress {
            file: record.file,
            group: record.group,
            payer: record.payer,
            uid: record.quota.uid,
        };
        self.by_group.insert(record.group, instance);
        self.addresses.insert(instance, address);
        (instance, true)
    }

    /// Removes the instance at the record's group address if it has another file: its end was not
    /// seen, and the address was reused.
    fn remove_replaced(&mut self, record: &Record) -> Option<InstanceId> {
        let address = self.addresses.get(self.by_group.get(&record.group)?)?;
        let replaced = record.file != 0 && address.file != 0 && address.file != record.file;
        if replaced { self.remove(record.group) } else { None }
    }

    /// Keeps only these instances.
    pub(super) fn retain(&mut self, is_kept: impl Fn(InstanceId) -> bool) {
        self.by_group.retain(|_, instance| is_kept(*instance));
        self.addresses.retain(|instance, _| is_kept(*instance));
        self.overflowed.retain(|instance| is_kept(*instance));
    }

    /// Removes the instance at a group's address.
    fn remove(&mut self, group: u64) -> Option<InstanceId> {
        let instance = self.by_group.remove(&group)?;
        self.addresses.remove(&instance);
        self.overflowed.remove(&instance);
        Some(instance)
    }

    /// The instance at these addresses; None if either was reused since.
    fn still_at(&self, record: &Record) -> Option<InstanceId> {
        let instance = *self.by_group.get(&record.group)?;
        (self.addresses.get(&instance)?.file == record.file).then_some(instance)
    }

    /// Removes the instance at these addresses, unless either was reused since.
    fn remove_gone(&mut self, record: &Record) -> Option<InstanceId> {
        self.still_at(record).and_then(|_| self.remove(record.group))
    }
}

/// Turns records into events.
pub(super) struct Reader<'a> {
    pub(super) known: &'a mut Known,
    pub(super) files: &'a OpenFiles,
    /// Whether an instance may have ended without a record of its own.
    pub(super) hinted: bool,
}

impl Reader<'_> {
    /// Adds the events of a record to `events`.
    pub(super) fn read(&mut self, raw: RawEvent<'_>, events: &mut Vec<Event>) {
        let RawEvent::Known(kind, record, payload) = raw else {
            events.push(super::now(EventKind::Lost { count: 1, what: Loss::Records }));
            return;
        };
        let bytes = payload.unwrap_or_default();
        let given = || payload.map(|it| text_of(it).into_owned().into_boxed_str());
        let path = || given().unwrap_or_default();
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
                instance: self.met(&record, events).0,
                fd: record.fd,
                flags: 0,
                creator_cgroup: CgroupId(record.cgroup),
                queued: record.queued,
                quota,
            },
            Kind::CgroupWatchFound => EventKind::WatchFound {
                instance: self.known.get_or_insert(&record).0,
                wd: record.wd,
                target: Target {
                    cgroup,
                    file: Some(path()).filter(|name| !name.is_empty()),
                    ..Target::default()
                },
                mask: 0,
            },
            Kind::CreateFailed => {
                let errno = record.result.saturating_neg();
                EventKind::CreateFailed {
                    flags: record.mask,
                    errno,
                    quota,
                    files: files(&record, self.files),
                }
            }
            Kind::WatchAdded => EventKind::WatchAdded {
                instance: self.used(&record, events),
                fd: record.fd,
                wd: record.wd,
                target: Target {
                    path: given(),
                    resolved: None,
                    silence: None,
                    is_gone: false,
                    inode: record.inode,
                    dev: record.dev,
                    cgroup,
                    file: None,
                },
                mask: record.mask,
                quota,
            },
            Kind::WatchFailed => EventKind::WatchFailed {
                instance: (record.group != 0).then(|| self.used(&record, events)),
                fd: record.fd,
                path: given(),
                mask: record.mask,
                errno: -record.result,
                quota,
            },
            Kind::WatchRemoved | Kind::WatchVanished => EventKind::WatchRemoved {
                instance: self.used(&record, events),
                fd: (kind == Kind::WatchRemoved).then_some(record.fd),
                wd: record.wd,
                quota,
            },
            Kind::DescriptorClosed if record.refs > 1 => {
                // The last reference may be a system call in progress, whose end is not seen.
                self.hinted = true;
                EventKind::DescriptorClosed {
                    instance: self.used(&record, events),
                    fd: record.fd,
                    left: record.refs - 1,
                    quota,
                }
            }
            Kind::DescriptorClosed | Kind::InstanceReleased => {
                let instance = self.used(&record, events);
                self.known.remove(record.group);
                // This program copies descriptors to learn of instances. With such a copy the kernel
                // frees an instance in its name, though whoever held it has ended it.
                let task = Some(self.task(&record)).filter(|task| !is_own_task(task));
                let fd = (kind == Kind::DescriptorClosed && task.is_some()).then_some(record.fd);
                let kind = EventKind::InstanceReleased { instance, fd, quota };
                events.push(Event { time: BootTime(record.time), task, kind });
                return;
            }
            Kind::InstanceGone => {
                if let Some(instance) = self.known.remove_gone(&record) {
                    let kind = EventKind::InstanceReleased { instance, fd: None, quota };
                    events.push(Event { time: BootTime(record.time), task: None, kind });
                }
                return;
            }
            Kind::InstanceHeld => {
                if let Some(instance) = self.known.still_at(&record) {
                    let kind = EventKind::InstanceHeld { instance, left: record.refs, quota };
                    events.push(Event { time: BootTime(record.time), task: None, kind });
                }
                return;
            }
            Kind::QueueOverflowed => {
                // The hook knows no file. It may see a queue before the snapshot has its instance,
                // which looks at the queue, too.
                let known = match record.file {
                    0 => self.known.by_group.get(&record.group).copied(),
                    _ => self.known.still_at(&record),
                };
                events.extend(known.and_then(|it| self.overflowed(it, &record)));
                return;
            }
            Kind::QueueRead => {
                if let Some(instance) = self.known.still_at(&record) {
                    self.known.overflowed.remove(&instance);
                }
                return;
            }
            Kind::Charged => {
                let charges = charges(bytes);
                if !charges.is_empty() {
                    let kind = EventKind::Charged { charges };
                    events.push(Event { time: BootTime(record.time), task: None, kind });
                }
                return;
            }
            Kind::RangeClosed => {
                self.hinted = true;
                EventKind::RangeClosed { first: record.fd, last: record.wd }
            }
            Kind::ProcessForked => {
                EventKind::ProcessForked { child: record.result.cast_unsigned() }
            }
            Kind::ProcessExec => {
                self.hinted = true;
                // Its table became the process's, and the others ended with their threads.
                let old_tid = record.result.cast_unsigned();
                let table = self.known.tables.owned_by(record.pid, old_tid);
                self.known.tables.forget(record.pid);
                let task = Some(Task { table, ..self.task(&record) });
                let kind = EventKind::ProcessExec { kept: payload.map(descriptors) };
                events.push(Event { time: BootTime(record.time), task, kind });
                return;
            }
            Kind::ProcessExited => {
                self.hinted = true;
                let task = Some(self.task(&record));
                if record.has_own_table != 0 {
                    self.known.tables.end(&record);
                } else {
                    self.known.tables.forget(record.pid);
                }
                let kind = EventKind::ProcessExited;
                events.push(Event { time: BootTime(record.time), task, kind });
                return;
            }
            Kind::CgroupCreated => EventKind::CgroupCreated { cgroup, path: path() },
            Kind::CgroupRenamed => EventKind::CgroupRenamed { cgroup, path: path() },
            Kind::CgroupRemoved => EventKind::CgroupRemoved { cgroup },
        };
        let found = match kind {
            EventKind::InstanceFound { instance, .. } if record.overflowed != 0 => Some(instance),
            _ => None,
        };
        let task = Some(self.task(&record));
        events.push(Event { time: BootTime(record.time), task, kind });
        events.extend(found.and_then(|instance| self.overflowed(instance, &record)));
    }

    /// The overflow of an instance's queue; None if it was told.
    fn overflowed(&mut self, instance: InstanceId, record: &Record) -> Option<Event> {
        let Record { queued, queue_limit: limit, .. } = *record;
        let was_seen = record.file == 0;
        let kind = EventKind::QueueOverflowed { instance, queued, limit, was_seen };
        let is_new = self.known.overflowed.insert(instance);
        // The task of the record caused the event that was dropped, or asked.
        is_new.then_some(Event { time: BootTime(record.time), task: None, kind })
    }

    fn task(&mut self, record: &Record) -> Task {
        let (thread, leader) = (Comm::new(record.comm), Comm::new(record.leader_comm));
        let comm = if leader.is_empty() { thread } else { leader };
        Task {
            pid: record.pid,
            tid: record.tid,
            uid: record.uid,
            comm,
            thread: (thread != comm).then_some(thread),
            table: self.known.tables.of(record),
            cgroup: CgroupId(record.cgroup),
        }
    }

    /// Adds a new instance. An instance known at its address has ended unseen.
    fn begin(&mut self, record: &Record, events: &mut Vec<Event>) -> InstanceId {
        let before = self.known.remove(record.group);
        self.replace(before, record, events).0
    }

    /// The instance of a record, and whether it is new. One that was known at its address has ended
    /// unseen if it had another file.
    fn met(&mut self, record: &Record, events: &mut Vec<Event>) -> (InstanceId, bool) {
        let before = self.known.remove_replaced(record);
        self.replace(before, record, events)
    }

    /// The instance of a record, and whether it is new; `before` was at its address, and has ended
    /// unseen.
    fn replace(
        &mut self,
        before: Option<InstanceId>,
        record: &Record,
        events: &mut Vec<Event>,
    ) -> (InstanceId, bool) {
        if let Some(instance) = before {
            let kind = EventKind::InstanceReleased { instance, fd: None, quota: None };
            events.push(Event { time: BootTime(record.time), task: None, kind });
        }
        self.known.get_or_insert(record)
    }

    /// The same of a record about its use. An unknown one existed before, in a process that could
    /// not be read: it is added as found.
    fn used(&mut self, record: &Record, events: &mut Vec<Event>) -> InstanceId {
        let (instance, is_new) = self.met(record, events);
        if is_new {
            events.push(Event {
                time: BootTime(record.time),
                task: Some(self.task(record)),
                kind: EventKind::InstanceFound {
                    instance,
                    fd: record.fd,
                    flags: 0,
                    creator_cgroup: CgroupId::default(),
                    queued: record.queued,
                    quota: None,
                },
            });
        }
        instance
    }
}

fn quota(record: &Record) -> Option<Quota> {
    let inotify_trace_common::Quota { used, limit, uid, userns, level, payer_uid, payer_userns } =
        record.quota;
    let quota = Quota { used, limit, uid, userns, level, payer_uid, payer_userns };
    (used != ABSENT && limit != ABSENT).then_some(quota)
}

/// The counters of a user at every level of user namespaces.
fn charges(bytes: &[u8]) -> Box<[Charge]> {
    let (levels, _) = bytes.as_chunks::<{ size_of::<record::Level>() }>();
    let levels = levels.iter().map(|bytes| {
        let word = |at: usize| {
            let bytes = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            u32::from_ne_bytes(bytes)
        };
        record::Level {
            uid: word(offset_of!(record::Level, uid)),
            userns: word(offset_of!(record::Level, userns)),
            instances: word(offset_of!(record::Level, instances)),
            max_instances: word(offset_of!(record::Level, max_instances)),
            watches: word(offset_of!(record::Level, watches)),
            max_watches: word(offset_of!(record::Level, max_watches)),
        }
    });
    // Anything else is no counter: its memory was freed and reused.
    let level = |used, limit| {
        let is_count = |count: u32| i32::try_from(count).is_ok();
        (is_count(used) && is_count(limit)).then_some(Level { used, limit })
    };
    let charge = |it: record::Level| Charge {
        uid: it.uid,
        userns: it.userns,
        instances: level(it.instances, it.max_instances),
        watches: level(it.watches, it.max_watches),
    };
    levels.take_while(|level| level.userns != 0).map(charge).collect()
}

/// The descriptors that a process kept.
fn descriptors(bytes: &[u8]) -> Vec<i32> {
    bytes.as_chunks().0.iter().map(|it| i32::from_ne_bytes(*it)).collect()
}

/// The descriptors of the process when a creation failed for lack of one or of an instance, and the
/// open files of the machine when it failed for lack of these.
fn files(record: &Record, of_machine: &OpenFiles) -> Option<Files> {
    if record.result == -rustix::io::Errno::NFILE.raw_os_error() {
        return of_machine.count();
    }
    let limit = u64::from(record.nofile);
    let used = match record.nofile_full {
        full if full == Full::Yes as u32 => Some(limit),
        full if full == Full::No as u32 => None,
        _ => return None,
    };
    Some(Files { used, limit })
}
