//! The terminal: taken for the full screen, and given back whatever happens.

use std::{
    io::{self, BufWriter, Stdout, Write as _},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    cursor::Show,
    execute,
    terminal::{
        Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
        enable_raw_mode,
    },
};
use ratatui_core::terminal::Terminal;
use ratatui_crossterm::CrosstermBackend;

use crate::output::Patient;

/// Whether the terminal is taken.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// A terminal that is drawn on.
pub(super) type Screen = Terminal<CrosstermBackend<BufWriter<Patient<Stdout>>>>;

/// Gives the terminal back when it is dropped.
#[derive(Debug)]
pub(super) struct Taken(log::LevelFilter);

impl Taken {
    /// Takes the terminal.
    ///
    /// # Errors
    /// If it is none, or cannot be written.
    pub(super) fn take() -> io::Result<(Self, Screen)> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                // The message must be seen, and the shell after it work.
                give_back();
                before(info);
            }));
        });
        let taken = Self(log::max_level());
        // Lines of a log would be in the midst of the screen.
        log::set_max_level(log::LevelFilter::Off);
        IS_TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        let mut out = BufWriter::with_capacity(64 << 10, Patient::stdout());
        // `Terminal::clear` would ask where the cursor is, and wait for terminals that never answer.
        execute!(out, EnterAlternateScreen, Clear(ClearType::All))?;
        Ok((taken, Terminal::new(CrosstermBackend::new(out))?))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
        log::set_max_level(self.0);
    }
}

/// Gives the terminal back, if it is taken.
pub(super) fn give_back() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = Patient::stdout();
    // Nothing can be done about a terminal that takes no more bytes.
    let _ = execute!(out, LeaveAlternateScreen, Show);
    let _ = out.flush();
    let _ = disable_raw_mode();
}
