//! A progress bar on the terminal.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Updates per second.
const RATE: u8 = 5;

/// A bar on standard error that disappears when the work is done. It is hidden if standard error is
/// no terminal, or if standard output is one, whose lines the bar would overwrite.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// `bytes` is the amount of work.
    pub(super) fn new(bytes: u64, output_is_on_terminal: bool) -> Self {
        let is_shown = io::stderr().is_terminal() && !output_is_on_terminal;
        let target = if is_shown {
            ProgressDrawTarget::stderr_with_hz(RATE)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        let template = "{bar:40} {percent:>3} % of {binary_total_bytes}, {eta} left";
        // The template is a constant: this cannot fail.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self(bar)
    }

    /// Sets the number of bytes done.
    pub(super) fn at(&self, position: u64) {
        self.0.set_position(position);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
