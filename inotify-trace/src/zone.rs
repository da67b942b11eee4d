//! The time zone in which times are shown: the reader's, or UTC.

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::tz::TimeZone;

/// Set once, before any time is shown.
static IS_UTC: AtomicBool = AtomicBool::new(false);

/// Shows all times in UTC.
pub(crate) fn show_utc() {
    IS_UTC.store(true, Ordering::Relaxed);
}

/// The zone of all times that people read and write.
pub(crate) fn zone() -> TimeZone {
    if IS_UTC.load(Ordering::Relaxed) { TimeZone::UTC } else { TimeZone::system() }
}
