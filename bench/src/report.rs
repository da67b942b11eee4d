//! Pieces of the report.

use std::collections::BTreeSet;

/// Whether a goal is met.
pub fn verdict(goal: &str, met: bool) -> String {
    format!("Goal: {goal}. **{}.**", if met { "Met" } else { "Not met" })
}

/// The report's beginning.
pub fn introduction(machine: &str, quick: bool, warnings: &BTreeSet<String>) -> String {
    let mut text = format!(
        "# Benchmarks\n\n\
         The cost and capacity of inotify-trace, compared with bpftrace tracing the same events. \
         This file is written by\n\n    cargo xtask bench\n\n\
         which takes about eleven minutes on an idle machine, and one with `--quick`, builds aside. \
         It is written anew each time, with `--only-list`, `--only-record` or `--only-vm` only the section \
         about looks at the machine, about recordings, or the last one; do not edit it. These are measurements, not tests: no figure makes a build fail.\n\n{machine}\n\
         Each figure is a median, with the lowest and the highest in parentheses. What is compared \
         was measured in turns within one run, since figures of different runs, and all the more \
         of different machines, cannot be compared. The loads are compiled loops in \
         processes of their own, and only events of these processes are counted.\n\n"
    );
    if quick {
        text += "**From a quick run: fewer and shorter rounds.**\n\n";
    }
    for warning in warnings {
        text += &format!("**Warning: {warning}.**\n\n");
    }
    text
}

/// `report` with `section` in place of the one with the same heading, or as its last if there is
/// none.
pub fn with_section(report: &str, section: &str) -> String {
    let section = section.trim_end();
    let heading = section.lines().next().unwrap_or_default();
    let (mut kept, mut is_old, mut is_in) = (String::new(), false, false);
    for line in report.lines() {
        if line.starts_with("## ") {
            is_old = line == heading;
            if is_old {
                kept += &format!("{section}\n\n");
                is_in = true;
            }
        }
        if !is_old {
            kept += line;
            kept.push('\n');
        }
    }
    let kept = kept.trim_end();
    if is_in { format!("{kept}\n") } else { format!("{kept}\n\n{section}\n") }
}

/// Breaks paragraphs into lines for those who read the file as it is; tables must stay as they are.
pub fn wrap(text: &str) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        if line.starts_with(['|', '#', ' ']) {
            wrapped += line;
        } else {
            let mut column = 0;
            for word in line.split(' ') {
                if column > 0 && column + 1 + word.len() > 100 {
                    wrapped.push('\n');
                    column = 0;
                } else if column > 0 {
                    wrapped.push(' ');
                    column += 1;
                }
                wrapped += word;
                column += word.len();
            }
        }
        wrapped.push('\n');
    }
    wrapped.truncate(wrapped.trim_end().len());
    wrapped
}

#[cfg(test)]
mod tests {
    use super::{with_section, wrap};

    #[test]
    fn a_section_takes_the_place_of_the_old_one() {
        let once = with_section("# A\n\n## B\n\nb\n", "## C\n\nc\n");
        assert_eq!(once, "# A\n\n## B\n\nb\n\n## C\n\nc\n");
        assert_eq!(with_section(&once, "## C\n\nnew"), once.replace("\nc\n", "\nnew\n"));
        assert_eq!(with_section(&once, "## B\n\nnew"), once.replace("\nb\n", "\nnew\n"));
    }

    #[test]
    fn paragraphs_are_wrapped_and_tables_are_not() {
        let row = format!("| {} |", "x ".repeat(80));
        assert_eq!(wrap(&row), row);
        let paragraph = wrap(&"word ".repeat(50));
        assert!(paragraph.lines().count() > 1);
        assert!(paragraph.lines().all(|line| line.len() <= 100));
    }
}
