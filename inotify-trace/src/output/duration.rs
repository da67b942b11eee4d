//! How long something took, for people.

use std::{fmt, time::Duration};

/// A duration in the unit that suits it.
pub struct Approximate(pub Duration);

impl fmt::Display for Approximate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 if self.0.as_millis() == 0 => write!(f, "{}us", self.0.as_micros()),
            0 => write!(f, "{}ms", self.0.as_millis()),
            1..60 => write!(f, "{:.1}s", self.0.as_secs_f64()),
            60..3600 => write!(f, "{}m{:02}s", seconds / 60, seconds % 60),
            3600..86400 => write!(f, "{}h{:02}m", seconds / 3600, seconds / 60 % 60),
            _ => write!(f, "{}d{:02}h", seconds / 86400, seconds / 3600 % 24),
        }
    }
}
