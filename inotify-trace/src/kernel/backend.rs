//! How the kernel programs see inotify.

use std::fmt;

/// A way to hook inotify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// System call tracepoints. Works wherever tracefs does; the end of an instance that is not
    /// closed by `close`, `dup2` or `dup3` is noticed by asking the kernel afterwards.
    Tracepoint,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tracepoint => "tracepoint",
        })
    }
}

/// How one program is attached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attachment {
    /// At a tracepoint, through perf: `category`, `name`.
    Tracepoint(&'static str, &'static str),
    /// At a raw tracepoint.
    Raw(&'static str),
    /// Not at all: the agent runs it to ask something.
    Ask,
}

/// One kernel program: its name in the object, and where it goes.
pub(super) struct Hook {
    pub(super) program: &'static str,
    pub(super) attachment: Attachment,
}

const fn hook(program: &'static str, attachment: Attachment) -> Hook {
    Hook { program, attachment }
}

const fn syscall(program: &'static str, name: &'static str) -> Hook {
    hook(program, Attachment::Tracepoint("syscalls", name))
}

const fn raw(program: &'static str, name: &'static str) -> Hook {
    hook(program, Attachment::Raw(name))
}

/// Questions, and what every backend hooks.
const COMMON: &[Hook] = &[
    hook("ask_learn", Attachment::Ask),
    hook("ask_identify", Attachment::Ask),
    hook("ask_gone", Attachment::Ask),
    raw("process_fork", "sched_process_fork"),
    raw("process_exec", "sched_process_exec"),
    raw("process_exit", "sched_process_exit"),
    raw("cgroup_mkdir", "cgroup_mkdir"),
    raw("cgroup_rmdir", "cgroup_rmdir"),
    raw("cgroup_rename", "cgroup_rename"),
];

/// What the tracepoint backend adds.
const TRACEPOINT: &[Hook] = &[
    syscall("enter_inotify_init1", "sys_enter_inotify_init1"),
    syscall("exit_inotify_init1", "sys_exit_inotify_init1"),
    // Architectures younger than inotify_init1 do not have it.
    #[cfg(target_arch = "x86_64")]
    syscall("exit_inotify_init", "sys_exit_inotify_init"),
    syscall("enter_inotify_add_watch", "sys_enter_inotify_add_watch"),
    syscall("exit_inotify_add_watch", "sys_exit_inotify_add_watch"),
    syscall("enter_inotify_rm_watch", "sys_enter_inotify_rm_watch"),
    syscall("exit_inotify_rm_watch", "sys_exit_inotify_rm_watch"),
    syscall("enter_close", "sys_enter_close"),
    syscall("enter_close_range", "sys_enter_close_range"),
    #[cfg(target_arch = "x86_64")]
    syscall("enter_dup2", "sys_enter_dup2"),
    syscall("enter_dup3", "sys_enter_dup3"),
];

impl Backend {
    /// The programs of this backend. Those that see instances end come before those that see
    /// them begin, so that nothing is seen to begin whose end could be missed.
    pub(super) fn hooks(self) -> impl Iterator<Item = &'static Hook> {
        let own = match self {
            Self::Tracepoint => TRACEPOINT,
        };
        COMMON.iter().chain(own.iter().rev())
    }
}
