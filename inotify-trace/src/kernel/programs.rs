//! Loading and attaching the kernel programs.

use std::os::fd::{AsFd as _, AsRawFd};

use aya::{
    Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, RingBuf},
    programs::{Program, ProgramError},
};
use inotify_trace_common::record::Loss;
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    Backend, KernelError, RawEvent,
    ask::Asker,
    backend::{Attachment, Hook},
    btf::Btf,
    layout, probe, records, tracefs,
};

/// The kernel programs, as built by `cargo xtask build` or handed in by a packager.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/inotify-trace.bpf.o"));

/// State of a holder that executed a new program; see `holder` in the kernel programs' `maps.rs`.
const HOLDER_EXECUTED: u32 = 2;

/// How to load the programs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of the ring buffer: a power of two, at least one page.
    pub buffer: u32,
    /// Whether the kernel programs send diagnostics and the verifier explains itself.
    pub diagnostics: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { buffer: 4 << 20, diagnostics: false }
    }
}

/// Kernel programs, loaded and attached. Dropping them detaches all.
pub struct Programs {
    backend: Backend,
    ring: AsyncFd<RingBuf<MapData>>,
    holders: HashMap<MapData, u32, u32>,
    resting: Array<MapData, u32>,
    lost: PerCpuArray<MapData, u64>,
    /// Losses already told, in the order of [`Loss::ALL`].
    told: [u64; Loss::ALL.len()],
    /// The programs; they stay attached for as long as it lives.
    ebpf: Ebpf,
}

impl Programs {
    /// Loads the programs and attaches them to inotify and to what it depends on. From here on,
    /// events gather in the ring buffer.
    ///
    /// # Errors
    /// What is missing on this machine, and what to do about it. Nothing stays attached then.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn attach(settings: Settings) -> Result<Self, KernelError> {
        probe::require()?;
        let backend = Backend::Tracepoint;
        let tracefs = tracefs::ensure()?;
        for hook in backend.hooks() {
            if let Attachment::Tracepoint(category, name) = hook.attachment
                && !tracefs::has(tracefs, category, name)
            {
                return Err(KernelError::NoTracepoint {
                    name: format!("{category}:{name}"),
                    backend,
                });
            }
        }
        let layout = layout::resolve(&Btf::from_running_kernel()?)?;
        let mut ebpf = load_object(settings, &layout.words())?;
        if settings.diagnostics {
            forward_diagnostics(&mut ebpf);
        }
        for hook in backend.hooks() {
            load(&mut ebpf, hook)?;
        }
        // What an instance looks like must be known before the first hook runs.
        Asker(&ebpf).learn()?;
        for hook in backend.hooks() {
            attach(&mut ebpf, hook)?;
        }
        give_back_memory();
        let ring = RingBuf::try_from(take_map(&mut ebpf, "EVENTS")?).map_err(map_error)?;
        Ok(Self {
            backend,
            ring: readiness_of(ring)?,
            holders: HashMap::try_from(take_map(&mut ebpf, "HOLDERS")?).map_err(map_error)?,
            resting: Array::try_from(take_map(&mut ebpf, "RESTING")?).map_err(map_error)?,
            lost: PerCpuArray::try_from(take_map(&mut ebpf, "LOST")?).map_err(map_error)?,
            told: [0; Loss::ALL.len()],
            ebpf,
        })
    }

    /// The backend in use.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Questions to the kernel.
    #[must_use]
    pub fn ask(&self) -> Asker<'_> {
        Asker(&self.ebpf)
    }

    /// Waits until there is something to [`drain`](Self::drain).
    ///
    /// # Errors
    /// If the ring buffer cannot be waited for.
    pub async fn readable(&mut self) -> Result<(), KernelError> {
        // The ring is drained before the next wait, so the readiness can go at once: readiness
        // is edge-triggered, and what comes after this line sets it again.
        self.ring.readable_mut().await.map_err(KernelError::Ring)?.clear_ready();
        Ok(())
    }

    /// Whether [`readable`](Self::readable) should wait only for a ring buffer that is half full
    /// (and for what was told before this was set).
    pub fn rest(&mut self, resting: bool) {
        // It cannot fail for an index that exists; were it to, the agent would wake up too often
        // or, at worst, see what happened up to a second late.
        let _ = self.resting.set(0, u32::from(resting), 0);
    }

    /// Takes what is in the ring buffer, oldest first, but at most `most` records. Returns how
    /// many it took. Records that this version does not know go to `each` as such.
    pub fn drain(&mut self, most: usize, mut each: impl FnMut(RawEvent<'_>)) -> usize {
        let ring = self.ring.get_mut();
        let mut taken = 0;
        while taken < most
            && let Some(item) = ring.next()
        {
            each(records::decode(&item));
            taken += 1;
        }
        taken
    }

    /// Losses since this was last asked, by kind.
    pub fn losses(&mut self) -> impl Iterator<Item = (Loss, u64)> + use<> {
        let mut news = Vec::new();
        for (kind, told) in Loss::ALL.into_iter().zip(&mut self.told) {
            // A counter that cannot be read now is read the next time: it only grows.
            let Ok(counters) = self.lost.get(&(kind as u32), 0) else { continue };
            let total = counters.iter().sum::<u64>();
            if total > *told {
                news.push((kind, total - *told));
                *told = total;
            }
        }
        news.into_iter()
    }

    /// Takes a process off the holders, unless it made or used an instance since its last exec.
    pub fn forget_holder(&mut self, pid: u32) {
        if self.holders.get(&pid, 0).is_ok_and(|state| state == HOLDER_EXECUTED) {
            // Gone already if the process ended meanwhile.
            let _ = self.holders.remove(&pid);
        }
    }
}

/// Parses the object, sets what it needs to know and makes its maps.
fn load_object(settings: Settings, layout: &[u32]) -> Result<Ebpf, KernelError> {
    let log_level =
        if settings.diagnostics { VerifierLogLevel::DEBUG } else { VerifierLogLevel::DISABLE };
    EbpfLoader::new()
        .verifier_log_level(log_level)
        .map_max_entries("EVENTS", settings.buffer)
        .override_global("LAYOUT", layout, true)
        .load(OBJECT)
        .map_err(|error| match error {
            EbpfError::MapError(error) => map_error(error),
            error => KernelError::Object(error.to_string()),
        })
}

/// Gives freed memory back to the system: aya parses the kernel's whole BTF while loading, which
/// would stay with the agent for good, at twice the memory it needs for its work.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; glibc locks its arenas itself (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Sends the kernel programs' diagnostics to the log.
fn forward_diagnostics(ebpf: &mut Ebpf) {
    let logger = match aya_log::EbpfLogger::init(ebpf) {
        Ok(logger) => logger,
        Err(error) => return log::warn!("no diagnostics from the kernel programs: {error}"),
    };
    match readiness_of(logger) {
        Ok(mut logger) => drop(tokio::spawn(async move {
            while let Ok(mut ready) = logger.readable_mut().await {
                ready.get_inner_mut().flush();
                ready.clear_ready();
            }
        })),
        Err(error) => log::warn!("no diagnostics from the kernel programs: {error}"),
    }
}

/// Registers something with a descriptor of its own for readiness.
fn readiness_of<T: AsRawFd>(inner: T) -> Result<AsyncFd<T>, KernelError> {
    // SAFETY: both things this is called with, the ring buffer's map and the logger around
    // another one, own their descriptor, never exchange it, and are dropped after it is
    // deregistered.
    unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) }
        .map_err(|error| KernelError::Ring(error.into()))
}

fn load(ebpf: &mut Ebpf, hook: &Hook) -> Result<(), KernelError> {
    match program(ebpf, hook.program)? {
        Program::TracePoint(program) => program.load(),
        Program::RawTracePoint(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .map_err(|error| refused(&format!("program {}", hook.program), &error))
}

fn attach(ebpf: &mut Ebpf, hook: &Hook) -> Result<(), KernelError> {
    match (program(ebpf, hook.program)?, hook.attachment) {
        (Program::TracePoint(program), Attachment::Tracepoint(category, name)) => {
            program.attach(category, name).map(drop)
        }
        (Program::RawTracePoint(program), Attachment::Raw(name)) => program.attach(name).map(drop),
        (_, Attachment::Ask) => Ok(()),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .map_err(|error| refused(&format!("attaching {}", hook.program), &error))
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, KernelError> {
    ebpf.program_mut(name).ok_or_else(|| KernelError::Object(format!("no program {name}")))
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, KernelError> {
    ebpf.take_map(name).ok_or_else(|| KernelError::Object(format!("no map {name}")))
}

fn map_error(error: MapError) -> KernelError {
    match &error {
        MapError::CreateError { name, io_error, .. } => KernelError::Refused {
            what: format!("map {name}"),
            reason: io_error.to_string(),
            hint: hint(io_error),
        },
        _ => KernelError::Object(error.to_string()),
    }
}

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

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Programs")
            .field("backend", &self.backend)
            .field("ring", &self.ring.get_ref().as_fd())
            .finish_non_exhaustive()
    }
}
