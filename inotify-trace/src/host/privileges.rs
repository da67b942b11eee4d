//! The agent's capabilities: which it needs, for what, and which it keeps while it runs.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    set_capabilities, set_no_new_privs,
};

/// A capability that the agent uses (capabilities(7)).
#[derive(Clone, Copy, Debug)]
pub struct Capability {
    /// Its name.
    pub name: &'static str,
    /// What it is needed for.
    pub purpose: &'static str,
    /// What is lost without it; None if nothing works without it.
    pub loss: Option<&'static str>,
    set: CapabilitySet,
}

/// All that the agent uses. CAP_SYS_ADMIN takes the place of the first two.
pub const NEEDED: [Capability; 4] = [
    Capability {
        name: "CAP_BPF",
        purpose: "load the kernel programs, and ask them",
        loss: None,
        set: CapabilitySet::BPF,
    },
    Capability {
        name: "CAP_PERFMON",
        purpose: "attach the kernel programs, which read kernel memory",
        loss: None,
        set: CapabilitySet::PERFMON,
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        purpose: "read /proc/PID of other users' processes",
        loss: Some("descriptors, names and containers of other users' processes may be missing"),
        set: CapabilitySet::SYS_PTRACE,
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        purpose: "find the paths of watches by file handle, and read the states of runtimes",
        loss: Some("paths of existing watches, and names of containers, may be missing"),
        set: CapabilitySet::DAC_READ_SEARCH,
    },
];

impl Capability {
    /// Whether this thread has it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        // If the kernel does not tell, the call that needs it will.
        capabilities(None).map_or(true, |own| {
            let is_for_bpf = self.set.intersects(CapabilitySet::BPF | CapabilitySet::PERFMON);
            let admin = is_for_bpf && own.effective.contains(CapabilitySet::SYS_ADMIN);
            admin || own.effective.contains(self.set)
        })
    }
}

/// What an agent does later that needs more than running does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Later {
    /// Nothing.
    #[default]
    Nothing,
    /// It creates files, in directories that may be another user's.
    WriteFiles,
    /// It loads and attaches kernel programs again, for which it may have to mount tracefs, and
    /// gives up the rest then.
    Attach,
}

/// The capabilities that this thread lacks.
pub fn missing() -> impl Iterator<Item = &'static Capability> {
    NEEDED.iter().filter(|it| !it.is_held())
}

/// Gives up what a running agent does not need, so that a bug in it can do no more than it may; the
/// same for programs that it could start. Call it before other threads start: each thread has
/// capabilities of its own, and inherits those of the thread that starts it.
///
pub fn give_up_others(later: Later) {
    if let Err(error) = try_to_give_up_others(later) {
        log::warn!("cannot give up privileges that are not needed: {error}");
    }
}

/// Gives up all that this thread has: it serves others, and needs nothing for that.
pub fn give_up_all() {
    let give_up = || {
        set_no_new_privs(true)?;
        let none = CapabilitySet::empty();
        set_capabilities(
            None,
            CapabilitySets { effective: none, permitted: none, inheritable: none },
        )
    };
    let given_up: rustix::io::Result<()> = give_up();
    if let Err(error) = given_up {
        log::warn!("cannot give up privileges that are not needed: {error}");
    }
}

fn try_to_give_up_others(later: Later) -> rustix::io::Result<()> {
    let more = match later {
        Later::Nothing => CapabilitySet::empty(),
        Later::WriteFiles => CapabilitySet::DAC_OVERRIDE,
        Later::Attach => return Ok(()),
    };
    set_no_new_privs(true)?;
    let own = capabilities(None)?;
    let mut kept = NEEDED.iter().fold(more, |all, it| all | it.set);
    if !own.effective.contains(CapabilitySet::BPF) {
        // It takes the place of the missing one.
        kept |= CapabilitySet::SYS_ADMIN;
    }
    set_capabilities(
        None,
        CapabilitySets {
            effective: own.effective & kept,
            permitted: own.permitted & kept,
            inheritable: CapabilitySet::empty(),
        },
    )
}

/// What helpers need.
const LOOK_UPS: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// Before this process becomes a helper: root's programs get their capabilities in any case, and
/// others' only those that are passed on. It only makes system calls.
///
/// # Errors
/// None: a helper with fewer capabilities finds less.
pub(super) fn pass_on_to_helper() -> io::Result<()> {
    if let Ok(own) = capabilities(None) {
        let inheritable = own.permitted & LOOK_UPS;
        let _ = set_capabilities(None, CapabilitySets { inheritable, ..own });
        for capability in inheritable {
            let _ = configure_capability_in_ambient_set(capability, true);
        }
    }
    Ok(())
}

/// Gives up what a helper does not need.
pub(super) fn keep_for_look_ups() {
    let keep = || {
        set_no_new_privs(true)?;
        let own = capabilities(None)?;
        let (effective, permitted) = (own.effective & LOOK_UPS, own.permitted & LOOK_UPS);
        let inheritable = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective, permitted, inheritable })
    };
    // It has no place to say so, and finds the same with more.
    let _: rustix::io::Result<()> = keep();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_say_the_same() {
        let text = include_str!("../../../docs/security.md");
        let row = |name: &str| {
            let row = text.lines().find(|line| line.starts_with(&format!("| {name} |")));
            row.unwrap_or_else(|| panic!("no row for {name}"))
        };
        for Capability { name, purpose, loss, .. } in NEEDED {
            let row = row(name).replace('`', "");
            assert!(row.contains(purpose), "{row}");
            assert!(row.contains(loss.unwrap_or_default()), "{row}");
        }
    }

    #[test]
    fn a_thread_keeps_only_what_it_needs() {
        // Of a thread of its own: other tests run in this process.
        let after = std::thread::spawn(|| {
            give_up_others(Later::Nothing);
            let own = capabilities(None).unwrap();
            let needed = NEEDED.iter().fold(CapabilitySet::empty(), |all, it| all | it.set);
            assert!(needed.contains(own.effective) && needed.contains(own.permitted), "{own:?}");
            assert!(own.inheritable.is_empty());
            rustix::thread::no_new_privs().unwrap()
        });
        assert!(after.join().unwrap());
    }
}
