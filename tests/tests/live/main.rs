//! The agent on the running kernel, compared with workloads whose every step is known.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic; helpers are tests too")]

#[cfg(target_arch = "aarch64")]
mod arm32;
mod before;
mod blame;
#[cfg(target_arch = "x86_64")]
mod blocked;
mod budgets;
mod bytes;
mod capacity;
#[cfg(target_arch = "x86_64")]
mod compat;
mod containers;
mod cri;
mod endings;
mod filters;
mod growth;
mod holders;
mod host_root;
mod hostile;
mod leaks;
mod leftovers;
mod limits;
mod limits_command;
mod list;
mod memory;
mod names;
mod namespaces;
mod past;
mod paths;
mod payers;
mod privileges;
mod programs;
mod prometheus;
mod queues;
mod record;
mod report;
mod roads;
mod runtimes;
mod serve;
mod serve_files;
mod serve_soak;
mod silent;
mod storms;
mod tables;
mod text;
mod threads;
mod top;
mod why;

use inotify_trace_tests::{Agent, Run, World, system};
use serde_json::{Value, json};

/// The exclusive use of the machine, an agent that reports every event, and a world to act in.
fn scene() -> (system::Machine, World, Agent) {
    let machine = system::the_machine();
    let agent = Agent::start();
    (machine, World::new(), agent)
}

/// The number of events with this name about a process.
fn count(events: &[Value], pid: u32, name: &str) -> usize {
    events.iter().filter(|event| event["pid"] == pid && event["event"] == name).count()
}

/// Checks that no event is lost. Runs of programs that the kernel skipped are ignored: they may
/// concern any process of the machine, and a missing event of the test's own fails the comparison.
fn nothing_lost(run: &Run) {
    let mut lost = run.summary["lost"].clone();
    if let Some(lost) = lost.as_object_mut() {
        lost.remove("runs");
    }
    assert_eq!(lost, json!({}));
}
