//! The time until a limit is reached.

use std::time::Duration;

/// The time until `free` is used up at a rate of `per_minute`; None if that is never, or longer
/// than a duration can hold.
#[must_use]
pub fn time_left(free: u32, per_minute: f64) -> Option<Duration> {
    if per_minute <= 0.0 {
        return None;
    }
    Duration::try_from_secs_f64(f64::from(free) / per_minute * 60.0).ok()
}
