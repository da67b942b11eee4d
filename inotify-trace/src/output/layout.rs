//! The columns of the trace.

use super::Width;

pub(super) const EVENT: usize = 11;
pub(super) const PID: usize = 7;
/// A path or name is never cut to fewer.
const FEWEST: usize = 24;
/// Details that do not fit beside the columns go on a line of their own, this far from the left.
const INDENT: usize = 9;

/// The widths of the columns that depend on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) comm: usize,
    pub(super) container: usize,
    pub(super) container_heading: &'static str,
    pub(super) fd: usize,
    pub(super) used: usize,
    width: Width,
}

impl Layout {
    /// The columns of lines of `width` whose times take `time` columns.
    pub(super) fn of(width: Width, time: usize) -> Self {
        let wide = Self {
            comm: 15,
            container: 23,
            container_heading: "CONTAINER/CGROUP",
            fd: 6,
            used: 11,
            width,
        };
        let needed = time + wide.columns() + FEWEST;
        if needed <= width.columns() {
            return wide;
        }
        let container_heading = "CONTAINER";
        Self { comm: 9, container: 12, container_heading, fd: 5, used: 10, width }
    }

    /// Columns after the time and before the details, with the spaces between them.
    fn columns(&self) -> usize {
        [EVENT, PID, self.comm, self.container, self.fd, self.used]
            .iter()
            .map(|it| it + 1)
            .sum::<usize>()
            + 1
    }

    /// Whether names are cut.
    pub(super) fn cuts(&self) -> bool {
        self.width != Width::Unlimited
    }

    /// How long details may be after `line`.
    pub(super) fn room(&self, line: &str) -> usize {
        let beside = self.beside(line);
        if beside < FEWEST {
            self.width.columns().saturating_sub(INDENT).max(FEWEST)
        } else {
            beside
        }
    }

    fn beside(&self, line: &str) -> usize {
        self.width.columns().saturating_sub(line.chars().count())
    }

    /// Appends details to `line`, or puts them below it if they don't fit.
    pub(super) fn append(&self, line: &mut String, detail: &str) {
        if detail.chars().count() <= self.beside(line) {
            line.push_str(detail);
            return;
        }
        line.truncate(line.trim_end().len());
        let below = super::wrapped(detail, INDENT).hanging(0).on(self.width).to_string();
        line.push('\n');
        line.push_str(&below);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_the_terminal() {
        for (width, time, comm) in
            [(80, 8, 9), (111, 8, 9), (112, 8, 15), (120, 32, 9), (200, 32, 15)]
        {
            let layout = Layout::of(Width::Columns(width), time);
            assert_eq!(layout.comm, comm, "{width}");
            // The heading of the details fits, too.
            assert!(time + layout.columns() + "DETAIL".len() <= width, "{width}");
        }
        assert_eq!(Layout::of(Width::Unlimited, 8).comm, 15);
    }

    #[test]
    fn what_does_not_fit_beside_goes_below() {
        let layout = Layout::of(Width::Columns(80), 8);
        let line = "x".repeat(69) + " ";
        let with = |detail: &str| {
            let mut line = line.clone();
            layout.append(&mut line, detail);
            line
        };
        assert_eq!(with("nonblock"), format!("{line}nonblock"));
        let below = with("EMFILE: inotify instance limit");
        assert_eq!(below, format!("{}\n         EMFILE: inotify instance limit", line.trim_end()));
        assert_eq!(layout.room(&line), 71);
        assert!(with(&"word ".repeat(40)).lines().all(|line| line.chars().count() <= 80));
    }
}
