//! What a watch is on.

use super::{CgroupId, Silence};

/// The target of a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The path as the program gave it. For a watch of the snapshot: the target's path at that
    /// time, if it was looked up.
    pub path: Option<Box<str>>,
    /// The path from the root, where the program gave one that only it understands: a relative one,
    /// or one of its descriptors.
    pub resolved: Option<Box<str>>,
    /// Why the path is unknown, if that is due to the file system.
    pub silence: Option<Silence>,
    /// Whether the target no longer existed when it was looked up.
    pub is_gone: bool,
    /// Inode number; 0 if unknown.
    pub inode: u64,
    /// Device in the kernel's own encoding (major << 20 | minor); 0 if unknown.
    pub dev: u32,
    /// The cgroup whose directory or file it is.
    pub cgroup: CgroupId,
    /// Its name, if it is a file of a cgroup and was found by the snapshot: known even if the cgroup
    /// is gone.
    pub file: Option<Box<str>>,
}

impl Target {
    /// The name of the file, without the folder; None if unknown.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        let of_path = || self.path.as_deref()?.rsplit('/').find(|part| !part.is_empty());
        self.file.as_deref().or_else(of_path)
    }

    /// The path that leads to it from the root, or else as the program gave it.
    #[must_use]
    pub fn best_path(&self) -> Option<&str> {
        self.resolved.as_deref().or(self.path.as_deref())
    }
}
