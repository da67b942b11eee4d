//! Waits for conditions. No test depends on timing: a condition ends each wait, and only a failing
//! test reaches the timeout.

use std::{
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use crate::system;

/// The variable that overrides the timeout, in seconds.
const VARIABLE: &str = "INOTIFY_TRACE_PATIENCE";

/// How long a condition may take before the test fails: a hundred times as long as on a busy
/// machine. `INOTIFY_TRACE_PATIENCE` sets it, in seconds.
#[must_use]
pub fn patience() -> Duration {
    static PATIENCE: OnceLock<Duration> = OnceLock::new();
    *PATIENCE.get_or_init(|| {
        let set = std::env::var(VARIABLE).ok().map(|seconds| {
            seconds.parse().unwrap_or_else(|_| panic!("{VARIABLE} is no number: {seconds}"))
        });
        Duration::from_secs(set.unwrap_or(if system::is_emulated() { 600 } else { 120 }))
    })
}

/// A wait in progress.
#[derive(Debug)]
pub struct Wait(Instant);

impl Wait {
    /// Starts a wait.
    #[must_use]
    pub fn begin() -> Self {
        Self(Instant::now() + patience())
    }

    /// The remaining time; zero after the timeout.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Sleeps before the next check.
    ///
    /// # Panics
    /// Fails with the text of `state` after the timeout.
    pub fn look_again(&self, state: impl FnOnce() -> String) {
        assert!(!self.left().is_zero(), "waited in vain: {}", state());
        // The polling interval; it does not affect the result.
        thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until a condition holds.
///
/// # Panics
/// If the condition does not hold in time.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = Wait::begin();
    while !condition() {
        wait.look_again(|| what.to_owned());
    }
}
