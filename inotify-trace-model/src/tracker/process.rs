//! One process that holds instances.

use std::collections::BTreeMap;

use crate::{
    event::{InstanceId, Task},
    identity::{Program, Shim},
};

/// A process that holds instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its task at the latest event; the thread may be any of its threads.
    pub task: Task,
    /// Its inotify descriptors.
    pub descriptors: BTreeMap<i32, InstanceId>,
    /// The number of instances it was seen creating since it became known.
    pub made: u64,
    /// Its container and version, if it is one of containerd's shims.
    pub shim: Option<Shim>,
    /// Its program, if that was read: see [`Self::IS_READ_AT`].
    pub program: Option<Program>,
}

impl Process {
    /// The number of instances from which on its program is worth reading: known bugs are recognized
    /// by it, and no verdict that needs it is on fewer.
    pub const IS_READ_AT: usize = 4;

    pub(super) fn new(task: Task) -> Self {
        Self { task, descriptors: BTreeMap::new(), made: 0, shim: None, program: None }
    }
}
