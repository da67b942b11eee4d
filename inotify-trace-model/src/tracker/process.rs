//! One process that holds instances.

use std::collections::BTreeMap;

use crate::{
    event::{InstanceId, Table, Task},
    identity::Shim,
};

/// A process that holds instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its task at the latest event; the thread may be any of its threads.
    pub task: Task,
    /// Its inotify descriptors, by table and number.
    pub descriptors: BTreeMap<(Table, i32), InstanceId>,
    /// The number of instances it was seen creating since it became known.
    pub made: u64,
    /// Its container and version, if it is one of containerd's shims.
    pub shim: Option<Shim>,
}

impl Process {
    pub(super) fn new(task: Task) -> Self {
        Self { task, descriptors: BTreeMap::new(), made: 0, shim: None }
    }
}
