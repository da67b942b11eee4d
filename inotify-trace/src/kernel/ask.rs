//! Questions to the kernel, answered by programs that the agent runs itself.
//!
//! `BPF_PROG_TEST_RUN` calls a raw tracepoint program in the agent's own task (Linux 5.10). The
//! answers come through the ring buffer, in order with all other records.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use aya::{
    Ebpf,
    programs::{Program, RawTracePointRunOptions, TestRun as _},
};
use rustix::{
    fs::inotify,
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};

use super::{KernelError, error::refused};
use crate::host::procfs::{self, TableId};

/// The program that identifies the instance of a descriptor.
const IDENTIFY: &str = "ask_identify";

/// The kernel addresses of an instance, for the kernel programs only.
#[derive(Clone, Copy, Debug)]
pub struct InstanceAddress {
    /// Of the `struct file`.
    pub file: u64,
    /// Of the `fsnotify_group`.
    pub group: u64,
    /// Of the `ucounts` that it is charged to.
    pub payer: u64,
    /// Uid of the charged user, to verify those `ucounts`.
    pub uid: u32,
}

/// Asks the kernel, through the programs that answer questions.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a>(pub(super) &'a Ebpf);

impl Asker<'_> {
    /// Teaches the programs to recognize inotify instances.
    ///
    /// The agent creates an instance for that, and drops it. If the limit is reached, it borrows an
    /// existing one.
    pub(super) fn teach(self) -> Result<(), KernelError> {
        let sample = inotify::init(inotify::CreateFlags::CLOEXEC).or_else(|errno| {
            borrow_any().ok_or_else(|| KernelError::Probe { source: errno.into() })
        })?;
        self.run("ask_learn", &[descriptor(&sample)])
    }

    /// Asks for the instance of `holder_fd` in a table, of which `copy` is a copy. The answer is an
    /// `InstanceFound` record.
    ///
    /// # Errors
    /// If the kernel refuses to run the program.
    pub fn identify(
        self,
        copy: &OwnedFd,
        table: TableId,
        holder_fd: i32,
    ) -> Result<(), KernelError> {
        let (pid, tid) = (table.pid.into(), table.owner.unwrap_or(table.pid).into());
        let holder_fd = u64::from(holder_fd.cast_unsigned());
        self.run(IDENTIFY, &[descriptor(copy), pid, tid, holder_fd])
    }

    /// Asks whether an instance is gone. If so, the answer is an `InstanceGone` record.
    ///
    /// # Errors
    /// If the kernel refuses to run the program.
    pub fn gone(self, instance: &InstanceAddress) -> Result<(), KernelError> {
        self.gone_or_held(instance, false)
    }

    /// Asks whether an instance is gone or held. The answer is an `InstanceGone` or `InstanceHeld`
    /// record; there is none while the kernel frees the instance.
    ///
    /// # Errors
    /// If the kernel refuses to run the program.
    pub fn held(self, instance: &InstanceAddress) -> Result<(), KernelError> {
        self.gone_or_held(instance, true)
    }

    fn gone_or_held(self, instance: &InstanceAddress, tell_held: bool) -> Result<(), KernelError> {
        let InstanceAddress { file, group, payer, uid, .. } = *instance;
        self.run("ask_gone", &[file, group, payer, u64::from(uid), u64::from(tell_held)])
    }

    /// Asks whether the queue of an instance has overflowed. If so, the answer is a `QueueOverflowed`
    /// record; if not, a `QueueRead` record, if `tell_read`.
    ///
    /// # Errors
    /// If the kernel refuses to run the program.
    pub fn queue(self, instance: &InstanceAddress, tell_read: bool) -> Result<(), KernelError> {
        self.run("ask_queue", &[instance.file, instance.group, u64::from(tell_read)])
    }

    /// Asks for the charges of the user of `payer`, if that is still `uid`, at every level of user
    /// namespaces. The answer is a `Charged` record.
    ///
    /// # Errors
    /// If the kernel refuses to run the program.
    pub fn charged(self, payer: u64, uid: u32) -> Result<(), KernelError> {
        self.run("ask_charged", &[payer, u64::from(uid)])
    }

    fn run(self, name: &str, arguments: &[u64]) -> Result<(), KernelError> {
        let Some(Program::RawTracePoint(program)) = self.0.program(name) else {
            return Err(KernelError::Object(format!("no program {name}")));
        };
        let mut options = RawTracePointRunOptions::new();
        options.args[..arguments.len()].copy_from_slice(arguments);
        program
            .test_run(options)
            .map(drop)
            .map_err(|error| refused(&format!("running {name}"), &error))
    }
}

/// Loads the program of [`Asker::identify`]. It is not loaded with the others, since kernels with
/// BPF iterators don't need it.
pub(super) fn load_identify(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    match ebpf.program_mut(IDENTIFY) {
        Some(Program::RawTracePoint(program)) if program.fd().is_err() => {
            program.load().map_err(|error| refused(&format!("program {IDENTIFY}"), &error))
        }
        _ => Ok(()),
    }
}

fn descriptor(fd: &impl AsFd) -> u64 {
    // Descriptors are never negative.
    u64::from(fd.as_fd().as_raw_fd().cast_unsigned())
}

/// A copy of the first instance that any process holds.
fn borrow_any() -> Option<OwnedFd> {
    procfs::inotify_descriptors().find_map(|(table, fd)| copy(table, fd))
}

/// `PIDFD_THREAD` of pidfd_open(2), from Linux 6.9 on: opens a thread that is not the first.
const PIDFD_THREAD: u32 = libc::O_EXCL.cast_unsigned();

/// A copy of descriptor `fd` in a table. None if either is gone, or may not be read, or if the table
/// is a thread's and the kernel cannot copy from it.
pub fn copy(table: TableId, fd: i32) -> Option<OwnedFd> {
    let (thread, flags) = match table.owner {
        None => (table.pid, PidfdFlags::empty()),
        Some(tid) => (tid, PidfdFlags::from_bits_retain(PIDFD_THREAD)),
    };
    let thread = pidfd_open(Pid::from_raw(thread.cast_signed())?, flags).ok()?;
    pidfd_getfd(thread, fd, PidfdGetfdFlags::empty()).ok()
}
