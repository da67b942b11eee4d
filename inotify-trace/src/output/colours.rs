//! Colours, and the meaning they have wherever they are used.

use std::{
    env,
    fmt::{self, Display},
    io::{self, IsTerminal as _},
    sync::atomic::{AtomicU8, Ordering},
};

use super::Width;

const RED: &str = "\x1b[1;31m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// The meaning of a piece of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Neither of the others.
    #[default]
    Plain,
    /// What is used up, leaked, lost or missing.
    Bad,
    /// What matters least.
    Aside,
}

/// When output has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// As the environment says, or else on a terminal that knows colours.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Set once, before anything is written.
static CHOICE: AtomicU8 = AtomicU8::new(When::Auto as u8);

impl When {
    /// Makes this the choice for all output.
    pub fn choose(self) {
        CHOICE.store(self as u8, Ordering::Relaxed);
    }

    fn chosen() -> Self {
        let chosen = CHOICE.load(Ordering::Relaxed);
        let all = [Self::Auto, Self::Always, Self::Never];
        all.into_iter().find(|it| *it as u8 == chosen).unwrap_or_default()
    }

    /// Whether there are colours. `variable` is the environment's.
    ///
    /// <https://no-color.org> and <https://bixense.com/clicolors> describe the variables.
    fn allows(self, variable: impl Fn(&str) -> Option<String>, is_terminal: bool) -> bool {
        let is_set = |name| variable(name).is_some_and(|it| !it.is_empty());
        let is_not_zero = |name| variable(name).is_some_and(|it| !it.is_empty() && it != "0");
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if is_set("NO_COLOR") => false,
            Self::Auto if is_not_zero("CLICOLOR_FORCE") => true,
            Self::Auto if variable("CLICOLOR").is_some_and(|it| it == "0") => false,
            Self::Auto => is_terminal && variable("TERM").is_some_and(|it| it != "dumb"),
        }
    }
}

/// Whether output has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Colours(bool);

impl Colours {
    /// Those of standard output.
    #[must_use]
    pub fn of_stdout() -> Self {
        let variable = |name: &str| Some(env::var_os(name)?.to_string_lossy().into_owned());
        Self(When::chosen().allows(variable, io::stdout().is_terminal()))
    }

    /// Whether there are any.
    #[must_use]
    pub fn are_there(self) -> bool {
        self.0
    }

    /// The text in the colour of its tone, line by line, so that a pager shows each as it is.
    pub(crate) fn paint<T: Display>(self, tone: Tone, text: T) -> Painted<T> {
        let colour = match tone {
            _ if !self.0 => None,
            Tone::Plain => None,
            Tone::Bad => Some(RED),
            Tone::Aside => Some(DIM),
        };
        Painted { colour, text }
    }
}

/// Text in a colour.
pub(crate) struct Painted<T> {
    colour: Option<&'static str>,
    text: T,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(colour) = self.colour else { return self.text.fmt(f) };
        for (at, line) in self.text.to_string().split('\n').enumerate() {
            let before = if at == 0 { "" } else { "\n" };
            write!(f, "{before}{colour}{line}{RESET}")?;
        }
        Ok(())
    }
}

/// What lines for people are fitted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// How wide lines may be.
    pub width: Width,
    /// Whether they have colours.
    pub colours: Colours,
}

impl Screen {
    /// Standard output.
    #[must_use]
    pub fn of_stdout() -> Self {
        Self { width: Width::of_stdout(), colours: Colours::of_stdout() }
    }

    /// The same, but nothing is shortened or wrapped.
    #[must_use]
    pub fn wide_if(self, is_wide: bool) -> Self {
        if is_wide { Self { width: Width::Unlimited, ..self } } else { self }
    }
}

impl From<Width> for Screen {
    fn from(width: Width) -> Self {
        Self { width, colours: Colours(false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_beats_the_environment_and_that_beats_the_terminal() {
        let has = |when: When, set: &[(&str, &str)], is_terminal| {
            let variable = |name: &str| {
                set.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
            };
            when.allows(variable, is_terminal)
        };
        let (term, dumb) = (("TERM", "xterm"), ("TERM", "dumb"));
        let (no, force) = (("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1"));
        for (when, set, on_terminal, in_pipe) in [
            (When::Auto, &[term][..], true, false),
            (When::Auto, &[dumb], false, false),
            (When::Auto, &[], false, false),
            (When::Auto, &[term, ("NO_COLOR", "")], true, false),
            (When::Auto, &[term, no], false, false),
            (When::Auto, &[term, no, force], false, false),
            (When::Auto, &[dumb, force], true, true),
            (When::Auto, &[term, ("CLICOLOR_FORCE", "0")], true, false),
            (When::Auto, &[term, ("CLICOLOR", "0")], false, false),
            (When::Always, &[dumb, no], true, true),
            (When::Never, &[term, force], false, false),
        ] {
            assert_eq!(has(when, set, true), on_terminal, "{when:?} {set:?}");
            assert_eq!(has(when, set, false), in_pipe, "{when:?} {set:?} in a pipe");
        }
    }

    #[test]
    fn each_line_is_painted_by_itself() {
        let painted = Colours(true).paint(Tone::Bad, "a\n b").to_string();
        assert_eq!(painted, "\x1b[1;31ma\x1b[0m\n\x1b[1;31m b\x1b[0m");
        assert_eq!(Colours(true).paint(Tone::Plain, "a").to_string(), "a");
        assert_eq!(Colours(false).paint(Tone::Bad, "a").to_string(), "a");
    }
}
