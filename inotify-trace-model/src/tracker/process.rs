//! One process that holds instances.

use std::collections::BTreeMap;

use crate::{
    event::{InstanceId, Task},
    identity::Shim,
};

/// A process with descriptors that lead to instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Who it is, as last seen; the thread may be any of its threads.
    pub task: Task,
    /// Which of its descriptors lead to which instances.
    pub descriptors: BTreeMap<i32, InstanceId>,
    /// How many instances it was seen making since it became known.
    pub made: u64,
    /// Whom it serves, if it is one of containerd's shims.
    pub shim: Option<Shim>,
}

impl Process {
    pub(super) fn new(task: Task) -> Self {
        Self { task, descriptors: BTreeMap::new(), made: 0, shim: None }
    }
}
