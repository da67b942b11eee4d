//! Errors between the agent and the kernel, with remedies.

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
    /// The kernel programs and this process number processes differently.
    #[error(
        "this is a PID namespace, in which processes have other numbers than in the kernel's events: \
         run it on the host, or let the container share the host's processes (hostPID: true in \
         Kubernetes, --pid=host of Docker and Podman)"
    )]
    PidNamespace,
    /// The kernel is too old.
    #[error(
        "kernel {release} has no BPF ring buffer: inotify-trace needs Linux 5.8 or later \
         (5.10 or later to see what existed before it started)"
    )]
    NoRingBuffer {
        /// The output of `uname -r`.
        release: String,
    },
    /// No BTF, or one that cannot be read.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The kernel's structures are not as expected.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// tracefs is not mounted and cannot be mounted.
    #[error(
        "tracefs is not mounted and mounting it failed ({source}): run \
         `mount -t tracefs tracefs /sys/kernel/tracing` as root, or give the container the \
         host's /sys/kernel/tracing"
    )]
    Tracefs {
        /// Why mounting failed.
        source: std::io::Error,
    },
    /// tracefs is mounted for others.
    #[error(
        "tracefs is mounted at {place}, and only root may look into it: run with sudo, or with \
         CAP_DAC_READ_SEARCH as well"
    )]
    TracefsHidden {
        /// Where.
        place: &'static str,
    },
    /// The kernel lacks a tracepoint that the backend requires.
    #[error("this kernel has no tracepoint {name} (CONFIG_FTRACE_SYSCALLS)")]
    NoTracepoint {
        /// `category:name`.
        name: String,
    },
    /// A map shared by agent and kernel programs could not be mapped into memory.
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
        /// Each backend, and the reason why it does not work.
        refusals: Vec<(Backend, KernelError)>,
    },
    /// The kernel refused BPF altogether, or one program.
    #[error("the kernel refused {what}: {reason}{hint}")]
    Refused {
        /// The refused program or call.
        what: String,
        /// The kernel's error.
        reason: String,
        /// A possible cause.
        hint: &'static str,
    },
    /// The object is of another version than the agent.
    #[error("kernel object: {0}; it is not of this version: rebuild with `cargo xtask build`")]
    Object(String),
    /// The agent could not create the instance by which the programs recognize others.
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

/// The error of a map that could not be created or used.
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

/// The error of a program that could not be loaded, attached or run.
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

/// A possible cause of a refusal.
fn hint(error: &std::io::Error) -> &'static str {
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => {
            " (a locked memory limit before Linux 5.11: try `ulimit -l unlimited`; kernel \
             lockdown; a seccomp filter; kernel.perf_event_paranoid above 2 without CAP_SYS_ADMIN; \
             or a user namespace: run on the host with sudo)"
        }
        Some(rustix::io::Errno::INVAL) => " (run again with -v for the verifier's log)",
        _ => "",
    }
}
