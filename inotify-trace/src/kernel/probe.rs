//! Probes this machine's kernel, privileges and BPF support, for `inotify-trace check` and for errors
//! that name the remedy.

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};
use inotify_trace_btf::Btf;

use super::{
    KernelError,
    layout::{self, lost_features},
    tracefs,
};
use crate::host::{confined, privileges, surroundings};

/// The result of one probe.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The subject.
    pub subject: &'static str,
    /// Its state.
    pub state: State,
    /// The finding; if something is missing, also the consequence and the remedy.
    pub detail: String,
}

/// The state of a probed subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Complete.
    Good,
    /// A feature is lost, but tracing works.
    Limited,
    /// Tracing cannot work.
    Missing,
    /// It cannot be probed.
    Unknown,
}

impl State {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }
}

/// Probes all requirements of tracing.
#[must_use]
pub fn examine() -> Vec<Finding> {
    vec![
        kernel(),
        btf(),
        privileges(),
        ring_buffer(),
        programs(),
        helpers(),
        tracefs(),
        cgroups(),
        files(),
    ]
}

/// Probes only the requirements whose lack makes loading fail with unclear errors.
pub(super) fn require() -> Result<(), KernelError> {
    if surroundings::is_in_pid_namespace() {
        return Err(KernelError::PidNamespace);
    }
    let missing = missing_capabilities();
    if !missing.is_empty() {
        return Err(KernelError::Privilege { missing });
    }
    // An error means that the probe itself was refused: loading reports the reason.
    if is_map_supported(MapType::RingBuf).is_ok_and(|supported| !supported) {
        return Err(KernelError::NoRingBuffer { release: release() });
    }
    Ok(())
}

fn good(subject: &'static str, detail: impl Into<String>) -> Finding {
    Finding { subject, state: State::Good, detail: detail.into() }
}

fn limited(subject: &'static str, detail: impl Into<String>) -> Finding {
    Finding { subject, state: State::Limited, detail: detail.into() }
}

fn missing(subject: &'static str, detail: impl Into<String>) -> Finding {
    Finding { subject, state: State::Missing, detail: detail.into() }
}

fn unknown(subject: &'static str, detail: impl Into<String>) -> Finding {
    Finding { subject, state: State::Unknown, detail: detail.into() }
}

/// The finding on what only the kernel can tell, if it tells this process nothing.
fn refused(subject: &'static str) -> Option<Finding> {
    let lacking = missing_capabilities();
    let detail = || format!("cannot be probed without {lacking}: run with sudo");
    (!lacking.is_empty()).then(|| unknown(subject, detail()))
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn kernel() -> Finding {
    let name = rustix::system::uname();
    let detail = format!("Linux {} {}", release(), name.machine().to_string_lossy());
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        good("kernel", detail)
    } else {
        limited("kernel", format!("{detail}: not tested on this architecture"))
    }
}

fn btf() -> Finding {
    let layout = Btf::from_running_kernel()
        .map_err(|error| error.to_string())
        .and_then(|btf| layout::resolve(&btf).map_err(|error| error.to_string()));
    match layout {
        Ok(layout) => {
            let lost = lost_features(&layout);
            if lost.is_empty() {
                good("BTF", "every structure that is read was found")
            } else {
                let lost = lost.iter().map(ToString::to_string).collect::<Vec<_>>();
                limited("BTF", format!("not on this kernel: {}", lost.join("; ")))
            }
        }
        Err(error) => missing("BTF", error),
    }
}

/// The missing capabilities without which nothing can be loaded, in words.
fn missing_capabilities() -> String {
    let vital = privileges::missing().filter(|it| it.loss.is_none());
    vital.map(|it| it.name).collect::<Vec<_>>().join(" and ")
}

fn privileges() -> Finding {
    let lacking = missing_capabilities();
    if !lacking.is_empty() {
        return missing("privileges", format!("{lacking} missing: run with sudo"));
    }
    let losses = privileges::missing()
        .filter_map(|it| Some(format!("{} missing: {}", it.name, it.loss?)))
        .collect::<Vec<_>>();
    if losses.is_empty() {
        let names = privileges::NEEDED.map(|it| it.name).join(", ");
        good("privileges", format!("all that are used: {names}"))
    } else {
        limited("privileges", format!("{}; run with sudo", losses.join("; ")))
    }
}

fn ring_buffer() -> Finding {
    if let Some(refused) = refused("ring buffer") {
        return refused;
    }
    match is_map_supported(MapType::RingBuf) {
        Ok(true) => good("ring buffer", "supported"),
        Ok(false) => missing(
            "ring buffer",
            format!("kernel {} has none: needs Linux 5.8 or later", release()),
        ),
        Err(error) => unknown("ring buffer", format!("cannot be probed: {error}; run with sudo")),
    }
}

fn programs() -> Finding {
    if let Some(refused) = refused("program types") {
        return refused;
    }
    let supported = |kind| matches!(is_program_supported(kind), Ok(true));
    let absent =
        [("tracepoint", ProgramType::TracePoint), ("raw tracepoint", ProgramType::RawTracePoint)]
            .into_iter()
            .filter(|&(_, kind)| !supported(kind))
            .map(|(name, _)| name)
            .collect::<Vec<_>>();
    if absent.is_empty() {
        good("program types", "tracepoint and raw tracepoint programs can be loaded")
    } else {
        missing(
            "program types",
            format!("refused: {}; run with sudo, on the host, without seccomp", absent.join(", ")),
        )
    }
}

fn helpers() -> Finding {
    if let Some(refused) = refused("helpers") {
        return refused;
    }
    // Helpers that the programs require.
    let needed = [
        (BpfHelper::BPF_FUNC_probe_read_kernel, "bpf_probe_read_kernel"),
        (BpfHelper::BPF_FUNC_probe_read_user_str, "bpf_probe_read_user_str"),
        (BpfHelper::BPF_FUNC_ktime_get_boot_ns, "bpf_ktime_get_boot_ns"),
        (BpfHelper::BPF_FUNC_get_current_cgroup_id, "bpf_get_current_cgroup_id"),
        (BpfHelper::BPF_FUNC_ringbuf_reserve, "bpf_ringbuf_reserve"),
    ];
    let absent = needed
        .into_iter()
        .filter(|&(helper, _)| {
            !matches!(is_helper_supported(ProgramType::RawTracePoint, helper), Ok(true))
        })
        .map(|(_, name)| name)
        .collect::<Vec<_>>();
    if absent.is_empty() {
        good("helpers", "all that the programs call")
    } else {
        missing("helpers", format!("not on this kernel: {}; needs Linux 5.8", absent.join(", ")))
    }
}

fn tracefs() -> Finding {
    match tracefs::ensure() {
        Ok(place) if tracefs::has(place, "syscalls", "sys_enter_close") => {
            good("tracefs", format!("mounted at {}", place.display()))
        }
        Ok(_) => limited(
            "tracefs",
            "no system call tracepoints (CONFIG_FTRACE_SYSCALLS): the tracepoint backend cannot run",
        ),
        Err(error) => {
            limited("tracefs", format!("{error}; without it the tracepoint backend cannot run"))
        }
    }
}

fn cgroups() -> Finding {
    match crate::host::cgroup::mount_point() {
        Some(place) => good("cgroup v2", format!("mounted at {}", place.display())),
        None => limited(
            "cgroup v2",
            "not mounted: no container can be told from another; boot with \
             systemd.unified_cgroup_hierarchy=1, or mount it",
        ),
    }
}

fn files() -> Finding {
    match confined::is_allowed() {
        Ok(()) => good("files", "openat2 looks up paths that others choose"),
        Err(error) => limited(
            "files",
            format!(
                "openat2 is refused ({error}): names of users and of their containers, and paths of \
                 watches, are missing; allow it in the seccomp profile, and leave out RestrictSUIDSGID= \
                 of a systemd unit"
            ),
        ),
    }
}
