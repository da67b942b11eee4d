//! Identifies containerd's shims by their arguments, as soon as they hold an instance: later they
//! may be gone.

use std::time::Duration;

use inotify_trace_model::{
    event::{Event, EventKind},
    identity::Shim,
    numbered::ByNumber,
    text::text_of,
};

use crate::host::{
    helper::{Helper, OF_ROOT, Program, Request},
    procfs,
};

/// The most processes that are remembered, far more than a node has shims.
const MOST: usize = 4096;

/// The processes with a shim's name that were looked at, each once, until it ends or executes another
/// program.
#[derive(Debug)]
pub(super) struct Shims {
    /// By process id.
    seen: ByNumber<u32, Seen>,
    /// Reads their programs. Only those of root can keep it waiting.
    helper: Helper,
}

impl Default for Shims {
    fn default() -> Self {
        Self { seen: ByNumber::default(), helper: Helper::with_rests(OF_ROOT) }
    }
}

/// A process that was looked at.
#[derive(Debug)]
struct Seen {
    /// When it started; None if it was gone already.
    started: Option<u64>,
    /// Whether its end may have been missed since.
    is_unsure: bool,
}

impl Shims {
    /// Adds an event for each shim that appears in `events` from `first` on, right after the event
    /// that shows that it holds an instance. `is_container_s` says of a cgroup whether it is one of a
    /// container.
    pub(super) fn identify(
        &mut self,
        first: usize,
        events: &mut Vec<Event>,
        is_container_s: impl Fn(&str) -> bool,
    ) {
        let mut at = first;
        while let Some(Event { time, task, kind }) = events.get(at) {
            at += 1;
            let (time, task) = (*time, *task);
            match kind {
                EventKind::InstanceCreated { .. } | EventKind::InstanceFound { .. } => {}
                EventKind::ProcessExited | EventKind::ProcessExec { .. } => {
                    if let Some(task) = task {
                        self.seen.remove(&task.pid);
                    }
                    continue;
                }
                // Ends of processes may be among them.
                EventKind::Lost { .. } => {
                    self.seen.values_mut().for_each(|seen| seen.is_unsure = true);
                    continue;
                }
                _ => continue,
            }
            let Some(task) = task.filter(Shim::may_be) else { continue };
            if self.is_new(task.pid)
                && let Some(kind) = self.shim(task.pid, &is_container_s)
            {
                events.insert(at, Event { time, task: Some(task), kind });
                at += 1;
            }
        }
    }

    /// Whether a process was not looked at yet.
    fn is_new(&mut self, pid: u32) -> bool {
        if self.seen.get(&pid).is_some_and(|seen| !seen.is_unsure) {
            return false;
        }
        let started = procfs::start_time(pid);
        let is_same = |before: Seen| before.started.is_some() && before.started == started;
        let is_known = self.seen.remove(&pid).is_some_and(is_same);
        if self.seen.len() >= MOST {
            self.seen.clear();
        }
        self.seen.insert(pid, Seen { started, is_unsure: false });
        !is_known
    }

    /// None if the process is gone already, or no shim of the machine's containerd.
    fn shim(&mut self, pid: u32, is_container_s: impl Fn(&str) -> bool) -> Option<EventKind> {
        let cgroup = procfs::Process::read(pid).cgroup;
        if cgroup.is_some_and(|path| is_container_s(&text_of(&path))) {
            return None;
        }
        let program = self.helper.ask::<Option<Program>>(&Request::Program(pid), Duration::ZERO);
        let Program { arguments, build_info } = program.ok()??;
        let Shim { id, namespace, .. } = Shim::from_arguments(&arguments)?;
        let version = build_info.and_then(|it| Shim::version_in(&it));
        Some(EventKind::ShimIdentified { id, namespace, version })
    }
}
