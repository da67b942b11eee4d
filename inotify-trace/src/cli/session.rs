//! The event loop, the beginning and the end of a trace, for all commands that trace.

use std::{io, time::Duration};

use anyhow::Context as _;
use inotify_trace_model::tracker::Tracker;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use super::say::say;
use crate::{
    feed::{Live, Options, Session, Wake},
    host::{privileges, surroundings},
    output::{end_writes_on, words},
    threads,
};

/// A single-threaded event loop, for commands that look at the machine.
pub(super) fn event_loop() -> anyhow::Result<Runtime> {
    surroundings::prepare()?;
    tokio::runtime::Builder::new_current_thread()
        .thread_stack_size(threads::STACK)
        .enable_all()
        .build()
        .context("cannot start the event loop")
}

/// Catches the signals that end a trace.
pub(super) fn catch_signals() -> anyhow::Result<Vec<Signal>> {
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    // What nohup started outlives its terminal.
    if !surroundings::ignores_hang_up() {
        kinds.push(SignalKind::hangup());
    }
    let caught: io::Result<Vec<_>> = kinds.iter().map(|&kind| signal(kind)).collect();
    let caught = caught.context("cannot catch signals")?;
    let numbers: Vec<_> = kinds.iter().map(SignalKind::as_raw_value).collect();
    end_writes_on(&numbers).context("cannot catch signals")?;
    Ok(caught)
}

/// Attaches the kernel programs. The session ends with Ctrl-C, SIGTERM, SIGHUP, or after `duration`.
pub(super) fn start(options: Options, duration: Option<Duration>) -> anyhow::Result<Session> {
    // Before attaching: a signal that comes early must not kill the agent in mid-output.
    let caught = catch_signals()?;
    let mut session = Session::new(Live::start(options)?);
    for mut signal in caught {
        session.add(Box::new(move |context| signal.poll_recv(context).map(|_| Wake::Ended)));
    }
    if let Some(end) = duration.and_then(|duration| Instant::now().checked_add(duration)) {
        session.end_at(end);
    }
    Ok(session)
}

/// Prints to standard error which capabilities are missing, and what is lost by that.
pub(super) fn warn_of_missing_capabilities() -> io::Result<()> {
    privileges::missing().filter_map(|it| it.loss.map(|loss| (it.name, loss))).try_for_each(
        |(name, loss)| say(format_args!("inotify-trace: {name} missing: {loss}; run with sudo")),
    )
}

/// Prints to standard error how many watches were not looked up.
pub(super) fn warn_of_left_out(watches: usize) -> io::Result<()> {
    if watches == 0 {
        return Ok(());
    }
    say(format_args!(
        "inotify-trace: {watches} watches were not looked up, and may have no path: those of one mount \
         namespace would take too long (see Look-ups of watches in docs/security.md)"
    ))
}

/// Prints to standard error that tracing has begun, the counts of existing instances and watches,
/// and what this kernel's backend cannot see.
pub(super) fn greet(session: &Session, tracker: &Tracker) -> io::Result<()> {
    let live = session.live();
    let instances = tracker.instances().count();
    let watches: usize = tracker.instances().map(|instance| instance.watches().len()).sum();
    warn_of_missing_capabilities()?;
    warn_of_left_out(live.left_out())?;
    for unseen in live.unseen() {
        say(format_args!("Not seen on this kernel: {unseen}."))?;
    }
    say(format_args!(
        "Tracing inotify ({} backend); {} with {} found. Ctrl-C to end.",
        live.backend().map_or_else(|| "no".to_owned(), |backend| backend.to_string()),
        words::instances(instances),
        words::counted(watches, "watch", "watches"),
    ))
}
