//! What this process needs of its surroundings before it can look at anything. Where that is missing,
//! later errors would be riddles, or there would be none: a machine without a visible process.

use std::{io, path::Path};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The inode number of the initial PID namespace, as in `PROC_PID_INIT_INO` of the kernel.
const INITIAL: &str = "pid:[4026531836]";

/// Descriptors: about seventy are for kernel programs, and others for the file systems of watches.
/// Their hard limit is somebody's decision.
const DESCRIPTORS: Need =
    Need { resource: Resource::Nofile, least: 128, wanted: 1024, is_raised_by_root: false };

/// The stack of the first thread, in bytes.
const STACK: Need =
    Need { resource: Resource::Stack, least: 1 << 20, wanted: 8 << 20, is_raised_by_root: true };

/// What is missing, and what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// RLIMIT_STACK is low.
    #[error(
        "the stack may have only {} KiB (RLIMIT_STACK), and {} KiB are needed: raise the limit, as in \
         `ulimit -s 8192`, or by LimitSTACK= of the service", .0 >> 10, STACK.least >> 10
    )]
    Stack(u64),
    /// RLIMIT_NOFILE is low.
    #[error(
        "only {} files may be open (RLIMIT_NOFILE), and {} are needed: raise the limit, as in \
         `ulimit -n 1024`, or by LimitNOFILE= of the service", .0, DESCRIPTORS.least
    )]
    Descriptors(u64),
    /// Processes cannot be read.
    #[error(
        "/proc cannot be read ({0}): mount it with `mount -t proc proc /proc`, or let the container \
         have it"
    )]
    NoProc(io::ErrorKind),
}

/// A limit of this process.
struct Need {
    resource: Resource,
    least: u64,
    wanted: u64,
    /// Whether root raises the hard limit, too.
    is_raised_by_root: bool,
}

impl Need {
    /// Raises the limit as far as that is wanted and allowed. Returns it if it is too low then.
    fn meet(&self) -> Option<u64> {
        let lacks = |limit: Rlimit| limit.current.is_some_and(|it| it < self.wanted);
        let before = getrlimit(self.resource);
        if lacks(before) {
            let allowed = before.maximum.map_or(self.wanted, |most| most.min(self.wanted));
            let more = before.maximum.map(|most| most.max(self.wanted));
            let both = Rlimit { current: Some(self.wanted), maximum: more };
            if !(self.is_raised_by_root && setrlimit(self.resource, both).is_ok()) {
                // Should that fail, the limit stays as it is.
                let _ = setrlimit(self.resource, Rlimit { current: Some(allowed), ..before });
            }
        }
        getrlimit(self.resource).current.filter(|&it| it < self.least)
    }
}

/// Prepares the first thread: call it before anything that needs much of the stack. The kernel lets
/// it grow as far as the limit is at that time.
///
/// # Errors
/// If the stack stays too small.
pub fn prepare_stack() -> Result<(), Problem> {
    STACK.meet().map_or(Ok(()), |bytes| Err(Problem::Stack(bytes)))
}

/// Prepares for looking at the machine.
///
/// # Errors
/// If something is missing without which no answer would be right.
pub fn prepare() -> Result<(), Problem> {
    if let Some(most) = DESCRIPTORS.meet() {
        return Err(Problem::Descriptors(most));
    }
    match Path::new("/proc/self/ns").metadata() {
        Ok(_) => Ok(()),
        Err(error) => Err(Problem::NoProc(error.kind())),
    }
}

/// Whether this process, or its /proc, numbers processes otherwise than the kernel programs do.
#[must_use]
pub fn is_in_pid_namespace() -> bool {
    std::fs::read_link("/proc/self/ns/pid").is_ok_and(|it| it != Path::new(INITIAL))
}

/// Whether SIGHUP is ignored, as nohup(1) has it.
#[must_use]
pub fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The first bit is signal 1.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|it| it & 1 != 0)
}
