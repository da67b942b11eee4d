//! Identifies containerd's shims by their arguments, as soon as they hold an instance: later they
//! may be gone.

use std::collections::HashSet;

use inotify_trace_model::{
    event::{Event, EventKind, Task},
    identity::Shim,
};

use crate::host::procfs;

/// The most processes that are remembered, far more than a node has shims.
const MOST: usize = 4096;

/// The processes with a shim's name that were looked at, each once, until it ends or executes another
/// program.
#[derive(Debug, Default)]
pub(super) struct Shims {
    /// By process id.
    seen: HashSet<u32>,
}

impl Shims {
    /// Adds an event for each shim that appears in `events` from `first` on, right after the event
    /// that shows that it holds an instance.
    pub(super) fn identify(&mut self, first: usize, events: &mut Vec<Event>) {
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
                    self.seen.clear();
                    continue;
                }
                _ => continue,
            }
            let Some(task) = task.filter(|task| Shim::has_name(&task.comm.to_str())) else {
                continue;
            };
            if self.is_new(task.pid)
                && let Some(kind) = shim(task)
            {
                events.insert(at, Event { time, task: Some(task), kind });
                at += 1;
            }
        }
    }

    fn is_new(&mut self, pid: u32) -> bool {
        if self.seen.len() >= MOST && !self.seen.contains(&pid) {
            self.seen.clear();
        }
        self.seen.insert(pid)
    }
}

/// None if the process is gone already, or no shim of the machine's containerd.
fn shim(task: Task) -> Option<EventKind> {
    // Other users may give their programs any name and arguments.
    if task.uid != 0 || !procfs::is_of_the_machine_s_root(task.pid) {
        return None;
    }
    let Shim { id, namespace, .. } = Shim::from_arguments(&procfs::arguments(task.pid)?)?;
    let version = procfs::go_build_info(task.pid).and_then(|it| Shim::version_in(&it));
    Some(EventKind::ShimIdentified { id, namespace, version })
}
