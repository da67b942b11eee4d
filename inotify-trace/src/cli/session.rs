//! What the commands that trace have in common: the event loop, and how a trace begins and ends.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use crate::{
    event::{BootTime, Event},
    source::{self, Live, Options},
    tracker::Tracker,
};

/// The event loop, which the kernel's ring buffer is read through.
pub(super) fn event_loop() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")
}

/// A trace until Ctrl-C, SIGTERM, or the end of its time.
pub(super) struct Session {
    /// Where events come from.
    pub(super) live: Live,
    /// When it ends by itself.
    pub(super) end: Option<Instant>,
    interrupt: Signal,
    terminate: Signal,
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// There may be events.
    Events,
    /// The time has come that was waited for.
    Due,
    /// The trace is over.
    Ended,
}

impl Session {
    /// Attaches, and begins to count the time.
    pub(super) fn start(options: Options, duration: Option<Duration>) -> anyhow::Result<Self> {
        // Before attaching: a signal that comes early must not kill the agent in mid-output.
        let interrupt = signal(SignalKind::interrupt()).context("cannot catch Ctrl-C")?;
        let terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        let live = Live::start(options)?;
        let end = duration.and_then(|duration| Instant::now().checked_add(duration));
        Ok(Self { live, end, interrupt, terminate })
    }

    /// Waits for events, or until `due`, and adds what has come to `events`: when it is over, all
    /// that has happened until then.
    pub(super) async fn next(
        &mut self,
        events: &mut Vec<Event>,
        due: Option<Instant>,
    ) -> anyhow::Result<Wake> {
        let wake = tokio::select! {
            biased;
            _ = self.interrupt.recv() => Wake::Ended,
            _ = self.terminate.recv() => Wake::Ended,
            () = at(self.end) => Wake::Ended,
            () = at(due) => Wake::Due,
            result = self.live.next(events) => { result?; Wake::Events }
        };
        match wake {
            Wake::Events => {}
            // What is judged now must not rest on what was so a moment ago.
            Wake::Due => self.live.catch_up(events),
            Wake::Ended => self.live.finish(events),
        }
        Ok(wake)
    }

    /// Says on standard error that tracing has begun, what there is already, and what cannot be
    /// seen.
    pub(super) fn greet(&self, tracker: &Tracker) -> io::Result<()> {
        let instances = tracker.instances().count();
        let watches: usize = tracker.instances().map(|instance| instance.watches().len()).sum();
        let mut err = io::stderr().lock();
        for unseen in self.live.unseen() {
            writeln!(err, "Not seen on this kernel: {unseen}.")?;
        }
        writeln!(
            err,
            "Tracing inotify ({} backend); {instances} instance{} with {watches} watch{} found. \
             Ctrl-C to end.",
            self.live.backend().map_or_else(|| "no".to_owned(), |backend| backend.to_string()),
            if instances == 1 { "" } else { "s" },
            if watches == 1 { "" } else { "es" },
        )
    }
}

/// When the event loop is to wake for what is due at a moment of the events' clock.
pub(super) fn instant(due: BootTime) -> Instant {
    Instant::now() + due.since(source::clock())
}

/// Waits until a moment; for ever if there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
