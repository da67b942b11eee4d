//! Loads and attaches the programs of the object.

use std::{
    collections::{HashMap, HashSet},
    os::fd::AsRawFd,
    path::Path,
};

use aya::{Ebpf, EbpfError, VerifierLogLevel, programs::Program};
use inotify_trace_btf::Btf;
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    Backend, KernelError, Settings, ahead,
    ask::Asker,
    backend::{Attachment, Hook, ITERATOR, QUESTIONS},
    error::{map_error, refused},
    functions::Functions,
    iterate, layout,
    links::Links,
    probe, tracefs, untyped,
};

/// The kernel programs, built by `cargo xtask build` or supplied by a packager.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/inotify-trace.bpf.o"));

/// perf's type number for kprobes; missing on kernels without kprobes.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe/type";

/// Loads and attaches programs. Dropping it before `finish` detaches them.
pub(super) struct Loader {
    ebpf: Ebpf,
    links: Links,
    functions: Functions,
    /// Whether existing instances are found by the iterator.
    iterates: bool,
    /// Optional programs that this kernel cannot attach.
    absent: HashSet<&'static str>,
    /// Programs that were loaded in place of others.
    substitutes: HashMap<&'static str, &'static str>,
    losses: Vec<&'static str>,
}

/// Programs that are attached.
pub(super) struct Installed {
    pub(super) ebpf: Ebpf,
    /// What keeps them attached.
    pub(super) links: Links,
    pub(super) functions: Functions,
    pub(super) losses: Vec<&'static str>,
}

impl Loader {
    /// Checks this machine's requirements, parses the object, sets its constants and creates its
    /// maps. `backends` are those that may be installed.
    pub(super) fn new(settings: Settings, backends: &[Backend]) -> Result<Self, KernelError> {
        probe::require()?;
        let kernel = Btf::from_running_kernel()?;
        let layout = layout::resolve(&kernel)?;
        let functions = backends.iter().flat_map(|backend| backend.traced_functions());
        let functions = functions.chain([iterate::FUNCTION]).collect::<Vec<_>>();
        let functions = Functions::find(&kernel, &functions);
        drop(kernel);
        let log_level =
            if settings.diagnostics { VerifierLogLevel::DEBUG } else { VerifierLogLevel::DISABLE };
        let mut ebpf = untyped::loader()
            .verifier_log_level(log_level)
            .map_max_entries("EVENTS", settings.buffer)
            .map_max_entries("HOLDERS", settings.capacity.holders)
            .map_max_entries("CALLS", settings.capacity.calls)
            .map_max_entries("PAYERS", settings.capacity.payers)
            .override_global("LAYOUT", &layout.words()[..], true)
            .load(OBJECT)
            .map_err(|error| match error {
                EbpfError::MapError(error) => map_error(error),
                error => KernelError::Object(error.to_string()),
            })?;
        if settings.diagnostics {
            forward_diagnostics(&mut ebpf);
        }
        Ok(Self {
            ebpf,
            links: Links::default(),
            functions,
            iterates: !settings.walk_proc,
            absent: HashSet::new(),
            substitutes: HashMap::new(),
            losses: Vec::new(),
        })
    }

    /// Loads and attaches the programs of a backend. If that fails, those already loaded are
    /// detached and unloaded.
    pub(super) fn install(&mut self, backend: Backend) -> Result<(), KernelError> {
        let result = self.try_to_install(backend);
        if result.is_err() {
            self.uninstall(backend);
        }
        result
    }

    /// Loads only the programs that answer questions, which are attached to nothing.
    pub(super) fn prepare_for_questions(&mut self) -> Result<(), KernelError> {
        self.load_ahead(QUESTIONS.iter());
        self.load(QUESTIONS.iter())?;
        Asker(&self.ebpf).teach()
    }

    fn try_to_install(&mut self, backend: Backend) -> Result<(), KernelError> {
        if backend == Backend::Kprobe && !Path::new(KPROBES).exists() {
            return Err(KernelError::NoKprobes);
        }
        // The first shows whether the kernel takes any of them.
        self.load(backend.hooks_to_load().take(1))?;
        self.load_ahead(backend.hooks_to_load());
        self.load(backend.hooks_to_load())?;
        // The programs must recognize instances before the first hook runs.
        Asker(&self.ebpf).teach()?;
        self.attach(backend.hooks())
    }

    /// Detaches and unloads the programs of a backend.
    pub(super) fn uninstall(&mut self, backend: Backend) {
        self.links = Links::default();
        for hook in backend.hooks() {
            for name in [Some(hook.program), hook.substitute].into_iter().flatten() {
                // It fails for programs that were not loaded.
                let _ = match self.ebpf.program_mut(name) {
                    Some(Program::FEntry(program)) => program.unload(),
                    Some(Program::FExit(program)) => program.unload(),
                    Some(Program::KProbe(program)) => program.unload(),
                    Some(Program::TracePoint(program)) => program.unload(),
                    Some(Program::RawTracePoint(program)) => program.unload(),
                    _ => Ok(()),
                };
            }
        }
        self.absent.clear();
        self.substitutes.clear();
        self.losses.clear();
    }

    /// What the programs that could not be attached would have seen.
    pub(super) fn losses(&self) -> &[&'static str] {
        &self.losses
    }

    /// Hands over the installed programs.
    pub(super) fn finish(self) -> Installed {
        let Self { ebpf, links, functions, losses, .. } = self;
        Installed { ebpf, links, functions, losses }
    }

    /// Loads what it can of these hooks' programs, and of the iterator, if that is wanted.
    fn load_ahead(&mut self, hooks: impl Iterator<Item = &'static Hook>) {
        // The iterator takes the longest.
        let iterator = self.iterates.then_some(&ITERATOR);
        ahead::load(&mut self.ebpf, iterator.into_iter().chain(hooks), &self.functions);
    }

    /// Loads the programs of these hooks.
    fn load(&mut self, hooks: impl Iterator<Item = &'static Hook>) -> Result<(), KernelError> {
        for hook in hooks {
            let mut result = self.load_one(hook.program, hook.attachment);
            if let (Err(error), Some(substitute)) = (&result, hook.substitute) {
                log::info!("{substitute} in the place of {}: {error}", hook.program);
                self.substitutes.insert(hook.program, substitute);
                result = self.load_one(substitute, hook.attachment);
            }
            self.tolerate(hook, result)?;
        }
        Ok(())
    }

    fn load_one(&mut self, name: &str, attachment: Attachment) -> Result<(), KernelError> {
        let Self { ebpf, functions, .. } = self;
        ahead::load_one(program(ebpf, name)?, name, attachment, functions).map_err(|error| {
            let place = match attachment {
                Attachment::Function(name) => format!(" (kernel function {name})"),
                _ => String::new(),
            };
            refused(&format!("program {name}{place}"), &error)
        })
    }

    /// Attaches the programs of these hooks, in their order.
    fn attach(&mut self, hooks: impl Iterator<Item = &'static Hook>) -> Result<(), KernelError> {
        for hook in hooks {
            if !self.absent.contains(hook.program) {
                let result = self.attach_one(hook);
                self.tolerate(hook, result)?;
            }
        }
        Ok(())
    }

    fn attach_one(&mut self, hook: &Hook) -> Result<(), KernelError> {
        if let Attachment::Syscall(name) = hook.attachment
            && !tracefs::has(tracefs::ensure()?, "syscalls", name)
        {
            return Err(KernelError::NoTracepoint { name: format!("syscalls:{name}") });
        }
        let place = match hook.attachment {
            Attachment::Function(name) | Attachment::Syscall(name) | Attachment::Raw(name) => name,
            Attachment::Ask => return Ok(()),
        };
        let name = self.substitutes.get(hook.program).unwrap_or(&hook.program);
        self.links
            .attach(program(&mut self.ebpf, name)?, place)
            .map_err(|error| refused(&format!("attaching {name}"), &error))
    }

    /// Ignores a failure to load or attach an optional program.
    fn tolerate(
        &mut self,
        hook: &Hook,
        result: Result<(), KernelError>,
    ) -> Result<(), KernelError> {
        match (result, hook.loss) {
            (Err(error), Some(loss)) => {
                log::info!("without {}: {error}", hook.program);
                self.absent.insert(hook.program);
                if !self.losses.contains(&loss) {
                    self.losses.push(loss);
                }
                Ok(())
            }
            (result, _) => result,
        }
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, KernelError> {
    ebpf.program_mut(name).ok_or_else(|| KernelError::Object(format!("no program {name}")))
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

/// Registers an object with its own descriptor for readiness.
pub(super) fn readiness_of<T: AsRawFd>(inner: T) -> Result<AsyncFd<T>, KernelError> {
    // SAFETY: both things this is called with, the ring buffer's map and the logger around
    // another one, own their descriptor, never exchange it, and are dropped after it is
    // deregistered.
    unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) }
        .map_err(|error| KernelError::Ring(error.into()))
}
