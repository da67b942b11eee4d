//! Loading and attaching the kernel programs.

use std::os::fd::AsFd as _;

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use inotify_trace_common::record::{self, CPUS, Loss};
use tokio::io::unix::AsyncFd;

use super::{
    Backend, KernelError, RawEvent,
    ask::{self, Asker},
    backend::OVERFLOWS,
    error::map_error,
    functions::Functions,
    iterate::Iteration,
    links::Links,
    loader::{Installed, Loader, readiness_of},
    meter::Meter,
    misses, records,
    window::Window,
};

/// How to load the programs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The size of the ring buffer in bytes: a power of two, at least one page.
    pub buffer: u32,
    /// Whether the kernel programs send diagnostics and the verifier explains itself.
    pub diagnostics: bool,
    /// The backend to use; None for the best that the kernel allows.
    pub backend: Option<Backend>,
    /// Whether existing instances are found through /proc, even if the kernel has iterators.
    pub walk_proc: bool,
    /// The size of the kernel programs' maps.
    pub capacity: Capacity,
}

/// How many entries the kernel programs' maps have. Beyond that, something is not seen, and is
/// counted (`inotify-trace-ebpf/src/maps.rs`, `call.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Processes that hold instances. Closes by others are not seen as they happen.
    pub holders: u32,
    /// inotify system calls in progress. The event of a forgotten one is lost.
    pub calls: u32,
    /// Users of whom the counters are known even if a creation fails.
    pub payers: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { holders: record::HOLDERS, calls: record::CALLS, payers: record::PAYERS }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            buffer: 4 << 20,
            diagnostics: false,
            backend: None,
            walk_proc: false,
            capacity: Capacity::default(),
        }
    }
}

/// Bytes of the ring buffer if there are only answers to questions, which are read every few. Its memory is
/// resident twice, and would be most of what a listing takes.
const ANSWERS: u32 = 512 << 10;

/// Kernel programs, loaded and attached. Dropping them detaches all.
pub struct Programs {
    backend: Option<Backend>,
    losses: Vec<&'static str>,
    ring: AsyncFd<RingBuf<MapData>>,
    resting: Window,
    lost: Window,
    /// The size of the ring buffer in bytes.
    capacity: u32,
    /// Losses already reported, in the order of [`Loss::ALL`].
    reported: [u64; Loss::ALL.len()],
    /// Whether a call without a beginning is a loss; see [`Self::count_lost_calls`].
    counts_lost_calls: bool,
    /// Skipped runs already reported.
    skipped: u64,
    functions: Functions,
    /// Whether the iterator is wanted, and the kernel has not refused it.
    can_iterate: bool,
    /// What keeps the programs attached.
    _links: Links,
    /// The programs.
    ebpf: Ebpf,
}

impl Programs {
    /// Loads and attaches the programs of the best backend that this kernel allows, or of the one in
    /// `settings`. From here on, events collect in the ring buffer.
    ///
    /// # Errors
    /// If a requirement is missing on this machine, with the remedy. Nothing stays attached then.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn attach(settings: Settings) -> Result<Self, KernelError> {
        let backends = settings.backend.map_or(Backend::ALL.to_vec(), |backend| vec![backend]);
        let mut loader = Loader::new(settings, &backends)?;
        let mut refusals = Vec::new();
        for backend in backends {
            match loader.install(backend) {
                Ok(()) => return Self::new(Some(backend), loader, settings),
                Err(error) => {
                    log::info!("no {backend} backend: {error}");
                    refusals.push((backend, error));
                }
            }
        }
        match <[_; 1]>::try_from(refusals) {
            Ok([(_, error)]) => Err(error),
            Err(refusals) => Err(KernelError::NoBackend { refusals }),
        }
    }

    /// Loads only the programs that answer questions: nothing is traced.
    ///
    /// # Errors
    /// If a requirement is missing on this machine, with the remedy.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn for_questions(mut settings: Settings) -> Result<Self, KernelError> {
        settings.buffer = settings.buffer.min(ANSWERS);
        let mut loader = Loader::new(settings, &[])?;
        loader.prepare_for_questions()?;
        Self::new(None, loader, settings)
    }

    fn new(
        backend: Option<Backend>,
        loader: Loader,
        settings: Settings,
    ) -> Result<Self, KernelError> {
        let Installed { mut ebpf, links, functions, losses } = loader.finish();
        let ring = RingBuf::try_from(take_map(&mut ebpf, "EVENTS")?).map_err(map_error)?;
        Ok(Self {
            backend,
            losses,
            ring: readiness_of(ring)?,
            resting: Window::open(&mut ebpf, "RESTING", 1)?,
            lost: Window::open(&mut ebpf, "LOST", CPUS as usize * Loss::ALL.len())?,
            reported: [0; Loss::ALL.len()],
            counts_lost_calls: false,
            skipped: 0,
            can_iterate: !settings.walk_proc,
            capacity: settings.buffer,
            _links: links,
            ebpf,
            functions,
        })
    }

    /// The backend in use; None if only questions are answered.
    #[must_use]
    pub fn backend(&self) -> Option<Backend> {
        self.backend
    }

    /// The features that the backend lacks on this kernel.
    #[must_use]
    pub fn unseen(&self) -> &[&'static str] {
        &self.losses
    }

    /// Whether each overflow of a queue makes a record. If not, the agent looks for them.
    #[must_use]
    pub fn sees_overflows(&self) -> bool {
        self.backend.is_some_and(Backend::is_exact) && !self.losses.contains(&OVERFLOWS)
    }

    /// What measures them from outside.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter::new(&self.ebpf, self.ring.get_ref().as_fd(), self.capacity)
    }

    /// Finds existing instances by an iterator over the descriptors of all processes. The answers
    /// are `InstanceFound` records. None if the kernel has no such iterators.
    pub fn iterate(&mut self) -> Option<Iteration> {
        if !self.can_iterate {
            return None;
        }
        let iteration = Iteration::start(&mut self.ebpf, &self.functions);
        iteration
            .inspect_err(|error| {
                log::info!("no iterator, so /proc is looked through: {error}");
                self.can_iterate = false;
            })
            .ok()
    }

    /// Frees the memory used for loading. Call it when nothing more will be loaded.
    pub fn free_loading_memory(&mut self) {
        self.functions.free_table();
        give_back_memory();
    }

    /// Loads the program that answers questions about descriptors, if it is not loaded.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn prepare_to_identify(&mut self) -> Result<(), KernelError> {
        ask::load_identify(&mut self.ebpf)
    }

    /// Questions to the kernel.
    #[must_use]
    pub fn ask(&self) -> Asker<'_> {
        Asker(&self.ebpf)
    }

    /// Waits until there are records to [`drain`](Self::drain).
    ///
    /// # Errors
    /// If the ring buffer cannot be waited for.
    pub async fn readable(&mut self) -> Result<(), KernelError> {
        // The ring is drained before the next wait, so the readiness can be cleared at once: it is
        // edge-triggered, and records after this line set it again.
        self.ring.readable_mut().await.map_err(KernelError::Ring)?.clear_ready();
        Ok(())
    }

    /// Sets whether [`readable`](Self::readable) waits until the ring buffer is half full. Records
    /// sent before this call may end the wait, too.
    pub fn rest(&mut self, resting: bool) {
        self.resting.set(u64::from(resting));
    }

    /// Takes at most `most` records out of the ring buffer, oldest first, and returns their number.
    /// Records that this version does not know are passed to `each` as unknown.
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

    /// Losses since the last call, by kind.
    pub fn losses(&mut self) -> impl Iterator<Item = (Loss, u64)> + use<> {
        let mut news = Vec::new();
        for (kind, reported) in Loss::ALL.into_iter().zip(&mut self.reported) {
            let total = self.lost.sum(kind as usize, Loss::ALL.len());
            let is_counted = kind != Loss::CallsFull || self.counts_lost_calls;
            if total > *reported && is_counted {
                news.push((kind, total - *reported));
                *reported = total;
            }
        }
        news.into_iter()
    }

    /// Reports losses of calls from now on. Calls that began before tracing seem lost when they
    /// end, but the snapshot shows what they did: call this after it.
    pub fn count_lost_calls(&mut self) {
        let calls = Loss::CallsFull as usize;
        self.reported[calls] = self.lost.sum(calls, Loss::ALL.len());
        self.counts_lost_calls = true;
    }

    /// The number of program runs that the kernel skipped since the last call.
    pub fn skipped(&mut self) -> u64 {
        let total = misses::count(&self.ebpf);
        let new = total.saturating_sub(self.skipped);
        self.skipped = total;
        new
    }
}

/// Returns freed memory to the system: what is needed for loading only is more than what the agent
/// needs later, and would be kept.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no preconditions; glibc locks its arenas itself (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, KernelError> {
    ebpf.take_map(name).ok_or_else(|| KernelError::Object(format!("no map {name}")))
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Programs")
            .field("backend", &self.backend)
            .field("ring", &self.ring.get_ref().as_fd())
            .finish_non_exhaustive()
    }
}
