//! How far long work has come, on a terminal.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shown times a second.
const RATE: u8 = 5;

/// A bar on standard error that goes away when the work is done. It is not shown where standard
/// error is no terminal, or where `output` goes to one, which it would spoil.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// For work on so many bytes.
    pub(super) fn new(bytes: u64, output_is_on_terminal: bool) -> Self {
        let is_shown = io::stderr().is_terminal() && !output_is_on_terminal;
        let target = if is_shown {
            ProgressDrawTarget::stderr_with_hz(RATE)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        let template = "{bar:40} {percent:>3} % of {binary_total_bytes}, {eta} left";
        // Nothing but a typing error above could make this fail.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self(bar)
    }

    /// So many bytes are done.
    pub(super) fn at(&self, position: u64) {
        self.0.set_position(position);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
