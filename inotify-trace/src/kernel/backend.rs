//! Backends: the kernel programs of each, and the hooks they are attached to.

use std::fmt;

/// A way to hook inotify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// BPF trampolines (fentry, fexit) on inotify's own functions: exact, and free for programs
    /// that do not use inotify
    Fentry,
    /// Kprobes on the same functions, for kernels without trampolines: exact as well
    Kprobe,
    /// System call tracepoints: works nearly everywhere, and taxes every system call; the end of
    /// an instance that is not closed by close, dup2 or dup3 is noticed by asking the kernel
    Tracepoint,
}

impl Backend {
    /// Every backend, best first.
    pub const ALL: [Self; 3] = [Self::Fentry, Self::Kprobe, Self::Tracepoint];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// Whether every end of an instance makes a record. If not, the agent asks for ends.
    #[must_use]
    pub fn is_exact(self) -> bool {
        self != Self::Tracepoint
    }

    /// Its precision and cost, in words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Fentry => "exact ends; costs nothing to programs that do not use inotify",
            Self::Kprobe => "exact ends; costs little to programs that do not use inotify",
            Self::Tracepoint => {
                "ends by exit or exec are noticed within milliseconds; costs every system call a \
                 few nanoseconds"
            }
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How one program is attached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attachment {
    /// At a system call tracepoint, through perf.
    Syscall(&'static str),
    /// At a raw tracepoint.
    Raw(&'static str),
    /// At the entry or exit of a kernel function, by a trampoline or a kprobe, according to the
    /// program's type.
    Function(&'static str),
    /// Not at all: the agent runs it to ask a question.
    Ask,
}

/// One kernel program: its name in the object, and its hook.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) program: &'static str,
    pub(super) attachment: Attachment,
    /// What is lost if it cannot be attached. None: the backend requires it.
    pub(super) loss: Option<&'static str>,
    /// A program to use in its place if it cannot be loaded.
    pub(super) substitute: Option<&'static str>,
}

const fn ask(program: &'static str) -> Hook {
    Hook { program, attachment: Attachment::Ask, loss: None, substitute: None }
}

const fn syscall(program: &'static str, name: &'static str) -> Hook {
    Hook { program, attachment: Attachment::Syscall(name), loss: None, substitute: None }
}

const fn raw(program: &'static str, name: &'static str) -> Hook {
    Hook { program, attachment: Attachment::Raw(name), loss: None, substitute: None }
}

const fn function(program: &'static str, name: &'static str) -> Hook {
    Hook { program, attachment: Attachment::Function(name), loss: None, substitute: None }
}

impl Hook {
    const fn or_lose(self, loss: &'static str) -> Self {
        Self { loss: Some(loss), ..self }
    }

    const fn or_use(self, substitute: &'static str) -> Self {
        Self { substitute: Some(substitute), ..self }
    }
}

/// The programs that answer questions, with any backend or none.
pub(super) const QUESTIONS: &[Hook] = &[ask("ask_learn"), ask("ask_charged")];

/// The program that finds existing instances, where the kernel has iterators.
pub(super) const ITERATOR: Hook = ask("iter_descriptors");

/// The hooks and questions of all backends. In the order of attaching: hooks on ends come before
/// hooks on beginnings, so that the end of an instance is never missed if its beginning was seen.
const COMMON: &[Hook] = &[
    ask("ask_gone"),
    ask("ask_queue"),
    raw("cgroup_mkdir", "cgroup_mkdir"),
    raw("cgroup_rmdir", "cgroup_rmdir"),
    raw("cgroup_rename", "cgroup_rename"),
    raw("process_exit", "sched_process_exit"),
    raw("process_exec", "sched_process_exec"),
    raw("process_fork", "sched_process_fork"),
];

const VANISHED: &str = "watches that go because their target does";
#[cfg(target_arch = "x86_64")]
const COMPAT: &str = "watches of 32-bit programs";
#[cfg(target_arch = "x86_64")]
const LEGACY: &str = "failures of inotify_init, if the compiler made it a function of its own";
/// Without the hook, the agent looks once a second.
pub(super) const OVERFLOWS: &str = "overflows of queues that are read again within a second";
const INODE: &str = "the inode of a watch that is changed";

/// The kernel's names of the system calls' own functions.
///
/// 32-bit programs have functions of their own on x86; on ARM they come by those of 64-bit programs.
macro_rules! sys {
    ($call:literal) => {
        if cfg!(target_arch = "aarch64") {
            concat!("__arm64_sys_", $call)
        } else {
            concat!("__x64_sys_", $call)
        }
    };
    (compat $call:literal) => {
        concat!("__ia32_sys_", $call)
    };
}

const FENTRY: &[Hook] = &[
    function("fentry_inotify_release", "inotify_release"),
    function("fentry_inotify_ignored", "inotify_ignored_and_remove_idr").or_lose(VANISHED),
    // Linux 5.15 and older call it fsnotify_add_event, with other arguments in each version.
    function("fexit_insert_event", "fsnotify_insert_event").or_lose(OVERFLOWS),
    function("fexit_rm_watch", sys!("inotify_rm_watch")),
    // The BTF of Linux 5.10 lacks the type of the registers that these calls get.
    function("fentry_rm_watch", sys!("inotify_rm_watch")).or_use("kprobe_rm_watch"),
    #[cfg(target_arch = "x86_64")]
    function("fexit_rm_watch_compat", sys!(compat "inotify_rm_watch")).or_lose(COMPAT),
    #[cfg(target_arch = "x86_64")]
    function("fentry_rm_watch_compat", sys!(compat "inotify_rm_watch"))
        .or_use("kprobe_rm_watch_compat")
        .or_lose(COMPAT),
    function("fexit_add_watch", sys!("inotify_add_watch")),
    function("fentry_add_watch", sys!("inotify_add_watch")).or_use("kprobe_add_watch"),
    #[cfg(target_arch = "x86_64")]
    function("fexit_add_watch_compat", sys!(compat "inotify_add_watch")).or_lose(COMPAT),
    #[cfg(target_arch = "x86_64")]
    function("fentry_add_watch_compat", sys!(compat "inotify_add_watch"))
        .or_use("kprobe_add_watch_compat")
        .or_lose(COMPAT),
    function("fentry_inotify_update_watch", "inotify_update_watch").or_lose(INODE),
    #[cfg(target_arch = "x86_64")]
    function("fexit_legacy_init", sys!("inotify_init")).or_lose(LEGACY),
    #[cfg(target_arch = "x86_64")]
    function("fentry_legacy_init", sys!("inotify_init")).or_lose(LEGACY),
    function("fexit_do_inotify_init", "do_inotify_init"),
    function("fexit_anon_inode_getfd", "anon_inode_getfd"),
];

const KPROBE: &[Hook] = &[
    function("kprobe_inotify_release", "inotify_release"),
    function("kprobe_inotify_ignored", "inotify_ignored_and_remove_idr").or_lose(VANISHED),
    function("kretprobe_insert_event", "fsnotify_insert_event").or_lose(OVERFLOWS),
    function("kprobe_insert_event", "fsnotify_insert_event").or_lose(OVERFLOWS),
    function("kretprobe_rm_watch", sys!("inotify_rm_watch")),
    function("kprobe_rm_watch", sys!("inotify_rm_watch")),
    #[cfg(target_arch = "x86_64")]
    function("kretprobe_rm_watch", sys!(compat "inotify_rm_watch")).or_lose(COMPAT),
    #[cfg(target_arch = "x86_64")]
    function("kprobe_rm_watch_compat", sys!(compat "inotify_rm_watch")).or_lose(COMPAT),
    function("kretprobe_add_watch", sys!("inotify_add_watch")),
    function("kprobe_add_watch", sys!("inotify_add_watch")),
    #[cfg(target_arch = "x86_64")]
    function("kretprobe_add_watch", sys!(compat "inotify_add_watch")).or_lose(COMPAT),
    #[cfg(target_arch = "x86_64")]
    function("kprobe_add_watch_compat", sys!(compat "inotify_add_watch")).or_lose(COMPAT),
    function("kprobe_inotify_update_watch", "inotify_update_watch").or_lose(INODE),
    #[cfg(target_arch = "x86_64")]
    function("kretprobe_legacy_init", sys!("inotify_init")).or_lose(LEGACY),
    #[cfg(target_arch = "x86_64")]
    function("kprobe_legacy_init", sys!("inotify_init")).or_lose(LEGACY),
    function("kretprobe_do_inotify_init", "do_inotify_init"),
    function("kprobe_do_inotify_init", "do_inotify_init"),
    function("kretprobe_anon_inode_getfd", "anon_inode_getfd"),
    function("kprobe_anon_inode_getfd", "anon_inode_getfd"),
];

const TRACEPOINT: &[Hook] = &[
    syscall("enter_dup3", "sys_enter_dup3"),
    // Architectures younger than dup3 and inotify_init1 lack the older calls.
    #[cfg(target_arch = "x86_64")]
    syscall("enter_dup2", "sys_enter_dup2"),
    syscall("enter_close_range", "sys_enter_close_range"),
    syscall("enter_close", "sys_enter_close"),
    syscall("exit_inotify_rm_watch", "sys_exit_inotify_rm_watch"),
    syscall("enter_inotify_rm_watch", "sys_enter_inotify_rm_watch"),
    syscall("exit_inotify_add_watch", "sys_exit_inotify_add_watch"),
    syscall("enter_inotify_add_watch", "sys_enter_inotify_add_watch"),
    #[cfg(target_arch = "x86_64")]
    syscall("exit_inotify_init", "sys_exit_inotify_init"),
    syscall("exit_inotify_init1", "sys_exit_inotify_init1"),
    syscall("enter_inotify_init1", "sys_enter_inotify_init1"),
];

impl Backend {
    /// The programs of this backend alone, in the order of attaching.
    fn own_hooks(self) -> &'static [Hook] {
        match self {
            Self::Fentry => FENTRY,
            Self::Kprobe => KPROBE,
            Self::Tracepoint => TRACEPOINT,
        }
    }

    /// The programs of this backend, in the order of attaching.
    pub(super) fn hooks(self) -> impl Iterator<Item = &'static Hook> {
        QUESTIONS.iter().chain(COMMON).chain(self.own_hooks())
    }

    /// The same in the order of loading: first those that the kernel may refuse.
    pub(super) fn hooks_to_load(self) -> impl Iterator<Item = &'static Hook> {
        self.own_hooks().iter().chain(COMMON).chain(QUESTIONS)
    }

    /// The functions that its programs are bound to when they are loaded, which only trampolines are.
    pub(super) fn traced_functions(self) -> impl Iterator<Item = &'static str> {
        let hooks = if self == Self::Fentry { FENTRY } else { &[] };
        hooks.iter().filter_map(|hook| match hook.attachment {
            Attachment::Function(name) => Some(name),
            _ => None,
        })
    }
}
