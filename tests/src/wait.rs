//! Waiting for conditions. No test rests on time: a condition ends a wait, and only a test that
//! fails reaches the end of its patience.

use std::{
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use crate::system;

/// Seconds that a condition may take, where the default does not do.
const VARIABLE: &str = "INOTIFY_TRACE_PATIENCE";

/// How long a condition may take to hold before the test fails: a hundred times what a busy
/// machine takes. `INOTIFY_TRACE_PATIENCE` sets it, in seconds.
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

/// A wait that has begun.
#[derive(Debug)]
pub struct Wait(Instant);

impl Wait {
    /// Begins to wait.
    #[must_use]
    pub fn begin() -> Self {
        Self(Instant::now() + patience())
    }

    /// How long it may still take; zero when it has taken too long.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Leaves the processor to others before the next look.
    ///
    /// # Panics
    /// Fails with the text of `state` after too long.
    pub fn look_again(&self, state: impl FnOnce() -> String) {
        assert!(!self.left().is_zero(), "waited in vain: {}", state());
        // The polling interval; it does not affect the result.
        thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until a condition holds.
///
/// # Panics
/// If it does not in time.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = Wait::begin();
    while !condition() {
        wait.look_again(|| what.to_owned());
    }
}
