//! `inotify-trace top`: the machine on one screen.
//!
//! ```text
//! Story ─▶ Teller ──Scene──▶ thread of the screen ◀──keys── thread of the keyboard
//!             ▲                  │ State, view, terminal
//!             └───────Ask────────┘
//! ```
//!
//! The event loop never waits for the terminal: it makes a scene if the last one was drawn, at most ten
//! times a second, and a thread draws it. Sorting, filters and pages work on the last scene.

mod failures;
mod history;
mod keys;
mod made;
mod pages;
mod rows;
mod scene;
mod state;
mod teller;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod view;
mod wish;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use crossterm::event::{self, Event};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use scene::{Scene, Source};
pub use teller::{Machine, Screen, Teller};
pub use text::write as write_text;
pub use view::Look;
pub use wish::{Ask, View, Wish};

use self::{keys::Then, state::State, terminal::Taken};
use crate::threads;

/// How long the screen may take to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the thread of the screen gets.
#[derive(Debug)]
pub(crate) enum Input {
    /// From the terminal.
    Terminal(io::Result<Event>),
    /// From the event loop.
    Scene(Box<Scene>),
    /// For the last line.
    Say(String),
    /// The run is over.
    End,
}

/// The screen while it is shown.
#[derive(Debug)]
pub struct Running {
    inputs: mpsc::Sender<Input>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Takes the terminal, and shows what the teller's [`Screen`] is sent. The receiver ends when the
    /// person quits.
    ///
    /// # Errors
    /// If the terminal cannot be used.
    pub fn start(
        view: View,
        source: Source,
        look: Look,
    ) -> anyhow::Result<(Self, Screen, UnboundedReceiver<Ask>)> {
        let (inputs, received) = mpsc::channel();
        let (asks, asked) = unbounded_channel();
        let is_behind = Arc::new(AtomicBool::new(false));
        let screen = Screen { inputs: inputs.clone(), is_behind: Arc::clone(&is_behind) };
        let (taken, terminal) = Taken::take().context("cannot use the terminal")?;
        let keyboard = inputs.clone();
        threads::spawn("keyboard", move || {
            loop {
                let event = event::read();
                let is_over = event.is_err();
                if keyboard.send(Input::Terminal(event)).is_err() || is_over {
                    break;
                }
            }
        })?;
        let state = State::new(view, source);
        let thread = threads::spawn("screen", move || {
            // Given back when this ends, in whatever way.
            let _taken = taken;
            run(terminal, state, look, &received, &asks, &is_behind)
        })?;
        Ok((Self { inputs, thread: Some(thread) }, screen, asked))
    }

    /// Gives the terminal back.
    ///
    /// # Errors
    /// If drawing has failed.
    pub fn end(mut self) -> anyhow::Result<()> {
        // It may have ended already.
        let _ = self.inputs.send(Input::End);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let began = Instant::now();
        while !thread.is_finished() {
            if began.elapsed() > PATIENCE {
                // Nobody reads what it writes.
                terminal::give_back();
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let drawn = thread.join().map_err(|_| anyhow!("drawing the screen has failed"))?;
        drawn.context("cannot draw on the terminal")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // An error is on its way, which is to be read.
            terminal::give_back();
        }
    }
}

fn run(
    mut terminal: terminal::Screen,
    mut state: State,
    look: Look,
    inputs: &Receiver<Input>,
    asks: &UnboundedSender<Ask>,
    is_behind: &AtomicBool,
) -> io::Result<()> {
    // The beginning is a wish, too.
    let _ = asks.send(Ask::Show(state.wish()));
    loop {
        terminal.draw(|frame| view::draw(frame, &mut state, look))?;
        is_behind.store(false, Ordering::Release);
        let mut next = match inputs.recv_timeout(Duration::from_secs(3600)) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        // All that has come meanwhile is drawn at once.
        while let Some(input) = next {
            match input {
                Input::End => return Ok(()),
                Input::Say(text) => state.message = Some(text),
                Input::Scene(scene) => state.take(*scene),
                Input::Terminal(event) => {
                    // Another size or focus is drawn as well.
                    if let Event::Key(key) = event? {
                        match keys::press(&mut state, key) {
                            Then::Stay => {}
                            Then::Quit => return Ok(()),
                            Then::Ask(ask) => {
                                if asks.send(ask).is_err() {
                                    return Ok(());
                                }
                            }
                        }
                    }
                }
            }
            next = match inputs.try_recv() {
                Ok(input) => Some(input),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return Ok(()),
            };
        }
    }
}
