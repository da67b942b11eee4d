//! The expected tasks and targets of events.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use serde_json::{Map, Value, json};

use crate::{cgroup, expected::ANY, world::object};

/// The expected task of an event.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Command name.
    pub comm: String,
    /// Path and id of the cgroup.
    pub cgroup: Option<(String, u64)>,
    /// The container that the path names.
    pub container: Option<Value>,
}

const MASKS: [(u32, &str); 8] = [
    (libc::IN_ACCESS, "access"),
    (libc::IN_MODIFY, "modify"),
    (libc::IN_ATTRIB, "attrib"),
    (libc::IN_CREATE, "create"),
    (libc::IN_DELETE, "delete"),
    (libc::IN_DELETE_SELF, "delete-self"),
    (libc::IN_ONLYDIR, "onlydir"),
    (libc::IN_MASK_ADD, "mask-add"),
];

/// The name of an errno that tests provoke.
pub(crate) fn errno_name(errno: i32) -> &'static str {
    match errno {
        libc::ENOENT => "ENOENT",
        libc::EBADF => "EBADF",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::ENOSPC => "ENOSPC",
        libc::EACCES => "EACCES",
        other => panic!("a test that expects errno {other} must add its name"),
    }
}

impl Actor {
    pub(crate) fn fields(&self, event: &str) -> Map<String, Value> {
        let mut fields = object(json!({
            "event": event,
            "pid": self.pid,
            "tid": self.tid,
            "uid": self.uid,
            "comm": self.comm,
        }));
        if let Some((path, id)) = &self.cgroup {
            fields.extend(object(json!({ "cgroup": path, "cgroup_id": id })));
        }
        if let Some(container) = &self.container {
            fields.insert("container".to_owned(), container.clone());
        }
        fields
    }
}

/// The names of the bits of a mask.
pub(crate) fn mask_names(mask: u32) -> Value {
    MASKS.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name).collect()
}

/// The target of a watch.
pub(crate) fn target(path: &Path) -> Map<String, Value> {
    let metadata = fs::metadata(path).expect("what is watched exists");
    let (major, minor) = (libc::major(metadata.dev()), libc::minor(metadata.dev()));
    let mut fields = object(json!({ "inode": metadata.ino(), "dev": format!("{major}:{minor}") }));
    let directory = if metadata.is_dir() { Some(path) } else { path.parent() };
    let cgroup = cgroup::mount_point().zip(directory).and_then(|(mount, directory)| {
        Some((directory.strip_prefix(mount).ok()?, fs::metadata(directory).ok()?.ino()))
    });
    if let Some((path, id)) = cgroup {
        let path = format!("/{}", path.display());
        fields.extend(object(json!({ "target_cgroup": path, "target_cgroup_id": id })));
        // Only the creator of the cgroup knows whether it belongs to a container.
        fields.insert("target_container".to_owned(), json!(ANY));
    }
    fields
}
