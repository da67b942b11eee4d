//! What keys do. Pure: they change the state, and may want something of the source.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    state::{Front, Prompt, State},
    wish::{Ask, View},
};

/// What follows from a key, beside a new state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Stay,
    /// Something is wanted.
    Ask(Ask),
    /// The end.
    Quit,
}

/// The most characters that are typed into a prompt.
const TYPED: usize = 100;

/// Keys and what they do, as the help shows them.
pub const HELP: &[(&str, &str)] = &[
    ("Tab, Shift-Tab, 1-5", "next, previous or numbered view"),
    ("Up, Down, PgUp, PgDn", "move the cursor; Home, End (g, G): to the first, last row"),
    ("s, r", "sort by the next column; reverse the order"),
    (", .", "columns to the left and right"),
    ("/", "show only rows with a text; Esc ends that"),
    ("Enter", "all about a row: history, evidence, what to do, watches"),
    ("w", "the watches of a row, as paths"),
    ("Esc", "back"),
    ("Space", "pause and go on; in a recording: play and stop"),
    ("t, T", "in a recording: a step forward, back"),
    ("j", "in a recording: go to a time: 03:05, +90s or -10m"),
    ("?", "this help"),
    ("q, Ctrl-C", "quit"),
];

/// Applies a key.
pub fn press(state: &mut State, key: KeyEvent) -> Then {
    if key.kind == KeyEventKind::Release {
        return Then::Stay;
    }
    let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if has_control && matches!(key.code, KeyCode::Char('c' | 'C')) {
        return Then::Quit;
    }
    state.message = None;
    if let Some(prompt) = state.prompt.take() {
        return typed(state, prompt, key.code);
    }
    if has_control || key.modifiers.contains(KeyModifiers::ALT) {
        return Then::Stay;
    }
    if key.code == KeyCode::Char('q') {
        return Then::Quit;
    }
    if state.has_help {
        match key.code {
            KeyCode::Esc | KeyCode::Char('?') | KeyCode::Enter => close_help(state),
            code => scroll(state, code),
        }
        return Then::Stay;
    }
    match key.code {
        KeyCode::Char('?') | KeyCode::F(1) => (state.has_help, state.scroll) = (true, 0),
        KeyCode::Tab | KeyCode::Right => return go(state, state.view.shifted(1)),
        KeyCode::BackTab | KeyCode::Left => {
            return go(state, state.view.shifted(View::ALL.len() - 1));
        }
        KeyCode::Char(digit @ '1'..='5') => {
            let place = digit as usize - '1' as usize;
            return go(state, View::ALL[place]);
        }
        KeyCode::Esc => return back(state),
        KeyCode::Enter if state.front == Front::Rows => return open(state, Front::Page),
        KeyCode::Char('w') => return open(state, Front::Watches),
        KeyCode::Char(' ') => {
            state.is_paused = !state.is_paused;
            return show(state);
        }
        KeyCode::Char(step @ ('t' | 'T')) => {
            return of_recording(state, || Ask::Step { is_forward: step == 't' });
        }
        KeyCode::Char('j') if state.is_recording() => {
            state.prompt = Some(Prompt::Jump(String::new()));
        }
        KeyCode::Char('j') => return of_recording(state, || Ask::Jump(String::new())),
        code if state.front == Front::Page => scroll(state, code),
        code => {
            table(state, code);
            return more_watches(state);
        }
    }
    Then::Stay
}

/// Keys of tables.
fn table(state: &mut State, code: KeyCode) {
    let page = isize::try_from(state.room.max(1)).unwrap_or(1);
    match code {
        KeyCode::Up | KeyCode::Char('k') => state.move_by(-1),
        KeyCode::Down => state.move_by(1),
        KeyCode::PageUp => state.move_by(-page),
        KeyCode::PageDown => state.move_by(page),
        KeyCode::Home | KeyCode::Char('g') => state.move_by(isize::MIN),
        KeyCode::End | KeyCode::Char('G') => state.move_by(isize::MAX),
        KeyCode::Char('s') => {
            let columns = state.rows().columns.clone();
            let at = state.shown().sort.and_then(|it| columns.iter().position(|name| *name == it));
            let next = at.map_or(0, |at| at + 1);
            state.shown_mut().sort = columns.get(next).copied();
            // A column that cannot be seen is no order that anyone understands.
            state.shown_mut().skip = 0;
        }
        KeyCode::Char('r') => {
            let shown = state.shown_mut();
            shown.is_reversed = !shown.is_reversed;
        }
        KeyCode::Char('/') => state.prompt = Some(Prompt::Filter(state.shown().filter.clone())),
        KeyCode::Char(',') => {
            let shown = state.shown_mut();
            shown.skip = shown.skip.saturating_sub(1);
        }
        KeyCode::Char('.') => {
            let most = state.rows().columns.len().saturating_sub(2);
            let shown = state.shown_mut();
            shown.skip = (shown.skip + 1).min(most);
        }
        _ => {}
    }
}

/// Keys of text.
fn scroll(state: &mut State, code: KeyCode) {
    let page = u16::try_from(state.room.max(1)).unwrap_or(u16::MAX);
    state.scroll = match code {
        KeyCode::Up | KeyCode::Char('k') => state.scroll.saturating_sub(1),
        KeyCode::Down => state.scroll.saturating_add(1),
        KeyCode::PageUp => state.scroll.saturating_sub(page),
        KeyCode::PageDown => state.scroll.saturating_add(page),
        KeyCode::Home | KeyCode::Char('g') => 0,
        KeyCode::End | KeyCode::Char('G') => u16::MAX,
        _ => state.scroll,
    };
}

fn typed(state: &mut State, prompt: Prompt, code: KeyCode) -> Then {
    let (mut text, is_filter) = match prompt {
        Prompt::Filter(text) => (text, true),
        Prompt::Jump(text) => (text, false),
    };
    let is_over = match code {
        KeyCode::Enter => true,
        KeyCode::Esc => {
            text.clear();
            true
        }
        KeyCode::Backspace => {
            text.pop();
            false
        }
        KeyCode::Char(c) => {
            if text.chars().count() < TYPED {
                text.push(c);
            }
            false
        }
        _ => false,
    };
    if is_filter {
        state.shown_mut().filter.clone_from(&text);
    }
    match (is_over, is_filter) {
        (true, true) => more_watches(state),
        (true, false) if text.is_empty() => Then::Stay,
        (true, false) => Then::Ask(Ask::Jump(text)),
        (false, true) => {
            state.prompt = Some(Prompt::Filter(text));
            more_watches(state)
        }
        (false, false) => {
            state.prompt = Some(Prompt::Jump(text));
            Then::Stay
        }
    }
}

fn close_help(state: &mut State) {
    (state.has_help, state.scroll) = (false, 0);
}

/// Asks for what the state is about now.
fn show(state: &mut State) -> Then {
    state.want_watches();
    state.number += 1;
    Then::Ask(Ask::Show(state.wish()))
}

/// Asks for more watches if those that came are too few for what is in front.
fn more_watches(state: &mut State) -> Then {
    if state.front == Front::Watches && state.want_watches() { show(state) } else { Then::Stay }
}

fn go(state: &mut State, view: View) -> Then {
    (state.view, state.front, state.open) = (view, Front::Rows, None);
    show(state)
}

fn open(state: &mut State, front: Front) -> Then {
    if state.front == Front::Rows {
        let is_empty = state.arrange().is_empty();
        let Some(key) = state.shown().selected.clone().filter(|_| !is_empty) else {
            state.message = Some("there is no row".to_owned());
            return Then::Stay;
        };
        state.open = Some(key);
        // Until its page comes, there is none.
        state.scene.page = None;
    }
    if state.front != Front::Watches {
        state.forget_watches();
    }
    (state.front, state.scroll) = (front, 0);
    show(state)
}

fn back(state: &mut State) -> Then {
    if state.front != Front::Page && !state.shown().filter.is_empty() {
        state.shown_mut().filter.clear();
        return Then::Stay;
    }
    if state.front == Front::Rows {
        return Then::Stay;
    }
    (state.front, state.open, state.scroll) = (Front::Rows, None, 0);
    show(state)
}

fn of_recording(state: &mut State, ask: impl Fn() -> Ask) -> Then {
    if state.is_recording() {
        return Then::Ask(ask());
    }
    let what = "only recordings have other times: `inotify-trace top --recording FILE`";
    state.message = Some(what.to_owned());
    Then::Stay
}
