//! Command line values that are one of several names. Their types are defined elsewhere and don't
//! depend on clap.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use inotify_trace_model::{clock::Timestamps, event::EventName, usage::By};

use crate::{
    kernel::Backend,
    output::{Column, When},
};

/// A type whose values users choose by name.
pub(super) trait Choice: Copy + Send + Sync + 'static {
    /// In the order of the help.
    const ALL: &'static [Self];

    fn name(self) -> &'static str;

    fn help(self) -> &'static str;
}

/// Parses the name of a value.
pub(super) fn one_of<T: Choice>() -> impl TypedValueParser<Value = T> {
    let values = T::ALL.iter().map(|it| PossibleValue::new(it.name()).help(it.help()));
    PossibleValuesParser::new(values).try_map(|text| {
        let mut all = T::ALL.iter().copied();
        all.find(|it| it.name() == text).ok_or("is none of them")
    })
}

impl Choice for EventName {
    const ALL: &'static [Self] = Self::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }

    fn help(self) -> &'static str {
        self.meaning()
    }
}

impl Choice for Column {
    const ALL: &'static [Self] = Self::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }

    fn help(self) -> &'static str {
        self.meaning()
    }
}

impl Choice for By {
    const ALL: &'static [Self] = &[Self::Instance, Self::Process, Self::Container, Self::User];

    fn name(self) -> &'static str {
        By::name(self)
    }

    fn help(self) -> &'static str {
        match self {
            Self::Instance => "Each instance in a row of its own",
            Self::Process => "Processes; a shared instance counts for each process that holds it",
            Self::Container => {
                "Containers: the one whose cgroup an instance watches, if it watches no other; \
                 else the container, or the cgroup, of each holder"
            }
            Self::User => "Users that the kernel charges",
        }
    }
}

impl Choice for Timestamps {
    const ALL: &'static [Self] = &[Self::Time, Self::Iso, Self::Unix, Self::Boot];

    fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Iso => "iso",
            Self::Unix => "unix",
            Self::Boot => "boot",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Time => "Local time of day, to the second",
            Self::Iso => "Local date and time with microseconds and offset (RFC 3339)",
            Self::Unix => "Seconds since 1970 with microseconds",
            Self::Boot => "Seconds since boot with microseconds",
        }
    }
}

impl Choice for When {
    const ALL: &'static [Self] = &[Self::Auto, Self::Always, Self::Never];

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Auto => "As NO_COLOR, CLICOLOR_FORCE and CLICOLOR say, or else on a terminal",
            Self::Always => "Always, also into a pipe",
            Self::Never => "Never",
        }
    }
}

impl Choice for Backend {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.as_str()
    }

    fn help(self) -> &'static str {
        match self {
            Self::Fentry => {
                "BPF trampolines (fentry, fexit) on inotify's own functions: exact, and free for \
                 programs that do not use inotify"
            }
            Self::Kprobe => {
                "Kprobes on the same functions, for kernels without trampolines: exact as well"
            }
            Self::Tracepoint => {
                "System call tracepoints: works nearly everywhere, and taxes every system call; \
                 the end of an instance that is not closed by close, dup2 or dup3 is noticed by \
                 asking the kernel"
            }
        }
    }
}

#[cfg(feature = "top")]
impl Choice for crate::top::View {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        Self::name(self)
    }

    fn help(self) -> &'static str {
        match self {
            Self::Containers => "Containers, and services and other cgroups that are none",
            Self::Processes => "Processes",
            Self::Users => "Users and their limits",
            Self::Failures => "What was refused, grouped, and who is to blame",
            Self::Leaks => "Leaks and notes",
        }
    }
}

/// All values with their help, one per line.
pub(super) fn listed<T: Choice>(width: usize, mark: impl Fn(T) -> &'static str) -> String {
    let line = |&it: &T| format!("\n{} {:width$} {}", mark(it), it.name(), it.help());
    T::ALL.iter().map(line).collect()
}
