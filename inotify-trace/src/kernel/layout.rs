//! Finds where the running kernel keeps what the programs read.
//!
//! Every member is looked up with the size that the programs read it with. A member of another
//! size counts as absent: half a value would be a wrong answer where "unknown" is a right one.

use std::fmt;

use inotify_trace_common::layout::{ABSENT, Layout};

use super::btf::Btf;

/// The kernel lacks members that nothing works without.
#[derive(Debug, thiserror::Error)]
#[error(
    "this kernel's BTF lacks, or has in another size, {}. Without that, instances and the limits \
     they count against cannot be read. Linux 5.10 to 7.2 on 64-bit machines are known to work: \
     use one, or report this message and the output of uname -r", missing.join(", ")
)]
pub struct LayoutError {
    /// Each as `struct.member` or `enum.VARIANT`.
    pub missing: Vec<&'static str>,
}

/// Something that this kernel does not let the programs see. Displays as "FEATURE (needs NEEDS)".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostFeature {
    /// What cannot be told: a question that begins in lower case.
    pub feature: &'static str,
    /// What would have to be different.
    pub needs: &'static str,
}

impl fmt::Display for LostFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (needs {})", self.feature, self.needs)
    }
}

/// Takes all offsets, sizes and values from `btf`. What only some kernels have is [`ABSENT`]
/// where it is missing: see [`lost_features`].
///
/// # Errors
/// If something is missing that every supported kernel has; the error names all of it.
pub fn resolve(btf: &Btf) -> Result<Layout, LayoutError> {
    let mut need = Required { btf, missing: Vec::new() };
    let (file_refs, file_refs_bias) = need.file_refs();
    let (userns_ucount_max, ucount_max_size) = need.array("user_namespace.ucount_max");
    let (ucounts_ucount, ucount_size) = need.array("ucounts.ucount");

    let layout = Layout {
        task_tgid: need.member("task_struct.tgid", 4),
        task_files: need.member("task_struct.files", 8),
        task_cred: need.member("task_struct.cred", 8),
        task_signal: need.member("task_struct.signal", 8),
        signal_live: need.member("signal_struct.live", 4),

        files_fdt: need.member("files_struct.fdt", 8),
        fdt_max_fds: need.member("fdtable.max_fds", 4),
        fdt_fd: need.member("fdtable.fd", 8),

        file_f_op: need.member("file.f_op", 8),
        file_private_data: need.member("file.private_data", 8),
        file_refs,
        file_refs_bias,

        cred_euid: need.member("cred.euid", 4),
        cred_user_ns: need.member("cred.user_ns", 8),
        cred_ucounts: optional(btf, "cred.ucounts", 8),

        userns_ucount_max,
        userns_ucounts: need.member("user_namespace.ucounts", 8),
        userns_inum: need.member("user_namespace.ns.inum", 4),
        ucount_max_size,

        ucounts_ns: need.member("ucounts.ns", 8),
        ucounts_uid: need.member("ucounts.uid", 4),
        ucounts_ucount,
        ucount_size,
        ucount_instances: need.value("ucount_type.UCOUNT_INOTIFY_INSTANCES"),
        ucount_watches: need.value("ucount_type.UCOUNT_INOTIFY_WATCHES"),

        group_ucounts: need.member("fsnotify_group.inotify_data.ucounts", 8),
        group_refcnt: need.member("fsnotify_group.refcnt", 4),
        group_q_len: optional(btf, "fsnotify_group.q_len", 4),
        group_shutdown: optional(btf, "fsnotify_group.shutdown", 1),
        group_memcg: optional(btf, "fsnotify_group.memcg", 8),
        group_marks_list: optional(btf, "fsnotify_group.marks_list", 16),

        mark_g_list: optional(btf, "fsnotify_mark.g_list", 16),
        mark_connector: optional(btf, "fsnotify_mark.connector", 8),
        mark_wd: mark_wd(btf),
        connector_obj: optional(btf, "fsnotify_mark_connector.obj", 8),
        connector_obj_bias: connector_obj_bias(btf),

        inode_i_ino: optional(btf, "inode.i_ino", 8),
        inode_i_mode: optional(btf, "inode.i_mode", 2),
        inode_i_sb: optional(btf, "inode.i_sb", 8),
        inode_i_private: optional(btf, "inode.i_private", 8),
        sb_s_dev: optional(btf, "super_block.s_dev", 4),
        sb_s_magic: optional(btf, "super_block.s_magic", 8),

        memcg_cgroup: optional(btf, "mem_cgroup.css.cgroup", 8),
        cgroup_kn: optional(btf, "cgroup.kn", 8),
        cgroup_root: optional(btf, "cgroup.root", 8),
        root_hierarchy_id: optional(btf, "cgroup_root.hierarchy_id", 4),
        kn_id: optional(btf, "kernfs_node.id", 8),
        kn_parent: find(btf, "kernfs_node.__parent", 8)
            .unwrap_or_else(|| optional(btf, "kernfs_node.parent", 8)),
    };
    if need.missing.is_empty() { Ok(layout) } else { Err(LayoutError { missing: need.missing }) }
}

/// What `layout` leaves unknown; empty on a kernel that has everything.
pub fn lost_features(layout: &Layout) -> Vec<LostFeature> {
    let l = layout;
    let features = [
        (
            "how much of the limit a user has used when creating an instance fails",
            "Linux 5.14 or later",
            &[l.cred_ucounts][..],
        ),
        (
            "how many events an instance has unread",
            "a kernel that inotify-trace knows",
            &[l.group_q_len],
        ),
        (
            "which cgroup made an instance that is older than the trace",
            "CONFIG_MEMCG and CONFIG_CGROUPS",
            &[
                l.group_memcg,
                l.memcg_cgroup,
                l.cgroup_kn,
                l.cgroup_root,
                l.root_hierarchy_id,
                l.kn_id,
            ],
        ),
        (
            "what an instance watches, from the kernel's own list",
            "a kernel that inotify-trace knows",
            &[
                l.group_marks_list,
                l.mark_g_list,
                l.mark_connector,
                l.mark_wd,
                l.connector_obj,
                l.connector_obj_bias,
                l.inode_i_ino,
                l.inode_i_mode,
                l.inode_i_sb,
                l.sb_s_dev,
            ],
        ),
        (
            "which container an instance serves, from the cgroup files it watches",
            "CONFIG_CGROUPS",
            &[l.inode_i_sb, l.sb_s_magic, l.inode_i_private, l.kn_id, l.kn_parent],
        ),
    ];
    features
        .into_iter()
        .filter(|(.., fields)| fields.contains(&ABSENT))
        .map(|(feature, needs, _)| LostFeature { feature, needs })
        .collect()
}

/// Looks members up and remembers all that are missing, to report them at once.
struct Required<'a> {
    btf: &'a Btf,
    missing: Vec<&'static str>,
}

impl Required<'_> {
    fn member(&mut self, path: &'static str, size: u32) -> u32 {
        let found = find(self.btf, path, size);
        self.or_missing(found, path)
    }

    /// Offset of an array and bytes of one of its counters.
    fn array(&mut self, path: &'static str) -> (u32, u32) {
        let found = path.split_once('.').and_then(|(structure, path)| {
            let member = self.btf.member(structure, path)?;
            let size = self.btf.element_size(member.type_id)?;
            matches!(size, 4 | 8).then_some((member.offset, size))
        });
        (self.or_missing(found.map(|(offset, _)| offset), path), found.map_or(ABSENT, |(_, s)| s))
    }

    /// Where a file counts its references, and what to add to that.
    fn file_refs(&mut self) -> (u32, u32) {
        match find(self.btf, "file.f_ref.refcnt", 8) {
            Some(offset) => (offset, 1),
            None => {
                let found = find(self.btf, "file.f_count", 8);
                (self.or_missing(found, "file.f_ref.refcnt or file.f_count"), 0)
            }
        }
    }

    /// The value of an enumeration's variant.
    fn value(&mut self, path: &'static str) -> u32 {
        let found = path
            .split_once('.')
            .and_then(|(name, variant)| self.btf.enum_value(name, variant)?.try_into().ok());
        self.or_missing(found, path)
    }

    fn or_missing(&mut self, found: Option<u32>, name: &'static str) -> u32 {
        found.unwrap_or_else(|| {
            self.missing.push(name);
            ABSENT
        })
    }
}

/// Offset of the member at `structure.path`, if it takes `size` bytes.
fn find(btf: &Btf, path: &str, size: u32) -> Option<u32> {
    let (structure, path) = path.split_once('.')?;
    btf.member(structure, path).filter(|member| member.size == size).map(|member| member.offset)
}

fn optional(btf: &Btf, path: &str, size: u32) -> u32 {
    find(btf, path, size).unwrap_or(ABSENT)
}

/// The programs reach the descriptor from the mark in front of it, so the mark must be first.
fn mark_wd(btf: &Btf) -> u32 {
    match btf.member("inotify_inode_mark", "fsn_mark") {
        Some(mark) if mark.offset == 0 => optional(btf, "inotify_inode_mark.wd", 4),
        _ => ABSENT,
    }
}

/// `obj` is a `fsnotify_connp_t *` to a field of the inode in Linux 6.1 and older, and a `void *`
/// to the inode itself by 6.12.
fn connector_obj_bias(btf: &Btf) -> u32 {
    let obj = btf.member("fsnotify_mark_connector", "obj");
    match obj.and_then(|obj| btf.pointee(obj.type_id)) {
        Some("fsnotify_connp_t") => optional(btf, "inode.i_fsnotify_marks", 8),
        Some("void") => 0,
        _ => ABSENT,
    }
}

#[cfg(test)]
mod tests;
