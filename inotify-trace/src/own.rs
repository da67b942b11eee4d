//! What this program itself does, beside whatever it traces.

use inotify_trace_model::event::{Comm, Task};

/// Whether a task is called as this program, and is root. Containers choose the names of their
/// processes: whoever can tell where it runs leaves those out.
pub(crate) fn is_own_task(task: &Task) -> bool {
    task.uid == 0 && task.comm == Comm::from(env!("CARGO_PKG_NAME"))
}
