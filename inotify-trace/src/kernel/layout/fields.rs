//! The one table of the fields that are taken from the kernel's types.
//!
//! [`resolve`](super::resolve) fills [`Layout`] by it, [`lost_features`](super::lost_features)
//! derives from it the features that a missing member costs, and the BTF of the tests is cut down to
//! its members.

use inotify_trace_btf::Btf;
use inotify_trace_common::layout::{ABSENT, Layout};

use super::{LostFeature, member};

/// A field of [`Layout`].
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether it is required, or the features that need it.
    pub need: Need,
    /// Where its value comes from.
    pub source: Source,
    /// Its value in a layout.
    pub value: fn(&Layout) -> u32,
}

/// The need for a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Required; every supported kernel has it.
    Always,
    /// These features are lost without it.
    For(&'static [LostFeature]),
}

/// The source of a field's value. Paths are `struct.member`, or `struct.member.member` for a nested
/// structure, or `enum.VARIANT`.
pub enum Source {
    /// The offset of a member that takes this many bytes.
    Member(&'static str, u32),
    /// The same for the first of several members that the kernel has, the newest name first.
    Renamed(&'static [&'static str], u32),
    /// The offset of an array of counters, which take 4 or 8 bytes each.
    Counters(&'static str),
    /// Bytes of one counter in such an array.
    CounterSize(&'static str),
    /// The value of an enumeration's variant.
    Variant(&'static str),
    /// Computed from these members by a function.
    Computed(&'static [&'static str], fn(&Btf) -> Option<u32>),
}

use Need::{Always, For};
use Source::{Computed, CounterSize, Counters, Member, Renamed, Variant};

const USED_AT_FAILURE: LostFeature = LostFeature {
    feature: "how much of the limit a user has used when creating an instance fails",
    needs: "Linux 5.14 or later",
};
const NOFILE: LostFeature = LostFeature {
    feature: "whether a creation failed for lack of descriptors (RLIMIT_NOFILE)",
    needs: "a kernel that inotify-trace knows",
};
const UNREAD: LostFeature = LostFeature {
    feature: "how many events an instance has unread",
    needs: "a kernel that inotify-trace knows",
};
const OVERFLOW: LostFeature = LostFeature {
    feature: "whether the kernel drops events, since an instance has too many unread",
    needs: "a kernel that inotify-trace knows",
};
const CREATOR: LostFeature = LostFeature {
    feature: "which cgroup made an instance that is older than the trace",
    needs: "CONFIG_MEMCG and CONFIG_CGROUPS",
};
const WATCHES: LostFeature = LostFeature {
    feature: "what an instance watches, from the kernel's own list",
    needs: "a kernel that inotify-trace knows",
};
const SERVED: LostFeature = LostFeature {
    feature: "which container an instance serves, from the cgroup files it watches",
    needs: "CONFIG_CGROUPS",
};

/// All features that a kernel may lack.
pub(super) const FEATURES: [LostFeature; 7] =
    [USED_AT_FAILURE, NOFILE, UNREAD, OVERFLOW, CREATOR, WATCHES, SERVED];

macro_rules! fields {
    ($($name:ident: $need:expr, $source:expr;)*) => {
        /// The source of each field of [`Layout`], and the need for it.
        pub const FIELDS: &[Field] = &[$(Field {
            name: stringify!($name),
            need: $need,
            source: $source,
            value: |layout| layout.$name,
        }),*];

        /// A layout whose fields have the values of `find`.
        pub(super) fn fill(mut find: impl FnMut(&Field) -> u32) -> Layout {
            let mut fields = FIELDS.iter();
            // In the order of the table; the compiler checks that no field is left out.
            Layout { $($name: fields.next().map_or(ABSENT, &mut find)),* }
        }
    };
}

fields! {
    task_tgid: Always, Member("task_struct.tgid", 4);
    task_pid: Always, Member("task_struct.pid", 4);
    task_group_leader: Always, Member("task_struct.group_leader", 8);
    task_comm: Always, Member("task_struct.comm", 16);
    task_files: Always, Member("task_struct.files", 8);
    task_cred: Always, Member("task_struct.cred", 8);
    task_signal: Always, Member("task_struct.signal", 8);
    signal_live: Always, Member("signal_struct.live", 4);
    signal_nofile: For(&[NOFILE]), Computed(&[RLIMITS], nofile);

    files_count: Always, Member("files_struct.count", 4);
    files_fdt: Always, Member("files_struct.fdt", 8);
    fdt_max_fds: Always, Member("fdtable.max_fds", 4);
    fdt_fd: Always, Member("fdtable.fd", 8);
    fdt_open_fds: Always, Member("fdtable.open_fds", 8);
    fdt_full_fds_bits: For(&[NOFILE]), Member("fdtable.full_fds_bits", 8);

    file_f_op: Always, Member("file.f_op", 8);
    file_private_data: Always, Member("file.private_data", 8);
    file_refs: Always, Renamed(FILE_REFS, 8);
    file_refs_bias: Always, Computed(FILE_REFS, file_refs_bias);

    cred_euid: Always, Member("cred.euid", 4);
    cred_user_ns: Always, Member("cred.user_ns", 8);
    cred_ucounts: For(&[USED_AT_FAILURE]), Member("cred.ucounts", 8);

    userns_ucount_max: Always, Counters("user_namespace.ucount_max");
    userns_ucounts: Always, Member("user_namespace.ucounts", 8);
    userns_inum: Always, Member("user_namespace.ns.inum", 4);
    ucount_max_size: Always, CounterSize("user_namespace.ucount_max");

    ucounts_ns: Always, Member("ucounts.ns", 8);
    ucounts_uid: Always, Member("ucounts.uid", 4);
    ucounts_ucount: Always, Counters("ucounts.ucount");
    ucount_size: Always, CounterSize("ucounts.ucount");
    ucount_instances: Always, Variant("ucount_type.UCOUNT_INOTIFY_INSTANCES");
    ucount_watches: Always, Variant("ucount_type.UCOUNT_INOTIFY_WATCHES");

    group_ucounts: Always, Member("fsnotify_group.inotify_data.ucounts", 8);
    group_refcnt: Always, Member("fsnotify_group.refcnt", 4);
    group_ops: For(&[OVERFLOW]), Member("fsnotify_group.ops", 8);
    group_q_len: For(&[UNREAD]), Member("fsnotify_group.q_len", 4);
    group_max_events: For(&[OVERFLOW]), Member("fsnotify_group.max_events", 4);
    group_overflow_event: For(&[OVERFLOW]), Computed(&[OVERFLOW_EVENT, EVENT_LINK], overflow_event);
    group_shutdown: For(&[]), Member("fsnotify_group.shutdown", 1);
    group_memcg: For(&[CREATOR]), Member("fsnotify_group.memcg", 8);
    group_marks_list: For(&[WATCHES]), Member("fsnotify_group.marks_list", 16);

    mark_g_list: For(&[WATCHES]), Member("fsnotify_mark.g_list", 16);
    mark_connector: For(&[WATCHES]), Member("fsnotify_mark.connector", 8);
    mark_wd: For(&[WATCHES]), Computed(&[INOTIFY_MARK, MARK_WD], mark_wd);
    connector_obj: For(&[WATCHES]), Member(CONNECTOR_OBJ, 8);
    connector_obj_bias: For(&[WATCHES]), Computed(&[CONNECTOR_OBJ, INODE_MARKS], connector_obj_bias);

    inode_i_ino: For(&[WATCHES]), Member("inode.i_ino", 8);
    inode_i_mode: For(&[WATCHES]), Member("inode.i_mode", 2);
    inode_i_sb: For(&[WATCHES, SERVED]), Member("inode.i_sb", 8);
    inode_i_private: For(&[SERVED]), Member("inode.i_private", 8);
    sb_s_dev: For(&[WATCHES]), Member("super_block.s_dev", 4);
    sb_s_magic: For(&[SERVED]), Member("super_block.s_magic", 8);

    memcg_cgroup: For(&[CREATOR]), Member("mem_cgroup.css.cgroup", 8);
    cgroup_kn: For(&[CREATOR]), Member("cgroup.kn", 8);
    cgroup_root: For(&[CREATOR]), Member("cgroup.root", 8);
    root_hierarchy_id: For(&[CREATOR]), Member("cgroup_root.hierarchy_id", 4);
    kn_id: For(&[CREATOR, SERVED]), Member("kernfs_node.id", 8);
    kn_parent: For(&[SERVED]), Renamed(&["kernfs_node.__parent", "kernfs_node.parent"], 8);
    kn_name: For(&[SERVED]), Member("kernfs_node.name", 8);
}

const RLIMITS: &str = "signal_struct.rlim";

/// `RLIM_NLIMITS` and `RLIMIT_NOFILE` of `include/uapi/asm-generic/resource.h`, and the size of a
/// `struct rlimit`: two unsigned longs, the first of them `rlim_cur`.
const RLIM_NLIMITS: u32 = 16;
const RLIMIT_NOFILE: u32 = 7;
const RLIMIT: u32 = 16;

fn nofile(btf: &Btf) -> Option<u32> {
    Some(member(btf, RLIMITS, RLIM_NLIMITS * RLIMIT)? + RLIMIT_NOFILE * RLIMIT)
}

/// A file's reference count, which starts at zero in the first member, and at one in the second.
const FILE_REFS: &[&str] = &["file.f_ref.refcnt", "file.f_count"];

fn file_refs_bias(btf: &Btf) -> Option<u32> {
    let found = FILE_REFS.iter().position(|path| member(btf, path, 8).is_some())?;
    [1, 0].get(found).copied()
}

const INOTIFY_MARK: &str = "inotify_inode_mark.fsn_mark";
const MARK_WD: &str = "inotify_inode_mark.wd";

/// The programs reach the descriptor from the mark in front of it, so the mark must be first.
fn mark_wd(btf: &Btf) -> Option<u32> {
    let (structure, path) = INOTIFY_MARK.split_once('.')?;
    let mark = btf.member(structure, path)?;
    if mark.offset == 0 { member(btf, MARK_WD, 4) } else { None }
}

const OVERFLOW_EVENT: &str = "fsnotify_group.overflow_event";
const EVENT_LINK: &str = "fsnotify_event.list";

/// The programs take an event for its link in the queue, so that must be first.
fn overflow_event(btf: &Btf) -> Option<u32> {
    let (structure, path) = EVENT_LINK.split_once('.')?;
    let link = btf.member(structure, path)?;
    if link.offset == 0 { member(btf, OVERFLOW_EVENT, 8) } else { None }
}

const CONNECTOR_OBJ: &str = "fsnotify_mark_connector.obj";
const INODE_MARKS: &str = "inode.i_fsnotify_marks";

/// `obj` is a `fsnotify_connp_t *` to a field of the inode in Linux 6.1 and older, and a `void *`
/// to the inode itself by 6.12.
fn connector_obj_bias(btf: &Btf) -> Option<u32> {
    let (structure, path) = CONNECTOR_OBJ.split_once('.')?;
    match btf.pointee(btf.member(structure, path)?.type_id)? {
        "fsnotify_connp_t" => member(btf, INODE_MARKS, 8),
        "void" => Some(0),
        _ => None,
    }
}
