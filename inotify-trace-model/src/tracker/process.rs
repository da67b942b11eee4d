//! One process that holds instances.

use std::collections::BTreeMap;

use super::Lifetimes;
use crate::{
    event::{BootTime, InstanceId, Table, Task},
    identity::{Program, Shim},
};

/// A process that holds instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its task at the latest event; the thread may be any of its threads.
    pub task: Task,
    /// Its inotify descriptors, by table and number.
    pub descriptors: BTreeMap<(Table, i32), InstanceId>,
    /// When it created its first instance, if that was seen.
    pub began: Option<BootTime>,
    /// How long the instances that it created and let go of have lived.
    pub closed: Lifetimes,
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
        let (descriptors, closed) = (BTreeMap::new(), Lifetimes::default());
        Self { task, descriptors, began: None, closed, shim: None, program: None }
    }

    /// Forgets what it has done: it executes another program, or is a child.
    pub(super) fn forget_past(&mut self) {
        (self.began, self.closed) = (None, Lifetimes::default());
        (self.shim, self.program) = (None, None);
    }
}
