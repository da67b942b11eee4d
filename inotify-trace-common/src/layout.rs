//! Offsets of the fields of kernel structures on the running kernel.

/// A field that this kernel does not have. Never zero: zero is a valid offset.
pub const ABSENT: u32 = u32::MAX;

/// Byte offsets and sizes of the kernel structures that the programs read, taken from the
/// running kernel's BTF before loading. Offsets are from the start of the structure named first
/// in each field's name. A field is [`ABSENT`] where the kernel lacks it.
///
/// Sources: `include/linux/{fdtable,fs,sched,cred,user_namespace,fsnotify_backend,kernfs}.h`,
/// `fs/notify/{fsnotify.h,inotify/inotify.h}`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// `task_struct.tgid`: the process id.
    pub task_tgid: u32,
    /// `task_struct.pid`: the thread id.
    pub task_pid: u32,
    /// `task_struct.group_leader`: the first thread of its process.
    pub task_group_leader: u32,
    /// `task_struct.comm`: the thread's command name.
    pub task_comm: u32,
    /// `task_struct.files`: the descriptor table, usually shared by threads.
    pub task_files: u32,
    /// `task_struct.cred`: the effective credentials.
    pub task_cred: u32,
    /// `task_struct.signal`: state shared by the threads of a process.
    pub task_signal: u32,
    /// `signal_struct.live`: threads not yet exited (int).
    pub signal_live: u32,
    /// `signal_struct.rlim[RLIMIT_NOFILE].rlim_cur`: descriptors that the process may have (unsigned
    /// long).
    pub signal_nofile: u32,

    /// `files_struct.count` (int): the threads that share the table.
    pub files_count: u32,
    /// `files_struct.fdt`.
    pub files_fdt: u32,
    /// `fdtable.max_fds` (unsigned int).
    pub fdt_max_fds: u32,
    /// `fdtable.fd`: array of `struct file *`.
    pub fdt_fd: u32,
    /// `fdtable.open_fds`: a bit for each descriptor, set if it is open.
    pub fdt_open_fds: u32,
    /// `fdtable.full_fds_bits`: a bit for each word of `open_fds`, set if all its bits are.
    pub fdt_full_fds_bits: u32,

    /// `file.f_op`: equal to `inotify_fops` for an inotify descriptor.
    pub file_f_op: u32,
    /// `file.private_data`: the `fsnotify_group` of an inotify descriptor.
    pub file_private_data: u32,
    /// `file.f_count` (up to 6.12) or `file.f_ref.refcnt` (6.13+): references, 8 bytes.
    pub file_refs: u32,
    /// What to add to the value at `file_refs` to get the number of references:
    /// 0 for `f_count`, 1 for `f_ref` (which counts from zero).
    pub file_refs_bias: u32,

    /// `cred.euid` (unsigned int).
    pub cred_euid: u32,
    /// `cred.user_ns`.
    pub cred_user_ns: u32,
    /// `cred.ucounts` (5.14+): the counters of the *real* uid.
    pub cred_ucounts: u32,

    /// `user_namespace.ucount_max`: limits by `enum ucount_type`.
    pub userns_ucount_max: u32,
    /// `user_namespace.ucounts`: the charged user in the parent namespace; null in the initial one.
    pub userns_ucounts: u32,
    /// `user_namespace.ns.inum`: the number `ls -l /proc/PID/ns/user` shows.
    pub userns_inum: u32,
    /// Bytes of one element of `user_namespace.ucount_max`: 4 before 5.14, then 8.
    pub ucount_max_size: u32,

    /// `ucounts.ns`.
    pub ucounts_ns: u32,
    /// `ucounts.uid` (unsigned int).
    pub ucounts_uid: u32,
    /// `ucounts.ucount`: charges, by `enum ucount_type`.
    pub ucounts_ucount: u32,
    /// Bytes of one element of `ucounts.ucount`: 4 before 5.14, then 8.
    pub ucount_size: u32,
    /// `UCOUNT_INOTIFY_INSTANCES` of `enum ucount_type`.
    pub ucount_instances: u32,
    /// `UCOUNT_INOTIFY_WATCHES` of `enum ucount_type`.
    pub ucount_watches: u32,

    /// `fsnotify_group.inotify_data.ucounts`: the charged user's counters.
    pub group_ucounts: u32,
    /// `fsnotify_group.refcnt` (int): 0 once the group is being freed.
    pub group_refcnt: u32,
    /// `fsnotify_group.ops`: equal to `inotify_fsnotify_ops` for an instance's group.
    pub group_ops: u32,
    /// `fsnotify_group.q_len`: unread events (unsigned int).
    pub group_q_len: u32,
    /// `fsnotify_group.max_events`: how many may wait before others are dropped (unsigned int).
    pub group_max_events: u32,
    /// `fsnotify_group.overflow_event`: the event that is queued when others are dropped; its first
    /// member is its link in the queue, which is empty otherwise.
    pub group_overflow_event: u32,
    /// `fsnotify_group.shutdown` (bool): set when the group ends, before its marks go.
    pub group_shutdown: u32,
    /// `fsnotify_group.memcg`: the creator's memory cgroup (`CONFIG_MEMCG`).
    pub group_memcg: u32,
    /// `fsnotify_group.marks_list`: list head, newest mark first.
    pub group_marks_list: u32,

    /// `fsnotify_mark.g_list`: link in the group's list.
    pub mark_g_list: u32,
    /// `fsnotify_mark.connector`.
    pub mark_connector: u32,
    /// `inotify_inode_mark.wd` (int); the mark is this structure's first member.
    pub mark_wd: u32,
    /// `fsnotify_mark_connector.obj`.
    pub connector_obj: u32,
    /// What to subtract from `connector.obj` to get the inode: the offset of
    /// `inode.i_fsnotify_marks` where `obj` points at that field, 0 where it points at the inode.
    pub connector_obj_bias: u32,

    /// `inode.i_ino` (unsigned long).
    pub inode_i_ino: u32,
    /// `inode.i_mode` (unsigned short): distinguishes a directory from a file.
    pub inode_i_mode: u32,
    /// `inode.i_sb`.
    pub inode_i_sb: u32,
    /// `inode.i_private`: the `kernfs_node` on cgroupfs.
    pub inode_i_private: u32,
    /// `super_block.s_dev` (unsigned int, kernel encoding: major << 20 | minor).
    pub sb_s_dev: u32,
    /// `super_block.s_magic` (unsigned long).
    pub sb_s_magic: u32,

    /// `mem_cgroup.css.cgroup`.
    pub memcg_cgroup: u32,
    /// `cgroup.kn`.
    pub cgroup_kn: u32,
    /// `cgroup.root`.
    pub cgroup_root: u32,
    /// `cgroup_root.hierarchy_id` (int): 0 is the v2 hierarchy.
    pub root_hierarchy_id: u32,
    /// `kernfs_node.id`: the cgroup id (8 bytes).
    pub kn_id: u32,
    /// `kernfs_node.parent` (`__parent` from 6.15).
    pub kn_parent: u32,
    /// `kernfs_node.name`: the name of a file or directory of cgroupfs.
    pub kn_name: u32,
}

/// How many fields [`Layout`] has.
const FIELDS: usize = size_of::<Layout>() / size_of::<u32>();

impl Layout {
    /// A layout in which every field is [`ABSENT`]: what the object file holds before the loader
    /// fills it in.
    pub const UNKNOWN: Self = {
        // SAFETY: `Layout` is `repr(C)` with only `u32` fields, so it has the size and alignment
        // of this array, and any value of each field is valid.
        unsafe { core::mem::transmute([ABSENT; FIELDS]) }
    };

    /// The fields in order: the form in which the loader hands them to the programs.
    #[must_use]
    pub const fn words(&self) -> [u32; FIELDS] {
        // SAFETY: as for `UNKNOWN`, in the other direction.
        unsafe { core::mem::transmute(*self) }
    }
}
