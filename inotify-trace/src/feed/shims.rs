//! Identifies containerd's shims by their arguments, as soon as they hold an instance: later they
//! may be gone.

use std::collections::HashMap;

use inotify_trace_model::{
    event::{Event, EventKind, Task},
    identity::Shim,
};

use crate::host::procfs;

/// Adds an event for each shim that appears in `events` from `first` on, right after the event that
/// shows that it holds an instance. A shim that creates several instances gets several events: it may
/// have closed the others, and the process may be another one with the same number.
pub(super) fn identify(first: usize, events: &mut Vec<Event>) {
    // The snapshot has an event for each descriptor: each process is read once.
    let mut asked: HashMap<u32, Option<EventKind>> = HashMap::new();
    let mut at = first;
    while let Some(Event { time, task, kind }) = events.get(at) {
        at += 1;
        let was_made = matches!(kind, EventKind::InstanceCreated { .. });
        let holds = was_made || matches!(kind, EventKind::InstanceFound { .. });
        let task = task.filter(|task| holds && Shim::has_name(&task.comm.to_str()));
        let Some(task) = task else { continue };
        let time = *time;
        let kind = match asked.get(&task.pid) {
            Some(known) => known.clone().filter(|_| was_made),
            None => asked.entry(task.pid).insert_entry(shim(task)).get().clone(),
        };
        if let Some(kind) = kind {
            events.insert(at, Event { time, task: Some(task), kind });
            at += 1;
        }
    }
}

/// None if the process is gone already, or no shim.
fn shim(task: Task) -> Option<EventKind> {
    let Shim { id, namespace, .. } = Shim::from_arguments(&procfs::arguments(task.pid)?)?;
    let version = procfs::go_build_info(task.pid).and_then(|it| Shim::version_in(&it));
    Some(EventKind::ShimIdentified { id, namespace, version })
}
