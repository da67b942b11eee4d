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
         What inotify-trace costs, and what it can take, next to bpftrace telling the same events. \
         This file is written by\n\n    cargo xtask bench\n\n\
         which takes less than five minutes on an idle machine, and half a minute with `--quick`. \
         It is written anew each time; do not edit it. These are measurements and not tests: no \
         figure makes anything fail.\n\n{machine}\n\
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
