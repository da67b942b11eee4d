//! What can go wrong between the agent and the kernel, and what to do about it.

use aya::{maps::MapError, programs::ProgramError};

use inotify_trace_btf::BtfError;

use super::{Backend, layout::LayoutError};

/// Why the kernel programs could not be loaded, attached or asked.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Privileges are missing.
    #[error("{missing} missing: loading kernel programs needs it; run with sudo")]
    Privilege {
        /// The capabilities that are missing.
        missing: String,
    },
    /// The kernel is too old.
    #[error(
        "kernel {release} has no BPF ring buffer: inotify-trace needs Linux 5.8 or later \
         (5.10 or later to see what existed before it started)"
    )]
    NoRingBuffer {
        /// What `uname -r` says.
        release: String,
    },
    /// No BTF, or one that cannot be read.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The kernel's structures are not as expected.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// tracefs is not there and cannot be mounted.
    #[error(
        "tracefs is not mounted and mounting it failed ({source}): run \
         `mount -t tracefs tracefs /sys/kernel/tracing` as root, or give the container the \
         host's /sys/kernel/tracing"
    )]
    Tracefs {
        /// Why mounting failed.
        source: std::io::Error,
    },
    /// The kernel lacks a tracepoint that the backend cannot do without.
    #[error("this kernel has no tracepoint {name} (CONFIG_FTRACE_SYSCALLS)")]
    NoTracepoint {
        /// `category:name`.
        name: String,
    },
    /// What agent and kernel programs share could not be mapped.
    #[error("cannot map the kernel programs' array {name}: {source}")]
    Window {
        /// The array.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel has no kprobes.
    #[error("this kernel has no kprobes (CONFIG_KPROBES and CONFIG_KPROBE_EVENTS)")]
    NoKprobes,
    /// No backend works here.
    #[error("no way to hook inotify works here; see `inotify-trace check`{}", each(refusals))]
    NoBackend {
        /// Each backend and why it does not work.
        refusals: Vec<(Backend, KernelError)>,
    },
    /// The kernel refused BPF altogether, or one program.
    #[error("the kernel refused {what}: {reason}{hint}")]
    Refused {
        /// What was refused.
        what: String,
        /// The kernel's words.
        reason: String,
        /// What may lie behind it.
        hint: &'static str,
    },
    /// The object does not fit this agent.
    #[error("kernel object: {0}; it is not of this version: rebuild with `cargo xtask build`")]
    Object(String),
    /// The agent could not make the instance from which it learns what one looks like.
    #[error(
        "cannot make an inotify instance to learn from ({source}) and found none to borrow: raise \
         the limit for the moment, as in `sysctl fs.inotify.max_user_instances=1024`"
    )]
    Probe {
        /// Why.
        source: std::io::Error,
    },
    /// The ring buffer cannot be read.
    #[error("cannot read the ring buffer: {0}")]
    Ring(std::io::Error),
}

fn each(refusals: &[(Backend, KernelError)]) -> String {
    refusals.iter().map(|(backend, error)| format!("\n  {backend}: {error}")).collect()
}

/// Why a map could not be made or used.
pub(super) fn map_error(error: MapError) -> KernelError {
    match &error {
        MapError::CreateError { name, io_error, .. } => KernelError::Refused {
            what: format!("map {name}"),
            reason: io_error.to_string(),
            hint: hint(io_error),
        },
        _ => KernelError::Object(error.to_string()),
    }
}

/// Why a program could not be loaded, attached or run.
pub(super) fn refused(what: &str, error: &ProgramError) -> KernelError {
    let (reason, hint) = match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let log = log.trim();
            let log = if log.is_empty() { String::new() } else { format!("\n{log}\n") };
            (format!("{io_error}{log}"), hint(io_error))
        }
        ProgramError::SyscallError(error) => (error.to_string(), hint(&error.io_error)),
        error => (error.to_string(), ""),
    };
    KernelError::Refused { what: what.to_owned(), reason, hint }
}

/// What may lie behind a refusal.
fn hint(error: &std::io::Error) -> &'static str {
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => {
            " (a locked memory limit before Linux 5.11: try `ulimit -l unlimited`; kernel \
             lockdown; a seccomp filter; or a user namespace: run on the host with sudo, and see \
             `inotify-trace check`)"
        }
        Some(rustix::io::Errno::INVAL) => " (run again with -v for the verifier's log)",
        _ => "",
    }
}
