//! Whom containerd's shims serve, asked as soon as they hold an instance: later they may be gone.

use std::collections::HashSet;

use crate::{
    container::Shim,
    event::{Event, EventKind, Task},
    procfs,
};

/// Adds to `events`, from `first` on, whom each shim serves, right after what shows that it holds an
/// instance. One that makes an instance is asked each time: the process may be another of the same
/// number.
pub(super) fn identify(first: usize, events: &mut Vec<Event>) {
    let mut asked = HashSet::new();
    let mut at = first;
    while let Some(event) = events.get(at) {
        at += 1;
        let holds = matches!(
            event.kind,
            EventKind::InstanceFound { .. } | EventKind::InstanceCreated { .. }
        );
        let task = event.task.filter(|task| holds && Shim::has_name(&task.comm.to_str()));
        let Some(task) = task.filter(|task| asked.insert(task.pid)) else { continue };
        let time = event.time;
        if let Some(kind) = shim(task) {
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
