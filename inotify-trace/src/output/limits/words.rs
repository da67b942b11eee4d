//! Phrases, and how they fit a terminal.

use std::{borrow::Cow, fmt, time::Duration};

use crate::{
    limits::{Assignment, Floor, INSTANCE_BYTES, Pods, PodsFrom, Sizing, Sysctl, WATCH_BYTES},
    output::printable,
};

/// The greatest width of prose, unless a single word is wider. It does not depend on the terminal:
/// text in a file or a ticket must read the same.
const WIDTH: usize = 100;

/// A sentence in lines that are not too wide, `indent` spaces from the left and two more from the
/// second line on, without a newline at its end.
pub(crate) struct Wrapped<'a> {
    sentence: Cow<'a, str>,
    indent: usize,
}

/// Wraps a sentence. Names of files and their content come from outside, so the sentence may
/// contain anything.
pub(crate) fn wrapped(sentence: &str, indent: usize) -> Wrapped<'_> {
    Wrapped { sentence: printable(sentence), indent }
}

impl fmt::Display for Wrapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut column = 0;
        for word in self.sentence.split(' ') {
            let width = word.chars().count();
            if column == 0 {
                write!(f, "{:1$}{word}", "", self.indent)?;
                column = self.indent + width;
            } else if column + 1 + width <= WIDTH {
                write!(f, " {word}")?;
                column += 1 + width;
            } else {
                let indent = self.indent + 2;
                write!(f, "\n{:indent$}{word}", "")?;
                column = indent + width;
            }
        }
        Ok(())
    }
}

pub(super) fn place(assignment: &Assignment) -> String {
    let alias = assignment.alias.as_ref().map(|alias| format!(" ({alias}, the same)"));
    format!("{}:{}{}", assignment.file.display(), assignment.line, alias.unwrap_or_default())
}

/// The reasoning behind a value.
pub(super) fn reasoning(sizing: &Sizing) -> String {
    let Sizing { per_pod, in_pods, pods_seen, elsewhere, others, needed, with_headroom, .. } =
        sizing;
    let leaked = match sizing.leaked {
        0 => String::new(),
        leaked => format!(" ({leaked} leaked ones left out: see `inotify-trace leaks`)"),
    };
    let sum = match sizing.pods {
        _ if sizing.most.saturating_sub(sizing.leaked) == *needed && *needed > 0 => {
            format!("{} used at most in the time seen{leaked}", sizing.most)
        }
        None => format!("{needed} in use{leaked}"),
        Some(Pods { count, from }) => {
            let from = match from {
                PodsFrom::Asked => "--pods",
                PodsFrom::Kubelet => "kubelet's maxPods",
                PodsFrom::Default => "kubelet's default",
            };
            let pods = if sizing.is_assumed {
                format!("{per_pod} a pod (assumed) x {count} pods ({from})")
            } else {
                format!("{in_pods} in {pods_seen} pods and containers seen")
            };
            let assumed = if others > elsewhere { " (assumed)" } else { "" };
            format!("{pods} + {others} others{assumed}{leaked} = {needed}")
        }
    };
    let raise = format!("{sum}; x 1.5 for headroom = {with_headroom}");
    if sizing.value != sizing.floor.value() || sizing.value < *with_headroom {
        return format!("{raise}; the next power of two");
    }
    let value = sizing.value;
    match sizing.floor {
        Floor { live: Some(live), configured } if live == value => match configured {
            Some(file) if file < value => format!(
                "{raise}; {value} is live, and is enough, but a file sets {file}: the next boot \
                 or `sysctl --system` loads that"
            ),
            _ => format!("{raise}; {value} is set, and is enough"),
        },
        Floor { live: Some(live), .. } => format!(
            "{raise}; a file sets {value}, which is enough, but {live} is live: `sysctl --system` \
             or a reboot loads the file"
        ),
        Floor { live: None, .. } => format!("{raise}; a file sets {value}, which is enough"),
    }
}

/// The memory that a value can cost.
pub(super) fn memory(sizing: &Sizing) -> String {
    let (each, basis) = match sizing.sysctl {
        Sysctl::Instances => {
            (INSTANCE_BYTES, "an instance, measured as 0.9 KiB on Linux 6.18, x86-64")
        }
        _ => (
            WATCH_BYTES,
            "a watch, as the kernel itself reckons, most of it the inode that it keeps in memory",
        ),
    };
    format!(
        "can take up to {} of kernel memory, if all are in use (estimated: {each} bytes {basis})",
        bytes(sizing.memory)
    )
}

/// Bytes in a unit that leaves few digits.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        0x10_0000..0x1_0000_0000 => format!("{} MiB", bytes.div_ceil(1 << 20)),
        _ => format!("{} GiB", bytes.div_ceil(1 << 30)),
    }
}

/// A time in a unit that leaves few digits.
pub(super) fn time(left: Duration) -> String {
    let seconds = left.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_wrapped_between_words() {
        let long = "word ".repeat(60);
        for indent in [0, 4] {
            let text = wrapped(long.trim_end(), indent).to_string();
            let lines: Vec<_> = text.lines().collect();
            assert!(lines.iter().all(|line| line.len() <= WIDTH && !line.ends_with(' ')), "{text}");
            assert!(lines.len() > 1 && lines[1].starts_with(&" ".repeat(indent + 2)), "{text}");
            assert_eq!(text.split_whitespace().count(), 60);
        }
        // A path is never cut, nor does it leave an empty line before it.
        let path = "/x".repeat(80);
        assert_eq!(wrapped(&path, 2).to_string(), format!("  {path}"));
        assert_eq!(wrapped(&format!("in {path}"), 0).to_string(), format!("in\n  {path}"));
        assert_eq!(wrapped("a\u{1b}[2Jb\nc", 0).to_string(), "a\\x1b[2Jb\\x0ac");
    }
}
