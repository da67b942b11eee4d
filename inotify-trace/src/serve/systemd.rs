//! What systemd is told: that the service is ready, how it fares, and that its event loop runs.

use std::{
    io,
    time::{Duration, Instant},
};

use inotify_trace_model::{feed::Batch, story::Audience, tracker::Tracker};
use sd_notify::NotifyState;

use crate::output::words;

/// The shortest time between two lines of status.
const STATUS: Duration = Duration::from_secs(10);

/// An audience that tells systemd. Without systemd it does nothing.
#[derive(Debug)]
pub struct Systemd {
    /// How often the watchdog wants to hear of the event loop; None if there is none.
    every: Option<Duration>,
    heard: Instant,
    status: (Instant, String),
    /// Whether there is anybody to tell.
    is_heard: bool,
}

impl Default for Systemd {
    fn default() -> Self {
        let now = Instant::now();
        // Half of the time after which systemd restarts the service, as sd_watchdog_enabled(3) asks.
        let every = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        let is_heard = std::env::var_os("NOTIFY_SOCKET").is_some();
        Self { every, heard: now, status: (now, String::new()), is_heard }
    }
}

impl Systemd {
    /// The kernel programs are attached, and the snapshot is complete.
    pub fn ready(&mut self, tracker: &Tracker) {
        self.status = (Instant::now(), status(tracker));
        tell(&[NotifyState::Ready, NotifyState::Status(&self.status.1)]);
    }

    /// The service ends.
    pub fn stopping() {
        tell(&[NotifyState::Stopping]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("cannot tell systemd: {error}");
    }
}

fn status(tracker: &Tracker) -> String {
    let (mut instances, mut watches) = (0, 0);
    for instance in tracker.instances() {
        (instances, watches) = (instances + 1, watches + instance.watches().len());
    }
    let lost: u64 = tracker.summary().lost.values().sum();
    let lost = if lost == 0 { String::new() } else { format!("; {lost} lost") };
    let watches = words::counted(watches, "watch", "watches");
    format!("{} with {watches}{lost}", words::instances(instances))
}

impl Audience for Systemd {
    type Error = io::Error;

    fn batch(&mut self, _: &mut Batch, tracker: &Tracker) -> io::Result<()> {
        let now = Instant::now();
        if self.every.is_some_and(|every| now >= self.heard + every) {
            self.heard = now;
            tell(&[NotifyState::Watchdog]);
        }
        if self.is_heard && now >= self.status.0 + STATUS {
            let status = (now, status(tracker));
            if status.1 != self.status.1 {
                tell(&[NotifyState::Status(&status.1)]);
            }
            self.status = status;
        }
        Ok(())
    }
}
